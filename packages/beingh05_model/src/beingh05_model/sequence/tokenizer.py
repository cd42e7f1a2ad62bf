"""Text to token ids: a released tokenizer, InternVL3.5's, or a small one made on the spot.

Sequences use these special tokens of Qwen3 and InternVL: <|im_start|>, <|im_end|>, <img>, </img>. Being-H adds
<|state_start|> and <|state_end|>; they stand in its own order of a sample alone (``bare_actions``). Ids come from the
tokenizer, never from constants: the released vocabulary depends on the chunk length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, BEGIN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
IMAGE_START, IMAGE_END = "<img>", "</img>"
STATE_START, STATE_END = "<|state_start|>", "<|state_end|>"
#: in every tokenizer
SPECIAL = (PAD, BEGIN, END, IMAGE_START, IMAGE_END)
#: in those of Being-H
STATE = (STATE_START, STATE_END)
BOXES = ("<ref>", "</ref>", "<box>", "</box>")

#: How Qwen2 and Qwen3 cut text before merging: contractions, words with one character before them, digits one by one,
#: runs of signs with the line ends behind them, spaces (tokenizer.json of the published models).
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TextTokenizer:
    """Encodes pieces of text; special tokens are added by name only.

    Args:
        backend: A ``tokenizers`` object whose vocabulary holds :data:`SPECIAL`.

    Raises:
        ValueError: a special token is missing; the message names it.
    """

    def __init__(self, backend: Tokenizer) -> None:
        self.backend = backend
        missing = [name for name in SPECIAL if backend.token_to_id(name) is None]
        if missing:
            raise ValueError(f"the tokenizer lacks {', '.join(missing)}; is it Being-H0.5's or InternVL3.5's?")
        self.ids: dict[str, int] = {}
        self._find((*SPECIAL, *STATE))

    def add(self, names: Sequence[str]) -> None:
        """Give these control tokens the next free ids, as Being-H does with InternVL's tokenizer; one that is there
        stays as it is."""
        self.backend.add_tokens([AddedToken(name, normalized=False) for name in names])
        self._find(names)

    def _find(self, names: Iterable[str]) -> None:
        numbers = ((name, self.backend.token_to_id(name)) for name in names)
        self.ids |= {name: number for name, number in numbers if number is not None}

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Ids of a piece of text. Text cannot smuggle in control tokens: their names in it are taken letter by
        letter."""
        for name in (*SPECIAL, *STATE):
            text = text.replace(name, name[0] + " " + name[1:])
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; control tokens are left out."""
        control = set(self.ids.values())
        return str(self.backend.decode([i for i in ids if i not in control], skip_special_tokens=False))

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json``."""
        self.backend.save(str(path))


def load(directory: str | Path) -> TextTokenizer:
    """The tokenizer of a checkpoint directory: ``tokenizer.json``, or ``vocab.json`` with ``merges.txt``.

    The second form is what slow tokenizers of Qwen leave: byte-level BPE over NFC text cut by :data:`QWEN_SPLIT`.
    Tokens that were added later come from ``added_tokens.json``, or else from ``tokenizer_config.json``.

    Raises:
        ValueError: neither is there, or special tokens are missing.
    """
    directory = Path(directory)
    if (directory / "tokenizer.json").is_file():
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        backend = Tokenizer(models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt")))
        backend.normalizer = normalizers.NFC()
        cut = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
        backend.decoder = decoders.ByteLevel()
    else:
        raise ValueError(f"{directory}: neither tokenizer.json nor vocab.json with merges.txt")
    added, source = _added(directory)
    backend.add_tokens([AddedToken(name, normalized=False) for name in added])
    wrong = [name for name, number in added.items() if backend.token_to_id(name) != number]
    if wrong:
        raise ValueError(f"{source}: {wrong[0]} cannot have its id {added[wrong[0]]}; the vocabulary differs")
    return TextTokenizer(backend)


def _added(directory: Path) -> tuple[dict[str, int], Path]:
    """Tokens beside the vocabulary, in the order of their ids, and the file that names them."""
    path = directory / "added_tokens.json"
    found: dict[str, int] = {}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    elif not (directory / "tokenizer.json").is_file() and (directory / "tokenizer_config.json").is_file():
        path = directory / "tokenizer_config.json"
        stated = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
        found = {token["content"]: int(number) for number, token in stated.items()}
    return dict(sorted(found.items(), key=lambda item: item[1])), path


def small(sentences: Iterable[str], vocabulary: int = 512) -> TextTokenizer:
    """A byte-level tokenizer learned from sentences; the same sentences give the same tokenizer."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL, *STATE, *BOXES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(sorted(set(sentences)), trainer)
    return TextTokenizer(backend)

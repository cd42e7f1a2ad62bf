"""Text to token ids: the released tokenizer, or a small one made on the spot.

Sequences use these special tokens of Qwen3 and InternVL: <|im_start|>, <|im_end|>, <img>, </img>, <|state_start|>,
<|state_end|>. Ids come from the tokenizer, never from constants: the released vocabulary depends on the chunk length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

PAD, BEGIN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
IMAGE_START, IMAGE_END = "<img>", "</img>"
STATE_START, STATE_END = "<|state_start|>", "<|state_end|>"
SPECIAL = (PAD, BEGIN, END, IMAGE_START, IMAGE_END, STATE_START, STATE_END)
BOXES = ("<ref>", "</ref>", "<box>", "</box>")


class TextTokenizer:
    """Encodes pieces of text; special tokens are added by name only.

    Args:
        backend: A ``tokenizers`` object whose vocabulary holds :data:`SPECIAL`.

    Raises:
        ValueError: a special token is missing; the message names it.
    """

    def __init__(self, backend: Tokenizer) -> None:
        self.backend = backend
        found = {name: backend.token_to_id(name) for name in SPECIAL}
        missing = [name for name, number in found.items() if number is None]
        if missing:
            raise ValueError(f"the tokenizer lacks {', '.join(missing)}; is it Being-H0.5's or InternVL3.5's?")
        self.ids: dict[str, int] = {name: number for name, number in found.items() if number is not None}

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Ids of a piece of text. Text cannot smuggle in control tokens: their names in it are taken letter by
        letter."""
        for name in SPECIAL:
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

    The second form is what slow tokenizers leave; tokens that were added later come from ``added_tokens.json``.

    Raises:
        ValueError: neither is there, or special tokens are missing.
    """
    directory = Path(directory)
    if (directory / "tokenizer.json").is_file():
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        bpe = models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt"))
        backend = Tokenizer(bpe)
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    else:
        raise ValueError(f"{directory}: neither tokenizer.json nor vocab.json with merges.txt")
    added = directory / "added_tokens.json"
    if added.is_file():
        by_id = sorted(json.loads(added.read_text()).items(), key=lambda item: item[1])
        backend.add_tokens([AddedToken(name, normalized=False) for name, _ in by_id])
        wrong = [name for name, number in by_id if backend.token_to_id(name) != number]
        if wrong:
            raise ValueError(f"{added}: {wrong[0]} cannot have its id {dict(by_id)[wrong[0]]}; the vocabulary differs")
    return TextTokenizer(backend)


def small(sentences: Iterable[str], vocabulary: int = 512) -> TextTokenizer:
    """A byte-level tokenizer learned from sentences; the same sentences give the same tokenizer."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL, *BOXES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(sorted(set(sentences)), trainer)
    return TextTokenizer(backend)

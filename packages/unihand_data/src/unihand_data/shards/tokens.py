"""Counting: text tokens by the Qwen3 tokenizer where one is present, else bytes / 4, which is marked as an estimate."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from unihand_data.ids import hash_file

#: an image of 224 px becomes 64 visual tokens and its two border tokens, one of 448 px 256 and two
VISUAL_TOKENS = {224: 64 + 2, 448: 256 + 2}
#: moments at which a task sees images: now; a history step and now; both ends of the span; a conversation's own images
IMAGE_TIMES = {"motion_generation": 1, "motion_continuation": 2, "motion_description": 2, "vision_text": 1}
ESTIMATE = "bytes/4"


class TokenCounter:
    """Counts tokens of a text.

    Args:
        tokenizer: a ``tokenizer.json`` or the folder that holds it; default ``$UNIHAND_TOKENIZER``; without either the
            count is an estimate. Reading it needs the ``tokenizers`` package (extra ``[tokenizer]``).

    Attributes:
        name: ``bytes/4``, or the folder's name and a hash of the file: equal hashes count alike.

    Raises:
        FileNotFoundError: a tokenizer was named and is not there.
        ValueError: the file is no tokenizer.
        ModuleNotFoundError: ``tokenizers`` is not installed.
    """

    def __init__(self, tokenizer: str | os.PathLike[str] | None = None):
        path = tokenizer or os.environ.get("UNIHAND_TOKENIZER")
        self._tokenizer: Any = None
        self.name = ESTIMATE
        if path:
            file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no tokenizer here; unset UNIHAND_TOKENIZER to estimate by bytes / 4")
            from tokenizers import Tokenizer

            try:
                self._tokenizer = Tokenizer.from_file(str(file))
            except Exception as error:  # the package raises plain Exception for whatever is wrong with a file
                raise ValueError(f"{file}: not a tokenizer.json ({error})") from error
            self.name = f"{file.parent.name}@{hash_file(file)[:12]}"

    @property
    def estimate(self) -> bool:
        return self._tokenizer is None

    def count(self, text: str) -> int:
        """Tokens of ``text``, without special tokens."""
        if self._tokenizer is not None:
            return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return math.ceil(len(text.encode()) / 4)


def same_counter(one: str, other: str) -> bool:
    """Whether two :attr:`TokenCounter.name` count alike: the same file, whatever its folder is called."""
    return one.rpartition("@")[2] == other.rpartition("@")[2]


def both_counters(one: str, other: str) -> str:
    """The name for counts of which some are by ``one`` and some by ``other``; an estimate if any is."""
    if same_counter(one, other):
        return other
    return ESTIMATE if ESTIMATE in (one, other) else f"{one} and {other}"

"""The selected samples of a stratum as fixed-size records in one file, read in place.

A recipe copies what a training window needs of a sample out of the shards' Parquet index: 64 bytes a sample. A random
record is then one page of the file, where the same row of Parquet costs the decoding of its row group; and neither the
records nor a list of them is held in memory.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from unihand_data.recipe.permutation import key_of
from unihand_data.shards.errors import ShardError
from unihand_data.shards.rows import SampleRow

RECORD = np.dtype(
    [
        ("sample_id", "V16"),  # the id's 32 hexadecimal digits
        ("owner_id", "V16"),  # of the episode or conversation
        ("start_frame", "<i4"),
        ("frames_available", "<i4"),
        ("history_available", "<i4"),
        ("tokens_text", "<u4"),
        ("tokens_answer", "<u4"),
        ("weight", "<f4"),
        ("language_ref", "<i2"),
        ("template", "<u2"),  # number in the recipe's list of question templates
        ("images_per_time", "<u2"),
        ("directory", "<u2"),  # number in the recipe's list of directories
    ]
)


class IndexWriter:
    """Appends records to one file per stratum and keeps a running digest of each; leave the ``with`` to flush."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files = ExitStack()
        self._open: dict[str, tuple[BinaryIO, hashlib.blake2b]] = {}

    def append(self, stratum: str, records: np.ndarray) -> None:
        if stratum not in self._open:
            path = self.folder / file_name(stratum)
            file: BinaryIO = self._files.enter_context(path.open("wb"))
            self._open[stratum] = (file, hashlib.blake2b(digest_size=16))
        data = records.astype(RECORD, copy=False).tobytes()
        into, digest = self._open[stratum]
        into.write(data)
        digest.update(data)

    def digests(self) -> dict[str, str]:
        """stratum -> blake2b-128 of its records."""
        return {name: digest.hexdigest() for name, (_, digest) in self._open.items()}

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            for file, _ in self._open.values():
                file.flush()
                os.fsync(file.fileno())
        self._files.close()


def file_name(stratum: str) -> str:
    """A stratum's file: readable, and safe for any source name."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in stratum)[:80]
    return f"{plain}-{key_of('index', stratum):016x}.samples"


def open_index(folder: str | os.PathLike[str], stratum: str, samples: int) -> np.ndarray:
    """(samples,) records of ``RECORD``, mapped and not read.

    Raises:
        ShardError: the file is not there, or has another number of records than the recipe says.
    """
    path = Path(folder) / file_name(stratum)
    if not path.is_file():
        raise ShardError(f"{path}: the recipe's index is not complete; build the recipe again")
    if path.stat().st_size != samples * RECORD.itemsize:
        raise ShardError(
            f"{path} has {path.stat().st_size} bytes, the recipe says {samples} samples of {RECORD.itemsize}; build it "
            "again"
        )
    return np.memmap(path, RECORD, mode="r") if samples else np.zeros(0, RECORD)


def id_text(value: np.void) -> str:
    return value.tobytes().hex()


def sample_row(record: np.void, task: str, templates: list[str]) -> SampleRow:
    """A record as the row the shard reader takes."""
    owner = id_text(record["owner_id"])
    text = task == "vision_text"
    return SampleRow(
        sample_id=id_text(record["sample_id"]),
        task=task,
        episode_id="" if text else owner,
        conversation_id=owner if text else "",
        start_frame=int(record["start_frame"]),
        frames_available=int(record["frames_available"]),
        history_available=int(record["history_available"]),
        language_ref=int(record["language_ref"]),
        question_template_id=templates[int(record["template"])],
        tokens_text=int(record["tokens_text"]),
        tokens_answer=int(record["tokens_answer"]),
        images_per_time=int(record["images_per_time"]),
        weight=float(record["weight"]),
        split="train",
    )

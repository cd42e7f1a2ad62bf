"""Corpora by name, and which of them a folder holds.

A folder is a corpus if its listing shows exactly one fingerprint and its first row the keys that go with it. A folder
whose sub-folders are different corpora is read as all of them; a sub-folder with rows that nobody knows is refused,
since leaving it out would be a silent loss.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unihand_data.config import load_settings
from unihand_data.errors import DatasetRefused
from unihand_data.sources.conversations.containers import Block, blocks, first_row
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.listing import is_remote, list_files, matching

CORPORA = Path(__file__).parent / "corpora"


def corpus_names() -> list[str]:
    """Names of the shipped corpora."""
    return sorted(p.stem for p in CORPORA.glob("*.yaml"))


def load_corpus(name: str) -> CorpusSpec:
    """A shipped corpus by name, or a YAML file of the user's by path.

    Raises:
        DatasetRefused: no such name. SettingsError: the YAML does not follow the schema."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CORPORA / f"{name}.yaml"
    if not path.is_file():
        raise DatasetRefused(f"There is no corpus {name!r}; --dataset takes one of {', '.join(corpus_names())}.")
    return _load(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=128)
def _load(path: str, _mtime: int) -> CorpusSpec:
    return load_settings(CorpusSpec, path)


@dataclass
class Corpus:
    """One corpus at its place. Small and picklable: it travels to workers."""

    spec: CorpusSpec
    root: str
    yaml: str

    def files(self) -> list[str]:
        """Files that hold rows, relative and sorted."""
        return matching(list_files(self.root), self.spec.files)

    def blocks(self, rows: int) -> Iterator[Block]:
        """All blocks of at most ``rows`` rows, file by file."""
        for file in self.files():
            for block in blocks(self.spec, self.root, file, rows):
                yield Block(**{**vars(block), "corpus": self.yaml})


@dataclass
class Corpora:
    """What ``--input`` holds."""

    corpora: list[Corpus]
    root: str

    def ignored(self) -> int:
        """Files of the input that hold no rows and are no pictures, videos or archives that rows may refer to."""
        media = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mp4", ".mkv", ".webm", ".avi",
                 ".mov", ".zip", ".tar", ".gz", ".tgz")  # fmt: skip
        rows: set[str] = set()
        for corpus in self.corpora:
            prefix = os.path.relpath(corpus.root, self.root).replace(os.sep, "/")
            prefix = "" if prefix == "." else prefix + "/"
            rows |= {prefix + f for f in corpus.files()}
            rows |= {prefix + f for g in corpus.spec.beside.values() for f in matching(list_files(corpus.root), [g])}
        return sum(1 for f in list_files(self.root) if f not in rows and not f.lower().endswith(media))


def recognise(root: str) -> list[CorpusSpec]:
    """The corpora whose fingerprint and keys the folder shows."""
    files = list_files(root)
    named = [load_corpus(n) for n in corpus_names()]
    hits = [s for s in named if any(all(matching(files, [g]) for g in group) for group in s.fingerprint)]
    hits = [s for s in hits if not matching(files, s.absent)]
    return [s for s in hits if _keys_fit(s, root)]


def _keys_fit(spec: CorpusSpec, root: str) -> bool:
    if not spec.columns:
        return True
    row = first_row(spec, root)
    return row is not None and all(any(c in row for c in column.split("|")) for column in spec.columns)


def open_corpora(input_path: str, dataset: str | None = None) -> Corpora:
    """The corpora of a folder.

    Args:
        input_path: local folder. ``dataset``: name or YAML path; None recognises the folder.

    Raises:
        DatasetRefused: nothing there, nothing recognised, or several that do not belong together.
    """
    if is_remote(input_path):
        raise DatasetRefused(f"{input_path}: corpora are read from local disk only; copy it first or mount the bucket.")
    root = os.path.abspath(input_path.removeprefix("file://"))
    if not os.path.isdir(root):
        raise DatasetRefused(f"{input_path} is no folder; --input takes the folder of a corpus, or a folder of such.")
    if dataset is not None:
        spec = load_corpus(dataset)
        if not matching(list_files(root), spec.files):
            raise DatasetRefused(f"{input_path} has no file of {spec.name} ({', '.join(spec.files)}).")
        return Corpora([Corpus(spec, root, dataset)], root)
    inside = {name: recognise(os.path.join(root, name)) for name in _folders(root)}
    kinds = {s.group or s.name for specs in inside.values() for s in specs}
    if len(kinds) < 2:  # folders of one corpus (its sub-sets, its splits) belong to it
        here = _together(root, recognise(root))
        if here:
            return Corpora(here, root)
    if not kinds:
        raise DatasetRefused(
            f"{input_path} is no vision-text corpus known here; name its format with --dataset "
            f"({', '.join(corpus_names())})."
        )
    unknown = [name for name, specs in inside.items() if not specs and _may_hold_rows(os.path.join(root, name))]
    if unknown:
        raise DatasetRefused(
            f"{input_path}: {', '.join(unknown[:4])} is no corpus known here, the other folders are; take it out or "
            "give it by itself with --dataset."
        )
    found = [c for name, specs in inside.items() for c in _together(os.path.join(root, name), specs)]
    twice = [n for n, k in Counter(c.spec.name for c in found).items() if k > 1]
    if twice:
        raise DatasetRefused(f"{input_path} holds {twice[0]} twice; a row would be two rows. Take one out.")
    return Corpora(found, root)


def _folders(root: str) -> list[str]:
    return sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))


def _may_hold_rows(folder: str) -> bool:
    return any(
        f.lower().endswith((".json", ".jsonl", ".parquet", ".p", ".csv")) or "tfrecord" in f for f in list_files(folder)
    )


def _together(root: str, specs: list[CorpusSpec]) -> list[Corpus]:
    if len(specs) > 1 and (len({s.group for s in specs}) > 1 or not specs[0].group):
        names = " and ".join(s.name for s in specs)
        raise DatasetRefused(f"{root} looks like {names}; say which with --dataset.")
    return [Corpus(s, root, s.name) for s in specs]

"""Is it really this data set? A look into a few files whose names fit, for fingerprints that names alone do not prove.

Any folder may hold ``3.hdf5`` beside ``3.mp4``; read as EgoDex, a foreign file would cost a good video. So a file that
can be read and does not hold what the data set's files hold speaks against it. Files that cannot be read say nothing:
where all are like that the names decide, and the reader then says what is wrong with each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unihand_data.errors import Reject
from unihand_data.sources import archive
from unihand_data.sources.listing import is_remote
from unihand_data.sources.spec import Peek

_LOOKED_AT = 8  # spread over the listing: one that shows it is enough
_MAX_BYTES = 16 << 20
_HDF5 = (".hdf5", ".h5")


def shows(peek: Peek, files: list[str], root: str) -> bool:
    """Whether the files of a listing that fit ``peek`` may be the data set's. A remote folder is judged by names."""
    found = list(candidates(peek, files))
    if not found or is_remote(root):
        return bool(found)
    step = -(-len(found) // _LOOKED_AT)
    answers = [_holds(f"{root}/{name}", peek.holds) for name in found[::step]]
    return any(answers) or all(answer is None for answer in answers)


def candidates(peek: Peek, files: list[str]) -> Iterator[str]:
    """Files whose name fits, with the file that must lie beside them."""
    known = set(files)
    for name in files:
        if re.search(peek.file, name) and (not peek.beside or str(Path(name).with_suffix(peek.beside)) in known):
            yield name


def _holds(path: str, wanted: str) -> bool | None:
    """None: the file cannot be read, or is empty."""
    try:
        if path.lower().endswith(_HDF5):
            from unihand_data.sources.isolated import hdf5

            return wanted in hdf5(path, [], [wanted])["arrays"]
        if archive.is_archive(path):
            names = (member.name for member, _ in archive.iter_members(path, read=False))
            return any(re.search(wanted, name) for name in names)
        with open(path, "rb") as file:
            head = file.read(_MAX_BYTES)
        return bool(re.search(wanted.encode(), head)) if head else None
    except (Reject, OSError):
        return None

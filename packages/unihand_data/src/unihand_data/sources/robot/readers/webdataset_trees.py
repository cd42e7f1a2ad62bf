"""LeRobot folders inside tar files: their ``meta`` folder for looking, the whole tree for reading.

A tar is read in one forward pass through :mod:`~unihand_data.sources.archive` (names that leave the folder, links,
bombs and cut files are refused) and laid out in the work folder under the hash of its path, size and time, so that it
is read once. Trees that nobody used for an hour make room for new ones.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.sources import archive

TARS = (".tar", ".tar.gz", ".tgz")
#: what lies in a LeRobot folder; a tar whose first members are other things holds none
_TREE = re.compile(r"(?:.*/)?(?:meta|data|videos|images)/.+")
_META = re.compile(r"(?:.*/)?meta/.+")
_INFO = re.compile(r"(?:(?P<folder>.*)/)?meta/info\.json")
_LOOK = 200  # members without any of these: something else
MAX_META, MAX_MEMBER = 1 << 30, 4 << 30
UNUSED_S = 3600.0


def work_dir() -> Path:
    """Where trees are laid out: ``unihand_tars_<user>`` in the folder for temporary files (``TMPDIR``)."""
    return Path(tempfile.gettempdir()) / f"unihand_tars_{os.getuid()}"


def meta_tree(tar: str) -> tuple[Path, list[str]]:
    """Folder with the ``meta`` members of a tar, and the LeRobot folders in it (``""``: the top); none for other tars.

    Raises:
        Reject: as ``archive.iter_members``."""
    tree = _laid_out(tar, "meta", lambda name: _META.fullmatch(name) is not None, MAX_META)
    folders = [str(p.relative_to(tree)) for p in tree.rglob("meta/info.json")]
    found = [m["folder"] or "" for f in folders if (m := _INFO.fullmatch(f))]
    return tree, sorted(found)


def whole_tree(tar: str, keep_bytes: int) -> Path:
    """Folder with everything in a tar.

    Raises:
        Reject: as ``archive.iter_members``; UNSUPPORTED for a member above 4 GiB."""
    return _laid_out(tar, "all", lambda name: True, MAX_MEMBER, keep_bytes)


def _laid_out(tar: str, what: str, wanted: Callable[[str], bool], most: int, keep_bytes: int | None = None) -> Path:
    try:
        stat = os.stat(tar)
    except OSError as error:
        raise Reject(Reason.MISSING_FILE, f"{tar}: {error.strerror}; fetch it again") from error
    tree = work_dir() / what / make_id("tar", os.path.abspath(tar), stat.st_size, stat.st_mtime_ns)
    work_dir().mkdir(mode=0o700, exist_ok=True)
    tree.parent.mkdir(exist_ok=True)
    with _alone(tree):
        if not tree.is_dir():
            if keep_bytes is not None:
                _make_room(tree.parent, keep_bytes)
            with tempfile.TemporaryDirectory(prefix=".part_", dir=tree.parent) as part:
                _lay_out(tar, Path(part) / "tree", wanted, most)
                os.replace(Path(part) / "tree", tree)
        os.utime(tree)
    return tree


def _lay_out(tar: str, out: Path, wanted: Callable[[str], bool], most: int) -> None:
    out.mkdir()
    other = 0
    for member, data in archive.iter_members(tar, max_read=most, wanted=wanted):
        other = other + 1 if not _TREE.fullmatch(member.name) else 0
        if other > _LOOK:
            return
        if not wanted(member.name):
            continue
        if data is None:
            raise Reject(Reason.UNSUPPORTED, f"{tar}: member {member.name!r} has {member.size} bytes; unpack it first")
        path = out / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise Reject(Reason.CONTRADICTION, f"{tar}: two members are called {member.name!r}; pack it anew")
        path.write_bytes(data)


@contextmanager
def _alone(tree: Path) -> Iterator[None]:
    """Workers that open episodes of one tar wait for the one that lays it out."""
    with open(f"{tree}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_room(folder: Path, keep_bytes: int) -> None:
    """Oldest trees go first; what was used within the hour stays, since another stage may still read it."""
    trees = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=_used)
    sizes = {p: sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) for p in trees}
    total = sum(sizes.values())
    for tree in trees:
        if total <= keep_bytes or time.time() - _used(tree) < UNUSED_S:
            return
        shutil.rmtree(tree, ignore_errors=True)
        total -= sizes[tree]


def _used(tree: Path) -> float:
    return tree.stat().st_mtime

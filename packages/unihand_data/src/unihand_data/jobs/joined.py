"""Videos joined from pictures (FPHA, H2O, DexYCB ...): files of one machine that go when their clips are encoded.

A joined video doubles the pictures on disk, so it is kept only while it is needed; and a worker may run on another
machine, or after a kill, where it is not. It is therefore made again from the pictures wherever it is missing: the same
pictures and times give the same file. Any of these files may be deleted at any time.

    <folder>/<name>.mkv            the video
    <folder>/<name>.mkv.clips/ID   one empty file per clip (or recording being split) that still needs it here

The last one to let go removes the video. While it is read it is locked (shared ``flock``, which ends with its process),
and nothing that is locked is removed. Marks of a unit whose worker died stay; :meth:`JoinedVideos.clear`, at the end of
the run, and ``max_bytes``, on machines that the driver does not see, take what they kept.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unihand_data.curate.clip_state import ClipState
from unihand_data.errors import Reason, Reject
from unihand_data.sources.recording import HumanSource
from unihand_data.values.recording import SourceItem

log = logging.getLogger(__name__)

_TRIES = 20  # each lost to another process that removed the file in between
_PART_AGE_S = 3600.0


class JoinedVideos:
    """The joined videos of one job on this machine. Picklable; nothing is opened before it is needed.

    Args:
        folder: as ``SourceOptions.work_dir`` of ``source``.
        source: opens the input.
        max_bytes: least recently used videos that nobody reads go when the folder holds more.
    """

    def __init__(self, folder: str, source: Callable[[], HumanSource], max_bytes: int):
        self.folder = Path(folder)
        self.source = source
        self.max_bytes = max_bytes
        self._opened: HumanSource | None = None

    @contextmanager
    def video(self, video: str, item: SourceItem, user: str) -> Iterator[str]:
        """The joined video for the length of the ``with`` block, made again if need be; ``user`` needs it from now on,
        until :meth:`release`.

        Args:
            video: its path when it was made; only the name counts here.

        Raises:
            Reject: what opening the item says; CONTRADICTION where its pictures are others now.
        """
        path = self._path(video)
        self.mark(video, [user])
        handle = self._locked(path, item)
        try:
            yield str(path)
        finally:
            os.close(handle)

    @contextmanager
    def of(self, clip: ClipState, *, reads: bool = True, last: bool = False) -> Iterator[None]:
        """Around a stage's work on a clip: its video is there if the stage ``reads`` it. A stage that rejects the clip,
        or is the ``last`` one that reads it, lets go of the video."""
        if clip.joined is None:
            yield
            return
        item, video = clip.joined, clip.clip.path
        try:
            if reads:
                with self.video(video, item, clip.clip_id) as clip.clip.path:
                    yield
            else:
                yield
        except Reject as reject:
            if reject.reason != Reason.CRASHED:  # that one gets another attempt
                self.release(video, clip.clip_id)
            raise
        if last:
            self.release(video, clip.clip_id)
            clip.joined = None

    def mark(self, video: str, users: Iterable[str]) -> None:
        """These clips need the video."""
        folder = _marks(self._path(video))
        for user in users:
            while True:
                folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # the last user took the folder away in between
                    (folder / user).touch()
                    break

    def release(self, video: str, user: str) -> None:
        """``user`` needs the video no more; the last one removes it."""
        path = self._path(video)
        folder = _marks(path)
        (folder / user).unlink(missing_ok=True)
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # others need it
            return
        _remove(path)

    def shrink(self, keep: str) -> None:
        """Bring the folder below ``max_bytes``, without the video ``keep``."""
        files = []
        for path in self._videos():
            with suppress(FileNotFoundError):
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                return
            if path != self._path(keep) and _remove(path):
                total -= size

    def clear(self) -> None:
        """Remove everything that nobody reads: at the end of a run, when no clip needs them."""
        for path in self._videos():
            _remove(path)
        for path in self.folder.glob("*.clips"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".*.part.mkv"):  # joins that were killed
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _PART_AGE_S:
                    path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _videos(self) -> list[Path]:
        return [path for path in self.folder.glob("*.mkv") if not path.name.startswith(".")]  # whole ones

    def _path(self, video: str) -> Path:
        return self.folder / Path(video).name

    def _locked(self, path: Path, item: SourceItem) -> int:
        """A descriptor that keeps the file from being removed."""
        for _ in range(_TRIES):
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                self._join(path, item)
                continue
            fcntl.flock(handle, fcntl.LOCK_SH)
            if os.fstat(handle).st_nlink:
                os.utime(handle)  # used now: the least recently used ones are removed first
                return handle
            os.close(handle)  # removed while we waited for the lock
        raise Reject(Reason.CRASHED, f"{path}: removed again and again while it was joined; is its disk being cleaned?")

    def _join(self, path: Path, item: SourceItem) -> None:
        log.info("%s: joined again from the pictures of %s", path, item.uri)
        if self._opened is None:
            self._opened = self.source()
        video = self._opened.open(item).video
        if video is None or Path(video).name != path.name:
            raise Reject(
                Reason.CONTRADICTION,
                f"{item.uri}: its pictures or their times changed while the job ran; run it again on input that stays",
            )
        self.shrink(keep=video)


def _marks(path: Path) -> Path:
    return path.with_name(f"{path.name}.clips")


def _remove(path: Path) -> bool:
    """Remove a video unless somebody reads it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)

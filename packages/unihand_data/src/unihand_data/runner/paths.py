"""Where a job reads and writes: absolute paths, atomic files, and remote videos brought to a worker's disk.

Local files are written to a temporary name beside the target, synced and renamed. Object stores show an object only
when its upload is complete, so a plain put is atomic there; a rename would be a copy and is never used.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject

log = logging.getLogger(__name__)

_REMOTE = ("s3://", "gs://", "gcs://", "http://", "https://", "memory://")


def is_remote(url: str) -> bool:
    """Whether ``url`` names an object store or web address rather than a local path."""
    return url.startswith(_REMOTE)


def in_ray_job() -> bool:
    """Whether this process is the entrypoint of a ``ray job submit``: the job manager hands it its runtime env here."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def job_path(path: str, what: str = "path") -> str:
    """The absolute form of ``path``; inside a Ray job a relative one is refused.

    Ray unpacks a job's working directory somewhere else on every node, and what is written there is lost with it.

    Raises:
        ValueError: a relative path inside a Ray job; the message gives the absolute form to use.
    """
    if path.startswith("file://"):
        path = path[len("file://") :]
    if is_remote(path) or os.path.isabs(path):
        return path.rstrip("/") or path
    if in_ray_job():
        raise ValueError(
            f"{what} {path!r} is relative, and a Ray job runs in an unpacked copy of the working directory where "
            f'output is lost: give the absolute path, such as "$PWD/{os.path.normpath(path)}" on the submitting machine'
        )
    return os.path.abspath(path)


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec filesystem and path inside it. Credentials and endpoints come from the environment (``AWS_ENDPOINT_URL``,
    ``AWS_PROFILE``, ``GOOGLE_APPLICATION_CREDENTIALS`` ...), as the stores' own tools read them."""
    import fsspec

    if not is_remote(url):
        return fsspec.filesystem("file"), url
    return fsspec.core.url_to_fs(url)


def join(base: str, *parts: str) -> str:
    """Join for both kinds of path."""
    return "/".join([base.rstrip("/"), *parts])


def write_atomic(url: str, data: bytes) -> None:
    """Write a whole file or nothing. The same bytes written twice are the same file."""
    if is_remote(url):
        fs, path = filesystem(url)
        fs.pipe_file(path, data)
        return
    target = Path(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def read_bytes(url: str) -> bytes:
    """The whole file."""
    fs, path = filesystem(url)
    return fs.cat_file(path)


def exists(url: str) -> bool:
    fs, path = filesystem(url)
    return fs.exists(path)


def size(url: str) -> int:
    """Bytes of a file; -1 where there is none, or a folder."""
    fs, path = filesystem(url)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return -1
    return int(info["size"] or 0) if info["type"] == "file" else -1


def list_files(url: str, suffix: str) -> list[str]:
    """Names of the complete files directly under ``url`` that end with ``suffix``, sorted; [] where there is none."""
    fs, path = filesystem(url)
    fs.invalidate_cache()  # object store listings are cached by fsspec
    try:
        found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    names = (name.rstrip("/").rsplit("/", 1)[-1] for name in found)
    return sorted(n for n in names if n.endswith(suffix) and not n.startswith("."))


def remove(url: str) -> None:
    """Delete one file; a missing one is fine (another run removed it)."""
    fs, path = filesystem(url)
    with suppress(FileNotFoundError):
        fs.rm_file(path)


class OutputBusy(RuntimeError):
    """Another job is writing to the directory."""


@contextmanager
def output_lock(output: str) -> Iterator[None]:
    """One job per local output directory at a time. The lock ends with its process, however it ends.

    Object stores have no such lock: two jobs on one of them do work twice, but the ledger and the commit, which go by
    id, still hold each unit once.
    """
    if is_remote(output):
        yield
        return
    import fcntl

    folder = Path(output, "_job")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputBusy(f"{output}: another job is writing here; wait for it or choose another output") from None
        yield


class LocalCopies:
    """A bounded cache of remote files on a worker's disk.

    A file is fetched once to a temporary name and renamed, so that several processes may share the folder. The least
    recently used files go first when the bound is passed; files in use are never removed.
    """

    def __init__(self, folder: str | None = None, max_bytes: int = 20 << 30):
        self.folder = Path(folder or os.path.join(tempfile.gettempdir(), "unihand_cache"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self._in_use: dict[Path, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def local(self, url: str) -> Iterator[str]:
        """A local path with the content of ``url`` for the length of the ``with`` block (local paths pass through).

        Raises:
            Reject: MISSING_FILE or UNREADABLE, naming the url.
        """
        if not is_remote(url):
            yield url
            return
        target = self._target(url)
        with self._lock:
            self._in_use[target] = self._in_use.get(target, 0) + 1
        try:
            self._fetch(url, target)
            self._shrink()
            yield str(target)
        finally:
            with self._lock:
                self._in_use[target] -= 1

    def _target(self, url: str) -> Path:
        fs, path = filesystem(url)
        try:
            info = fs.info(path)
        except FileNotFoundError:
            raise Reject(Reason.MISSING_FILE, f"{url}: no such object; check the path and the credentials") from None
        except OSError as error:
            raise Reject(Reason.UNREADABLE, f"{url}: {error}; check the address and the credentials") from error
        # A changed object (other size, etag or time) gets another name; an old copy is never served for it.
        stamp = [str(info.get(k, "")) for k in ("size", "ETag", "etag", "mtime", "LastModified", "generation")]
        digest = hashlib.blake2b("\n".join([url, *stamp]).encode(), digest_size=16).hexdigest()
        return self.folder / (digest + os.path.splitext(path)[1].lower()[:10])

    def _fetch(self, url: str, target: Path) -> None:
        if target.exists():
            os.utime(target)
            return
        fs, path = filesystem(url)
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
        os.close(handle)
        try:
            fs.get_file(path, name)
            os.replace(name, target)
        except OSError as error:
            raise Reject(Reason.UNREADABLE, f"{url}: {error}; check the network and try again") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def _shrink(self) -> None:
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another worker may remove it first
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for mtime, size, path in sorted(files):
            if total <= self.max_bytes:
                return
            with self._lock:
                busy = self._in_use.get(path, 0) > 0
            # What another process touched within the hour may be open there; a deleted open file stays readable on
            # Linux, so this only spares a second download.
            if busy or (path.suffix == ".part" and time.time() - mtime < 3600):
                continue
            with suppress(FileNotFoundError):
                path.unlink()
                total -= size
        if total > self.max_bytes:
            log.warning(
                "%s holds %.1f GB in use, above its bound of %.1f GB", self.folder, total / 1e9, self.max_bytes / 1e9
            )

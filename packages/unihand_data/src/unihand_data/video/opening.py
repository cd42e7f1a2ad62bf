"""Opening a video wherever it lies: a local file, a URL through fsspec, bytes, or a member of a tar or zip archive.

The demuxers are a fixed list. Without it a file named ``.mp4`` may be a playlist, and FFmpeg would then open whatever
local file or address the playlist names.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
from av.container import InputContainer

from unihand_data.errors import Reason, Reject

VideoPath = str | Path | bytes

#: demuxers of real media files; no playlists, no scripts, no image sequences, no devices
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,mxf,ivf,obu,h264,hevc,mjpeg,m4v"
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file,data"}


class OpenVideo:
    """An open container with its first video stream, single-threaded, and whatever file objects feed it.

    Raises Reject on construction: MISSING_FILE, EMPTY, TRUNCATED (an MP4 whose boxes reach past its end), UNREADABLE,
    UNSUPPORTED (no video stream, no decoder).
    """

    def __init__(self, path: VideoPath):
        self.name = name_of(path)
        self._stack = contextlib.ExitStack()
        try:
            self.container = self._open(path)
            self._stack.callback(self.container.close)
            if not self.container.streams.video:
                raise Reject(Reason.UNSUPPORTED, f"{self.name}: no video stream in it")
            self.stream = self.container.streams.video[0]
            if self.stream.codec_context is None:
                raise Reject(Reason.UNSUPPORTED, f"{self.name}: no decoder for its video stream")
            if not self.stream.time_base:
                raise Reject(Reason.UNSUPPORTED, f"{self.name}: its video stream has no time base")
            self.time_base = Fraction(self.stream.time_base)
            self.tick = float(self.time_base)  # seconds
            self.stream.thread_type = "NONE"
            self.stream.codec_context.thread_count = 1
        except BaseException:
            self._stack.close()
            raise

    def _open(self, path: VideoPath) -> InputContainer:
        source: str | BinaryIO
        try:
            if isinstance(path, bytes):
                source = io.BytesIO(path)
            elif (local := local_path(path)) is not None:
                if not local.is_file():
                    raise Reject(Reason.MISSING_FILE, f"{self.name}: no such file")
                source = f"file:{local}"  # the prefix keeps names such as "a:b.mp4" from being read as protocols
            else:
                source = self._stack.enter_context(open_binary(str(path)))
            return av.open(source, mode="r", options=_OPTIONS, metadata_errors="replace")
        except FileNotFoundError as error:
            raise Reject(Reason.MISSING_FILE, f"{self.name}: {error}") from error
        except (av.error.FFmpegError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
            reason, why = _why_unreadable(path)
            raise Reject(reason, f"{self.name}: cannot be opened as video: {why or error}") from error

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def name_of(path: VideoPath) -> str:
    """What messages call it."""
    return f"<{len(path)} bytes>" if isinstance(path, bytes) else str(path)


def local_path(path: str | Path) -> Path | None:
    """The local file, or None for a URL or a member of an archive."""
    text = str(path)
    if text.startswith("file://"):
        return Path(text[len("file://") :])
    if "://" in text or ("!" in text and not os.path.exists(text)):
        return None
    return Path(text)


def open_binary(path: str) -> BinaryIO:
    """A seekable binary file: local, URL, or ``archive!member`` of a tar or zip (tars best uncompressed)."""
    archive, bang, member = path.rpartition("!")
    if not bang or os.path.exists(path):
        if (local := local_path(path)) is not None:
            return open(local, "rb")
        import fsspec

        return fsspec.open(path, "rb").open()
    outer = open_binary(archive)
    try:
        if archive.lower().endswith((".zip", ".npz")):
            inner: Any = zipfile.ZipFile(outer).open(member)  # noqa: SIM115 - closed by _Member
        else:
            inner = tarfile.open(fileobj=outer, mode="r:*").extractfile(member)  # noqa: SIM115
    except BaseException:
        outer.close()
        raise
    if inner is None:
        outer.close()
        raise FileNotFoundError(f"{member} is no regular file in {archive}")
    return _Member(inner, outer)  # type: ignore[return-value]


class _Member(io.RawIOBase):
    """A member that closes its archive."""

    def __init__(self, inner: BinaryIO, outer: BinaryIO):
        self._inner, self._outer = inner, outer

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._outer.close()
        super().close()


def _why_unreadable(path: VideoPath) -> tuple[Reason, str]:
    """A better word than FFmpeg's "invalid data": empty, or an MP4 box that ends after the file does."""
    try:
        with io.BytesIO(path) if isinstance(path, bytes) else open_binary(str(path)) as f:
            size = f.seek(0, os.SEEK_END)
            if size == 0:
                return Reason.EMPTY, "the file is empty"
            at = 0
            for _ in range(64):
                f.seek(at)
                head = f.read(16)
                if len(head) < 8 or (at == 0 and head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free")):
                    break
                length = int.from_bytes(head[:4], "big")
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                if length < 8:  # 0 means "to the end of the file"
                    break
                at += length
                if at > size:
                    return Reason.TRUNCATED, f"its {head[4:8].decode('latin-1')} box ends at byte {at} of {size}"
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, KeyError):
        pass  # the caller reports the first error
    return Reason.UNREADABLE, ""

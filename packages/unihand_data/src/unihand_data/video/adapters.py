"""decord and torchcodec behind the same reader, for those who have them.

Both number frames in presentation order, so our own :func:`~unihand_data.video.probe.probe` gives the times and the
selection is the same as PyAV's. What they lack stays lacking: decord's bundled FFmpeg is too old for AV1, both number
the frames of an MPEG transport stream from its second group of pictures, and neither tells damaged frames from good
ones, so the data job uses PyAV.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from unihand_data.errors import Reason, Reject
from unihand_data.video.opening import VideoPath, local_path, name_of, open_binary
from unihand_data.video.probe import probe

_BATCH = 16


def load(backend: str) -> Any:
    """The library's module; ImportError that says what to install, or what is missing on the machine."""
    try:
        return importlib.import_module({"torchcodec": "torchcodec.decoders"}.get(backend, backend))
    except ImportError as error:
        raise ImportError(f"{backend} is not installed: pip install 'unihand-data[{backend}]'") from error
    except (RuntimeError, OSError) as error:
        raise ImportError(
            f"{backend} is installed but does not load (are FFmpeg's libraries there?): {error}"
        ) from error


def open_reader(path: VideoPath, backend: str) -> _ByNumber:
    """A :class:`~unihand_data.video.decode.VideoReader` on ``decord`` or ``torchcodec``.

    Raises:
        ImportError: the extra is not installed or does not load. ValueError: another backend.
        Reject: the file cannot be opened, or is of a kind that this backend reads wrongly (UNSUPPORTED).
    """
    readers = {"decord": DecordReader, "torchcodec": TorchcodecReader}
    if backend not in readers:
        raise ValueError(f"no video backend {backend!r}: pyav, decord or torchcodec")
    load(backend)
    return readers[backend](path)


class _ByNumber:
    """Times from the packets, pictures by number."""

    name = ""

    def __init__(self, path: VideoPath):
        self.info = probe(path)
        self.width, self.height, self.fps = self.info.width, self.info.height, self.info.fps
        self._name = name_of(path)
        self._scaler = VideoReformatter()
        if self.info.container == "mpegts":
            raise Reject(
                Reason.UNSUPPORTED,
                f"{self._name}: {self.name} skips the first group of pictures of an MPEG transport stream; use pyav",
                level="clip",
            )

    @abstractmethod
    def _batch(self, numbers: list[int]) -> list[np.ndarray]:
        """Displayed or stored (H, W, 3) RGB pictures of these frames."""

    def frames(
        self, times, *, size: tuple[int, int] | None = None, rgb: bool = True, tolerance_s: float | None = None
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        pts = self.info.pts
        if tolerance_s is None:
            tolerance_s = 0.5 / self.fps if self.fps else 1e-3
        wanted = np.asarray(times, np.float64)
        if len(wanted) > 1 and not (np.diff(wanted) > 0).all():
            raise ValueError("times must increase")
        right = np.clip(np.searchsorted(pts, wanted), 0, len(pts) - 1)
        left = np.maximum(right - 1, 0)
        numbers = np.where(np.abs(pts[left] - wanted) <= np.abs(pts[right] - wanted), left, right)
        for start in range(0, len(wanted), _BATCH):
            chosen = numbers[start : start + _BATCH]
            fits = np.abs(pts[chosen] - wanted[start : start + _BATCH]) <= tolerance_s + 1e-9
            count = len(chosen) if fits.all() else int(np.argmin(fits))
            pictures = self._batch([int(n) for n in chosen[:count]]) if count else []
            for k, picture in enumerate(pictures):
                yield start + k, float(pts[chosen[k]]), self._shape(picture, size, rgb)
            if count < len(chosen):
                t = wanted[start + count]
                raise Reject(
                    Reason.TRUNCATED,
                    f"{self._name}: no frame at {t:.4f} s; the nearest is at {pts[chosen[count]]:.4f} s",
                    level="clip",
                    frames=len(wanted),
                )

    def close(self) -> None:
        """Nothing is held but memory."""

    def _failed(self, error: Exception) -> Reject:
        return Reject(Reason.CORRUPT, f"{self._name}: {self.name} cannot decode it: {error}", level="clip")

    def _shape(self, picture: np.ndarray, size: tuple[int, int] | None, rgb: bool) -> np.ndarray:
        from unihand_data.video.pyav_reader import to_array, turn

        stored = (self.info.coded_height, self.info.coded_width)
        square = self.info.rotation in (0, 180) or stored[0] == stored[1]
        # Some versions turn the picture themselves; a half turn cannot be told from its shape (see docs/video.md).
        if picture.shape[:2] == stored and not (self.turns and square):
            picture = turn(picture, self.info.rotation)
        width, height = size or (self.width, self.height)
        if picture.shape[:2] == (height, width) and rgb:
            return picture
        return to_array(av.VideoFrame.from_ndarray(picture, format="rgb24"), (width, height), rgb, self._scaler)

    #: whether the library applies the display matrix by itself
    turns = True


class DecordReader(_ByNumber):
    """decord 0.6, read forward only: its jumps return wrong frames without an error in streams with B-frames (seen
    with HEVC, MPEG-4 and open groups of pictures; the first pass over such a file is right)."""

    name = "decord"

    def __init__(self, path: VideoPath):
        super().__init__(path)
        if "av1" in self.info.codec or "dav1d" in self.info.codec:
            raise Reject(
                Reason.UNSUPPORTED, f"{self._name}: decord cannot decode AV1; use the pyav backend", level="clip"
            )
        self._path = path
        self._open()

    def _open(self) -> None:
        decord = load("decord")
        try:
            self._reader: Any = decord.VideoReader(_for_library(self._path), ctx=decord.cpu(0), num_threads=1)
        except Exception as error:  # decord raises its own and plain types alike
            raise self._failed(error) from error
        self._at = 0  # number of the frame that comes next
        if len(self._reader) != self.info.frames:
            raise Reject(
                Reason.UNSUPPORTED,
                f"{self._name}: decord counts {len(self._reader)} frames, its packets {self.info.frames}; use pyav",
                level="clip",
            )

    def _batch(self, numbers):
        out = []
        for number in numbers:
            if number < self._at:
                self._open()
            try:
                while self._at <= number:
                    picture = self._reader.next()
                    self._at += 1
                out.append(picture.asnumpy())
            except Exception as error:
                raise self._failed(error) from error
        return out

    def close(self) -> None:
        self._reader = None


class TorchcodecReader(_ByNumber):
    """torchcodec 0.13; needs FFmpeg's shared libraries (4 to 8) on the machine. Experimental: no install of this
    project brings them, so the tests run it only where they are."""

    name = "torchcodec"

    def __init__(self, path: VideoPath):
        super().__init__(path)
        decoders = load("torchcodec")
        try:
            self._reader: Any = decoders.VideoDecoder(
                _for_library(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
            )
        except (RuntimeError, ValueError) as error:
            raise self._failed(error) from error

    def _batch(self, numbers):
        try:
            return list(self._reader.get_frames_at(indices=numbers).data.numpy())
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        self._reader = None


def _for_library(path: VideoPath) -> Any:
    """A path where there is one, else the whole file in memory: both libraries read local files best."""
    import io

    if isinstance(path, bytes):
        return io.BytesIO(path)
    if (local := local_path(path)) is not None:
        return str(Path(local))
    with open_binary(str(path)) as f:
        return io.BytesIO(f.read())

"""Stored video as frames, picked by presentation time.

A decoder is kept per media (a few, least recently used goes first). Frames are addressed by their number in
presentation order, which the media row's ``pts`` fixes; a decoded frame is recognised by its own timestamp, never by
counting, and seeking starts at the key frame before it. Damage raises and names the media: no frame is made up.

Legend: H height, W width.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unihand_data.shards.errors import MediaDamaged
from unihand_data.shards.rows import MediaRow

#: a blob of at most this size is read at once; a larger one is read where the decoder seeks
WHOLE_BLOB_BYTES = 8 << 20
#: what Lance raises, through the decoder, where the bytes of a large blob cannot be read
FILE_ERRORS = (OSError, ValueError, RuntimeError)


class MediaDecoder:
    """Frames of one video, depth video or image. One thread at a time.

    Args:
        row: its media row, for the frame times and the message when something is wrong.
        file: seekable binary file of the encoded bytes.
    """

    def __init__(self, row: MediaRow, file: Any):
        import av

        self.row = row
        self._times = np.zeros(1) if row.pts is None else np.asarray(row.pts, float)
        gaps = np.diff(self._times)
        self._tolerance = float(gaps.min()) / 2 if len(gaps) else 0.5
        try:
            self._container = av.open(file)
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, *FILE_ERRORS) as error:
            raise MediaDamaged(f"media {row.media_id}: cannot be opened as {row.kind}: {error}") from error
        self._stream.codec_context.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1
        self._tick = float(self._stream.time_base) if self._stream.time_base else 0.0
        self._origin = self._stream.start_time or 0
        self._reformat = av.video.reformatter.VideoReformatter()
        self._frames: Any = None  # generator of decoded frames
        self._next = -1  # number of the frame it gives next; -1 unknown
        self._last: tuple[int, Any] | None = None

    def read(self, numbers: Sequence[int], size: tuple[int, int] | None = None) -> dict[int, np.ndarray]:
        """Frames by number: (H, W, 3) uint8 RGB, or (H, W) uint16 of a depth video (never resized).

        Raises:
            MediaDamaged: the bytes do not give these frames undamaged.
        """
        return {n: self._picture(self._one(n), size) for n in sorted(set(numbers))}

    def close(self) -> None:
        self._frames = self._last = None
        self._container.close()

    def _one(self, number: int) -> Any:
        if not 0 <= number < len(self._times):
            raise MediaDamaged(f"media {self.row.media_id}: asked for frame {number} of {len(self._times)}")
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        # Going on is cheaper than seeking while the key frame before the target is behind us.
        if self._frames is None or not 0 <= self._next <= number or number - self._next > max(self.row.gop, 1):
            self._seek(number)
        for attempt in (0, 1):
            found = self._decode_to(number)
            if found is not None:
                self._last = (number, found)
                return found
            if attempt == 0:  # the container's index led behind the target: once more from the start
                self._seek(0)
        raise MediaDamaged(
            f"media {self.row.media_id}: frame {number} (t = {self._times[number]:.3f} s) is not in the "
            f"{self.row.kind}, though its row announces {len(self._times)} frames"
        )

    def _seek(self, number: int) -> None:
        import av

        self._next = -1
        if self.row.kind != "image" and (number > 0 or self._frames is not None):
            wanted = self._times[number] - self._times[0]
            ticks = self._origin + round(wanted / self._tick) if self._tick else 0
            try:
                self._container.seek(int(ticks), stream=self._stream, backward=True)
            except (av.FFmpegError, *FILE_ERRORS) as error:
                raise MediaDamaged(f"media {self.row.media_id}: cannot seek to frame {number}: {error}") from error
        self._frames = self._container.decode(self._stream)

    def _decode_to(self, number: int) -> Any:
        """The frame, or None when the stream ended or started behind it."""
        import av

        try:
            for frame in self._frames:
                at = self._number_of(frame)
                if frame.is_corrupt:
                    raise MediaDamaged(f"media {self.row.media_id}: frame {at} is damaged")
                self._next = at + 1
                if at == number:
                    return frame
                if at > number:
                    return None
        except (av.FFmpegError, *FILE_ERRORS) as error:
            self._frames = None
            raise MediaDamaged(f"media {self.row.media_id}: does not decode near frame {number}: {error}") from error
        self._next = -1
        return None

    def _number_of(self, frame: Any) -> int:
        if self.row.kind == "image":
            return 0
        if frame.pts is None:
            raise MediaDamaged(f"media {self.row.media_id}: a frame has no presentation time")
        t = (frame.pts - self._origin) * self._tick + self._times[0]
        at = int(np.clip(np.searchsorted(self._times, t - self._tolerance), 0, len(self._times) - 1))
        if abs(self._times[at] - t) > self._tolerance:
            raise MediaDamaged(
                f"media {self.row.media_id}: a frame at t = {t:.4f} s is not among the times its row lists"
            )
        return at

    def _picture(self, frame: Any, size: tuple[int, int] | None) -> np.ndarray:
        if self.row.kind == "depth":
            return frame.to_ndarray(format="gray16le")
        height, width = size or (frame.height, frame.width)
        # One reformatter per reader: swscale keeps megabytes for every one that is made.
        return self._reformat.reformat(frame, width, height, "rgb24").to_ndarray()


class DecoderCache:
    """The last ``capacity`` decoders. ``load`` gives the row and an open file for a media id."""

    def __init__(self, capacity: int, load: Callable[[str], tuple[MediaRow, Any]]):
        self._capacity, self._load = max(1, capacity), load
        self._open: OrderedDict[str, MediaDecoder] = OrderedDict()

    def get(self, media_id: str) -> MediaDecoder:
        """Raises ``MediaDamaged``."""
        if media_id in self._open:
            self._open.move_to_end(media_id)
            return self._open[media_id]
        decoder = MediaDecoder(*self._load(media_id))
        self._open[media_id] = decoder
        while len(self._open) > self._capacity:
            self._open.popitem(last=False)[1].close()
        return decoder

    def __contains__(self, media_id: object) -> bool:
        return media_id in self._open

    def drop(self, media_id: str) -> None:
        """Forget a decoder whose state is unknown after an error."""
        decoder = self._open.pop(media_id, None)
        if decoder is not None:
            decoder.close()

    def close(self) -> None:
        for media_id in list(self._open):
            self.drop(media_id)


def open_blob(blob: Any) -> Any:
    """A file for the decoder: small blobs come whole, in one read."""
    if blob.size() <= WHOLE_BLOB_BYTES:
        data = io.BytesIO(blob.readall())
        blob.close()
        return data
    return blob

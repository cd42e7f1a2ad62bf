"""Whether a file holds what it announces, undamaged.

H.264 and HEVC decode through damage without an error: frames are invented, flagged, or silently left out. So what comes
out is counted against the file's own index, and flags are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from unihand_data.ids import hash_bytes
from unihand_data.video.opening import VideoPath, open_binary
from unihand_data.video.scan import ScanResult, ScanSettings, scan
from unihand_data.video.shots import ShotSettings


@dataclass
class IntegrityReport:
    """Figures of one file.

    Attributes:
        decoded_ratio: frames that came out over frames announced; 1 for a whole file.
        corrupt_frames: flagged by the decoder.
        damaged_frames: all that no clip may contain (flagged, missing, or referring to such a frame).
        announced, decoded: counts.
        errors: packets the decoder refused.
        hash: content id of the bytes (:func:`unihand_data.ids.hash_bytes`).
    """

    decoded_ratio: float
    corrupt_frames: int
    damaged_frames: int
    announced: int
    decoded: int
    errors: int
    hash: str

    @property
    def ok(self) -> bool:
        return self.decoded == self.announced and not self.damaged_frames and not self.errors

    @staticmethod
    def of(result: ScanResult, content_hash: str) -> IntegrityReport:
        return IntegrityReport(
            result.decoded_ratio,
            result.corrupt_frames,
            int(result.damaged.sum()),
            result.announced,
            result.decoded,
            result.errors,
            content_hash,
        )


def check(path: VideoPath, *, on_frame: Callable[[], None] | None = None) -> IntegrityReport:
    """Decode the whole file and count. Raises Reject where it cannot be opened or nothing in it decodes.

    A job that also needs cuts or thumbnails calls :func:`~unihand_data.video.scan.scan` once and
    :meth:`IntegrityReport.of` instead.
    """
    plain = ScanSettings(shots=ShotSettings(enabled=False), thumbnail_hz=0)
    return IntegrityReport.of(scan(path, plain, on_frame=on_frame), content_id(path))


def content_id(path: VideoPath) -> str:
    """blake2b-128 hex of the bytes, wherever they lie; equal to :func:`unihand_data.ids.hash_file` for a local file."""
    if isinstance(path, bytes):
        return hash_bytes(path)
    h = hashlib.blake2b(digest_size=16)
    with open_binary(str(path)) as f:
        while piece := f.read(1 << 22):
            h.update(piece)
    return h.hexdigest()

"""The data job's decoder: scanning and encoding in a process that may hang or crash.

:class:`VideoWorker` is what stages hold; :func:`build` is what runs inside its process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unihand_data.config import Settings, runtime_field
from unihand_data.shards.rows import MediaRow
from unihand_data.values.clip import ClipRef
from unihand_data.video.clip_message import clip_from_message, clip_to_message
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.integrity import IntegrityReport
from unihand_data.video.killable import KillableWorker
from unihand_data.video.probe import VideoInfo
from unihand_data.video.remux import NotUsable, RemuxSettings
from unihand_data.video.scan import ScanResult, ScanSettings


class VideoWorkerSettings(Settings):
    """``timeout_s``: seconds without a decoded frame after which the decoder counts as hung. ``recycle_after``: calls
    after which a fresh process starts. ``memory_mb``: address space of the process, None for no limit."""

    timeout_s: float = runtime_field(60.0, gt=0)
    start_timeout_s: float = runtime_field(120.0, gt=0)
    recycle_after: int | None = runtime_field(500, ge=1)
    memory_mb: int | None = runtime_field(8192, ge=256)


class VideoWorker:
    """Scan, encode and copy in a process of their own. One call at a time; close it.

    Every method raises what its function raises, and Reject TIMEOUT or CRASHED naming the file.
    """

    def __init__(self, settings: VideoWorkerSettings | None = None, *, target: str = "unihand_data.video.worker:build"):
        s = settings or VideoWorkerSettings()
        self._worker = KillableWorker(
            target,
            {},
            s.timeout_s,
            start_timeout_s=s.start_timeout_s,
            recycle_after=s.recycle_after,
            memory_mb=s.memory_mb,
        )

    def probe(self, path: str) -> VideoInfo:
        """:func:`unihand_data.video.probe.probe`; losses are of level ``item``."""
        return VideoInfo.from_dict(self._call({"do": "probe", "path": path}, path, "item"))

    def scan(self, path: str, settings: ScanSettings | None = None) -> ScanResult:
        """:func:`unihand_data.video.scan.scan`; losses are of level ``item``."""
        request = {"do": "scan", "path": path, "settings": (settings or ScanSettings()).model_dump()}
        return ScanResult.from_dict(self._call(request, path, "item"))

    def check(self, path: str) -> IntegrityReport:
        """:func:`unihand_data.video.integrity.check`; losses are of level ``item``."""
        return IntegrityReport(**self._call({"do": "check", "path": path}, path, "item"))

    def encode(
        self, clip: ClipRef, out_path: str | Path, settings: EncodeSettings | None = None, *, licence: str = "unknown"
    ) -> MediaRow:
        """:func:`unihand_data.video.encode.encode_clip`; losses are of level ``clip``."""
        request = {
            "do": "encode",
            "clip": clip_to_message(clip),
            "out_path": str(out_path),
            "settings": (settings or EncodeSettings()).model_dump(),
            "licence": licence,
        }
        return MediaRow(**self._call(request, clip.path, "clip"))

    def remux(
        self,
        path: str,
        out_path: str | Path,
        settings: RemuxSettings | None = None,
        *,
        t0: float = 0.0,
        t1: float | None = None,
        pace: float = 1.0,
        licence: str = "unknown",
    ) -> MediaRow:
        """:func:`unihand_data.video.remux.remux`, ``NotUsable`` included; losses are of level ``clip``."""
        request = {
            "do": "remux",
            "path": path,
            "out_path": str(out_path),
            "settings": (settings or RemuxSettings()).model_dump(),
            "span": [t0, t1, pace],
            "licence": licence,
        }
        answer = self._call(request, path, "clip")
        if "not_usable" in answer:
            raise NotUsable(answer["not_usable"])
        return MediaRow(**answer)

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> VideoWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _call(self, request: dict[str, Any], path: str, level: Any) -> dict[str, Any]:
        return self._worker.call(request, name=path, level=level)


def build() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What answers the calls above, inside the process."""
    from unihand_data.video.encode import encode_clip
    from unihand_data.video.integrity import check
    from unihand_data.video.killable_child import heartbeat
    from unihand_data.video.probe import probe
    from unihand_data.video.remux import remux
    from unihand_data.video.scan import scan

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "probe":
                return probe(request["path"]).to_dict()
            case "scan":
                return scan(
                    request["path"], ScanSettings.model_validate(request["settings"]), on_frame=heartbeat
                ).to_dict()
            case "check":
                return asdict(check(request["path"], on_frame=heartbeat))
            case "encode":
                row = encode_clip(
                    clip_from_message(request["clip"]),
                    request["out_path"],
                    EncodeSettings.model_validate(request["settings"]),
                    licence=request["licence"],
                    on_frame=heartbeat,
                )
                return vars(row)
            case "remux":
                try:
                    row = remux(
                        request["path"],
                        request["out_path"],
                        RemuxSettings.model_validate(request["settings"]),
                        t0=request["span"][0],
                        t1=request["span"][1],
                        pace=request["span"][2],
                        licence=request["licence"],
                        on_frame=heartbeat,
                    )
                except NotUsable as why:
                    return {"not_usable": str(why)}
                return vars(row)
            case other:
                raise ValueError(f"no such request: {other}")

    return answer

"""Videos anywhere under a folder, loose or inside tar and zip archives. No annotation is expected; a calibrated camera
can be given beside a loose video ``NAME.mp4`` as ``NAME.camera.json``: fx, fy, cx, cy, width, height and, for a lens,
model (``radtan`` | ``kannala_brandt``) and distortion (a list)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.geometry.camera import Intrinsics
from unihand_data.sources import archive
from unihand_data.sources.base import FolderSource
from unihand_data.sources.listing import is_remote, is_video
from unihand_data.sources.recording import Recording, SourceItem

CAMERA_SUFFIX = ".camera.json"
_FIELDS = ("fx", "fy", "cx", "cy", "width", "height")


class VideoFolderSource(FolderSource):
    """Items: every video file, every video in an archive, and every archive that cannot be opened."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        for name in files:
            if name.endswith(CAMERA_SUFFIX):
                self.claim(name)  # belongs to the video beside it
            elif is_video(name):
                self.claim(name)
                yield self.item(name, self.path(name), kind="file", video=name)
            elif archive.is_archive(name):
                yield from self._list_archive(name)

    def _list_archive(self, name: str) -> Iterator[SourceItem]:
        path = self.path(name)
        if is_remote(path):
            self.claim(name)
            why = "archives are read from local disk only; copy it near, or unpack it there"
            yield self.broken(name, Reject(Reason.UNSUPPORTED, f"{path}: {why}"))
            return
        try:
            videos = [m.name for m in archive.members(path) if is_video(m.name)]
        except Reject as reject:
            self.claim(name)
            yield self.broken(name, reject)
            return
        if videos:
            self.claim(name)
        for member in videos:
            yield self.item(f"{name}!{member}", f"{path}!{member}", kind="member", archive=name, member=member)

    def _open(self, item: SourceItem) -> Recording:
        kind = item.payload.get("kind")
        if kind == "member":
            return self.recording(item, f"{self.path(item.payload['archive'])}!{item.payload['member']}")
        path = self.path(item.payload["video"])
        camera = Path(path).with_suffix(CAMERA_SUFFIX)
        if is_remote(path) or not camera.is_file():
            return self.recording(item, path)
        recording = self.recording(item, path, annotations=(str(camera),))
        recording.intrinsics = read_camera(camera)
        return recording


def read_camera(path: Path) -> Intrinsics:
    """The camera of a ``*.camera.json``.

    Raises:
        Reject: UNREADABLE, MISSING_FIELD, WRONG_TYPE or BAD_VALUE, naming file and field.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Reject(Reason.UNREADABLE, f"{path}: not JSON ({error}); mend or remove it") from error
    if not isinstance(data, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: an object with fx, fy, cx, cy, width, height is expected")
    unknown = set(data) - set(_FIELDS) - {"model", "distortion"}
    if unknown:
        raise Reject(Reason.WRONG_TYPE, f"{path}: unknown field {sorted(unknown)[0]}")
    values = {name: _number(path, data, name) for name in _FIELDS}
    model, lens = data.get("model", "none"), data.get("distortion", [])
    if model not in ("none", "radtan", "kannala_brandt"):
        raise Reject(Reason.BAD_VALUE, f"{path}: model is none, radtan or kannala_brandt, not {model!r}")
    if not isinstance(lens, list) or not all(isinstance(k, (int, float)) and math.isfinite(k) for k in lens):
        raise Reject(Reason.WRONG_TYPE, f"{path}: distortion is a list of finite numbers")
    if (model == "none") != (not lens):
        raise Reject(Reason.CONTRADICTION, f"{path}: model {model} with {len(lens)} distortion coefficients")
    if values["fx"] <= 0 or values["fy"] <= 0 or values["width"] < 1 or values["height"] < 1:
        raise Reject(Reason.BAD_VALUE, f"{path}: fx, fy, width and height are positive")
    size = int(values["width"]), int(values["height"])
    return Intrinsics(values["fx"], values["fy"], values["cx"], values["cy"], *size, model, tuple(map(float, lens)))


def _number(path: Path, data: dict[str, Any], name: str) -> float:
    if name not in data:
        raise Reject(Reason.MISSING_FIELD, f"{path}: field {name} is missing")
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Reject(Reason.WRONG_TYPE, f"{path}: {name} is a finite number, not {value!r}")
    return float(value)

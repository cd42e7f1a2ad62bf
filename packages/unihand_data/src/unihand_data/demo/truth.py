"""The truth of a generated clip: one ``.npz`` without any pickled object, read with numpy alone.

World: gravity-aligned, z up, origin at the first camera, x its viewing direction projected on the horizontal, y left:
the world a shard row uses. Camera: OpenCV axes, poses camera-to-world. Metres, radians, seconds, pixels with centres at
integers.

Legend: T frames, sides in the order right, left; N objects, E events.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from unihand_data.values.hands import Side

SCHEMA = 1
SIDES: tuple[Side, Side] = ("right", "left")
ASSETS = Path(__file__).parent / "assets"
SHIPPED_VIDEO = ASSETS / "ego_pick.mp4"
SHIPPED_TRUTH = ASSETS / "ego_pick_truth.npz"


@dataclass
class Truth:
    """Everything known about a clip.

    Attributes:
        timestamps: (T,) s, the video's presentation times, first is 0.
        camera: (T, 4, 4) camera-to-world. intrinsics: (4,) fx fy cx cy. size: (2,) width, height.
        rest: (2, 21, 3) rest joints per side, OpenPose order, hand frame (wrist at the origin).
        wrist_pos, wrist_rot: (2, T, 3), (2, T, 3, 3) wrist joint, hand to world. ``*_cam`` the same in the camera of
        the moment. theta: (2, T, 45) relative to the flat hand, of the model of its own side (MANO joint order).
        keypoints, keypoints_cam: (2, T, 21, 3); keypoints_px: (2, T, 21, 2), also outside the picture.
        visible: (2, T, 21) inside the picture and nothing more than 2.5 cm in front of it.
        object_pose: (N, T, 4, 4) object-to-world; held_by: (N, T) 0 nobody, 1 right, 2 left.
        events: (t0, t1, kind); instructions: (t0, t1, text, hand); intent: one sentence for the clip.
        meta: seed, scene family, activity, skin tone, options.
    """

    timestamps: np.ndarray
    camera: np.ndarray
    intrinsics: np.ndarray
    size: np.ndarray
    rest: np.ndarray
    wrist_pos: np.ndarray
    wrist_rot: np.ndarray
    wrist_pos_cam: np.ndarray
    wrist_rot_cam: np.ndarray
    theta: np.ndarray
    keypoints: np.ndarray
    keypoints_cam: np.ndarray
    keypoints_px: np.ndarray
    visible: np.ndarray
    object_pose: np.ndarray
    held_by: np.ndarray
    objects: list[dict] = field(default_factory=list)
    events: list[tuple[float, float, str]] = field(default_factory=list)
    instructions: list[tuple[float, float, str, str]] = field(default_factory=list)
    intent: str = ""
    meta: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def hand_visible(self) -> np.ndarray:
        """(2, T) bool: four in five keypoints are inside the picture and at least three of them are visible."""
        w, h = self.size
        p = self.keypoints_px
        inside = (p[..., 0] > -0.5) & (p[..., 0] < w - 0.5) & (p[..., 1] > -0.5) & (p[..., 1] < h - 0.5)
        return (self.visible.sum(-1) >= 3) & (inside.mean(-1) >= 0.8)


_DERIVED = ("keypoints", "keypoints_cam", "keypoints_px")
_TEXT = ("objects", "events", "instructions", "intent", "meta")


def save_truth(truth: Truth, path: str | Path) -> None:
    """Write through a temporary name. Arrays stay arrays, the rest is one JSON string."""
    path = Path(path)
    arrays = {f.name: getattr(truth, f.name) for f in fields(truth) if f.name not in _TEXT}
    arrays |= {k: arrays[k].astype(np.float32) for k in _DERIVED}  # computable from the rest to a micrometre
    text = json.dumps({"schema": SCHEMA} | {k: getattr(truth, k) for k in _TEXT}, sort_keys=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as f:
        np.savez_compressed(f, text=np.frombuffer(text.encode(), np.uint8), **arrays)
    temporary.replace(path)


def load_truth(path: str | Path = SHIPPED_TRUTH) -> Truth:
    """Read a truth file; ``ValueError`` names the file and the field when it is not one."""
    try:
        with np.load(path, allow_pickle=False) as data:
            stored = {k: data[k] for k in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a truth file (an .npz written by unihand_data.demo.render): {error}") from error
    wanted = {f.name for f in fields(Truth)} - set(_TEXT)
    missing = (wanted | {"text"}) - stored.keys()
    if missing:
        raise ValueError(
            f"{path}: truth file without {', '.join(sorted(missing))}; make it again with unihand_data.demo.render"
        )
    text = json.loads(stored.pop("text").tobytes().decode())
    if text.pop("schema") != SCHEMA:
        raise ValueError(f"{path}: truth schema is not {SCHEMA}; make it again with unihand_data.demo.render")
    stored |= {k: stored[k].astype(np.float64) for k in _DERIVED}
    text["events"] = [tuple(e) for e in text["events"]]
    text["instructions"] = [tuple(e) for e in text["instructions"]]
    return Truth(**{k: stored[k] for k in wanted}, **text)

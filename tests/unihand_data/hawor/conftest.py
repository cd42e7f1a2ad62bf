"""A known motion, HaWoR's files for it, and a stand-in for HaWoR's checkout."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

FOCAL, SIZE = 120.0, (160, 96)
STUB = Path(__file__).parent / "stub_checkout"


@dataclass
class Motion:
    """Arrays as ``generate.hawor_sets.write_result`` takes them (sides left, right)."""

    camera: np.ndarray
    wrist_pos: np.ndarray
    wrist_rot: np.ndarray
    theta: np.ndarray
    beta: np.ndarray

    def write(self, folder: Path, **changes: Any) -> Path:
        from unihand_data.hands.hawor_results import MEAN_WRIST
        from unihand_data.sources.generate.hawor_sets import write_result

        n = len(self.camera)
        joint = np.stack([np.tile(MEAN_WRIST[s], (n, 1)) for s in ("left", "right")])
        write_result(
            folder,
            **{**vars(self), "wrist_joint": joint, "size": SIZE, "focal": FOCAL, "scale": 2.0, **changes},
        )
        return folder

    def part(self, a: int, b: int, *, world: np.ndarray | None = None) -> Motion:
        """Frames a..b-1 with a world of their own (their first camera by default)."""
        first = self.camera[a] if world is None else world
        return Motion(
            np.linalg.inv(first) @ self.camera[a:b], self.wrist_pos[:, a:b], self.wrist_rot[:, a:b],
            self.theta[:, a:b], self.beta[:, a:b],
        )  # fmt: skip


def make_motion(frames: int, *, moving: bool = True) -> Motion:
    t = np.arange(frames) / 30.0
    camera = np.tile(np.eye(4), (frames, 1, 1))
    if moving:
        camera[:, :3, :3] = Rotation.from_rotvec(np.outer(t, [0.1, 0.5, -0.2])).as_matrix()
        camera[:, :3, 3] = np.outer(t, [0.3, -0.1, 0.2])
    pos = np.stack([np.stack([x + 0.1 * np.sin(3 * t), 0.05 * np.cos(2 * t), 0.4 + 0.1 * t], 1) for x in (-0.1, 0.1)])
    rot = np.stack([Rotation.from_rotvec(np.outer(1 + t, axis)).as_rotvec() for axis in ([0.3, 0.4, 0], [0, 0.5, 0.2])])
    rng = np.random.default_rng(5)
    theta = 0.2 * rng.normal(size=(2, 1, 45)) * np.cos(t)[None, :, None]
    return Motion(camera, pos, rot, theta, np.tile(0.3 * rng.normal(size=(2, 1, 10)), (1, frames, 1)))


@pytest.fixture
def motion() -> Motion:
    return make_motion(40)


@pytest.fixture
def make():
    return make_motion


def write_video(path: Path, frames: int, fps: float = 30.0, *, moving: bool = True) -> Path:
    """A textured wall that slides through the picture, or stands still."""
    import av

    rng = np.random.default_rng(1)
    wall = np.kron(rng.integers(30, 225, (24, 90)), np.ones((8, 8))).astype(np.uint8)
    with av.open(str(path), "w") as out:
        rate = Fraction(fps).limit_denominator(1001)
        stream: Any = out.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(frames):
            at = 3 * i % 500 if moving else 0
            picture = np.repeat(wall[: SIZE[1], at : at + SIZE[0], None], 3, axis=2)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture
def clip_of(tmp_path):
    from unihand_data.values.camera import Intrinsics
    from unihand_data.values.clip import ClipRef
    from unihand_data.video.probe import probe

    def make_clip(frames: int, fps: float = 30.0, *, moving: bool = True) -> ClipRef:
        info = probe(str(write_video(tmp_path / f"clip{frames}.mp4", frames, fps, moving=moving)))
        lens = Intrinsics(FOCAL, FOCAL, (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2, *SIZE)
        return ClipRef(info.path, info.pts, *SIZE, intrinsics=lens)

    return make_clip


class Stub:
    """A HaWoR checkout that is not HaWoR."""

    def __init__(self, folder: Path):
        self.repo = folder / "checkout"
        shutil.copytree(STUB, self.repo)
        weights = self.repo / "weights" / "hawor" / "checkpoints"
        weights.mkdir(parents=True)
        for name in ("hawor.ckpt", "infiller.pt"):
            (weights / name).write_bytes(b"stub")
        self.prepared = folder / "prepared"
        self.says(prepared=str(self.prepared))

    def says(self, **options: Any) -> None:
        (self.repo / "stub.json").write_text(json.dumps({"prepared": str(self.prepared), **options}))

    def estimator(self, **changes: Any):
        from unihand_data.hands.hawor import HaworEstimator
        from unihand_data.hands.hawor_config import HaworSettings

        values = {"repo": str(self.repo), "python": sys.executable, "timeout_s": 60.0, "static_px": None}
        return HaworEstimator(HaworSettings.model_validate({**values, **changes}))


@pytest.fixture
def stub(tmp_path, monkeypatch):
    monkeypatch.delenv("UNIHAND_MANO_DIR", raising=False)
    return Stub(tmp_path)

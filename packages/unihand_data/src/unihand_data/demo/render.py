"""Render clips with their truth: ``python -m unihand_data.demo.render OUT --seed N --recordings K``.

Needs the ``render`` extra (MuJoCo 3.3.0) with EGL or OSMesa, and PyAV. The same seed and options give the same truth
everywhere; pixels may differ by a rounding between graphics drivers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unihand_data.demo import hand_model as hm
from unihand_data.demo import stories
from unihand_data.demo.mesh import FOREARM, HandMesh, build_hand_mesh
from unihand_data.demo.scene import SceneFamily, build, draw_look
from unihand_data.demo.script import MIRROR_X, HandScript, Script
from unihand_data.demo.truth import SIDES, Truth, save_truth


@dataclass(frozen=True)
class RenderSettings:
    """What a recording is besides its seed. ``fov_deg`` is horizontal."""

    width: int = 960
    height: int = 720
    fps: float = 30.0
    duration_s: float = 7.0
    fov_deg: float = 74.0
    scene_family: SceneFamily = "lab"
    activity: Literal["pick", "walk"] = "pick"
    left_handed: bool = False
    camera_moves: bool = True
    skin: str = ""  # empty: drawn from the seed
    shadows: bool = True
    crf: int = 22
    grid_m: float = 0.0024

    @property
    def focal(self) -> float:
        return self.width / 2 / np.tan(np.deg2rad(self.fov_deg) / 2)


def make_script(seed: int, settings: RenderSettings) -> Script:
    """The motion of a recording; needs no renderer."""
    rng = np.random.default_rng([seed, 1])
    if settings.activity == "walk":
        return stories.walk(rng, settings.duration_s, settings.fps, camera_moves=settings.camera_moves)
    return stories.pick(
        rng, settings.duration_s, settings.fps, left_handed=settings.left_handed, camera_moves=settings.camera_moves
    )


def world_from_design(camera0: np.ndarray) -> np.ndarray:
    """(4, 4) design frame to the truth's world: origin at the first camera, x its horizontal viewing direction."""
    forward = camera0[:3, 2] * [1, 1, 0]
    x = forward / np.linalg.norm(forward)
    r = np.stack([x, np.cross([0, 0, 1.0], x), [0, 0, 1.0]])
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = r, -r @ camera0[:3, 3]
    return out


def make_truth(script: Script, settings: RenderSettings, meta: dict) -> Truth:
    """Truth of a script; ``visible`` only knows the borders of the picture until the renderer has looked for
    occlusion."""
    w = world_from_design(script.camera[0])
    n = len(script.camera)
    camera = w @ script.camera
    f = settings.focal
    k = np.array([f, f, (settings.width - 1) / 2, (settings.height - 1) / 2])
    hands = [script.hands[s] for s in SIDES]
    pos = np.stack([h.pos @ w[:3, :3].T + w[:3, 3] for h in hands])
    rot = np.stack([w[:3, :3] @ h.rot for h in hands])
    local = np.stack([hm.keypoints(h.rest, h.theta) for h in hands])
    world = np.einsum("stij,stkj->stki", rot, local) + pos[:, :, None]
    back = camera[:, :3, :3].transpose(0, 2, 1)
    cam = np.einsum("tij,stkj->stki", back, world - camera[:, None, :3, 3])
    px = cam[..., :2] / cam[..., 2:] * k[:2] + k[2:]
    size = np.array([settings.width, settings.height])
    inside = ((px > -0.5) & (px < size - 0.5)).all(-1) & (cam[..., 2] > 0)
    return Truth(
        timestamps=np.arange(n) / settings.fps, camera=camera, intrinsics=k, size=size,
        rest=np.stack([h.rest[hm.TO_OPENPOSE] for h in hands]),
        wrist_pos=pos, wrist_rot=rot,
        wrist_pos_cam=np.einsum("tij,stj->sti", back, pos - camera[:, :3, 3]), wrist_rot_cam=back @ rot,
        theta=np.stack([h.theta for h in hands]), keypoints=world, keypoints_cam=cam, keypoints_px=px, visible=inside,
        object_pose=w @ script.object_pose, held_by=script.held_by,
        objects=[
            {"name": o.name, "shape": o.shape, "size": o.size.tolist(), "rgb": o.rgb.tolist()} for o in script.objects
        ],
        events=script.events, instructions=script.instructions, intent=script.intent, meta=meta,
    )  # fmt: skip


def posed_skin(mesh: HandMesh, hand: HandScript, i: int, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and normals of one hand in the design frame at frame ``i``."""
    mirror = MIRROR_X if side == "left" else np.eye(3)
    theta = hand.theta[i] * (hm.MIRROR_THETA if side == "left" else 1.0)
    rot16, pos = hm.forward(mesh.joints, theta)
    rot = np.tile(np.eye(3), (17, 1, 1))
    rot[:16] = rot16
    rot[FOREARM] = mirror @ hand.rot[i].T @ hand.forearm[i] @ mirror
    shift = np.zeros((17, 3))
    shift[:16] = pos[:16] - np.einsum("bij,bj->bi", rot16, mesh.joints[:16])
    v, n = mesh.posed(rot, shift)
    to = hand.rot[i] @ mirror
    return v @ to.T + hand.pos[i], n @ to.T


def frames(script: Script, settings: RenderSettings, seed: int, truth: Truth) -> Iterator[np.ndarray]:
    """RGB frames (H, W, 3) uint8; fills ``truth.visible`` and ``truth.meta["skin"]`` on the way."""
    import mujoco

    look = draw_look(np.random.default_rng([seed, 2]), settings.scene_family)
    look.skin = settings.skin or look.skin
    truth.meta["skin"] = look.skin
    mesh = build_hand_mesh(script.hands["right"].rest, step=settings.grid_m)
    fovy = float(np.rad2deg(2 * np.arctan(settings.height / 2 / settings.focal)))
    model = build(script, look, mesh, settings.width, settings.height, fovy, shadows=settings.shadows)
    data = mujoco.MjData(model)
    renderer = mujoco.Renderer(model, settings.height, settings.width)
    try:
        for i in range(len(script.camera)):
            for m in range(len(script.objects)):
                _place(model, data, f"object{m}", script.object_pose[m, i])
            head = script.camera[i].copy()
            head[:3, :3] = head[:3, :3] @ np.diag([1.0, -1.0, -1.0])  # MuJoCo cameras look along -z, y up
            _place(model, data, "head", head)
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera="ego")
            scene = renderer.scene
            for s, side in enumerate(SIDES):
                v, n = posed_skin(mesh, script.hands[side], i, side)
                a = scene.skinvertadr[s] * 3
                scene.skinvert[a : a + v.size] = v.reshape(-1)
                scene.skinnormal[a : a + n.size] = n.reshape(-1)
            picture = renderer.render().copy()
            renderer.enable_depth_rendering()
            _hide_behind(truth, i, renderer.render())
            renderer.disable_depth_rendering()
            yield picture
    finally:
        renderer.close()


def _place(model: Any, data: Any, body: str, pose: np.ndarray) -> None:
    import mujoco

    i = model.body_mocapid[mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body)]
    data.mocap_pos[i] = pose[:3, 3]
    mujoco.mju_mat2Quat(data.mocap_quat[i], np.ascontiguousarray(pose[:3, :3]).reshape(-1))


def _hide_behind(truth: Truth, i: int, depth: np.ndarray, slack: float = 0.025) -> None:
    """A keypoint lies inside the hand, so it counts as visible unless the picture is nearer by more than ``slack``
    m."""
    for s in range(2):
        px = np.rint(truth.keypoints_px[s, i]).astype(int)
        ok = truth.visible[s, i]
        z = depth[np.clip(px[:, 1], 0, depth.shape[0] - 1), np.clip(px[:, 0], 0, depth.shape[1] - 1)]
        truth.visible[s, i] = ok & (z > truth.keypoints_cam[s, i, :, 2] - slack)


def encode(pictures: Iterator[np.ndarray], path: Path, settings: RenderSettings) -> None:
    """H.264 in MP4, written under a temporary name."""
    import av

    temporary = path.with_name(f".{path.stem}.tmp.mp4")
    with av.open(str(temporary), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=Fraction(settings.fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = settings.width, settings.height, "yuv420p"
        stream.options = {"crf": str(settings.crf), "preset": "slow", "g": "30", "threads": "1"}
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    temporary.replace(path)


def generate(
    out_dir: str | Path, seed: int, scene_family: SceneFamily = "lab", *, name: str = "", **options: Any
) -> tuple[Path, Path]:
    """One recording: ``(video path, truth path)`` in ``out_dir``. ``options`` are the fields of
    :class:`RenderSettings`."""
    settings = RenderSettings(scene_family=scene_family, **options)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    name = name or f"{settings.activity}_{scene_family}_{seed:04d}"
    script = make_script(seed, settings)
    truth = make_truth(script, settings, {"seed": seed, **asdict(settings)})
    video = out / f"{name}.mp4"
    encode(frames(script, settings, seed, truth), video, settings)
    path = out / f"{name}_truth.npz"
    save_truth(truth, path)
    return video, path


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        prog="unihand_data.demo.render", description="Render egocentric clips with exact truth."
    )
    p.add_argument("out")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--recordings", type=int, default=1)
    p.add_argument("--scene-family", choices=("lab", "wild", "both"), default="both")
    p.add_argument("--activity", choices=("pick", "walk"), default="pick")
    p.add_argument("--left-handed", action="store_true")
    p.add_argument("--static-camera", action="store_true")
    p.add_argument("--no-shadows", action="store_true", help="several times faster")
    p.add_argument("--size", default="960x720", help="WIDTHxHEIGHT")
    p.add_argument("--grid-mm", type=float, default=2.4, help="fineness of the skin's mesh")
    p.add_argument("--duration", type=float, default=7.0)
    p.add_argument("--name", default="", help="file name stem, for a single recording")
    a = p.parse_args(argv)
    width, height = (int(v) for v in a.size.split("x"))
    for i in range(a.recordings):
        family: SceneFamily = ("lab", "wild")[i % 2] if a.scene_family == "both" else a.scene_family
        video, truth = generate(
            a.out, a.seed + i, family, name=a.name if a.recordings == 1 else "", activity=a.activity,
            left_handed=a.left_handed, camera_moves=not a.static_camera, shadows=not a.no_shadows, width=width,
            height=height, duration_s=a.duration, grid_m=a.grid_mm * 1e-3,
        )  # fmt: skip
        sys.stdout.write(f"{video}\n{truth}\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    raise SystemExit(main())

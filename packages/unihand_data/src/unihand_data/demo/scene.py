"""The MuJoCo scene around a :class:`~unihand_data.demo.script.Script`: table, room, clutter, lights, two skins, things.

MuJoCo is imported by :func:`build` alone. Frame: the script's design frame (z up, x forward, y left, table top z =
0), metres. The skins are not simulated: their vertices are written into the drawn scene every frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from unihand_data.demo import paint
from unihand_data.demo.mesh import HandMesh
from unihand_data.demo.script import Script

SceneFamily = Literal["lab", "wild"]


@dataclass
class Look:
    """Everything of a picture that is not motion, drawn from the seed by :func:`draw_look`."""

    family: SceneFamily
    skin: str
    table: np.ndarray  # (H, W, 3) uint8 textures
    floor: np.ndarray
    wall: np.ndarray
    mat: np.ndarray | None
    pages: list[np.ndarray]
    sleeve: tuple[float, tuple[float, float, float]] | None
    light: float
    clutter: list[str]
    skin_rng_seed: int


def draw_look(rng: np.random.Generator, family: SceneFamily) -> Look:
    """``lab``: plain light table, plain room, bare arms. ``wild``: wood, cloth, clutter, sleeves, other light."""
    lab = family == "lab"
    grey = rng.uniform(0.62, 0.80)
    tables = [(0.42, 0.27, 0.15), (0.30, 0.19, 0.12), (0.34, 0.36, 0.38), (0.23, 0.30, 0.34)]
    if lab:
        tint = np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.05, 0.05, 3) * [1, 0.2, 1]
        table = paint.speckle(rng, tuple(grey * 0.8 * tint), amount=0.02)
        mat = paint.cutting_mat(
            rng, [(0.10, 0.24, 0.21), (0.11, 0.17, 0.27), (0.22, 0.22, 0.23)][rng.integers(3)], (25, 35)
        )
    else:
        base = tables[rng.integers(len(tables))]
        table = paint.wood(rng, base) if base[0] > base[2] else paint.speckle(rng, base, amount=0.05)
        mat = paint.cloth(rng, _muted(rng, 0.12, 0.45), stripe=_muted(rng, 0.3, 0.7))
    clutter = [] if lab else [_thing(rng) for _ in range(5)]
    if lab:
        clutter = [_box_xml((0.52, 0.24, 0.04), (0.05, 0.09, 0.04), (0.25, 0.27, 0.30), 10)]
    dressed = (not lab) and rng.uniform() < 0.7
    return Look(
        family, str(rng.choice(list(paint.SKIN_TONES))), table,
        paint.speckle(rng, (0.30, 0.31, 0.33) if lab else (0.28, 0.22, 0.18), amount=0.06),
        paint.speckle(rng, (0.66, 0.68, 0.70) if lab else _muted(rng, 0.35, 0.6), amount=0.015),
        mat, [paint.page(rng) for _ in range(2)],
        (float(rng.uniform(0.06, 0.12)), _muted(rng, 0.08, 0.5)) if dressed else None,
        float(rng.uniform(0.9, 1.05)), clutter, int(rng.integers(1 << 31)),
    )  # fmt: skip


def _muted(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    """A colour that is more grey than not."""
    rgb = rng.uniform(low, high, 3)
    r, g, b = 0.45 * rgb + 0.55 * rgb.mean()
    return float(r), float(g), float(b)


def _thing(rng: np.random.Generator) -> str:
    at = (rng.uniform(0.42, 0.60), rng.uniform(-0.45, 0.45))
    rgb = _muted(rng, 0.08, 0.6)
    if rng.uniform() < 0.5:
        h = rng.uniform(0.03, 0.09)
        return _box_xml((*at, h), (rng.uniform(0.03, 0.07), rng.uniform(0.03, 0.07), h), rgb, rng.uniform(0, 90))
    r, h = rng.uniform(0.03, 0.05), rng.uniform(0.02, 0.09)
    return f'<geom type="cylinder" pos="{at[0]:.4f} {at[1]:.4f} {h:.4f}" size="{r:.4f} {h:.4f}" rgba="{_rgb(rgb)}"/>'


def _rgb(rgb) -> str:
    return " ".join(f"{c:.3f}" for c in rgb) + " 1"


def _box_xml(at, half, rgb, yaw) -> str:
    p, s = (" ".join(f"{x:.4f}" for x in v) for v in (at, half))
    return f'<geom type="box" pos="{p}" size="{s}" rgba="{_rgb(rgb)}" euler="0 0 {yaw:.1f}"/>'


def _printed(look: Look, rng: np.random.Generator) -> list[str]:
    """The mat before the person and printed sheets around it, each a hair above the table."""
    out = []
    if look.mat is not None:
        out.append('<geom type="plane" pos="0.235 0 0.0012" size="0.17 0.238 0.01" material="mat"/>')
    for i, (x, y) in enumerate(((0.55, -0.20), (0.40, 0.40))[: len(look.pages)]):
        x, y, yaw = x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03), rng.uniform(-35, 35) - 90
        out.append(
            f'<geom type="plane" pos="{x:.4f} {y:.4f} 0.0008" euler="0 0 {yaw:.2f}" size="0.085 0.118 0.01" '
            f'material="page{i}"/>'
        )
    return out


def skin_bytes(mesh: HandMesh, mirrored: bool) -> bytes:
    """MuJoCo's SKN file of a hand, all vertices on one dummy bone."""
    v = mesh.rest * ([-1.0, 1.0, 1.0] if mirrored else 1.0)
    f = mesh.faces[:, ::-1] if mirrored else mesh.faces
    n = len(v)
    head = struct.pack("<4i", n, n, len(f), 1)
    body = v.astype("<f4").tobytes() + mesh.uv.astype("<f4").tobytes() + f.astype("<i4").tobytes()
    bone = b"anchor".ljust(40, b"\0") + np.array([0, 0, 0, 1, 0, 0, 0], "<f4").tobytes() + struct.pack("<i", n)
    return head + body + bone + np.arange(n, dtype="<i4").tobytes() + np.ones(n, "<f4").tobytes()


def build(
    script: Script, look: Look, mesh: HandMesh, width: int, height: int, fovy_deg: float, *, shadows: bool
) -> Any:
    """Compiled ``mujoco.MjModel`` of the whole scene, textures filled in."""
    import mujoco

    rng = np.random.default_rng(look.skin_rng_seed)
    textures = {
        "table": look.table, "floor": look.floor, "wall": look.wall,
        "skin": paint.skin(mesh.joints, paint.SKIN_TONES[look.skin], rng, sleeve=look.sleeve),
    }  # fmt: skip
    if look.mat is not None:
        textures["mat"] = look.mat
    textures |= {f"page{i}": p for i, p in enumerate(look.pages)}
    reach = float(script.camera[:, 0, 3].max()) + 0.92  # the table goes as far as the eye comes
    half, copies = reach / 2, max(1, round(reach / 0.84))
    asset = "".join(
        f'<texture name="{k}" type="2d" builtin="flat" width="{t.shape[1]}" height="{t.shape[0]}"/>'
        for k, t in textures.items()
    )
    repeat = {"table": f"{copies} 1", "floor": "3 3", "wall": "2 1"}
    for k in textures:
        shine = 'specular="0.16" shininess="0.25"' if k == "skin" else 'specular="0.12" shininess="0.3"'
        asset += f'<material name="{k}" texture="{k}" texrepeat="{repeat.get(k, "1 1")}" {shine}/>'
    skins = "".join(f'<skin name="{s}" file="{s}.skn" material="skin"/>' for s in ("right", "left"))
    bodies = ""
    for i, o in enumerate(script.objects):
        size = " ".join(f"{x:.5f}" for x in o.size)
        kind = "box" if o.shape == "box" else "cylinder"
        bodies += f'<body name="object{i}" mocap="true"><geom type="{kind}" size="{size}" rgba="{_rgb(o.rgb)}"/>'
        if o.shape == "can":  # a light band and a darker lid tell the can's turning
            r, h = o.size
            bodies += f'<geom type="cylinder" size="{r * 1.01:.5f} {h * 0.38:.5f}" rgba="0.85 0.83 0.76 1"/>'
            bodies += f'<geom type="cylinder" size="{r * 0.86:.5f} {h * 1.012:.5f}" rgba="0.62 0.63 0.65 1"/>'
        elif i:
            x, y, z = o.size
            bodies += (
                f'<geom type="box" size="{x * 1.004:.5f} {y * 0.22:.5f} {z * 1.006:.5f}" rgba="0.80 0.76 0.66 1"/>'
            )
        bodies += "</body>"
    printed = "".join(_printed(look, rng) + look.clutter)
    walking = script.activity == "walk"
    rows = (
        (-1.05, 1.05) if walking else (0.0,)
    )  # y of the tables: one before the person, or one on each side of an aisle
    spread = "".join(
        f'<geom type="plane" pos="{half - 0.02} {y} 0" size="{half} 0.75 0.01" material="table"/>'
        f'<geom type="box" pos="{half - 0.02} {y} -0.0152" size="{half + 0.001} 0.751 0.015" rgba="0.20 0.17 0.15 1"/>'
        for y in rows
    )
    spread += "".join(f'<frame pos="{0.84 * i:.3f} {y} 0">{printed}</frame>' for i in range(copies) for y in rows)
    cast = "true" if shadows and not walking else "false"  # a shadow map does not reach down an aisle
    lum, wall = look.light, 8.0 if walking else 3.0
    xml = f"""
<mujoco>
  <compiler angle="degree"/>
  <statistic extent="1" center="0.2 0 0"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality shadowsize="{4096 if shadows else 0}" offsamples="4"/>
    <map znear="0.02" zfar="12" shadowclip="1.2"/>
    <headlight ambient="0.40 0.40 0.41" diffuse="0.14 0.14 0.14" specular="0.04 0.04 0.04"/>
  </visual>
  <asset>{asset}{skins}</asset>
  <worldbody>
    <light pos="0.35 0.7 1.5" dir="-0.12 -0.5 -1" directional="{str(walking).lower()}" cutoff="70" exponent="1"
      castshadow="{cast}" diffuse="{0.58 * lum} {0.56 * lum} {0.52 * lum}" specular="0.25 0.25 0.24" ambient="0.05
    0.05 0.05"/> <light pos="-0.3 -0.8 1.6" dir="0.3 0.5 -1" directional="true" castshadow="false"
      diffuse="{0.22 * lum} {0.23 * lum} {0.26 * lum}" specular="0.05 0.05 0.05"/>
    <geom type="plane" pos="0 0 -0.74" size="{4 + reach} 4 0.1" material="floor"/>
    <geom type="plane" pos="{reach + 0.9} 0 0.3" size="{wall} {wall} 0.1" zaxis="-1 0 0" material="wall"/>
    {spread}{bodies}
    <body name="anchor" pos="0 0 0"/>
    <body name="head" mocap="true"><camera name="ego" fovy="{fovy_deg:.10f}"/></body>
  </worldbody>
</mujoco>"""
    files = {"right.skn": skin_bytes(mesh, False), "left.skn": skin_bytes(mesh, True)}
    model = mujoco.MjModel.from_xml_string(xml, files)
    for k, t in textures.items():
        i = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, k)
        a = model.tex_adr[i]
        flat = np.ascontiguousarray(t).reshape(-1)
        model.tex_data[a : a + flat.size] = flat
    return model

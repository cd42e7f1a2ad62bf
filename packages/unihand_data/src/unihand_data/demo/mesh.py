"""A smooth hand-and-forearm skin from an implicit surface, and its posing.

The surface is a blend of tapered capsules (round cones) hung on the bones: every finger is blended with the palm, never
with its neighbour, so that fingers may touch without welding. Surface nets make a mesh of the flat hand once; per
frame the vertices are skinned linearly and then drawn back onto the posed implicit surface, which keeps the volume at
bent joints.

Legend: V vertices, F faces, P primitives, B bones (0 hand, 1-15 MANO finger joints, 16 forearm). Metres, right hand,
hand frame: origin wrist joint, -x along the fingers, +y out of the back of the hand, +z to the thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOREARM = 16
_BONES = 17
#: radius (m) of the skin at joint 1, 2, 3 and tip of every MANO finger, for a hand of nominal size
_RADII = {
    "index": (0.0112, 0.0098, 0.0085, 0.0070),
    "middle": (0.0114, 0.0100, 0.0087, 0.0072),
    "pinky": (0.0098, 0.0084, 0.0073, 0.0060),
    "ring": (0.0108, 0.0094, 0.0082, 0.0068),
    "thumb": (0.0145, 0.0118, 0.0104, 0.0082),
}
FINGER_ORDER = ("index", "middle", "pinky", "ring", "thumb")  # MANO


@dataclass
class Primitives:
    """Round cones ``a -> b`` with radii ``ra, rb`` on ``bone``; ``group`` -1 palm and arm, 0-4 fingers (MANO order)."""

    a: np.ndarray  # (P, 3)
    b: np.ndarray
    ra: np.ndarray  # (P,)
    rb: np.ndarray
    bone: np.ndarray
    group: np.ndarray
    blend: np.ndarray  # (P,) smooth-union radius

    def posed(self, rot: np.ndarray, pos: np.ndarray) -> Primitives:
        """Moved by bone transforms ``rot (B, 3, 3)``, ``pos (B, 3)`` that map rest to posed."""
        r, p = rot[self.bone], pos[self.bone]
        a = np.einsum("pij,pj->pi", r, self.a) + p
        b = np.einsum("pij,pj->pi", r, self.b) + p
        return Primitives(a, b, self.ra, self.rb, self.bone, self.group, self.blend)


def hand_primitives(joints: np.ndarray) -> Primitives:
    """Primitives on the rest joints ``(21, 3)`` in MANO order (16 joints, then tips index, middle, pinky, ring,
    thumb)."""
    scale = float(np.linalg.norm(joints[4])) / 0.09
    rows: list[tuple] = []

    def add(a, b, ra, rb, bone, group, blend):
        rows.append((np.asarray(a, float), np.asarray(b, float), ra * scale, rb * scale, bone, group, blend * scale))

    for f, name in enumerate(FINGER_ORDER):
        j = [joints[1 + 3 * f], joints[2 + 3 * f], joints[3 + 3 * f], joints[16 + f]]
        r = _RADII[name]
        last = j[3] - j[2]
        length = np.linalg.norm(last)
        j[3] = j[2] + last * (1 - (r[3] * scale - 0.003 * scale) / length)  # skin ends 3 mm beyond the tip joint
        for k in range(3):
            add(j[k], j[k + 1], r[k], r[k + 1], 1 + 3 * f + k, f, 0.004)
        # the pad of the last phalanx, on the palm side
        pad = np.array([0, -0.0022 * scale, 0]) if name != "thumb" else np.array([-0.001, -0.0018, -0.001]) * scale
        add(
            j[2] * 0.55 + j[3] * 0.45 + pad,
            j[3] * 0.95 + j[2] * 0.05 + pad,
            r[3] * 1.0,
            r[3] * 0.92,
            3 + 3 * f,
            f,
            0.004,
        )
    carpal_z = {"index": 0.012, "middle": 0.004, "ring": -0.005, "pinky": -0.013}
    for f, name in enumerate(FINGER_ORDER[:4]):
        mcp = joints[1 + 3 * f]
        add([-0.012 * scale, 0, carpal_z[name] * scale], mcp, 0.0140, _RADII[name][0] * 1.04, 0, -1, 0.012)
        inward = mcp * 0.86 + np.array([0, -0.004, 0]) * scale  # the soft pad under the knuckle
        add(mcp * 0.6 + np.array([0, -0.005, 0]) * scale, inward, 0.0105, 0.0102, 0, -1, 0.010)
    cmc, tmcp = joints[13], joints[14]
    add(cmc * 0.9, cmc * 0.35 + tmcp * 0.65 + np.array([0, -0.001, -0.003]) * scale, 0.0165, 0.0150, 13, -1, 0.014)
    mid = (cmc + tmcp) / 2
    add(mid * 0.55 + joints[1] * 0.45, mid * 0.3 + joints[1] * 0.7, 0.0085, 0.0080, 0, -1, 0.016)  # web of the thumb
    pinky = joints[7]
    add(
        [-0.018 * scale, -0.006 * scale, -0.018 * scale],
        pinky * 0.8 + np.array([0, -0.005, 0]) * scale,
        0.0145,
        0.0120,
        0,
        -1,
        0.012,
    )
    for z in (-0.0115, 0.0115):
        add([-0.012 * scale, 0, z * scale], [0.030 * scale, 0.001, z * scale], 0.0160, 0.0158, 0, -1, 0.012)
    for z, fat in ((0.0, 1.04), (-0.0115, 1.0), (0.0115, 1.0)):
        wide = z * 1.15 * scale
        add(
            [0.018 * scale, 0.001, z * scale],
            [0.120 * scale, 0.0, wide],
            0.0158 * fat,
            0.0220 * fat,
            FOREARM,
            -1,
            0.010,
        )
        add([0.120 * scale, 0, wide], [0.330 * scale, -0.004, wide], 0.0220 * fat, 0.0315 * fat, FOREARM, -1, 0.004)
    a, b, ra, rb, bone, group, blend = zip(*rows)
    return Primitives(
        np.array(a), np.array(b), np.array(ra), np.array(rb), np.array(bone), np.array(group), np.array(blend)
    )


def cone_distance(p: np.ndarray, a: np.ndarray, b: np.ndarray, ra: float, rb: float) -> np.ndarray:
    """Approximate signed distance of points ``(..., 3)`` to one round cone (linear radius along the axis)."""
    ba = b - a
    t = np.clip((p - a) @ ba / max(float(ba @ ba), 1e-12), 0.0, 1.0)
    return np.linalg.norm(p - a - t[..., None] * ba, axis=-1) - (ra + t * (rb - ra))


def _smooth_min(x: np.ndarray, y: np.ndarray, k: float) -> np.ndarray:
    h = np.maximum(k - np.abs(x - y), 0.0) / k
    return np.minimum(x, y) - h * h * h * k / 6.0


def field(prims: Primitives, p: np.ndarray, group: int | None = None) -> np.ndarray:
    """Implicit surface at points ``(N, 3)``: negative inside. ``group`` limits it to one finger blended with the
    palm."""
    palm = _blend(prims, p, np.flatnonzero(prims.group == -1))
    if group == -1:
        return palm
    out = palm.copy()
    for f in range(5) if group is None else (group,):
        finger = _blend(prims, p, np.flatnonzero(prims.group == f))
        out = np.minimum(out, _smooth_min(finger, palm, 0.007 if f < 4 else 0.010))
    return out


def _blend(prims: Primitives, p: np.ndarray, which: np.ndarray) -> np.ndarray:
    out: np.ndarray | None = None
    for i in which:
        d = cone_distance(p, prims.a[i], prims.b[i], prims.ra[i], prims.rb[i])
        out = d if out is None else _smooth_min(out, d, prims.blend[i])
    assert out is not None
    return out


def surface_nets(values: np.ndarray, origin: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices ``(V, 3)`` and outward faces ``(F, 3)`` of the zero level of a grid; one vertex per crossed cell."""
    inside = values < 0
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    shape = tuple(n - 1 for n in values.shape)

    def at(grid, c):
        return grid[c[0] : c[0] + shape[0], c[1] : c[1] + shape[1], c[2] : c[2] + shape[2]]

    count = sum(at(inside, c).astype(np.int8) for c in corners)
    cells = np.argwhere((count > 0) & (count < 8))
    index = np.full(shape, -1)
    index[tuple(cells.T)] = np.arange(len(cells))
    total = np.zeros((len(cells), 3))
    number = np.zeros(len(cells))
    for c in corners:  # every cell edge from corner c along an axis
        for axis in range(3):
            if c[axis] == 1:
                continue
            e = tuple(v + (n == axis) for n, v in enumerate(c))
            v0, v1 = values[tuple((cells + c).T)], values[tuple((cells + e).T)]
            hit = (v0 < 0) != (v1 < 0)
            t = np.where(hit, v0 / np.where(hit, v0 - v1, 1.0), 0.0)
            point = np.array(c, float) + np.eye(3)[axis] * t[:, None]
            total += np.where(hit[:, None], point, 0.0)
            number += hit
    vertices = origin + step * (cells + total / number[:, None])
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        lo = [slice(1, n - 1) for n in values.shape]
        hi = [slice(1, n - 1) for n in values.shape]
        lo[axis], hi[axis] = slice(0, values.shape[axis] - 1), slice(1, values.shape[axis])
        a, b = inside[tuple(lo)], inside[tuple(hi)]
        edges = np.argwhere(a != b)
        enters = a[tuple(edges.T)]  # inside at the lower end: the face looks along +axis
        edges = edges + np.array([0 if n == axis else 1 for n in range(3)])
        quad = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = edges.copy()
            cell[:, u] += du
            cell[:, v] += dv
            quad.append(index[tuple(cell.T)])
        q = np.stack(quad, 1)
        q[~enters] = q[~enters][:, ::-1]
        faces += [q[:, [0, 1, 2]], q[:, [0, 2, 3]]]
    return vertices, np.concatenate(faces)


@dataclass
class HandMesh:
    """The skin of a right hand at rest. ``uv`` has a chart for the back (v < 0.5) and one for the palm (v > 0.5)."""

    rest: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    uv: np.ndarray  # (V, 2)
    weights: np.ndarray  # (V, B)
    group: np.ndarray  # (V,) -1 palm or arm, 0-4 finger
    weld: np.ndarray  # (V,) index of the vertex at the same place (a seam's vertices exist once per chart)
    prims: Primitives
    joints: np.ndarray  # (21, 3) rest, MANO order with tips

    def posed(self, rot: np.ndarray, pos: np.ndarray, *, settle: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """Vertices ``(V, 3)`` and normals under bone transforms ``rot (B, 3, 3)``, ``pos (B, 3)`` that map
        rest to posed."""
        moved = np.einsum("bij,vj->bvi", rot, self.rest) + pos[:, None]
        v = np.einsum("vb,bvi->vi", self.weights, moved)
        prims = self.prims.posed(rot, pos)
        for _ in range(settle):
            v = self._settle(v, prims)
        return v, self.normals(v)

    def normals(self, v: np.ndarray) -> np.ndarray:
        """Unit normals (V, 3), continuous over the seams."""
        return vertex_normals(v, self.weld[self.faces])[self.weld]

    def _settle(self, v: np.ndarray, prims: Primitives) -> np.ndarray:
        """One step along the normals to the implicit surface (whose gradient is about one)."""
        value = np.empty(len(v))
        for g in range(-1, 5):
            at = self.group == g
            value[at] = field(prims, v[at], g)
        near = np.abs(value) < 0.012  # further off the skinning has failed: leave the vertex to its neighbours
        return v - np.where(near, np.clip(value, -0.004, 0.004), 0.0)[:, None] * self.normals(v)


def vertex_normals(v: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3)."""
    n = np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])
    out = np.stack([np.bincount(faces.ravel(), np.repeat(n[:, i], 3), len(v)) for i in range(3)], 1)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


#: window of the planar texture chart: x, z of the rest pose (m) that map to u, v in 0..1 of a chart
CHART_X = (-0.225, 0.400)
CHART_Z = (-0.100, 0.130)


def build_hand_mesh(joints: np.ndarray, *, step: float = 0.0024) -> HandMesh:
    """The skin on rest joints ``(21, 3)`` in MANO order with tips. ``step``: grid of the surface nets in metres."""
    prims = hand_primitives(joints)
    lo = np.minimum(prims.a.min(0), prims.b.min(0)) - 0.045
    hi = np.maximum(prims.a.max(0), prims.b.max(0)) + 0.045
    axes = [np.arange(l, h, step) for l, h in zip(lo, hi)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    values = np.empty(len(grid))
    for i in range(0, len(grid), 200_000):
        values[i : i + 200_000] = field(prims, grid[i : i + 200_000])
    v, faces = surface_nets(values.reshape([len(a) for a in axes]), lo, step)
    group = _groups(prims, v)
    weights = _weights(prims, v, group)
    v, faces, uv, source = _charts(v, faces)
    first = np.unique(source, return_index=True, return_inverse=True)
    mesh = HandMesh(v, faces, uv, weights[source], group[source], first[1][first[2]], prims, joints)
    identity = np.broadcast_to(np.eye(3), (_BONES, 3, 3)), np.zeros((_BONES, 3))
    mesh.rest = mesh.posed(*identity, settle=3)[0]
    return mesh


def _groups(prims: Primitives, v: np.ndarray) -> np.ndarray:
    palm = field(prims, v, -1)
    fingers = np.stack([_blend(prims, v, np.flatnonzero(prims.group == f)) for f in range(5)], 1)
    best = fingers.argmin(1)
    near = fingers[np.arange(len(v)), best] < palm + 0.006
    return np.where(near, best, -1)


def _weights(prims: Primitives, v: np.ndarray, group: np.ndarray) -> np.ndarray:
    d = np.full((len(v), _BONES), np.inf)
    for i in range(len(prims.ra)):
        di = cone_distance(v, prims.a[i], prims.b[i], prims.ra[i], prims.rb[i])
        g = prims.group[i]
        if g >= 0:  # a finger's vertices follow their own finger only
            di = np.where((group == g) | (group == -1), di, np.inf)
        d[:, prims.bone[i]] = np.minimum(d[:, prims.bone[i]], di)
    w = np.exp(-np.maximum(d, -0.004) / 0.0026)
    return w / w.sum(1, keepdims=True)


def _charts(v: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split at the line between back and palm so that each side has its own planar chart."""
    n = np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])
    palm_face = n[:, 1] < 0
    palm_copy = np.full(len(v), -1)
    used = np.unique(faces[palm_face])
    palm_copy[used] = len(v) + np.arange(len(used))
    faces = faces.copy()
    faces[palm_face] = palm_copy[faces[palm_face]]
    source = np.concatenate([np.arange(len(v)), used])
    vv = v[source]
    u = (vv[:, 0] - CHART_X[0]) / (CHART_X[1] - CHART_X[0])
    w = (vv[:, 2] - CHART_Z[0]) / (CHART_Z[1] - CHART_Z[0]) * 0.5
    w[len(v) :] += 0.5
    keep = np.unique(faces)
    new = np.full(len(vv), -1)
    new[keep] = np.arange(len(keep))
    return vv[keep], new[faces], np.stack([u, w], 1)[keep], source[keep]

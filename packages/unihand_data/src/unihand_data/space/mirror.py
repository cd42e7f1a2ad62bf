"""Left-right mirroring of everything numeric in a row (CONTRACT section 2), as pure functions.

Two reflections are used: ``M_WORLD = diag(1, -1, 1)`` in the world (y left, z up, so gravity stays) and
``M_LOCAL = diag(-1, 1, 1)`` in a hand's or a camera's own frame (MANO's left model is the x-mirror of the right one; a
flipped picture negates the camera's x). A pose that leads from a local frame to the world becomes
``R' = M_WORLD R M_LOCAL``, ``p' = M_WORLD p``: a proper rotation, since both determinants are -1. A rotation *within*
the world (a displacement) becomes ``M R M``, whose rotvec is ``-M r``: (-x, y, -z).

A wrist pose therefore does not mirror by signs alone: ``M_WORLD R M_LOCAL = exp(-M_WORLD r) Rz(pi)``.

Every row's world has z up, x forward and y left, whatever gave its vertical (``world: gravity | table | base |
camera``), so rows need no choice. Values in *camera axes* (a hand track before it is placed in the world) are mirrored
with ``axes="camera"``: the picture's reflection stands on both sides there.

Mirroring twice is the identity (up to float rounding and the sign of an axis at an angle of exactly pi). Pixels are
flipped by whoever loads them; words are swapped by ``language.mirror_words``.

Legend: S active slots of a row, ``...`` leading axes, usually T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from unihand_data.space import rotations
from unihand_data.space.slots import GROUPS, N_SLOTS, SLOTS, check_slots

#: recorded in the provenance of a mirrored row; raise it when a rule here changes
MIRROR_VERSION = "left-right-v1"

VectorKind = Literal["state", "action"]
Axes = Literal["world", "camera"]

M_WORLD = np.diag([1.0, -1.0, 1.0])
M_LOCAL = np.diag([-1.0, 1.0, 1.0])


def _permutation() -> np.ndarray:
    out = np.arange(N_SLOTS)
    for right, left, n in ((0, 9, 9), (18, 19, 1), (20, 32, 12), (50, 57, 7), (90, 100, 10), (110, 155, 45)):
        out[right : right + n], out[left : left + n] = np.arange(left, left + n), np.arange(right, right + n)
    return out


#: slot i of a row moves to slot ``PERMUTATION[i]`` of its mirror
PERMUTATION: np.ndarray = _permutation()


@dataclass(frozen=True)
class MirrorRule:
    """What the slots themselves do not say about an embodiment's mirror.

    Attributes:
        eef_axis: axis of the end effector's own frame that is reflected (x for MANO hands); None: the pose cannot be
            mirrored.
        signs: sign per slot whose meaning does not fix it (arm joints, third and fourth torso joint).
        one_sided: whether a row with one side only may become a row of the other side (a hand may, a one-armed robot
            may not: its mirror does not exist).
    """

    eef_axis: Literal["x", "y", "z"] | None
    signs: Mapping[int, int] = field(default_factory=dict, hash=False)
    one_sided: bool = False


HUMAN = MirrorRule(eef_axis="x", one_sided=True)


class Row(NamedTuple):
    """``values`` (..., S), ``slots`` (S,) int16 strictly increasing, ``mask`` (..., S) bool."""

    values: np.ndarray
    slots: np.ndarray
    mask: np.ndarray


def reflection(axes: Axes) -> np.ndarray:
    """(3, 3) reflection of values in these axes."""
    if axes not in ("world", "camera"):
        raise ValueError(f"axes is world or camera, not {axes!r}")
    return M_LOCAL if axes == "camera" else M_WORLD


def mirror_slots(slots: Sequence[int] | np.ndarray) -> np.ndarray:
    """Slots (S,) of the mirrored row, int16, strictly increasing."""
    return np.sort(PERMUTATION[check_slots(slots)]).astype(np.int16)


def mirror_displacement_rotvecs(rotvec: np.ndarray, axes: Axes = "world") -> np.ndarray:
    """Rotvec (..., 3) of a rotation within the world: ``-M r``, that is (-x, y, -z) when y points left."""
    return -(np.asarray(rotvec, np.float64) @ reflection(axes))


def mirror_wrist_rotvecs(rotvec: np.ndarray, axes: Axes = "world", eef_axis: str = "x") -> np.ndarray:
    """Rotvec (..., 3) of a wrist or tool pose: log(M R M_tool), M_tool reflecting ``eef_axis`` of the tool's frame."""
    tool = np.diag([-1.0 if a == eef_axis else 1.0 for a in "xyz"])
    return rotations.log(reflection(axes) @ rotations.exp(rotvec) @ tool)


def mirror_theta(theta: np.ndarray) -> np.ndarray:
    """MANO or generic hand pose (..., 45), or any (..., 3 n) of local joint rotvecs: (x, -y, -z) per joint."""
    t = np.asarray(theta)
    return t * np.tile(np.array([1, -1, -1], t.dtype), t.shape[-1] // 3)


def mirror_poses(pose: np.ndarray, axes: Axes = "world") -> np.ndarray:
    """Camera-to-world poses (..., 4, 4): R' = M R M_LOCAL, p' = M p. Also ``raw_to_world`` of a mirrored raw frame."""
    t = np.array(pose, np.float64)
    m = reflection(axes)
    t[..., :3, :3] = m @ t[..., :3, :3] @ M_LOCAL
    t[..., :3, 3] = t[..., :3, 3] @ m
    return t


def mirror_matrix(K: np.ndarray, width: int) -> np.ndarray:
    """Intrinsic matrix (3, 3) of the flipped picture: cx' = W - 1 - cx, skew negated, focal lengths kept."""
    k = np.array(K, np.float64)
    k[0, 1], k[0, 2] = -k[0, 1], (width - 1) * k[2, 2] - k[0, 2]
    return k


def mirror_intrinsics(intrinsics: Sequence[float] | np.ndarray, width: int) -> np.ndarray:
    """(fx, fy, cx, cy) of the flipped picture."""
    fx, fy, cx, cy = np.asarray(intrinsics, np.float64)
    return np.array([fx, fy, width - 1 - cx, cy])


def mirror_distortion(model: str, coefficients: Sequence[float] | np.ndarray) -> np.ndarray:
    """Distortion of the flipped picture.

    ``radtan`` (k1, k2, p1, p2, k3, ...): p2, the tangential term along x, changes sign. ``kannala_brandt`` and ``none``
    are symmetric.

    Raises:
        ValueError: an unknown model, or more than eight radtan coefficients (thin prism, tilt).
    """
    d = np.array(coefficients, np.float64)
    if model == "radtan" and len(d) in (4, 5, 8):
        d[3] = -d[3]
    elif model not in ("none", "kannala_brandt"):
        raise ValueError(f"cannot mirror distortion {model!r} with {len(d)} coefficients")
    return d


def mirror_side(word: str) -> str:
    """``left`` and ``right`` swapped where they are a whole word of a name: wrist_left -> wrist_right; others stay."""
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(part, part) for part in word.split("_"))


def mirror_row(
    values: np.ndarray,
    slots: Sequence[int] | np.ndarray,
    mask: np.ndarray,
    kind: VectorKind,
    *,
    axes: Axes = "world",
    rule: MirrorRule | None = HUMAN,
) -> Row:
    """Mirror a sparse state or action row: sides swapped, signs applied, slots sorted anew.

    Values under a False mask are mirrored like the others (a recipe may allow them later), except for an EEF pose that
    is all zero and masked, which is the filler of an absent hand and stays zero.

    Args:
        values: (..., S) of the active ``slots`` (S,). mask: (..., S) bool.
        kind: EEF rotations are poses in the state and world rotations in the action.
        axes: of the values; rows are in world axes.
        rule: :data:`HUMAN`, or a robot's from its YAML (``Embodiment.mirror``); None refuses.

    Raises:
        ValueError: no rule, a slot without a sign, part of an EEF rotation, or a one-armed robot.
    """
    if rule is None:
        raise ValueError("this embodiment gives no mirror signs; its rows are not mirrored")
    if kind not in ("state", "action"):
        raise ValueError(f"kind is state or action, not {kind!r}")
    index = check_slots(slots)
    x = np.array(values, np.float64)
    m = np.broadcast_to(np.asarray(mask, bool), x.shape)
    if x.shape[-1] != len(index):
        raise ValueError(f"values have {x.shape[-1]} columns for {len(index)} slots")
    target = mirror_slots(index)
    if not rule.one_sided and not np.array_equal(target, index):
        raise ValueError("the mirror of this robot row lies on the other side of the body; a one-sided robot has none")

    column = {int(s): i for i, s in enumerate(index)}
    for s, i in column.items():
        slot = SLOTS[s]
        if slot.group.endswith(("_eef_position", "_eef_rotation")):
            continue
        sign = rule.signs.get(s, slot.mirror)
        if sign is None:
            raise ValueError(f"slot {s} ({slot.name}) has no mirror sign")
        x[..., i] *= sign
    for side in ("right", "left"):
        _mirror_eef(x, m, column, f"{side}_eef", kind, axes, rule)

    order = np.argsort(PERMUTATION[index])
    dtype = np.asarray(values).dtype
    out_dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    return Row(x[..., order].astype(out_dtype), target, np.ascontiguousarray(m[..., order]))


def _mirror_eef(
    x: np.ndarray, mask: np.ndarray, column: Mapping[int, int], eef: str, kind: str, axes: Axes, rule: MirrorRule
) -> None:
    """Mirror position and rotation of one end effector in place (columns stay; the caller moves them)."""
    signs = np.diag(reflection(axes))
    for k, s in enumerate(GROUPS[f"{eef}_position"].slots):
        if s in column:
            x[..., column[s]] *= signs[k]
    triple = [column[s] for s in GROUPS[f"{eef}_rotation"].slots if s in column]
    if not triple:
        return
    if len(triple) != 3:
        raise ValueError(f"{eef}_rotation has {len(triple)} of its 3 slots; a rotation is mirrored whole")
    if kind == "action":
        x[..., triple] = mirror_displacement_rotvecs(x[..., triple], axes)
        return
    if rule.eef_axis is None:
        raise ValueError(f"{eef}_rotation is a pose, and this embodiment does not say which tool axis is reflected")
    filler = ~np.any(mask[..., triple], axis=-1) & ~np.any(x[..., triple], axis=-1)
    mirrored = mirror_wrist_rotvecs(x[..., triple], axes, rule.eef_axis)
    x[..., triple] = np.where(np.expand_dims(filler, -1), 0.0, mirrored)


def mirror_vector(
    vector: np.ndarray,
    kind: VectorKind,
    mask: np.ndarray | None = None,
    *,
    axes: Axes = "world",
    rule: MirrorRule | None = HUMAN,
) -> np.ndarray:
    """Mirror the full vector (..., 200).

    ``mask`` (..., 200) says which slots are active; without it a slot is active where any row is not zero, and an EEF
    (six slots) is active as a whole, so that an identity pose beside a position is mirrored too.
    """
    v = np.asarray(vector)
    if v.shape[-1] != N_SLOTS:
        raise ValueError(f"the last axis has {N_SLOTS} slots, not {v.shape[-1]}")
    m = np.asarray(v != 0) if mask is None else np.broadcast_to(np.asarray(mask, bool), v.shape).copy()
    if mask is None:
        for start in (0, 9):
            m[..., start : start + 6] |= m[..., start : start + 6].any(-1, keepdims=True)
    active = np.flatnonzero((m | (v != 0)).reshape(-1, N_SLOTS).any(axis=0))
    row = mirror_row(v[..., active], active, m[..., active], kind, axes=axes, rule=rule)
    out = np.zeros(v.shape, row.values.dtype)
    out[..., row.slots] = row.values
    return out

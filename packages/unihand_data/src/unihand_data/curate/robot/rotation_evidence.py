"""Whether a declared rotation convention is the one the arm's joints turn by.

Reading a quaternion in the wrong component order is the same as inverting the rotation between two fixed frames
(a cyclic permutation is an isometry of determinant -1, so ``R' = A R^T B``): angular speeds stay what they were, and no
norm or speed test can see it. But the orientation of a serial arm is ``R = exp(a_1 q_1) ... exp(a_n q_n) R_0`` with
fixed axes ``a_i``, and the inverse of such a product turns by its joints in the other order. So axes and ``R_0`` are
fitted to the joints under every reading that is easily confused with the declared one, and the one that fits is true.

Legend: N steps of all episodes, n joints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from unihand_data.curate.robot.convert import raw_blocks
from unihand_data.curate.robot.derive import with_derived
from unihand_data.curate.robot.evidence import SIDES, CheckSettings, Finding
from unihand_data.errors import Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.space import rotations
from unihand_data.space.blocks import Block
from unihand_data.space.slots import GROUPS

#: an alternative must leave less than this share of the declared reading's misfit, and itself fit this well
BETTER, FITS = 0.4, 0.1
#: steps that are fitted, starts of the fit (it is not convex), and its steps
_STEPS, _STARTS, _ITERATIONS = 240, 16, 40
#: an arm whose hand turns less than this (rad, rms) tells nothing
_STILL_RAD = 0.05
_EULER = (("xyz", "extrinsic"), ("xyz", "intrinsic"), ("zyx", "extrinsic"), ("zyx", "intrinsic"))


def rotation_convention(spec: RobotSpec, episodes: Sequence[RobotEpisode], s: CheckSettings) -> list[Finding]:
    """One finding per side whose state has arm joints and a quaternion or Euler orientation."""
    out = []
    for side in SIDES:
        block = _rotation_block(spec, side)
        if block is None or not any(b.mapped and b.slots[0] in GROUPS[f"{side}_arm"].slots for b in _state(spec)):
            continue
        misfits = {name: _misfit(spec, form, side, episodes, s) for name, form in _readings(block)}
        declared = next(iter(misfits.values()))
        if declared is None:
            out.append(
                Finding("rotation_convention", "not_checked", f"{side}: joints and orientation hardly move together")
            )
            continue
        figures = {f"misfit_{name}": value for name, value in misfits.items() if value is not None}
        shown = ", ".join(f"{name} {value:.2f}" for name, value in misfits.items() if value is not None)
        text = f"{side} orientation against its joints, misfit of a serial chain (share of the turning): {shown}"
        name, best = min(((n, v) for n, v in misfits.items() if v is not None), key=lambda pair: pair[1])
        if best < FITS and best < BETTER * declared:
            out.append(
                Finding(
                    "rotation_convention",
                    "contradicts",
                    f"{text}; {name} fits, the declared {next(iter(misfits))} does not",
                    f"form of {block.name}",
                    figures,
                )
            )
        else:
            out.append(
                Finding("rotation_convention", "agrees" if declared < FITS else "not_checked", text, "", figures)
            )
    return out


def _state(spec: RobotSpec) -> tuple[Block, ...]:
    return spec.layout_of_rows.state


def _rotation_block(spec: RobotSpec, side: str) -> Block | None:
    slots = GROUPS[f"{side}_eef_rotation"].slots
    return next((b for b in _state(spec) if b.mapped and b.slots[0] in slots and b.nonlinear), None)


def _readings(block: Block) -> Iterator[tuple[str, Block]]:
    """The declared convention first, then what is easily confused with it."""
    if block.form.startswith("quaternion"):
        orders = [block.form, "quaternion_xyzw" if block.form.endswith("wxyz") else "quaternion_wxyz"]
        yield from ((order, replace(block, form=order)) for order in orders)  # type: ignore[arg-type]
    elif block.form == "euler":
        others = [e for e in _EULER if e != block.euler]
        yield from ((f"{e[1]} {e[0]}", replace(block, euler=e)) for e in (block.euler, *others))  # type: ignore[arg-type]
    else:
        yield block.form, block


def _misfit(
    spec: RobotSpec, reading: Block, side: str, episodes: Sequence[RobotEpisode], s: CheckSettings
) -> float | None:
    """Rms angle that the best chain leaves, over the rms angle between the orientations; None where nothing turns."""
    found = [got for e in episodes if (got := _joints_and_orientation(spec, reading, side, e, s)) is not None]
    if not found:
        return None
    q, r = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    pick = np.linspace(0, len(q) - 1, min(_STEPS, len(q))).round().astype(int)
    q, r = q[pick], r[pick]
    spread = _angles(r @ r[len(r) // 2].T)
    if len(q) < 5 * q.shape[1] or spread < _STILL_RAD:
        return None
    rng = np.random.default_rng(0)
    return min(fit_chain(q - q.mean(axis=0), r, rng) for _ in range(_STARTS)) / spread


def fit_chain(q: np.ndarray, r: np.ndarray, rng: np.random.Generator) -> float:
    """Rms angle (rad) left by ``exp(a_1 q_1) ... exp(a_n q_n) R_0`` fitted to rotations ``r`` (N, 3, 3) of joints ``q``
    (N, n), from one random start, by damped Gauss-Newton on turns of the axes and of ``R_0``."""
    n = q.shape[1]
    axes = rng.normal(size=(n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    base, damping = r[len(r) // 2], 1e-3
    jacobian, error = _linearised(q, r, axes, base)
    best = float(np.sqrt((error**2).sum(axis=1).mean()))
    for _ in range(_ITERATIONS):
        flat = jacobian.reshape(-1, jacobian.shape[-1])
        gram = flat.T @ flat
        step = np.linalg.solve(gram + damping * np.trace(gram) / len(gram) * np.eye(len(gram)), flat.T @ error.ravel())
        turned = np.einsum("nij,nj->ni", rotations.exp(step[:-3].reshape(n, 3)), axes)
        moved = rotations.exp(step[-3:]) @ base
        new_jacobian, new_error = _linearised(q, r, turned, moved)
        left = float(np.sqrt((new_error**2).sum(axis=1).mean()))
        if left < best:
            gain = best - left
            axes, base, jacobian, error, best, damping = turned, moved, new_jacobian, new_error, left, damping / 3
            if gain < 1e-5:
                break
        else:
            damping *= 4
            if damping > 1e3:
                break
    return best


def _linearised(q: np.ndarray, r: np.ndarray, axes: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative (N, 3, 3n + 3) of the chain's orientation, as a turn in the base frame, by small turns of the axes and
    of ``R_0``; and the turn (N, 3) that is missing. Turning ``a_i`` by d turns ``exp(a_i q_i) = E`` to
    ``exp(d) E exp(-d)``, which is ``P (1 - E) d`` in the base frame behind the joints ``P`` before it."""
    before = np.tile(np.eye(3), (len(q), 1, 1))
    parts = []
    for i in range(q.shape[1]):
        turn = rotations.exp(q[:, [i]] * axes[i])
        parts.append(before @ (np.eye(3) - turn))
        before = before @ turn
    parts.append(before)
    missing = rotations.log(r @ np.swapaxes(before @ base, -1, -2))
    return np.concatenate(parts, axis=2), missing


def _angles(r: np.ndarray) -> float:
    return float(np.sqrt((rotations.log(r) ** 2).sum(axis=-1).mean()))


def _joints_and_orientation(
    spec: RobotSpec, reading: Block, side: str, episode: RobotEpisode, s: CheckSettings
) -> tuple[np.ndarray, np.ndarray] | None:
    """Joints (N, n) rad and orientations (N, 3, 3) of an episode under one reading of its columns."""
    try:
        blocks = raw_blocks(with_derived(episode, spec, episode.item.uri), spec, "state", episode.item.uri)
        turn = reading.forward(np.asarray(blocks[reading.name][: s.steps], float))
    except (Reject, KeyError):
        return None
    arm = GROUPS[f"{side}_arm"].slots
    joints = {
        slot: values
        for b in _state(spec)
        if b.mapped and b.name in blocks and b.slots[0] in arm
        for slot, values in zip(b.slots, b.forward(np.asarray(blocks[b.name][: s.steps], float)).T)
    }
    if not joints:
        return None
    q = np.stack([joints[slot] for slot in sorted(joints)], axis=1)
    ok = np.isfinite(q).all(axis=1) & np.isfinite(turn).all(axis=1)
    return (q[ok], rotations.exp(turn[ok])) if ok.any() else None

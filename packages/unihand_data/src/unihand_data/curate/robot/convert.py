"""A raw robot episode becomes state and action in the slots (Phi_e, paper 5.1.1; docs/contract.md, sections 1 and 2).

    raw columns -> derived columns -> blocks of the data-set file -> slots -> actions by trust -> world

Actions: trusted commands are kept (deltas as they are, absolute Cartesian ones as ``c[t] - c[t-1]``); where the
data-set file says ``source: realised``, or has no command for something the state knows, the end effector's action is
the displacement of the state's poses and everything absolute is ``state[t+1]``. A command that was replaced goes to
``raw_extra``. Values are never scaled by statistics and never changed by a filter: masks say what not to use.

Legend: T steps, S active slots, n raw columns of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unihand_data.curate.robot.derive import with_derived
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.space import displacement, rotations
from unihand_data.space.embodiment import Embodiment, Unified, VectorKind
from unihand_data.space.slots import GROUPS, SLOTS

SIDES = ("right", "left")
#: state groups whose next value is an action where no command is trusted
_TARGETS = (
    "right_gripper", "left_gripper", "right_hand", "right_hand_extension", "left_hand", "left_hand_extension",
    "right_arm", "left_arm", "head", "waist", "lift", "torso", "neck",
)  # fmt: skip
#: a measured rate within this share of a stated one is that rate
SAME_RATE = 0.01
#: usual rates of controllers and cameras, Hz, and the NTSC ones beside them, which only a clock this exact tells apart
USUAL_HZ = (1.0, 2.0, 3.0, 5.0, 10.0, 12.5, 15.0, 20.0, 24.0, 25.0, 30.0, 50.0, 60.0, 80.0, 100.0, 120.0, 200.0)
NTSC_HZ, NTSC_EXACT = (24000 / 1001, 30000 / 1001, 60000 / 1001), 2e-4


@dataclass
class RobotMotion:
    """State and action of an episode in the row's world.

    Attributes:
        state, action: (T, S) float64 in slot units over ``state_slots`` / ``action_slots`` (int16, increasing).
        state_mask, action_mask: bool of the same shapes.
        times: (T,) float64 s, first is 0.
        rate_hz: true rate.
        action_source: slot group -> commanded | realised.
        raw_extra: what the slots cannot hold, keyed ``state.<block>``, ``action.<block>`` or ``derived.<feature>``.
        raw_to_world: (4, 4).
        figures: counts and numbers for ``quality``.
    """

    state: np.ndarray
    state_mask: np.ndarray
    state_slots: np.ndarray
    action: np.ndarray
    action_mask: np.ndarray
    action_slots: np.ndarray
    times: np.ndarray
    rate_hz: float
    action_source: dict[str, str]
    raw_extra: dict[str, np.ndarray]
    raw_to_world: np.ndarray
    figures: dict[str, float] = field(default_factory=dict)

    def state_of(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        return columns_of(self.state, self.state_mask, self.state_slots, group)

    def action_of(self, group: str) -> tuple[np.ndarray, np.ndarray] | None:
        return columns_of(self.action, self.action_mask, self.action_slots, group)


def columns_of(
    values: np.ndarray, mask: np.ndarray, slots: np.ndarray, group: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Values and mask (T, k) of a group's active slots, or None."""
    at = np.flatnonzero(np.isin(slots, GROUPS[group].slots))
    return (values[:, at], mask[:, at]) if len(at) else None


def raw_blocks(raw: dict[str, np.ndarray], spec: RobotSpec, kind: VectorKind, where: str) -> dict[str, np.ndarray]:
    """Block -> (T, n) as the data-set file takes them. Raises ``Reject``."""
    out = {}
    for take in spec.takes(kind):
        found = take.read(raw, where)
        if found is not None:
            out[take.block] = found
    return out


def convert(episode: RobotEpisode, spec: RobotSpec, stamped_hz: float | None = None) -> RobotMotion:
    """State, action and masks of an episode.

    Args:
        stamped_hz: rate that the container states for the data set (``Found.fps``).

    Raises:
        Reject: missing_field, wrong_type, bad_value, contradiction, too_short: named by file, block and mend.
    """
    where = episode.item.uri
    layout, raw = spec.layout_of_rows, with_derived(episode, spec, where)
    steps = episode.steps
    if steps < 2:
        raise Reject(Reason.TOO_SHORT, f"{where}: {steps} steps; an action needs two", frames=steps)
    times, rate, figures = clock(episode, spec, stamped_hz)
    blocks = raw_blocks(raw, spec, "state", where)
    state = _unified(layout, blocks, "state", where)
    dense, dense_ok = _dense(state, steps)
    action, action_ok, source, extra = _actions(layout, raw, spec, dense, dense_ok, where)
    extra = {**state.raw_extra, **_with_gaps("state", blocks), **extra}
    for rule in spec.derive:
        extra[f"derived.{rule.source}"] = np.asarray(raw[rule.source], np.float64)
    turn = np.eye(3) if spec.base_to_world is None else np.array(spec.base_to_world, float)
    _to_world(dense, action, turn)
    if spec.mask_first_actions:
        action_ok[: spec.mask_first_actions] = False
    if spec.mask_last_actions:
        action_ok[-spec.mask_last_actions :] = False
    gap = np.append(np.diff(times) > 1.5 / rate, False)  # what happened between is no single step
    action_ok[gap] = False
    for first, stop in episode.facts.get("invalid_steps", []):  # the data set itself calls them void
        dense_ok[first:stop] = action_ok[max(first - 1, 0) : stop] = False
    action_slots = np.array([s for s in range(200) if s in source], np.int16)
    groups = {SLOTS[s].group: kind for s, kind in source.items()}
    raw_to_world = np.eye(4)
    raw_to_world[:3, :3] = turn
    return RobotMotion(
        state=dense[:, state.slots],
        state_mask=dense_ok[:, state.slots],
        state_slots=state.slots,
        action=action[:, action_slots],
        action_mask=action_ok[:, action_slots],
        action_slots=action_slots,
        times=times,
        rate_hz=rate,
        action_source=groups,
        raw_extra=extra,
        raw_to_world=raw_to_world,
        figures={"gap_steps": float(gap.sum()), **figures},
    )


def clock(
    episode: RobotEpisode, spec: RobotSpec, stamped_hz: float | None = None
) -> tuple[np.ndarray, float, dict[str, float]]:
    """Times (T,) s, first 0, the true rate, and figures about it.

    Times are the data set's own clock, or steps of the rate where it has none (or where the YAML says that the stamp is
    wrong). The rate is the YAML's; else the container's stamp, where the clock's median interval agrees with it to
    within ``SAME_RATE``; else, without a stamp, the usual rate (``USUAL_HZ``) that the median is as near to; else the
    median itself. So all episodes of a set have one rate however their clocks jitter. Figures: ``measured_hz`` of the
    median interval, and ``rate_off``, its ratio to the rate less 1.

    Raises:
        Reject: MISSING_FIELD (neither), BAD_VALUE (a clock that does not advance), CONTRADICTION (a clock more than a
            fifth off the declared rate)."""
    where, declared = episode.item.uri, spec.rate_hz
    t = episode.timestamps
    if t is None or spec.paths.get("clock") == "declared":
        if (stated := declared or stamped_hz) is None:
            raise Reject(Reason.MISSING_FIELD, f"{where}: no timestamps, and {spec.name} declares no rate_hz")
        return np.arange(episode.steps) / stated, stated, {}
    t = np.asarray(t, np.float64)
    if t.shape != (episode.steps,) or not np.isfinite(t).all():
        raise Reject(Reason.BAD_VALUE, f"{where}: timestamps are {t.shape} for {episode.steps} steps, or not finite")
    gaps = np.diff(t)
    if (gaps <= 0).any():
        at = int(np.argmax(gaps <= 0))
        raise Reject(
            Reason.BAD_VALUE, f"{where}: timestamps do not advance at step {at + 1} ({t[at]} to {t[at + 1]} s)"
        )
    measured = 1.0 / float(np.median(gaps))
    if declared is not None and abs(measured / declared - 1) > 0.2:
        raise Reject(
            Reason.CONTRADICTION,
            f"{where}: the clock runs at {measured:.3g} Hz, {spec.name} declares {declared:g} Hz; mend rate_hz, or say "
            "paths: {clock: declared} where the stamp is known to be wrong",
        )
    rate = declared or _nominal(measured, stamped_hz)
    return t - t[0], rate, {"measured_hz": measured, "rate_off": measured / rate - 1}


def _nominal(measured: float, stamped_hz: float | None) -> float:
    """The rate that a measured one stands for."""

    def off(hz: float) -> float:
        return abs(measured / hz - 1)

    if stamped_hz is None and off(exact := min(NTSC_HZ, key=off)) <= NTSC_EXACT:
        return exact
    nearest = stamped_hz or min(USUAL_HZ, key=off)
    return nearest if off(nearest) <= SAME_RATE else measured


def _unified(layout: Embodiment, blocks: dict[str, np.ndarray], kind: VectorKind, where: str, **more: dict) -> Unified:
    try:
        return layout.to_unified(blocks, kind, **more)  # type: ignore[arg-type]
    except Reject as error:
        raise Reject(error.reason, f"{where}: {error.message}") from error


def _with_gaps(kind: VectorKind, blocks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Blocks that hold NaN, as they are: a stored row keeps zero under a mask, and a mask may have other reasons."""
    return {f"{kind}.{n}": b.astype(float) for n, b in blocks.items() if np.isnan(b.astype(float)).any()}


def _dense(part: Unified, steps: int) -> tuple[np.ndarray, np.ndarray]:
    values, mask = np.zeros((steps, 200)), np.zeros((steps, 200), bool)
    values[:, part.slots], mask[:, part.slots] = part.values, part.mask
    return values, mask


def _actions(
    layout: Embodiment,
    raw: dict[str, np.ndarray],
    spec: RobotSpec,
    state: np.ndarray,
    state_ok: np.ndarray,
    where: str,
) -> tuple[np.ndarray, np.ndarray, dict[int, str], dict[str, np.ndarray]]:
    """Dense action (T, 200), its mask, slot -> commanded | realised, and the raw_extra of the action."""
    steps = len(state)
    action, ok = np.zeros((steps, 200)), np.zeros((steps, 200), bool)
    source: dict[int, str] = {}
    extra: dict[str, np.ndarray] = {}
    if spec.action:
        blocks = raw_blocks(raw, spec, "action", where)
        # what the state does not know of its first pose is NaN, never 0: the first step from there is masked
        start = {side: np.where(state_ok[0, _eef(side)], state[0, _eef(side)], np.nan) for side in SIDES}
        commanded = _unified(layout, blocks, "action", where, start=start)
        action, ok = _dense(commanded, steps)
        extra.update(commanded.raw_extra)
        trust = {s: b.source for b in layout.action for s in b.slots}
        source = {int(s): "commanded" for s in commanded.slots if trust[int(s)] == "commanded"}
        extra.update(_with_gaps("action", blocks))
        for block in layout.action:
            if block.mapped and block.source == "realised" and block.name in blocks:
                extra[f"action.{block.name}"] = np.asarray(blocks[block.name], np.float64)
                action[:, list(block.slots)], ok[:, list(block.slots)] = 0.0, False
    for side in SIDES:
        slots = _eef(side)
        if any(s in source for s in slots) or not state_ok[:, slots[:3]].any():
            continue
        has_rotation = bool(state_ok[:, slots[3:]].any())
        rot = np.where(state_ok[:, slots[3:]], state[:, slots[3:]], np.nan) if has_rotation else np.zeros((steps, 3))
        d = displacement.displacements(np.where(state_ok[:, slots[:3]], state[:, slots[:3]], np.nan), rot)
        used = slots if has_rotation else slots[:3]
        action[:, used] = np.concatenate([d.pos, d.rot], axis=1)[:, : len(used)]
        ok[:, used] = d.mask[:, None]
        source.update(dict.fromkeys(used, "realised"))
    for group in _TARGETS:
        slots = [s for s in GROUPS[group].slots if state_ok[:, s].any() and s not in source]
        if not slots:
            continue
        action[:, slots], ok[:, slots] = displacement.next_targets(state[:, slots], state_ok[:, slots])
        source.update(dict.fromkeys(slots, "realised"))
    return action, ok, source, extra


def _eef(side: str) -> list[int]:
    return [*GROUPS[f"{side}_eef_position"].slots, *GROUPS[f"{side}_eef_rotation"].slots]


def _to_world(state: np.ndarray, action: np.ndarray, turn: np.ndarray) -> None:
    """Poses and displacements from the raw frame into the world, in place: ``p' = W p``, ``R' = W R``,
    ``d' = W d``, and a turn's axis likewise."""
    if np.array_equal(turn, np.eye(3)):
        return
    for side in SIDES:
        position, rotation = _eef(side)[:3], _eef(side)[3:]
        state[:, position] = state[:, position] @ turn.T
        state[:, rotation] = rotations.compose(rotations.log(turn), state[:, rotation])
        action[:, position] = action[:, position] @ turn.T
        action[:, rotation] = action[:, rotation] @ turn.T

"""Raw robot columns to slots and actions, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.derive import next_state, sticky
from unihand_data.curate.robot.invert import raw_columns
from unihand_data.curate.robot.rows import RobotClip, episode_id, language_rows, robot_episode
from unihand_data.curate.tasks import build_samples
from unihand_data.errors import Reason, Reject
from unihand_data.jobs.robot_config import RobotSettings
from unihand_data.shards import codec
from unihand_data.shards.tokens import TokenCounter
from unihand_data.space import displacement, rotations

TURNED = {"base_to_world": [[0, -1, 0], [1, 0, 0], [0, 0, 1]]}
ABSOLUTE = {
    "action": [
        {"name": "goal", "columns": 3, "slots": "right_eef_position", "unit": "m", "action": "absolute", "from": "goal",
         "take": [0, 3]},
        {"name": "goal_turn", "columns": 4, "slots": "right_eef_rotation", "form": "quaternion_xyzw",
         "action": "absolute", "from": "goal",
         "take": [3, 7]},
    ]
}  # fmt: skip


def row_of(episode, spec):
    motion = convert(episode, spec)
    texts = language_rows(episode, motion.times, motion.rate_hz)
    clip = RobotClip(
        episode_id(episode.content_id, spec, "v"), episode.content_id, spec.name, episode.item.uri, motion, texts, []
    )
    return robot_episode(clip, spec)


def stored(row):
    """The row as the table gives it back: float32."""
    return codec.episode_from_record(codec.episode_to_record(row))


@pytest.mark.parametrize(
    "changes",
    [{}, TURNED, {"action": []}, ABSOLUTE, {**ABSOLUTE, **TURNED}],
    ids=["plain", "turned world", "no commands", "absolute", "absolute, turned"],
)
def test_every_declared_column_comes_back_from_the_stored_row(arm, changes):
    spec, episode = arm.spec(**changes), arm.episode(7)
    if changes.get("action"):
        m = episode.columns
        episode.columns["goal"] = np.concatenate([m["pose"][1:], m["pose"][-1:]])
    row = stored(row_of(episode, spec))
    for kind in ("state", "action"):
        back = raw_columns(row, spec, kind)
        for take in spec.takes(kind):
            raw = take.read(episode.columns, "test")
            assert np.allclose(np.float32(back[take.block]), np.float32(raw), rtol=1e-6, atol=1e-6), take.block


def test_without_commands_the_action_is_what_was_realised(arm):
    spec, episode = arm.spec(action=[]), arm.episode(1)
    motion = convert(episode, spec)
    assert set(motion.action_source.values()) == {"realised"}
    d = displacement.displacements(
        episode.columns["pose"][:, :3], rotations.quat_to_rotvec(episode.columns["pose"][:, 3:], "xyzw")
    )
    shift, mask = motion.action_of("right_eef_position")
    assert np.allclose(shift[:-1], d.pos[:-1])
    assert not mask[-1].any()
    joints, _ = motion.action_of("right_arm")
    assert np.allclose(joints[:-1], episode.columns["joints"][1:])


def test_absolute_cartesian_commands_become_steps_from_the_first_pose(arm):
    spec, episode = arm.spec(**ABSOLUTE), arm.episode(2)
    pose = episode.columns["pose"]
    episode.columns["goal"] = np.concatenate([pose[1:], pose[-1:]])
    shift, _ = convert(episode, spec).action_of("right_eef_position")
    goals = episode.columns["goal"][:, :3]
    assert np.allclose(shift[0], goals[0] - pose[0, :3])
    assert np.allclose(shift[1:], np.diff(goals, axis=0))


def test_a_first_pose_that_is_not_known_masks_the_first_commanded_step_and_never_starts_at_0(arm):
    spec, episode = arm.spec(**ABSOLUTE), arm.episode(2)
    pose = episode.columns["pose"].copy()
    episode.columns["goal"] = np.concatenate([pose[1:], pose[-1:]])
    pose[0, 3:] = np.nan
    episode.columns["pose"] = pose
    motion = convert(episode, spec)
    assert motion.action_of("right_eef_position")[1].all()
    assert (~motion.action_of("right_eef_rotation")[1]).any(axis=1).nonzero()[0].tolist() == [0]
    back = raw_columns(stored(row_of(episode, spec)), spec, "action")
    assert np.allclose(back["goal_turn"], episode.columns["goal"][:, 3:], atol=1e-6)


def test_commands_of_a_robot_whose_state_has_no_pose_are_kept_as_steps(arm):
    state = [b for b in arm.spec().state if b["name"] not in ("position", "rotation")]
    spec, episode = arm.spec(**ABSOLUTE, state=state), arm.episode(2)
    episode.columns["goal"] = episode.columns["pose"]
    shift, known = convert(episode, spec).action_of("right_eef_position")
    assert not known[0].any()
    assert known[1:].all()
    assert np.allclose(shift[1:], np.diff(episode.columns["goal"][:, :3], axis=0))


def test_the_world_turns_poses_and_displacements_alike(arm):
    plain, turned = (convert(arm.episode(3), arm.spec(**c)) for c in ({}, TURNED))
    w = np.array(TURNED["base_to_world"], float)
    for of in ("state_of", "action_of"):
        a, b = getattr(plain, of)("right_eef_position")[0], getattr(turned, of)("right_eef_position")[0]
        assert np.allclose(a @ w.T, b)
    a, b = plain.state_of("right_eef_rotation")[0], turned.state_of("right_eef_rotation")[0]
    assert np.allclose(w @ rotations.exp(a), rotations.exp(b))
    assert np.allclose(turned.raw_to_world[:3, :3], w)


def test_declared_void_actions_are_masked_and_keep_their_values(arm):
    spec = arm.spec(mask_first_actions=2, mask_last_actions=3)
    full, masked = convert(arm.episode(1), arm.spec()), convert(arm.episode(1), spec)
    assert not masked.action_mask[:2].any()
    assert not masked.action_mask[-3:].any()
    assert np.array_equal(full.action, masked.action)


def test_sticky_commands_hold_what_was_decided_and_start_opposite_to_it():
    column = np.array([[0.0], [0], [1], [0], [-1], [0]])
    assert sticky(column).ravel().tolist() == [-1, -1, 1, 1, -1, -1]
    assert np.isnan(sticky(np.zeros((3, 1)))).all()
    with pytest.raises(Reject):
        sticky(np.array([[0.3], [1.0]]))


def test_sticky_commands_between_may_be_told_to_decide_by_their_sign():
    column = np.array([[0.04], [0.3], [-0.05], [-1.0], [0.0]])
    assert sticky(column, decides=0.1).ravel().tolist() == [-1, 1, 1, -1, -1]
    with pytest.raises(Reject):
        sticky(np.array([[0.3], [7.0]]), decides=0.1)


def test_a_copied_state_is_shifted_by_one_step():
    assert next_state(np.arange(3.0)[:, None]).ravel()[:2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e.columns.pop("gap"), Reason.MISSING_FIELD),
        (lambda e: e.columns.update(pose=e.columns["pose"][:, :5]), Reason.CONTRADICTION),
        (lambda e: e.columns["pose"].__setitem__((4, slice(3, 7)), 0.0), Reason.BAD_VALUE),
        (lambda e: e.columns["joints"].__setitem__((5, 0), np.inf), Reason.BAD_VALUE),
        (lambda e: e.timestamps.__setitem__(9, e.timestamps[8]), Reason.BAD_VALUE),
        (lambda e: e.timestamps.__imul__(2.0), Reason.CONTRADICTION),
    ],
    ids=["no feature", "too few columns", "zero quaternion", "infinite", "clock stands", "clock at half speed"],
)
def test_bad_numbers_are_rejected_by_name(arm, change, reason):
    episode = arm.episode(5)
    episode.timestamps = episode.timestamps.copy()
    episode.columns = {k: v.copy() for k, v in episode.columns.items()}
    change(episode)
    with pytest.raises(Reject) as error:
        convert(episode, arm.spec())
    assert error.value.reason == reason
    assert episode.item.uri in error.value.message


def test_words_of_all_levels_keep_their_spans(arm):
    rows = row_of(arm.episode(1), arm.spec()).language
    assert {r.level for r in rows} == {"task", "subtask"}
    task = next(r for r in rows if r.level == "task")
    assert (task.t0, task.t1) == (0.0, pytest.approx(6.0))
    subtasks = [r for r in rows if r.level == "subtask"]
    assert [a.t1 for a in subtasks[:-1]] == [b.t0 for b in subtasks[1:]]


def test_ids_hang_on_numbers_and_meaning_not_on_the_place(arm):
    spec, episode = arm.spec(), arm.episode(1)
    assert episode.content_id == arm.episode(1).content_id != arm.episode(2).content_id
    same = episode_id(episode.content_id, spec, "v")
    assert same == episode_id(episode.content_id, arm.spec(title="renamed", quirks=["x"]), "v")
    assert same != episode_id(episode.content_id, arm.spec(state_joints={"unit": "deg"}), "v")
    assert same != episode_id(episode.content_id, arm.spec(mask_last_actions=1), "v")
    assert same != episode_id(episode.content_id, spec, "w")


def test_a_step_over_a_gap_of_the_clock_is_no_action(arm):
    episode = arm.episode(3)
    episode.timestamps = episode.timestamps.copy()
    episode.timestamps[40:] += 5.0
    motion = convert(episode, arm.spec())
    assert (~motion.action_mask.any(axis=1)).nonzero()[0].tolist() == [39]
    assert motion.figures["gap_steps"] == 1


def test_a_quaternion_next_to_a_half_turn_comes_back_with_its_own_sign(arm):
    spec, episode = arm.spec(), arm.episode(3)
    angle = np.linspace(0, np.pi, episode.steps)
    episode.columns["pose"] = episode.columns["pose"].copy()
    episode.columns["pose"][:, 3:] = np.stack(
        [np.cos(angle), np.sin(angle), 1e-9 * np.ones_like(angle), 0 * angle], axis=1
    )
    back = raw_columns(stored(row_of(episode, spec)), spec, "state")["rotation"]
    assert np.allclose(np.float32(back), np.float32(episode.columns["pose"][:, 3:]), atol=1e-6)


def ticks(hz: float, steps: int = 120, jitter: float = 0.0) -> np.ndarray:
    return np.arange(steps) / hz + jitter * np.random.default_rng(0).uniform(-1, 1, steps)


@pytest.mark.parametrize(
    ("declared", "stamped", "measured", "rate"),
    [
        (20, None, 19.7, 20.0),  # the data-set file knows better
        (None, 30.0, 29.97, 30.0),
        (None, 30000 / 1001, 29.99, 30000 / 1001),
        (None, 30.0, 29.0, 29.0),  # not the stamp's: what was measured
        (None, None, 14.95, 15.0),
        (None, None, 10.08, 10.0),
        (None, None, 12.5, 12.5),
        (None, None, 30000 / 1001, 30000 / 1001),
        (None, None, 29.98, 30.0),
        (None, None, 17.3, 17.3),
    ],
)
def test_the_rate_is_the_stated_one_where_the_clock_agrees_with_it(arm, declared, stamped, measured, rate):
    episode = arm.episode(1)
    episode.timestamps = ticks(measured)
    motion = convert(episode, arm.spec(rate_hz=declared), stamped)
    assert motion.rate_hz == pytest.approx(rate, rel=1e-9)
    assert motion.figures["measured_hz"] == pytest.approx(measured)
    assert motion.figures["rate_off"] == pytest.approx(measured / rate - 1, abs=1e-9)
    assert np.allclose(motion.times, episode.timestamps), "times stay the data set's own"


def test_a_jittering_clock_has_the_rate_of_its_stamp(arm):
    episode = arm.episode(1)
    episode.timestamps = ticks(20.0, jitter=0.002) + 0.01
    assert convert(episode, arm.spec(rate_hz=None), 20.0).rate_hz == 20.0


def test_without_a_clock_the_stamp_is_the_rate(arm):
    episode = arm.episode(1)
    episode.timestamps = None
    assert convert(episode, arm.spec(rate_hz=None), 25.0).rate_hz == 25.0
    with pytest.raises(Reject):
        convert(episode, arm.spec(rate_hz=None))


def test_every_start_to_the_last_known_action_is_in_the_index(arm):
    settings = RobotSettings().tasks
    for actions in (arm.spec().action, []):
        row = row_of(arm.episode(1), arm.spec(action=actions))
        starts = [(s.start_frame, s.frames_available) for s in build_samples(row, settings, TokenCounter())]
        last = row.frames - 1 if actions else row.frames - 2  # the last realised step leads nowhere
        assert starts == [(t, row.frames - t) for t in range(last + 1)]

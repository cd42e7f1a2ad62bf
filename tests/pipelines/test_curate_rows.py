"""A curated clip as an episode row, its samples and its mirror twin: values worked out by hand from the contract."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.curate.hand_models import one_hand_model
from unihand_data.curate.human_rows import ACTION_SLOTS, BETA, EEF, STATE_SLOTS, THETA, human_episode
from unihand_data.curate.mirror_row import mirror_episode
from unihand_data.curate.motion_quality import MotionSettings
from unihand_data.curate.tasks import TaskSettings, build_samples
from unihand_data.language.templates import render
from unihand_data.shards.rows import LanguageRow, MediaRow
from unihand_data.shards.tokens import TokenCounter
from unihand_data.space.embodiment import load_embodiment
from unihand_data.space.slots import GROUPS
from unihand_data.values.camera import CameraTrack, Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack

T = 12
#: OpenCV camera axes (x right, y down, z forward) to a levelled world (x forward, y left, z up)
TO_WORLD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
START = np.array([0.1, 0.05, 0.5])  # m, camera frame
STEP = np.array([0.01, -0.02, 0.03])  # m per frame
TILT = Rotation.from_rotvec([0.4, -0.3, 0.2])
TURN = np.array([0.0, 0.0, 0.1])  # rad per frame about the camera's own forward axis
THETA_STEP = 0.05


def hand(side, **changes) -> HandTrack:
    t = np.arange(T)[:, None]
    track = HandTrack(
        side=side,
        wrist_pos=START + t * STEP,
        wrist_rot=np.stack([(Rotation.from_rotvec(i * TURN) * TILT).as_rotvec() for i in range(T)]),
        theta=np.tile(THETA_STEP * t, (1, 45)) + np.arange(45) / 100,
        beta=np.full(10, 0.5),
        keypoints=np.zeros((T, 21, 3)),
        keypoints_px=np.zeros((T, 21, 2)),
        confidence=np.full(T, 0.9),
        valid=np.ones(T, bool),
        interpolated=np.zeros(T, bool),
        hand_model="mano",
    )
    for name, value in changes.items():
        setattr(track, name, value)
    for name in ("wrist_pos", "wrist_rot", "theta"):
        getattr(track, name)[~track.valid] = np.nan
    return track


def still_camera(method="static") -> CameraTrack:
    return CameraTrack(np.tile(np.eye(4), (T, 1, 1)), np.ones(T, bool), method=method)


def clip_of(right: HandTrack | None, left: HandTrack | None = None, camera: CameraTrack | None = None) -> ClipState:
    clip = ClipState(
        clip_id="c1",
        origin=Origin("rec", "content", "video_folder", "/v/a.mp4", "wild", "cc0", True),
        clip=ClipRef(
            "/v/a.mp4", 7.0 + np.arange(T) / 10, 640, 480, intrinsics=Intrinsics(500, 500, 320, 240, 640, 480)
        ),
        fps=10.0,
    )
    clip.hands = HandResult(right=right or HandTrack.empty("right", T), left=left or HandTrack.empty("left", T))
    clip.camera = camera
    clip.media = MediaRow("m1", "video", 320, 240, T, "h264", 8, 0.0, "cc0", path="/w/c1.mp4")
    clip.language = [
        LanguageRow("instruction", 0.0, 0.6, "Move the right hand to the left.", "right", "motion_rules"),
        LanguageRow("intent", 0.0, 1.2, "Turn the knob clockwise.", "right", "motion_rules"),
    ]
    return clip


def row_of(*args, **kwargs):
    return human_episode(clip_of(*args, **kwargs), MotionSettings())


def dense(row, what):
    """(T, 200) values and mask."""
    values, mask = np.zeros((T, 200)), np.zeros((T, 200), bool)
    slots = getattr(row, f"{what}_slots")
    values[:, slots], mask[:, slots] = getattr(row, what), getattr(row, f"{what}_mask")
    return values, mask


def test_the_slots_are_those_of_the_space():
    for side in ("right", "left"):
        assert EEF[side] == GROUPS[f"{side}_eef_position"].start == GROUPS[f"{side}_eef_rotation"].start - 3
        assert BETA[side] == GROUPS[f"{side}_beta"].start
        assert THETA[side] == GROUPS[f"{side}_theta"].start
    both = [f"{s}_{g}" for s in ("right", "left") for g in ("eef_position", "eef_rotation", "theta")]
    actions = sorted(s for g in both for s in GROUPS[g].slots)
    states = sorted(actions + [s for g in ("right_beta", "left_beta") for s in GROUPS[g].slots])
    assert list(STATE_SLOTS) == states
    assert list(ACTION_SLOTS) == actions


def test_the_state_is_the_wrist_in_the_levelled_world_and_the_action_its_displacement():
    row = row_of(hand("right"), camera=still_camera())
    state, _ = dense(row, "state")
    action, _ = dense(row, "action")
    for t in range(T):
        assert state[t, 0:3] == pytest.approx(TO_WORLD @ (START + t * STEP), abs=1e-6)
        expected = TO_WORLD @ (Rotation.from_rotvec(t * TURN) * TILT).as_matrix()
        assert Rotation.from_rotvec(state[t, 3:6]).as_matrix() == pytest.approx(expected, abs=1e-6)
    # p[t+1] - p[t]: the camera's (x, y, z) step is the world's (z, -x, -y)
    assert action[: T - 1, 0:3] == pytest.approx(np.tile([0.03, -0.01, 0.02], (T - 1, 1)), abs=1e-6)
    # log(R[t+1] R[t]^T): a turn about the camera's forward axis is one about the world's x, whatever the hand's tilt
    assert action[: T - 1, 3:6] == pytest.approx(np.tile([0.1, 0.0, 0.0], (T - 1, 1)), abs=1e-6)
    assert row.timestamps == pytest.approx(np.arange(T) / 10)
    assert row.raw_to_world[:3, :3] == pytest.approx(TO_WORLD)


def test_theta_of_the_next_frame_is_the_target_and_beta_is_state_only():
    state, state_mask = dense(row := row_of(hand("right"), camera=still_camera()), "state")
    action, action_mask = dense(row, "action")
    assert state[:, 110:155] == pytest.approx(THETA_STEP * np.arange(T)[:, None] + np.arange(45) / 100, abs=1e-6)
    assert action[:-1, 110:155] == pytest.approx(state[1:, 110:155])
    assert state[:, 90:100] == pytest.approx(0.5)
    assert state_mask[:, 90:100].all()
    assert not action_mask[:, 90:110].any()


def test_beta_of_the_generic_skeleton_is_masked():
    _, mask = dense(row_of(hand("right", hand_model="generic_v1"), camera=still_camera()), "state")
    assert not mask[:, 90:100].any()
    assert mask[:, 110:155].all()


@pytest.mark.parametrize(("model", "name"), [("mano", "human_hands"), ("generic_v1", "human_hands_generic")])
def test_a_row_and_its_twin_are_of_the_embodiment_of_its_hands_model(model, name):
    for sides in ({"right": hand("right", hand_model=model)}, {"right": None, "left": hand("left", hand_model=model)}):
        row = row_of(**sides, camera=still_camera())
        assert {h.hand_model for h in row.hands} == {model}, "a side without a pose takes the other's model"
        for each in (row, mirror_episode(row)):
            assert (each.embodiment, each.embodiment_hash) == (name, load_embodiment(name).hash)
            assert load_embodiment(each.embodiment).hand_model == model
        assert row.origin == "real"


def test_where_the_sides_have_two_models_the_one_seen_less_is_left_out_and_said():
    few = np.arange(T) < 4
    right, left = hand("right", valid=few, hand_model="generic_v1"), hand("left")
    with pytest.raises(ValueError, match="two models"):
        row_of(right, left, camera=still_camera())
    for sides, kept in (((right, left), "left"), ((hand("right", hand_model="generic_v1"), left), "right")):
        settled, why = one_hand_model(HandResult(right=sides[0], left=sides[1]))
        assert {side: getattr(settled, side).valid.any() for side in ("left", "right")} == {
            side: side == kept for side in ("left", "right")
        }
        assert f"the {kept} one is" in why
        row = row_of(settled.right, settled.left, camera=still_camera())
        assert row.embodiment == ("human_hands" if kept == "left" else "human_hands_generic")
    same, why = one_hand_model(HandResult(right=hand("right"), left=left))
    assert (why, same.left.valid.all(), same.right.valid.all()) == ("", True, True)


def test_rows_of_rendered_clips_are_simulated_and_so_are_their_twins():
    clip = clip_of(hand("right"), camera=still_camera())
    clip.origin.origin = "sim"
    row = human_episode(clip, MotionSettings())
    assert (row.origin, mirror_episode(row).origin) == ("sim", "sim")


def test_the_last_step_is_masked_and_a_hand_that_is_not_there_is_masked_everywhere():
    row = row_of(hand("right"), camera=still_camera())
    _, state_mask = dense(row, "state")
    _, action_mask = dense(row, "action")
    assert state_mask[:, [*range(6), *range(110, 155)]].all()
    assert action_mask[:-1, [*range(6), *range(110, 155)]].all()
    assert not action_mask[-1].any()
    left = [*range(9, 15), *range(100, 110), *range(155, 200)]
    assert not state_mask[:, left].any()
    assert not action_mask[:, left].any()


def test_a_gap_masks_its_frames_and_every_step_that_touches_it():
    seen = np.ones(T, bool)
    seen[[4, 5]] = False
    row = row_of(hand("right", valid=seen), camera=still_camera())
    state, state_mask = dense(row, "state")
    action, action_mask = dense(row, "action")
    assert np.flatnonzero(~state_mask[:, 0]).tolist() == [4, 5]
    assert np.flatnonzero(~state_mask[:, 110]).tolist() == [4, 5]
    assert np.flatnonzero(~action_mask[:, 0]).tolist() == [3, 4, 5, T - 1]  # both ends of a step must be seen
    assert np.flatnonzero(~action_mask[:, 110]).tolist() == [3, 4, T - 1]  # a target needs the next frame alone
    assert np.isfinite(state).all()
    assert np.isfinite(action).all()


def test_a_filled_in_frame_has_values_and_is_masked():
    filled = np.zeros(T, bool)
    filled[6] = True
    row = row_of(hand("right", interpolated=filled), camera=still_camera())
    state, state_mask = dense(row, "state")
    action, action_mask = dense(row, "action")
    assert state[6, 0:3] == pytest.approx(TO_WORLD @ (START + 6 * STEP), abs=1e-6)
    assert action[5, 0:3] == pytest.approx([0.03, -0.01, 0.02], abs=1e-6)
    assert np.flatnonzero(~state_mask[:, 0]).tolist() == [6]
    assert np.flatnonzero(~action_mask[:, 0]).tolist() == [5, 6, T - 1]
    assert row.hands[0].interpolated.tolist() == filled.tolist()


def test_an_impossible_step_is_masked_and_its_value_kept():
    path = START + np.arange(T)[:, None] * STEP
    path[7:] += [0.0, 0.0, 0.5]  # 5 m/s and more in one step
    row = row_of(hand("right", wrist_pos=path), camera=still_camera())
    action, mask = dense(row, "action")
    assert np.flatnonzero(~mask[:, 0]).tolist() == [6, T - 1]
    assert action[6, 0:3] == pytest.approx([0.53, -0.01, 0.02], abs=1e-6)
    assert row.quality["outlier_steps"] == 1.0
    assert mask[6, 110:155].all(), "fingers do not pay for the wrist"


@pytest.mark.parametrize("camera", [None, still_camera("none")])
def test_an_unknown_camera_stores_the_wrist_in_the_camera_and_masks_it(camera):
    row = row_of(hand("right"), camera=camera)
    state, state_mask = dense(row, "state")
    _, action_mask = dense(row, "action")
    assert row.world == "camera"
    assert state[:, 0:3] == pytest.approx((START + np.arange(T)[:, None] * STEP) @ TO_WORLD.T, abs=1e-6)
    assert not state_mask[:, 0:6].any()
    assert not action_mask[:, 0:6].any()
    assert state_mask[:, 110:155].all()
    assert action_mask[:-1, 110:155].all()
    assert not row.cameras[0].pose_valid.any()


def test_a_scale_that_nobody_knows_masks_the_wrist_too():
    camera = still_camera("colmap")
    camera.metric = False
    _, mask = dense(row_of(hand("right"), camera=camera), "state")
    assert not mask[:, 0:6].any()
    assert mask[:, 110:155].all()


def test_a_hand_that_rests_in_the_world_does_not_move_under_a_moving_camera():
    place, pose = np.array([0.3, 0.2, 0.8]), np.tile(np.eye(4), (T, 1, 1))
    orientation = Rotation.from_rotvec([0.1, 0.7, -0.2])
    for t in range(T):
        pose[t, :3, :3] = Rotation.from_rotvec([0.0, 0.03 * t, 0.01 * t]).as_matrix()
        pose[t, :3, 3] = [0.02 * t, -0.01 * t, 0.005 * t]
    turn = Rotation.from_matrix(pose[:, :3, :3])
    right = hand(
        "right",
        wrist_pos=turn.inv().apply(place - pose[:, :3, 3]),
        wrist_rot=(turn.inv() * orientation).as_rotvec(),
    )
    row = row_of(right, camera=CameraTrack(pose, np.ones(T, bool), method="colmap"))
    action, mask = dense(row, "action")
    state, _ = dense(row, "state")
    assert mask[:-1, 0:6].all()
    assert action[:-1, 0:6] == pytest.approx(0.0, abs=1e-6)
    assert state[:, 0:3] == pytest.approx(np.tile(TO_WORLD @ place, (T, 1)), abs=1e-6)


def test_frames_whose_camera_is_lost_are_masked_with_their_steps():
    camera = still_camera("colmap")
    camera.valid[8] = False
    camera.pose[8] = np.nan
    row = row_of(hand("right"), camera=camera)
    _, state_mask = dense(row, "state")
    _, action_mask = dense(row, "action")
    assert np.flatnonzero(~state_mask[:, 0]).tolist() == [8]
    assert np.flatnonzero(~action_mask[:, 0]).tolist() == [7, 8, T - 1]


def test_intrinsics_are_those_of_the_stored_picture():
    camera = row_of(hand("right"), camera=still_camera()).cameras[0]
    assert (camera.width, camera.height) == (320, 240)
    # half size with pixel centres at integers: (c + 0.5) / 2 - 0.5
    assert camera.intrinsics == pytest.approx([250, 250, 159.75, 119.75])


# -- samples ---------------------------------------------------------------------------------------------------------


def starts(samples, task):
    return [s.start_frame for s in samples if s.task == task]


def test_every_start_with_an_action_is_a_sample_to_the_last():
    row = row_of(hand("right"), camera=still_camera())
    samples = build_samples(row, TaskSettings(), TokenCounter())  # 0.3 s are 3 frames at 10 Hz
    assert starts(samples, "motion_generation") == list(range(T - 1))  # the last frame has no action
    assert starts(samples, "motion_continuation") == list(range(3, T - 1))
    generation = [s for s in samples if s.task == "motion_generation"]
    assert [s.frames_available for s in generation] == [T - t for t in range(T - 1)]
    assert [s.history_available for s in generation] == list(range(T - 1))
    fewer = build_samples(row, TaskSettings(min_future_s=0.3), TokenCounter())
    assert starts(fewer, "motion_generation") == list(range(T - 2))
    described = [s for s in samples if s.task == "motion_description"]
    assert [(s.start_frame, s.frames_available, s.language_ref) for s in described] == [(0, 6, 0), (0, 12, 1)]
    assert len({s.sample_id for s in samples}) == len(samples)


def test_no_sample_starts_in_a_gap_and_no_continuation_reaches_over_one():
    seen = np.ones(T, bool)
    seen[[4, 5]] = False
    samples = build_samples(row_of(hand("right", valid=seen), camera=still_camera()), TaskSettings(), TokenCounter())
    # frame 3 has no action, 4 has no state, and theta's target makes 5 an action without a state
    assert starts(samples, "motion_generation") == [0, 1, 2, 6, 7, 8, 9, 10]
    assert starts(samples, "motion_continuation") == [8, 9, 10]  # active[5:8] and later; 5 has theta's target


def test_sample_ids_and_starts_do_not_hang_on_the_text():
    clip = clip_of(hand("right"), camera=still_camera())
    one = build_samples(human_episode(clip, MotionSettings()), TaskSettings(), TokenCounter())
    clip.language = [LanguageRow(x.level, x.t0, x.t1, "Other words.", x.hand, "gemini") for x in clip.language]
    other = build_samples(human_episode(clip, MotionSettings()), TaskSettings(), TokenCounter())
    assert [s.sample_id for s in one] == [s.sample_id for s in other]


def test_the_question_is_counted_as_it_is_rendered_and_without_placeholders():
    row = row_of(hand("right"), camera=still_camera())
    counter = TokenCounter()
    for sample in build_samples(row, TaskSettings(), counter):
        line = row.language[sample.language_ref]
        question, answer = render(sample.question_template_id, line.text, hand=line.hand)
        for placeholder in ("<vision>", "<state>", "<action>"):
            question, answer = question.replace(placeholder, ""), answer.replace(placeholder, "")
        assert (sample.tokens_text, sample.tokens_answer) == (counter.count(question), counter.count(answer))
        assert (sample.tokens_answer > 0) == (sample.task == "motion_description")


def test_a_sample_refers_to_a_sentence_that_covers_its_start():
    row = row_of(hand("right"), camera=still_camera())
    for sample in build_samples(row, TaskSettings(), TokenCounter()):
        text = row.language[sample.language_ref]
        assert text.t0 <= row.timestamps[sample.start_frame] < text.t1


# -- the twin --------------------------------------------------------------------------------------------------------


def test_the_twin_has_the_mirrored_numbers_on_the_other_side():
    row = row_of(hand("right"), camera=still_camera())
    state, state_mask = dense(row, "state")
    action, action_mask = dense(row, "action")
    twin = mirror_episode(row)
    other, other_mask = dense(twin, "state")
    moved, moved_mask = dense(twin, "action")
    assert other[:, 9:12] == pytest.approx(state[:, 0:3] * [1, -1, 1])
    m_y, m_x = np.diag([1.0, -1.0, 1.0]), np.diag([-1.0, 1.0, 1.0])
    for t in range(T):
        expected = m_y @ Rotation.from_rotvec(state[t, 3:6]).as_matrix() @ m_x
        assert Rotation.from_rotvec(other[t, 12:15]).as_matrix() == pytest.approx(expected, abs=1e-5)
    assert moved[:-1, 9:12] == pytest.approx(action[:-1, 0:3] * [1, -1, 1])
    assert moved[:-1, 12:15] == pytest.approx(action[:-1, 3:6] * [-1, 1, -1])
    signs = np.tile([1, -1, -1], 15)
    assert other[:, 155:200] == pytest.approx(state[:, 110:155] * signs)
    assert moved[:, 155:200] == pytest.approx(action[:, 110:155] * signs)
    assert other[:, 100:110] == pytest.approx(0.5)
    right, left = [*range(6), *range(90, 100), *range(110, 155)], [*range(9, 15), *range(100, 110), *range(155, 200)]
    assert np.array_equal(other_mask[:, left], state_mask[:, right])
    assert np.array_equal(moved_mask[:, left], action_mask[:, right])
    assert not other_mask[:, right].any()


def test_the_twin_swaps_hands_and_words_and_keeps_its_parent_and_split():
    row = row_of(hand("right"), camera=still_camera())
    twin = mirror_episode(row)
    assert twin.parent_id == row.episode_id != twin.episode_id
    assert twin.split == row.split
    assert [h.side for h in twin.hands] == ["right", "left"]
    assert twin.hands[1].valid.all()
    assert not twin.hands[0].valid.any()
    assert [(t.text, t.hand) for t in twin.language] == [
        ("Move the left hand to the right.", "left"),
        ("Turn the knob counterclockwise.", "left"),
    ]
    camera, parent = twin.cameras[0], row.cameras[0]
    assert camera.mirrored
    assert camera.media_id == parent.media_id
    assert camera.intrinsics == pytest.approx([250, 250, 319 - 159.75, 119.75])


def test_mirrored_twice_is_the_parent():
    row = row_of(hand("right"), hand("left", theta=np.random.default_rng(0).normal(0, 0.3, (T, 45))), still_camera())
    again = mirror_episode(mirror_episode(row))
    for name in ("state", "action", "raw_to_world"):
        assert getattr(again, name) == pytest.approx(getattr(row, name), abs=1e-6), name
    for name in ("state_mask", "action_mask", "state_slots", "action_slots"):
        assert np.array_equal(getattr(again, name), getattr(row, name)), name
    assert [(t.text, t.hand) for t in again.language] == [(t.text, t.hand) for t in row.language]
    assert again.cameras[0].intrinsics == pytest.approx(row.cameras[0].intrinsics)
    assert again.cameras[0].poses == pytest.approx(row.cameras[0].poses, abs=1e-6)
    assert again.parent_id == ""

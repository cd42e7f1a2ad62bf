"""Real bytes of published data sets (skipped where they are not at hand)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.sources.base import SourceOptions
from unihand_data.sources.registry import open_source
from unihand_data.untrusted.unpickle import safe_load

INSPECT = SourceOptions(require_video=False)


def test_a_plain_folder_with_one_video(samples):
    source = open_source(str(samples / "hawor_video"))
    (item,) = source.items()
    recording = source.open(item)
    assert source.dataset == "video_folder"
    assert source.ignored() == 1
    assert recording.video.endswith("video_0.mp4")
    assert recording.extra["bytes"] == 3950398


def test_epic_validation_table_has_9668_readable_rows(samples):
    source = open_source(str(samples / "epic_kitchens_100_annotations"), options=INSPECT)
    recordings = [source.open(i) for i in source.items()]
    assert len(recordings) == 138
    assert sum(len(r.narrations) for r in recordings) == 9668
    assert not [x for r in recordings for x in r.extra["rejects"]]
    first = next(r for r in recordings if r.extra["join"] == "P01_11").narrations[0]
    assert (first.text, first.t0, first.t1) == ("take plate", 0.0, 1.89)


def test_vitra_episode_is_a_right_hand_whose_finger_rotations_fit_its_joints(samples):
    source = open_source(str(samples / "vitra_annotation"), options=INSPECT)
    recording = source.open(next(iter(source.items())))
    left, right = recording.hands
    assert not left.valid.any()
    assert right.valid.sum() == 25
    assert [(n.text, n.hand) for n in recording.narrations] == [("Pick up the spray bottle.", "right")]
    # the rest direction of each first finger bone, undone by wrist and joint rotation, is one and the same vector
    wrist = Rotation.from_rotvec(right.wrist_rot)
    for joint, (a, b) in {0: (5, 6), 3: (9, 10), 6: (17, 18), 9: (13, 14), 12: (1, 2)}.items():
        bone = right.keypoints[:, b] - right.keypoints[:, a]
        bone /= np.linalg.norm(bone, axis=1, keepdims=True)
        local = Rotation.from_rotvec(right.theta[:, 3 * joint : 3 * joint + 3])
        assert (wrist * local).inv().apply(bone).std(0).max() < 1e-3


def test_aria_landmarks_have_hand_sized_bones(samples):
    source = open_source(str(samples / "aria_mps_sample"), options=INSPECT)
    (item,) = source.items()
    recording = source.open(item)
    assert item.uri.endswith("hand_tracking_results_v2.csv")
    for track in recording.hands:
        points = track.keypoints[track.valid]
        assert len(points) == 3
        for chain in ((5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20), (2, 3, 4)):
            lengths = np.linalg.norm(np.diff(points[:, chain], axis=1), axis=-1)
            assert lengths.min() > 0.015
            assert lengths.max() < 0.05
            assert lengths.std(0).max() < 1e-3


def test_a_simulator_observation_opens_through_the_allow_list(samples):
    data = safe_load(samples / "libero_observation_pkl" / "sample_libero_spatial_observation.pkl")
    assert data["state"].shape == (8,)
    assert data["full_image"].shape == (224, 224, 3)


@pytest.mark.parametrize("name", ["0001.npy", "0002.npy"])
def test_demo_hand_states_open_through_the_allow_list(samples, name):
    data = safe_load(samples / "vitra_annotation" / "examples" / name)
    assert data["right" if name == "0002.npy" else "left"][0]["hand_pose"].shape == (15, 3, 3)

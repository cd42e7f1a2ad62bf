"""Shared pieces of the demo's tests: the shipped truth, and results that are exactly it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from unihand_data.demo.truth import SIDES, load_truth
from unihand_data.shards.rows import CameraRow, EpisodeRow, HandRow
from unihand_data.values.camera import CameraTrack
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandTrack


@pytest.fixture(scope="session")
def truth():
    return load_truth()


@pytest.fixture
def perfect_result(truth):
    """An estimator's result that is the truth itself."""

    def track(s):
        n = len(truth)
        return HandTrack(
            side=SIDES[s],
            wrist_pos=truth.wrist_pos_cam[s].copy(),
            wrist_rot=Rotation.from_matrix(truth.wrist_rot_cam[s]).as_rotvec(),
            theta=truth.theta[s].copy(),
            beta=np.zeros(10),
            keypoints=truth.keypoints_cam[s].copy(),
            keypoints_px=truth.keypoints_px[s].copy(),
            confidence=np.ones(n),
            valid=np.ones(n, bool),
            interpolated=np.zeros(n, bool),
        )

    camera = CameraTrack(truth.camera.copy(), np.ones(len(truth), bool), world="gravity")
    return HandResult(right=track(0), left=track(1), camera=camera)


@pytest.fixture
def make_row(truth):
    """A shard row that holds the truth of frames ``first:last``, its world moved by ``world`` (4, 4)."""

    def make(first=0, last=None, world=np.eye(4)):  # noqa: B008
        cut = slice(first, last)
        n = len(truth.timestamps[cut])
        slots = np.concatenate([np.arange(0, 6), np.arange(9, 15), np.arange(110, 200)])
        full = np.zeros((n, 200))
        for s, (eef, theta) in enumerate(((0, 110), (9, 155))):
            full[:, eef : eef + 3] = truth.wrist_pos[s, cut] @ world[:3, :3].T + world[:3, 3]
            full[:, eef + 3 : eef + 6] = Rotation.from_matrix(world[:3, :3] @ truth.wrist_rot[s, cut]).as_rotvec()
            full[:, theta : theta + 45] = truth.theta[s, cut]
        state = full[:, slots].astype(np.float32)
        width, height = (int(v) for v in truth.size)
        return EpisodeRow(
            episode_id="e", recording_id="r", source="demo", source_uri="demo", embodiment="human_hands",
            embodiment_hash="", domain="human", origin="sim", setting="lab", split="train", rate_hz=30.0,
            timestamps=truth.timestamps[cut] - truth.timestamps[first], world="gravity", raw_to_world=np.eye(4),
            state_slots=slots.astype(np.int16), action_slots=slots.astype(np.int16), state=state,
            action=np.zeros_like(state),
            state_mask=np.ones(state.shape, bool), action_mask=np.ones(state.shape, bool), licence="", shareable=True,
            cameras=[CameraRow("ego", "", width, height, 30.0, poses=(world @ truth.camera[cut]).astype(np.float32))],
            hands=[
                HandRow(side, "generic_v1", "test", np.ones(n, np.float32), np.ones(n, bool), np.zeros(n, bool))
                for side in SIDES
            ],
        )  # fmt: skip

    return make

"""From a stored row back to the raw columns: the inverse of Phi_e for a data set's own layout.

``raw_columns(row, spec)`` equals what the reader gave, column by column, after a cast to float32.
"""

from __future__ import annotations

import numpy as np

from unihand_data.shards.rows import EpisodeRow
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.space import rotations
from unihand_data.space.embodiment import VectorKind
from unihand_data.space.slots import GROUPS

SIDES = ("right", "left")


def raw_columns(row: EpisodeRow, spec: RobotSpec, kind: VectorKind) -> dict[str, np.ndarray]:
    """Block -> (T, n) float64 raw values of every block the row has.

    A realised action is not what the file said: the command lies in ``raw_extra`` and comes from there.
    """
    values, slots = (row.state, row.state_slots) if kind == "state" else (row.action, row.action_slots)
    dense, ok = np.zeros((row.frames, 200)), np.zeros((row.frames, 200), bool)
    dense[:, slots], ok[:, slots] = values, True  # a mask that was set later does not hide what the file said
    first = np.zeros((1, 200))
    first[:, row.state_slots] = row.state[:1]
    back = row.raw_to_world[:3, :3].T
    if not np.array_equal(back, np.eye(3)):
        for side in SIDES:
            position = list(GROUPS[f"{side}_eef_position"].slots)
            rotation = list(GROUPS[f"{side}_eef_rotation"].slots)
            for block, is_pose in ((dense, kind == "state"), (first, True)):
                block[:, position] = block[:, position] @ back.T
                if is_pose:
                    block[:, rotation] = rotations.compose(rotations.log(back), block[:, rotation])
                else:
                    block[:, rotation] = block[:, rotation] @ back.T
    start = {
        side: first[0, [*GROUPS[f"{side}_eef_position"].slots, *GROUPS[f"{side}_eef_rotation"].slots]] for side in SIDES
    }
    layout = spec.layout_of_rows
    extra = {k: np.asarray(v, np.float64).reshape(row.frames, -1) for k, v in row.raw_extra.items()}
    return layout.from_unified(
        dense, np.arange(200), ok, extra, kind=kind, start=start if kind == "action" else None, as_dict=True
    )

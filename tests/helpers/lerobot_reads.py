"""Read an export with LeRobot's own loader; run with the Python of an environment that has lerobot.

python lerobot_reads.py EXPORT OUT.npz
"""

import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

data = LeRobotDataset("local/export", root=sys.argv[1], video_backend="pyav")
rows = [data[i] for i in range(len(data))]
np.savez(
    sys.argv[2],
    length=len(data),
    episodes=data.meta.total_episodes,
    fps=data.fps,
    state=np.stack([np.asarray(r["observation.state"]) for r in rows]),
    action=np.stack([np.asarray(r["action"]) for r in rows]),
    picture=np.asarray(rows[0]["observation.images.ego"]),
    sentences=np.array([r["task"] for r in rows]),
)

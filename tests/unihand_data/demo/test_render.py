"""Rendering itself, small and short; skipped where no headless OpenGL works."""

import os
import subprocess
import sys

import numpy as np
import pytest

from unihand_data.demo.truth import load_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_PROBE = """
import mujoco
m = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1"/></worldbody></mujoco>')
r = mujoco.Renderer(m, 16, 16); d = mujoco.MjData(m); mujoco.mj_forward(m, d); r.update_scene(d); r.render(); r.close()
print("rendered")
"""


@pytest.fixture(scope="module")
def headless_gl():
    """Environment in which MuJoCo renders; in a process of its own, since a failed driver may abort."""
    pytest.importorskip("mujoco")
    for backend in ("egl", "osmesa"):
        env = os.environ | {"MUJOCO_GL": backend}
        out = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, env=env, timeout=120)
        if "rendered" in out.stdout:
            return env
    pytest.skip("neither EGL nor OSMesa renders here")


def test_a_small_recording_shows_skin_where_the_truth_says_hands_are(headless_gl, tmp_path):
    av = pytest.importorskip("av")
    command = [
        sys.executable, "-m", "unihand_data.demo.render", str(tmp_path), "--seed", "7", "--scene-family", "lab",
        "--size", "240x180", "--duration", "0.2", "--grid-mm", "4", "--no-shadows", "--name", "small",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, env=headless_gl, timeout=300)
    truth = load_truth(tmp_path / "small_truth.npz")
    with av.open(str(tmp_path / "small.mp4")) as f:
        frames = [p.to_ndarray(format="rgb24") for p in f.decode(video=0)]
    assert len(frames) == len(truth) == 6
    assert truth.meta["seed"] == 7
    assert not list(tmp_path.glob(".*"))
    picture = frames[3].astype(float)
    redness = picture[..., 0] - picture[..., 2]
    for s in range(2):
        seen = np.rint(truth.keypoints_px[s, 3][truth.visible[s, 3]]).astype(int)
        assert len(seen) >= 5
        on_hand = redness[seen[:, 1], seen[:, 0]]
        assert np.median(on_hand) > np.median(redness) + 15

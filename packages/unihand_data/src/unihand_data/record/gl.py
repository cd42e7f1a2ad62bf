"""Headless OpenGL for MuJoCo: which backend renders on this machine, found out before a run and not in its middle."""

from __future__ import annotations

import os
import subprocess
import sys

BACKENDS = ("egl", "osmesa")

_PROBE = """
import mujoco
m = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1"/></worldbody></mujoco>')
r = mujoco.Renderer(m, 16, 16)
d = mujoco.MjData(m)
mujoco.mj_forward(m, d)
r.update_scene(d)
r.render()
r.close()
print("rendered")
"""


class NoHeadlessGL(RuntimeError):
    """No backend renders; the message says what each one answered and what to install."""


def choose_backend(wanted: str = "", timeout_s: float = 120.0) -> str:
    """The first of EGL and OSMesa that renders here, put into ``MUJOCO_GL`` for this process and its children.

    Each is tried in a process of its own: a broken driver may abort, and MuJoCo reads the variable at import.

    Args:
        wanted: only this backend; default ``MUJOCO_GL`` where it is set.

    Raises:
        NoHeadlessGL
    """
    wanted = wanted or os.environ.get("MUJOCO_GL", "")
    answers = []
    for backend in (wanted,) if wanted else BACKENDS:
        env = os.environ | {"MUJOCO_GL": backend}
        try:
            run = subprocess.run(
                [sys.executable, "-c", _PROBE], capture_output=True, text=True, env=env, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            answers.append(f"{backend}: no answer in {timeout_s:g} s")
            continue
        if "rendered" in run.stdout:
            os.environ["MUJOCO_GL"] = backend
            return backend
        last = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        answers.append(f"{backend}: {last[:160]}")
    raise NoHeadlessGL(
        f"MuJoCo cannot render without a screen here ({'; '.join(answers)}). Install libegl1 with a driver (NVIDIA's "
        "or Mesa's libgl1-mesa-dri) or libosmesa6, or name a backend that works in MUJOCO_GL"
    )

"""The room works with numpy, scipy and yaml alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "packages" / "unihand_data"

USE = """
from unihand_data.space import available, load_embodiment
import numpy as np
e = load_embodiment("d1")
u = e.to_unified(np.zeros((2, 14)), "state")
assert e.from_unified(*u, kind="state").shape == (2, 14) and len(available()) >= 15
"""

GUARD = """
import sys
import builtins
# already there: the interpreter's own
allowed = {"numpy", "scipy", "yaml", "_yaml", "unihand_data"} | set(sys.stdlib_module_names)
real = builtins.__import__
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    asker = (globals or {}).get("__name__", "")
    if level == 0 and asker.startswith("unihand_data"):
        if name.split(".")[0] not in allowed:
            raise ImportError(f"{asker} imports {name}")
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
"""


def test_space_imports_nothing_but_numpy_scipy_and_yaml():
    check = "\nours = {m for m in sys.modules if m.startswith('unihand_data')}\n" + (
        "own = ('unihand_data', 'unihand_data.errors', 'unihand_data.yaml_text')\n"
        "bad = {m for m in ours if m not in own and not m.startswith('unihand_data.space')}\n"
        "assert not bad, bad\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'pydantic', 'cv2', 'av', 'polars', 'lance', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", GUARD + USE + check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_package_core_installs_alone_in_a_bare_environment(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    install = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "20", str(source)],
        capture_output=True, text=True, cwd=tmp_path, env=env,
    )  # fmt: skip
    if install.returncode != 0 and any(
        word in install.stderr
        for word in ("No matching distribution", "Connection", "Max retries", "Temporary failure")
    ):
        pytest.skip("no package index is reachable")
    assert install.returncode == 0, install.stderr
    done = subprocess.run([python, "-c", USE], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, env=env)
    names = {line.split("==")[0].lower().replace("_", "-") for line in listed.stdout.splitlines()}
    assert names <= {"pip", "setuptools", "wheel", "numpy", "scipy", "pyyaml", "unihand-data"}

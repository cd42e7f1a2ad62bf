"""The runner of all tests: nothing is left out, and nothing can hang."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run_all(script):
    return script("tests/run_all.py")


def test_every_test_file_is_in_exactly_one_piece(run_all, tmp_path):
    named = (
        "test_top.py", "pipelines/test_job.py", "unihand_data/test_loose.py", "unihand_data/room/test_in.py",
        "unihand_data/room/deep/test_in.py", "infra/test_in.py", "parity/test_in.py",
    )  # fmt: skip
    for name in (*named, "helpers/tool.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [f for p in run_all.pieces(tmp_path) for f in ([p] if p.is_file() else p.rglob("test_*.py"))]
    assert sorted(found) == sorted(tmp_path / n for n in named)


def test_the_pieces_of_this_project_hold_all_of_its_test_files(run_all):
    found = [f for p in run_all.pieces() for f in ([p] if p.is_file() else p.rglob("test_*.py"))]
    assert sorted(found) == sorted((ROOT / "tests").rglob("test_*.py"))


HANGS = """
import subprocess, sys, time
def test_quick():
    pass
def test_that_hangs():
    own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open({pids!r}, "w").write(f"{{own.pid}} {{away.pid}}")
    time.sleep(600)
"""


def test_a_piece_that_hangs_is_killed_with_all_it_started_and_its_test_is_named(run_all, tmp_path, capsys):
    pids, piece = tmp_path / "pids", tmp_path / "test_piece.py"
    piece.write_text(HANGS.format(pids=str(pids)))
    assert not run_all.run(piece, ["-p", "no:timeout", "--rootdir", str(tmp_path), "-c", os.devnull], 6)
    said = capsys.readouterr().out
    assert "killed, it was still at" in said
    assert "test_that_hangs" in said.splitlines()[0]
    for pid in pids.read_text().split():
        for _ in range(100):
            if not running(pid):
                break
            time.sleep(0.05)
        assert not running(pid)


def running(pid: str) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_piece_after_the_end_of_the_whole_run_failed_and_says_so(run_all, tmp_path, capsys):
    assert not run_all.run(tmp_path / "test_piece.py", [], 0)
    assert "the time of the whole run is over" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "test"),
    [
        (["a.py::test_a PASSED [ 50%]", "a.py::test_b "], "a.py::test_b"),
        (["a.py::test_a[x y] PASSED [ 50%]"], "what follows a.py::test_a[x y]"),
        (["collecting ..."], "its start (imports and collection)"),
    ],
)
def test_the_test_at_work_is_the_last_that_began(run_all, lines, test):
    assert run_all.at_work(lines) == test


def test_one_test_that_hangs_ends_after_the_limit_of_the_settings(tmp_path):
    import tomllib

    limit = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["timeout"]
    assert 0 < limit <= 300
    (tmp_path / "test_it.py").write_text("import time\ndef test_it():\n    time.sleep(60)\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Timeout" in done.stdout

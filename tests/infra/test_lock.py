"""Installs resolve without a search: every package of the environment has one version in the constraints file."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "infra"))

import lock  # noqa: E402


def test_everything_that_the_workspace_brings_is_pinned():
    pins = lock.pinned((ROOT / "constraints.txt").read_text())
    brought = lock.wanted()
    assert {"numpy", "pytest", "huggingface-hub", "openapi-spec-validator"} <= brought.keys()
    missing = sorted(brought.keys() - pins.keys())
    assert not missing, f"pip would search for a release of {missing}: run `make lock`"


def test_a_pin_is_read_with_and_without_a_comment():
    assert lock.pinned("# words\nNumPy_x==1.2  # why\n\ntorch==2.13.0\n") == {"numpy-x": "1.2", "torch": "2.13.0"}


def test_arguments_are_read_before_anything_is_written(tmp_path, capsys):
    for arguments, code in ((["--help"], 0), (["--check"], 2), (["extra"], 2)):
        before = (ROOT / "constraints.txt").stat().st_mtime_ns
        with pytest.raises(SystemExit) as ended:
            lock.main(arguments)
        assert ended.value.code == code
        assert (ROOT / "constraints.txt").stat().st_mtime_ns == before
    (tmp_path / "pins.txt").write_text("numpy==1.0  # by hand\n")
    assert lock.main(["--file", str(tmp_path / "pins.txt")]) == 0
    pins = lock.pinned((tmp_path / "pins.txt").read_text())
    assert pins["numpy"] == "1.0"
    assert "pytest" in pins


@pytest.mark.parametrize("script", ["run.py", "space.py"])
def test_a_benchmark_says_what_it_does_and_refuses_what_it_does_not_know(script):
    command = [sys.executable, str(ROOT / "benchmarks" / script)]
    help_ = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert (help_.returncode, "usage" in help_.stdout) == (0, True), help_.stdout + help_.stderr
    assert subprocess.run([*command, "--no-such-option"], capture_output=True, check=False).returncode == 2

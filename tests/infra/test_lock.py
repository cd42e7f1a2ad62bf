"""Installs resolve without a search: every package of the environment has one version in the constraints file."""

import sys
from pathlib import Path

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

"""Recorded numbers of the released code are reproduced, with and without the prefix cache."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.samples import FOLDER

RECORDED = FOLDER.parent / "parity" / "being_h"
CASES = sorted(p.stem for p in RECORDED.glob("*.json") if not p.stem.startswith("tiny"))


@pytest.mark.skipif(not CASES, reason="no recorded cases beside the checkout")
@pytest.mark.parametrize("case", CASES or ["none"])
def test_a_recorded_case_is_reproduced_to_a_millionth(case):
    script = Path(__file__).with_name("replay.py")
    command = [sys.executable, script, "--weights", RECORDED, "--case-dir", RECORDED, "--case", case]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last) == {"case", "max_abs_diff", "cached_max_abs_diff"}
    assert (last["cached_max_abs_diff"] is None) == case.startswith("train")

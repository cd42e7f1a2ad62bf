"""The script for a GPU session runs on a CPU with the tiny preset: every branch but CUDA graphs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_model.py"


def run(*arguments):
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_dry_run_makes_every_line_and_states_what_it_did_not_run(tmp_path):
    where = tmp_path / "lines.json"
    # the code generator is what takes minutes; the capture of the layers runs
    code, said, wrong = run("--dry-run", "--backend", "aot_eager", "--steps", "4", "--json", str(where))
    assert code == 0, wrong
    lines = json.loads(where.read_text())["lines"]
    acting = {line["mode"]: line for line in lines if line["part"] == "acting" and line.get("refinements", 1)}
    assert acting["compiled"]["ran"] == "compiled"
    assert acting["compiled"]["apart"] < 1e-5
    assert acting["int8 compiled+graphed"]["ran"] == "eager"
    assert {mode for mode, line in acting.items() if "not_run" in line} == {"graphed", "compiled+graphed"}
    training = {line["attention"]: line for line in lines if line["part"] == "training"}
    assert training["sdpa"]["samples_per_s"] > 0
    assert "no backward on a CPU" in training["flex"]["note"]
    assert {line["attention"] for line in lines if line["part"] == "attention"} == {"flex", "sdpa", "documents"}
    assert not [line for line in lines if "failed" in line]
    assert "a dry run measures neither" in said


def test_without_a_gpu_nothing_is_run_in_its_place():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, wrong = run()
    assert code == 1
    assert "no CUDA device; --dry-run" in wrong

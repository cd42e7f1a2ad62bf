"""The model's benchmarks run at their smallest, so that a renamed setting breaks a test and not ``make bench``."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A benchmark by its name, as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))  # they import ``made_up`` beside them

    def load(name):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def lines(capsys):
    """The JSON lines that were printed."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def test_chunks_are_timed_and_compared(script, lines, capsys):
    benchmark = script("chunk_latency")
    assert benchmark.main(["--quick", "--repeats", "1"]) == 0
    (one,) = lines()
    assert set(one["ms"]) == {"cached", "static", "uncached", "released", "released + pictures"}
    assert one["largest_relative_difference"] < 1e-4
    assert benchmark.main(["--quick", "--repeats", "1", "--tolerance", "-1"]) == 1
    assert "-1 is allowed" in capsys.readouterr().err


def test_rows_are_packed(script, lines):
    script("packing").main(["--tokens", "2048", "--held", "0", "4", "--rows", "20"])
    none, some = lines()
    assert 0.5 < none["full"] <= some["full"] <= 1


@pytest.mark.parametrize(
    ("card", "best", "said"),
    [
        ("NVIDIA H200", 7.0, "reached"),
        ("NVIDIA H200", 9.0, "missed"),
        ("NVIDIA H200", None, "not judged, nothing ran"),
        ("NVIDIA H100 80GB HBM3", 7.0, "not judged on NVIDIA H100 80GB HBM3"),
    ],
)
def test_goals_are_judged_on_the_card_they_name(script, card, best, said):
    assert script("gpu_model").judged(best, best is not None and best <= 8, card) == said


def test_samples_are_loaded_from_shards(script, capsys):
    assert script("model_loader").main(["--quick"]) == 0
    said = capsys.readouterr().out
    assert "one by one" in said
    assert "0 workers" in said

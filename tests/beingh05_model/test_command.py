"""The command line: estimates that agree with published figures, and refusals in one sentence."""

import re

import pytest

from beingh05_model import cli
from beingh05_model.commands.overrides import overrides
from beingh05_model.network.config import FlowConfig
from beingh05_model.network.presets import internvl35
from beingh05_model.training import estimate


@pytest.mark.parametrize(
    ("steps", "refinements", "expected"),
    [
        (10, 0, {"H200": 3.1, "H100": 4.1, "A800": 8.5, "RTX 4090": 16.5, "Jetson Thor": 45.9, "Orin NX 16": 154}),
        (4, 0, {"H200": 2.0, "H100": 2.4, "A800": 5.8, "RTX 4090": 11.1, "Jetson Thor": 25.9, "Orin NX 16": 100}),
        (10, 1, {"H200": 5.0, "H100": 6.8, "A800": 13.0, "RTX 4090": 25.5, "Jetson Thor": 79.3, "Orin NX 16": 242}),
    ],
)
def test_the_least_time_of_a_chunk_is_the_roofline_worked_out_by_hand(steps, refinements, expected):
    """2B, three views, 258 prefix tokens; milliseconds computed independently from published sizes and bandwidths."""
    config = internvl35("2b", flow=FlowConfig(euler_steps=steps))
    for name, milliseconds in expected.items():
        seconds = estimate.least_chunk_seconds(config, estimate.DEVICES[name], 3, 60, refinements)
        assert seconds * 1000 == pytest.approx(milliseconds, rel=0.02), name


def test_zero_stages_divide_more_and_more():
    config = internvl35("2b")
    sizes = [estimate.training_bytes_per_rank(config, 8, stage) for stage in range(4)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / 1e9 == pytest.approx(44.7, abs=0.1)  # 16 bytes a parameter
    assert sizes[3] == pytest.approx(sizes[0] / 8)
    assert estimate.training_bytes_per_rank(config, 1, 3) == sizes[0]


def test_hours_follow_samples_and_utilisation():
    config, device = internvl35("2b"), estimate.DEVICES["H200"]
    one = estimate.gpu_hours(config, 1e6, device, 0.4)
    assert estimate.gpu_hours(config, 2e6, device, 0.2) == pytest.approx(4 * one)
    # 32 samples of two views are about 84 TFLOP forward and backward
    assert 32 * estimate.training_flops_per_sample(config, 2, 60) / 1e12 == pytest.approx(84, rel=0.15)


def test_estimate_prints_sizes_memory_and_devices(capsys):
    assert cli.main(["estimate", "being-h0.5-2b"]) == 0
    said = capsys.readouterr().out
    total, active = (
        float(number) for number in re.search(r": ([\d.]+) M parameters, ([\d.]+) M active", said).groups()
    )
    assert (total, active) == pytest.approx((3222.5, 2826.2), abs=0.2)
    for words in ("ZeRO 3", "Orin NX", "activations of a row of 7680 tokens", "with recomputation"):
        assert words in said


def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["estimate", "being-h9"]) == 2
    assert "there are internvl3.5-1b" in capsys.readouterr().err
    config = tmp_path / "a.yaml"
    config.write_text("steps: 3\noutput: x\nmodell: {}\n")
    assert cli.main(["train", str(config)]) == 2
    assert "modell" in capsys.readouterr().err
    assert cli.main(["train", str(tmp_path / "none.yaml")]) == 2


def test_what_cannot_be_read_or_set_is_named(tmp_path, capsys):
    config = tmp_path / "a.yaml"
    config.write_text("model: tiny\nsteps: 3\noutput: x\n")
    for words, said in (
        ([str(tmp_path / "none.yaml")], "none.yaml"),
        ([str(tmp_path)], "cannot be read"),
        ([str(config), "--set", "steps=[1"], "not valid YAML"),
        ([str(config), "--set", "steps.first=1"], "steps is 3 and has no fields"),
    ):
        assert cli.main(["train", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_preset_named_in_the_file_can_be_changed_in_part(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("model: tiny\nsteps: 3\n")
    assert overrides(["model.flow.chunk=8"], config) == {"model": {"preset": "tiny", "flow": {"chunk": 8}}}

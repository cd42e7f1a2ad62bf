"""Figures of a run: operations counted by hand, experts by embodiment, trackers only if asked for."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from beingh05_model.network.config import MofConfig
from beingh05_model.network.model import BeingH
from beingh05_model.sequence.collate import pack
from beingh05_model.training import figures, flops, lora, trackers
from beingh05_model.training.optimiser import freeze
from beingh05_model.training.settings import BudgetSettings, LoraSettings
from helpers.models import build, example, full, small, talk
from helpers.training_jobs import settings


def by_hand(und, act, pictures, documents, labels):
    """Operations of a forward pass of ``small()``, by part; ``documents`` are (understanding, action) tokens each."""
    view = 2 * 5 * 2 * (4 * 96**2 + 2 * 96 * 256) + 2 * 4 * 5**2 * 96  # 2 x 2 patches and a class token
    connector = 2 * (4 * 96 * 192 + 192 * 192)  # one token a view
    width = 4 * 2 * 4 * 32  # two layers of four heads of 32
    words = 2 * und * 2 * (192 * (2 * 128 + 2 * 64) + 3 * 192 * 512) + 2 * labels * 64 * 192
    steps = 2 * act * 2 * (128 * (2 * 128 + 2 * 64) + 3 * 128 * 384)
    own = sum(u * u for u, _ in documents) * width
    mixed = sum(a * (u + a) for u, a in documents) * width
    return {
        "vision": pictures * view,
        "connector": pictures * connector,
        "und": words + own,
        "act": steps,
        "mix": mixed,
    }


def counted(model):
    return flops.Flops(model.config, model).row(pack([example(seed=1), talk(2)], total=40))


def test_operations_of_a_row_are_those_worked_out_by_hand(tmp_path):
    """A sample with 9 tokens of each expert, a conversation of 12; padding costs nothing."""
    part = by_hand(und=21, act=9, pictures=2, documents=[(9, 9), (12, 0)], labels=4)
    model = build(small())
    assert counted(model) == pytest.approx(3 * sum(part.values()))
    freeze(model, settings(tmp_path, model=small(), freeze=("vision", "connector", "understanding")))
    frozen_words = part["vision"] + part["connector"] + part["und"] + 3 * part["act"] + 3 * part["mix"]
    assert counted(model) == pytest.approx(frozen_words)
    freeze(model, settings(tmp_path, model=small(), freeze=("understanding",)))
    assert counted(model) == pytest.approx(3 * sum(part.values()) - part["und"])


def test_low_rank_residuals_pass_the_gradient_alone(tmp_path):
    part = by_hand(und=21, act=9, pictures=2, documents=[(9, 9), (12, 0)], labels=4)
    chosen = LoraSettings(rank=1, alpha=1, targets=("understanding.attention", "action.attention"))
    model = build(small())
    lora.attach(model, chosen, 0)
    freeze(model, settings(tmp_path, model=small(), lora=chosen))
    expected = part["vision"] + part["connector"] + 2 * part["und"] + 2 * part["act"] + 3 * part["mix"]
    assert counted(model) == pytest.approx(expected)


def test_experts_are_counted_by_embodiment_over_all_ranks():
    model = BeingH(full(mof=MofConfig(experts=4, first_layer=1)))
    names = ["metaworld", "human_hands", "", "metaworld"]
    t = pack([example(seed=1), example("human_hands", seed=2), talk(3), example(seed=4)])
    with torch.no_grad():
        parts = model(t)
    use = figures.ExpertUse([1])
    use.see(t, names, parts)
    shares = use.shares([use.chosen, use.chosen])
    assert shares.keys() == {"metaworld", "human_hands"}
    chosen = parts.figures["expert_share"][0] > 0  # samples with a state, by number
    assert shares["human_hands"]["1"] == (chosen[1].float() / 2).tolist()
    assert shares["metaworld"]["1"] == pytest.approx(((chosen[0].float() + chosen[2].float()) / 4).tolist())


def test_a_peak_is_the_devices_or_the_one_that_is_set(monkeypatch):
    assert flops.peak_tflops(7.0, "fp32") == 7.0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, peak in (
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA A800-SXM4-80GB", 312),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        assert flops.peak_tflops(None, "bf16") == peak
        assert flops.peak_tflops(None, "fp32") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert flops.peak_tflops(None, "bf16") is None


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_tracker_whose_package_is_missing_is_refused_before_anything_is_built(tmp_path):
    trackers.check(settings(tmp_path))
    with pytest.raises(ValueError, match="pip install wandb"):
        trackers.check(settings(tmp_path, wandb={"project": "p"}))


def test_settings_without_effect_are_refused(tmp_path):
    with pytest.raises(ValueError, match="freeze_action_layers has no effect"):
        settings(tmp_path, freeze=("action",), freeze_action_layers=1)
    with pytest.raises(ValueError, match=r"loss\.motion has no effect"):
        settings(tmp_path, model=small(), loss={"motion": 0.5})
    with pytest.raises(ValueError, match="there are H200, H100"):
        BudgetSettings(device="H300", mfu=0.4, views=2, words=60)


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    closed, pipe = os.pipe()
    os.close(closed)
    done = subprocess.run(
        [sys.executable, "-m", "beingh05_model.cli", "estimate", "tiny"],
        stdout=pipe,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(pipe)
    assert (done.returncode, done.stderr.decode()) == (0, "")

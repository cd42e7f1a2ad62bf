"""Settings without effect are refused in one sentence; defaults, written out or not, pass."""

import pytest
from pydantic import ValidationError

from beingh05_model.interop import released
from beingh05_model.network.config import MofConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.presets import tiny
from beingh05_model.training.settings import OptimiserSettings, TrainSettings, over
from helpers.models import tiny_release

BASE = {"model": {"preset": "tiny-full"}, "data": {"recipe": "r"}, "output": "o", "steps": 10}


def model(**parts):
    return {"model": parts}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            model(mof={"balance": "none", "balance_weight": 0.1}),
            r"balance_weight has no effect: mof\.balance is none",
        ),
        (
            model(mof={"balance": "bias", "balance_weight": 0.1}),
            r"balance_weight has no effect: mof\.balance is bias",
        ),
        (model(mof={"bias_step": 0.1}), r"mof\.bias_step has no effect: mof\.balance is loss"),
        (model(mof={"first_layer": 99}), r"mof\.first_layer is 99 of 4 layers: no layer would be routed"),
        (model(mof={"first_layer": -1}), r"mof\.first_layer is -1 of 4 layers"),
        (model(mpg={"projections": 8}), r"mpg\.projections has no effect: mpg\.distance is closed_form"),
        (model(mpg={"strength": 0, "refinements": 3}), r"mpg\.refinements has no effect: a gate of strength 0"),
        (model(mpg={"strength": 0, "temperature": 2.0}), r"mpg\.temperature has no effect: a gate of strength 0"),
        ({"data": {"blind": True, "images": {"brightness": 0.5}}}, r"data\.images has no effect: a blind run"),
        ({"data": {"blind": True, "views": 1}}, r"data\.views has no effect: a blind run"),
        ({"optimiser": {"warmup": 11}}, r"optimiser\.warmup is 11 of 10 steps"),
        ({"start_drops": ["motion_tokens"]}, "start_drops has no effect"),
        ({"start": "s", "start_drops": ["motion_tokens"]}, "start_drops names motion_tokens, which the model has"),
        ({**model(motion_tokens=None), "loss": {"motion": 1.0}}, r"loss\.motion has no effect"),
    ],
)
def test_what_would_change_nothing_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        TrainSettings.model_validate(over(BASE, changes))


def test_defaults_that_are_written_out_pass():
    stored = TrainSettings.model_validate(over(BASE, {"data": {"blind": True}, **model(mof={"balance": "bias"})}))
    assert TrainSettings.model_validate(stored.model_dump(mode="json")) == stored
    for balance in ("none", "bias"):
        assert MofConfig(balance=balance, balance_weight=1e-2).balance == balance
    assert tiny(mpg=MpgConfig(distance="sliced", projections=8)).mpg.projections == 8
    assert tiny(mpg=MpgConfig(projections=8), compat=ReleaseCompat.released()).mpg.projections == 8


def test_a_released_gate_of_strength_zero_is_read():
    gate = released.from_release(tiny_release(mpg_lambda=0.0, mpg_gate_temperature=2.0)).mpg
    assert gate == MpgConfig(strength=0.0)


@pytest.mark.parametrize(("steps", "expected"), [(10, 0), (1000, 50), (60_000, 2000)])
def test_warm_up_is_five_per_cent_and_at_most_two_thousand_steps(steps, expected):
    assert OptimiserSettings().warmup_of(steps) == expected
    assert OptimiserSettings(warmup=3).warmup_of(steps) == 3

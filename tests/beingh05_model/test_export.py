"""Export: int8 weights within half a step, written and read bit for bit; the released layout where it has a place."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from beingh05_model import cli
from beingh05_model.commands import export
from beingh05_model.evaluation import checkpoints
from beingh05_model.inference.policy import Policy
from beingh05_model.interop import released
from beingh05_model.network.config import MofConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.int8 import Int8, Int8Linear, linear, quantise, to_int8
from beingh05_model.network.presets import everything, tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.training import checkpoint, run
from beingh05_model.training.settings import TrainSettings
from helpers.models import build, full
from unihand_data.space import load_embodiment

ROBOTS = ["--robots", "metaworld", "human_hands", "--observations", "2"]


def two_layers(**parts):
    config = tiny(vocab=400, image_size=28, **parts)
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"layers": 2})})


@pytest.fixture(scope="module")
def words():
    return tokenizer.small(["pick up the cup"])


@pytest.fixture(scope="module")
def own(tmp_path_factory, words):
    """A checkpoint of our own with everything on."""
    model = build(two_layers(**everything(codebook=16, motion_tokens=3)))
    where = tmp_path_factory.mktemp("own") / "step-1"
    checkpoint.save(where, model.config, model.state_dict(), words, {"system": "You act.", "recipe": "made"})
    return where


@pytest.fixture(scope="module")
def as_released(tmp_path_factory, words):
    """A checkpoint of our own whose model behaves as the release."""
    mpg = MpgConfig(strength=0.5)
    config = two_layers(mpg=mpg, physical_scale=False, compat=ReleaseCompat.released())
    vision = config.vision.model_copy(update={"stem": "patch"})
    model = build(config.model_copy(update={"vision": vision}))
    where = tmp_path_factory.mktemp("as") / "step-1"
    checkpoint.save(where, model.config, model.state_dict(), words, {"system": "You act."})
    return where


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 6), columns=st.integers(1, 40), size=st.floats(1e-6, 1e4), seed=st.integers(0, 99))
def test_no_weight_moves_by_more_than_half_a_step_of_its_channel(rows, columns, size, seed):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    weight[0, columns // 2 :] = 0
    small = quantise(weight)
    step = weight.abs().amax(-1, keepdim=True) / 127
    assert ((small.dequantised(torch.float64) - weight).abs() <= step.double() / 2 * (1 + 1e-5)).all()
    assert small.values.abs().max() <= 127
    again = quantise(small.dequantised(torch.float32))
    assert torch.equal(again.values, small.values)


def test_zeros_stay_zeros_and_what_is_not_finite_is_refused():
    small = quantise(torch.zeros(2, 3))
    assert not small.values.any()
    assert torch.isfinite(small.scale).all()
    with pytest.raises(ValueError, match="not finite"):
        quantise(torch.tensor([[1.0, float("nan")]]))


def test_the_product_is_that_of_the_dequantised_matrix():
    x, weight, bias = torch.randn(2, 3, 8), torch.randn(5, 8), torch.randn(5)
    small = quantise(weight)
    expected = torch.nn.functional.linear(x, small.dequantised(torch.float32), bias)
    torch.testing.assert_close(linear(x, small, bias), expected)
    assert linear(x.bfloat16(), small, bias.bfloat16()).dtype == torch.bfloat16


def test_experts_and_tower_become_int8_and_the_rest_stays():
    model = build(full())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    to_int8(model)
    small = {name for name, layer in model.named_modules() if isinstance(layer, Int8Linear)}
    layers = model.config.backbone.layers
    experts = model.config.mof.experts
    # und: q k v o and three; act the same, or three per routed expert in the upper half
    assert len(small) == layers * (7 + 4) + 3 * layers // 2 + 3 * experts * layers // 2 + 2 * 4 + 2
    after = model.state_dict()
    kept = [name for name in before if name.removesuffix(".weight") not in small]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    for name in small:
        values = Int8(after[f"{name}.values"], after[f"{name}.scale"]).dequantised(torch.float32)
        assert ((values - before[f"{name}.weight"]).abs() <= after[f"{name}.scale"][:, None] * 0.50001).all()
    scale = model.backbone.layers[0].und.q.scale.clone()
    assert torch.equal(model.bfloat16().backbone.layers[0].und.q.scale, scale)
    assert model.backbone.layers[0].und.q.values.dtype == torch.int8


def test_an_int8_checkpoint_is_written_compared_and_read_back_bit_for_bit(own, tmp_path, capsys):
    out = tmp_path / "int8"
    assert cli.main(["export", str(own), str(out), "--int8", *ROBOTS]) == 0
    said = capsys.readouterr().out
    assert "right_eef_position" in said
    assert "deg" in said
    first = checkpoint.load(out)
    assert first.about["weights"] == "int8"
    assert first.about["system"] == "You act."
    checkpoint.save(tmp_path / "again", first.model.config, first.model.state_dict(), first.tokenizer, first.about)
    a, b = (load_file(where / "model.safetensors") for where in (out, tmp_path / "again"))
    assert a.keys() == b.keys()
    assert all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)
    assert (out / "config.json").read_text() == (tmp_path / "again/config.json").read_text()
    original = load_file(own / "model.safetensors")
    moved = sum(original[n].numel() for n in original.keys() - a.keys())  # these were four bytes, and are one
    scales = sum(v.numel() * 4 for n, v in a.items() if n.endswith(".scale"))
    expected = export.size(own) - 3 * moved + scales
    assert export.size(out) == pytest.approx(expected, rel=0.02)


def test_chunks_of_int8_weights_are_close(own):
    """Against what the chunks differ by between two noises: the weights are random, so nothing is small by itself."""
    loaded = checkpoint.load(own)
    robot = load_embodiment("metaworld")
    seen = export.made_up(robot, 2)
    plain = Policy(loaded.model, loaded.tokenizer)
    before = plain.act(seen)
    small = Policy(to_int8(checkpoint.load(own).model), loaded.tokenizer)
    slots = robot.slots("action")
    error = np.abs(small.act(seen) - before)[..., slots].mean()
    spread = np.abs(before[..., slots]).mean()
    assert 0 < error < 0.02 * spread
    lines = export.difference(plain, small, robot, seen)
    assert {name for name, *_ in lines} >= {"right_eef_position", "right_gripper"}
    assert all(mean <= largest for _, _, mean, largest, _ in lines)
    assert all(mean == largest == 0 for _, _, mean, largest, _ in export.difference(plain, plain, robot, seen))


def test_int8_weights_do_not_learn_and_are_not_exported_again(own, tmp_path, capsys):
    out = tmp_path / "int8"
    assert cli.main(["export", str(own), str(out), "--int8", *ROBOTS]) == 0
    assert cli.main(["export", str(out), str(tmp_path / "b"), "--int8"]) == 2
    assert "int8 weights already" in capsys.readouterr().err
    config = checkpoint.load(own).model.config
    chosen = TrainSettings(
        model=config,
        data={"recipe": "none", "chunk": {"steps": config.flow.chunk}},
        output="x",
        steps=1,
        start=str(out),
    )
    with pytest.raises(ValueError, match="do not learn"):
        run._start(chosen)


def test_a_model_that_behaves_as_released_is_written_and_read_as_released(as_released, tmp_path, capsys):
    out = tmp_path / "released"
    assert cli.main(["export", str(as_released), str(out), "--released"]) == 0
    assert "metadata" in capsys.readouterr().out
    model, raw = released.load(out)
    loaded = checkpoint.load(as_released)
    assert model.config == loaded.model.config
    assert raw["system_message"] == "You act."
    ours, theirs = loaded.model.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    released.save(model, raw, tmp_path / "again")
    first, second = (load_file(p / "model.safetensors") for p in (out, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert tokenizer.load(out).encode("a cup") == loaded.tokenizer.encode("a cup")


def test_a_released_checkpoint_becomes_int8_and_keeps_its_prompts(as_released, tmp_path):
    source, out = tmp_path / "released", tmp_path / "int8"
    assert cli.main(["export", str(as_released), str(source), "--released"]) == 0
    (source / "libero_posttrain_metadata.json").write_text('{"a": 1}\n')
    (source / "tokenizer_config.json").write_text("{}")
    assert cli.main(["export", str(source), str(out), "--int8", "--robots", "metaworld", "--observations", "1"]) == 0
    a, b = checkpoints.load(source).policy, checkpoints.load(out).policy
    assert a.question == b.question
    assert a.question is not None
    assert a.serialiser.system == b.serialiser.system
    # and our layout without a change goes back to the same released one
    assert cli.main(["export", str(source), str(tmp_path / "plain")]) == 0
    assert cli.main(["export", str(tmp_path / "plain"), str(tmp_path / "back"), "--released"]) == 0
    assert json.loads((source / "config.json").read_text()) == json.loads((tmp_path / "back/config.json").read_text())
    # what stands beside a released checkpoint comes back as it was, from int8 weights' folder as well
    for name in ("libero_posttrain_metadata.json", "tokenizer_config.json", "tokenizer.json"):
        assert (tmp_path / "back" / name).read_bytes() == (source / name).read_bytes(), name
    assert (out / "libero_posttrain_metadata.json").read_text() == '{"a": 1}\n'


def test_what_the_released_layout_cannot_hold_or_would_run_differently_is_refused_by_name(
    own, as_released, tmp_path, capsys
):
    assert cli.main(["export", str(own), str(tmp_path / "a"), "--released"]) == 2
    said = capsys.readouterr().err
    assert "differently" in said
    assert "physical_scale is True" in said
    assert not (tmp_path / "a").exists()
    config = checkpoint.load(as_released).model.config
    for changes, name in (
        ({"mof": MofConfig()}, "mof"),
        ({"adapters": True}, "adapters"),
        ({"compat": config.compat.model_copy(update={"noise_per_round": False})}, "compat.noise_per_round"),
    ):
        with pytest.raises(released.CheckpointError, match=name):
            released.to_release(config.model_copy(update=changes))
    full_actions = config.model_copy(update={"compat": config.compat.model_copy(update={"causal_actions": False})})
    assert released.to_release(full_actions)["attn_mode"] == "causal_actionfull"
    used = tmp_path / "used"
    used.mkdir()
    (used / "x").touch()
    assert cli.main(["export", str(own), str(used)]) == 2
    assert "not empty" in capsys.readouterr().err

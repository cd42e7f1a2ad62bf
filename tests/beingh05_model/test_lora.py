"""Low-rank residuals: nothing at the start, nothing but them learns, merged they are the same model."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from beingh05_model.network.config import MofConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.sequence.collate import pack
from beingh05_model.training import checkpoint, lora
from beingh05_model.training.optimiser import freeze
from beingh05_model.training.settings import LoraSettings
from helpers.models import build, example, full, talk
from helpers.training_jobs import losses, run_all, settings

ALL = ("understanding.attention", "understanding.ffn", "action.attention", "action.ffn")


def config():
    return full(mof=MofConfig(experts=4, first_layer=1))


def wrapped(**changes):
    """The same model twice, one with residuals."""
    chosen = LoraSettings.model_validate({"rank": 3, "alpha": 6, "targets": ALL, **changes})
    plain, model = build(config()), build(config())
    return plain, model, lora.attach(model, chosen, seed=0), chosen


def tokens():
    return pack([example(seed=1), example("human_hands", seed=2, motion=True), talk(3)])


def total(model):
    parts = model(tokens())
    return parts.text + parts.flow + parts.motion + parts.routing


def test_residuals_change_nothing_at_the_start():
    plain, model, names, _ = wrapped()
    assert len(names) == 2 * 2 * 4 + 2 * 3 + 3 + 4 * 3  # attention, dense feed-forward, four experts
    assert torch.equal(total(plain), total(model))


def test_only_residuals_learn_and_all_of_them_do(tmp_path):
    _, model, names, chosen = wrapped()
    freeze(model, settings(tmp_path, model=config(), lora=chosen))
    for name in names:
        torch.nn.init.normal_(model.get_submodule(name).lora_up, std=0.1)
    total(model).backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None and not n.startswith("adapters.")}
    assert with_gradient == {f"{n}.{kind}" for n in names for kind in (lora.DOWN, lora.UP)}
    experts = [n for n in names if "experts" in n]
    moved = {n for n in names if model.get_submodule(n).lora_up.grad.any()}
    assert set(names) - moved <= set(experts) | {
        n for n in names if ".layers.1.und." in n
    }  # not chosen; not seen later


def test_a_merged_model_is_the_model_with_residuals():
    _, model, names, chosen = wrapped()
    for name in names:
        torch.nn.init.normal_(model.get_submodule(name).lora_up, std=0.1)
    dense = BeingH(config())
    dense.load_state_dict(lora.merged(model.state_dict(), chosen))
    with torch.no_grad():
        assert total(dense).item() == pytest.approx(total(model).item(), rel=1e-6)
    assert total(build(config())).item() != pytest.approx(total(model).item(), rel=1e-3)


def test_parts_named_to_learn_do_beside_the_residuals(tmp_path):
    _, model, _, chosen = wrapped(targets=("action.attention",), train=("heads", "connector"))
    freeze(model, settings(tmp_path, model=config(), lora=chosen))
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert "action_encoder.fc1.weight" in learning
    assert "connector.fc1.weight" in learning
    assert "text_head.weight" not in learning
    assert not any(n.startswith("vision.") for n in learning)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": ("attention",)}, "there are understanding.attention, understanding.ffn"),
        ({"targets": ()}, "at least 1"),
        ({"train": ("llm",)}, "no 'llm'"),
        ({"train": ("action",)}, "has residuals"),
    ],
)
def test_unknown_and_contradicting_names_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        LoraSettings.model_validate({"rank": 2, "alpha": 2, "targets": ("action.ffn",), **changes})


def test_freezing_beside_residuals_would_have_no_effect(tmp_path):
    with pytest.raises(ValueError, match="freeze has no effect with lora"):
        settings(tmp_path, freeze=("vision",), lora={"rank": 2, "alpha": 2, "targets": ["action.ffn"]})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_at_every_zero_stage_in_bf16_a_run_goes_on_bit_for_bit_and_its_checkpoints_are_merged(tmp_path):
    chosen = {"rank": 2, "alpha": 4, "dropout": 0.1, "targets": list(ALL)}
    draws = config().model_copy(update={"compat": ReleaseCompat(mpg_random_directions=True)})  # as dropout does
    changes = {"steps": 4, "save_every": 2, "model": draws, "lora": chosen, "precision": "bf16"}
    changes |= {"tensorboard": True, "peak_tflops": 0.01}
    every = [settings(tmp_path / str(stage), stage=stage, **changes) for stage in range(4)]
    whole = losses(run_all(every, tmp_path))
    for one in every:
        (tmp_path / str(one.stage) / "latest").write_text("step-0000002\n")
    assert losses(run_all(every, tmp_path, 1, "resume")) == [found[2:] for found in whole]
    for one in every:
        folder = tmp_path / str(one.stage) / "step-0000004"
        loaded = checkpoint.load(folder).model
        low = load_file(folder / lora.FILE)
        assert any(value.any() for name, value in low.items() if name.endswith(lora.UP))
        assert not any("lora" in name for name, _ in loaded.named_parameters())
        lines = [json.loads(line) for line in (tmp_path / str(one.stage) / "log.jsonl").read_text().splitlines()]
        # layer 1 is routed; two of four experts a sample
        assert lines[0]["experts"].keys() == {"human_hands", "metaworld"}
        for layers in lines[0]["experts"].values():
            assert sum(layers["1"]) == pytest.approx(1, abs=1e-3)
            assert max(layers["1"]) <= 0.5
        assert all(0 < line["mfu"] < 1 for line in lines)
        shown = EventAccumulator(str(tmp_path / str(one.stage) / "tensorboard")).Reload()
        assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3, 4]
        assert {"mfu", "samples/s", "forward_s", "experts/metaworld/layer_1/3"} <= set(shown.Tags()["scalars"])

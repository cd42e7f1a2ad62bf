"""Training runs: the same losses for every ZeRO stage, after a kill, and with another number of ranks."""

import json
import os
import random
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_tests
from hypothesis import strategies as st
from safetensors.torch import load_file

from beingh05_model.network.adapters import ADAPTER_GROUPS
from beingh05_model.network.config import MofConfig
from beingh05_model.network.model import BeingH
from beingh05_model.training import checkpoint
from beingh05_model.training.optimiser import freeze, frozen, groups, rate_at
from beingh05_model.training.rows import RowStream, StreamState
from beingh05_model.training.settings import DataSettings, OptimiserSettings, PackingSettings
from helpers.models import full
from helpers.training_jobs import losses, run_all, settings
from helpers.training_run import Made

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

# ---- rows ---------------------------------------------------------------------------------------------------------


def names(stream, count):
    return [[e.name for e in stream.next().examples] for _ in range(count)]


@settings_of_tests(max_examples=12)
@given(stop=st.integers(0, 7), held=st.integers(0, 3))
def test_a_stream_resumed_at_any_row_gives_the_same_rows(stop, held):
    packing = PackingSettings(rows=2, tokens=60, held=held)
    whole = names(RowStream(Made(), packing, 1, True), 8)
    stream = RowStream(Made(), packing, 1, True)
    first = names(stream, stop)
    again = RowStream(Made(), packing, 1, True, StreamState(**json.loads(json.dumps(stream.state.as_dict()))))
    assert first + names(again, 8 - stop) == whole


def test_streams_share_the_positions_and_repeat_none():
    packing = PackingSettings(rows=3, tokens=60, held=1)
    seen = [n for s in range(3) for row in names(RowStream(Made(), packing, s, True), 12) for n in row]
    assert len(seen) == len(set(seen))


def test_a_sample_that_is_too_long_is_skipped_and_counted():
    stream = RowStream(Made(), PackingSettings(rows=1, tokens=200, longest_sample=16), 0, True)
    row = stream.next()
    assert stream.state.skipped > 0
    assert all(e.name.isdigit() for e in row.examples)  # only conversations are that short


# ---- optimiser ----------------------------------------------------------------------------------------------------


def test_the_rate_warms_up_and_falls_along_half_a_cosine():
    chosen = OptimiserSettings(rate=1.0, last_rate=0.1, warmup=10)
    rates = [rate_at(s, 110, chosen) for s in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("group", ["vision", "connector", "understanding", "action"])
def test_a_frozen_group_is_exactly_its_parameters(group, tmp_path):
    chosen = settings(tmp_path, freeze=(group,))
    model = BeingH(chosen.model)
    freeze(model, chosen)
    still = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert still
    expected = {
        "vision": lambda n: n.startswith("vision."),
        "connector": lambda n: n.startswith("connector."),
        "understanding": lambda n: ".und." in n or "und_norm" in n or n.startswith(("text_head", "backbone.embed")),
        "action": lambda n: n.startswith("backbone") and (".act." in n or "act_norm" in n or ".router." in n),
    }[group]
    assert still == {n for n, _ in model.named_parameters() if expected(n)}


def test_the_first_action_layers_can_be_frozen(tmp_path):
    chosen = settings(tmp_path, freeze_action_layers=1)
    assert frozen("backbone.layers.0.act.q.weight", chosen)
    assert not frozen("backbone.layers.1.act.q.weight", chosen)
    assert not frozen("backbone.layers.0.und.q.weight", chosen)


def test_norms_biases_and_embeddings_do_not_decay():
    model = BeingH(full())
    decaying, still = groups(model, OptimiserSettings(decay=0.1))
    ids = {id(p) for p in still["params"]}
    for name, parameter in model.named_parameters():
        motion = ("motion_embed.weight", "motion_place.weight")
        table = name in ("vision.class_token", "vision.position", "delimiters.weight", *motion)
        plain = parameter.dim() < 2 or table or name in ("backbone.embed.weight",) or name.startswith("adapters.")
        assert (id(parameter) in ids) == plain, name
    assert decaying["weight_decay"] == 0.1
    assert still["weight_decay"] == 0.0


def test_settings_that_do_not_fit_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match="freeze: no 'llm'"):
        settings(tmp_path, freeze=("llm",))
    with pytest.raises(ValueError, match=r"chunk\.steps is 8"):
        settings(tmp_path, data=DataSettings(recipe="none", chunk={"steps": 8}))
    with pytest.raises(ValueError, match="extra"):
        settings(tmp_path, zero=3)


# ---- whole runs ---------------------------------------------------------------------------------------------------


STAGES = (0, 1, 2, 3)
STEPS = 4
#: where runs are killed; drawn anew for every session of tests
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))


def of_stages(folder):
    """Everything on: routed experts evened out by a bias, the gate, adapters, averages; at stage 2 with loader workers.

    At first one of the two streams has motion alone and the other conversations.
    """
    model = full(mof=MofConfig(experts=3, top_k=1, balance="bias"))
    return [
        settings(
            folder / str(stage), stage=stage, steps=STEPS, save_every=1, keep=STEPS, model=model,
            data=DataSettings(recipe="apart", chunk={"steps": 4}, workers=int(stage == 2)),
        )
        for stage in STAGES
    ]  # fmt: skip


@pytest.fixture(scope="module")
def kill():
    """A source of random steps; KILL_SEED repeats a session's."""
    print(f"KILL_SEED={SEED}")
    return random.Random(SEED)


def back(folder, where, kill):
    """Copies of whole runs as if they had been killed at a random step, another one at each stage; the steps."""
    steps = [kill.randrange(1, STEPS) for _ in STAGES]
    for stage, step in zip(STAGES, steps, strict=True):
        shutil.copytree(folder / str(stage), where / str(stage))
        (where / str(stage) / "latest").write_text(f"step-{step:07d}\n")
    print("killed after steps", steps)
    return of_stages(where), steps


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two ranks at every ZeRO stage; then one run that meets a number that is none."""
    folder = tmp_path_factory.mktemp("two")
    packing = PackingSettings(rows=2, tokens=120, held=1, longest_sample=20)
    data = DataSettings(recipe="broken", chunk={"steps": 4})
    broken = settings(folder / "broken", stage=2, save_every=1, packing=packing, data=data)
    return run_all([*of_stages(folder), broken], folder, 2), folder


@pytest.fixture(scope="module")
def of_two(two):
    return losses(two[0][:-1]), two[1]


@pytest.fixture(scope="module")
def of_one(tmp_path_factory, kill):
    """The same on one rank, killed at a random step before its checkpoint was written."""
    folder, step = tmp_path_factory.mktemp("one"), kill.randrange(2, STEPS + 1)
    print("killed at step", step)
    return losses(run_all(of_stages(folder), folder, 1, str(step))), folder, step


@pytest.mark.slow
def test_every_zero_stage_gives_the_same_losses(of_two):
    for found in of_two[0]:
        assert np.allclose(found, of_two[0][1], rtol=1e-5)


@pytest.mark.slow
def test_one_rank_sees_what_two_saw_though_each_had_other_kinds_of_samples(of_one, of_two):
    assert np.allclose(of_one[0], [whole[: of_one[2]] for whole in of_two[0]], rtol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_bit_for_bit_on_as_many_ranks(of_two, tmp_path, kill):
    every, steps = back(of_two[1], tmp_path, kill)
    found = run_all(every, tmp_path, 2, "resume")
    assert [one["step"] for one in found] == [STEPS] * len(STAGES)
    assert losses(found) == [whole[step:] for whole, step in zip(of_two[0], steps, strict=True)]


@pytest.mark.slow
def test_what_two_ranks_began_one_goes_on_with(of_two, tmp_path, kill):
    every, steps = back(of_two[1], tmp_path, kill)
    for found, whole, step in zip(losses(run_all(every, tmp_path, 1, "resume")), of_two[0], steps, strict=True):
        assert np.allclose(found, whole[step:], rtol=1e-3)
    averages = [checkpoint.load(place / f"0/step-{STEPS:07d}-ema").model for place in (tmp_path, of_two[1])]
    for one, other in zip(*(model.parameters() for model in averages), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_what_one_rank_began_two_go_on_with(of_one, of_two, tmp_path):
    found, step = losses(run_all(of_stages(of_one[1]), tmp_path, 2, "resume")), of_one[2]
    assert np.allclose(found, [whole[step - 1 :] for whole in of_two[0]], rtol=1e-3)


@pytest.mark.slow
def test_a_checkpoint_carries_what_it_was_made_from_and_loads(of_two):
    folder = of_two[1] / "1"
    name = (folder / "latest").read_text().strip()
    assert name == f"step-{STEPS:07d}"
    for ending in ("", "-ema"):
        loaded = checkpoint.load(folder / (name + ending))
        assert loaded.about["recipe"] == "made"
        assert loaded.about["step"] == STEPS
        assert loaded.about["settings"]["stage"] == 1
        assert loaded.model.backbone.layers[-1].router.bias.any()  # moved while the run went on
    assert sorted(p.name for p in (folder / "state").glob("step-*")) == [f"step-{s + 1:07d}" for s in range(STEPS)]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_an_averaged_checkpoint_averages_everything_slot_adapters_too(of_two, stage):
    folder = of_two[1] / str(stage)
    before, average, plain = (
        load_file(folder / f"step-{name}/model.safetensors") for name in ("0000003-ema", "0000004-ema", "0000004")
    )
    for name, value in average.items():
        still = name.endswith("router.bias")  # no parameter: it is as the last step left it
        assert torch.allclose(value, plain[name] if still else before[name].lerp(plain[name], 0.1), atol=1e-7), name
    moved = {name for name, value in average.items() if not torch.equal(value, plain[name])}
    assert {f"adapters.{part}.right_eef_position" for part in ("encode", "decode")} <= moved


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_log_has_means_over_samples_and_no_figure_of_what_a_step_did_not_hold(of_two):
    for stage, whole in zip(STAGES, of_two[0], strict=True):
        lines = log_of(of_two[1] / str(stage))
        assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
        assert {"flow", "text", "data_s", "forward_s", "backward_s", "update_s"} <= lines[0].keys()
        for line, loss in zip(lines, whole, strict=True):
            assert line["loss"] == pytest.approx(loss, rel=1e-6)
            parts = line["text"] + line["flow"] + 0.1 * line.get("motion", 0.0) + line["routing"]
            assert parts == pytest.approx(loss, rel=1e-6)  # rows without motion do not thin the flow's mean out


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_all_ranks_and_the_last_checkpoint_stays(two):
    said = two[0][-1]["errors"]
    assert said[0] == said[1]
    folder = two[1] / "broken"
    last = int((folder / "latest").read_text().strip().removeprefix("step-"))
    assert said[0].startswith(f"step {last + 1}: not finite: ")
    assert "flow nan" in said[0]
    assert all(value.isfinite().all() for value in load_file(folder / f"step-{last:07d}/model.safetensors").values())


@pytest.mark.slow
def test_samples_that_were_skipped_are_in_the_log(two):
    folder = two[1] / "broken"
    told = json.loads((folder / "state" / (folder / "latest").read_text().strip() / "state.json").read_text())
    skipped = sum(line["skipped"] for line in log_of(folder)[: told["step"]])
    assert skipped == sum(stream["skipped"] for stream in told["streams"].values()) > 0


@pytest.fixture(scope="module")
def all_then_one(tmp_path_factory):
    """Two steps on all embodiments, so that every group they have has moments; then two on one alone."""
    folder = tmp_path_factory.mktemp("adapters")
    data = DataSettings(recipe="one-robot", chunk={"steps": 4})
    changes = {"steps": 4, "save_every": 2, "model": full(mof=None, mpg=None), "data": data}
    run_all([settings(folder / str(s), stage=s, **changes) for s in STAGES], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_training_one_robot_leaves_the_adapters_of_others_bit_for_bit(all_then_one, stage):
    places = [all_then_one / str(stage) / f"state/step-000000{n}/adapters.pt" for n in (2, 4)]
    states = [torch.load(place, weights_only=True) for place in places]
    own = set(ADAPTER_GROUPS) & {"right_eef_position", "right_gripper"}
    moved = set()
    for name in ADAPTER_GROUPS:
        before, after = (s["groups"][name]["state"] for s in states)
        names = [f"adapters.{part}.{name}" for part in ("encode", "decode")]
        same = all(torch.equal(states[0]["adapters"][n], states[1]["adapters"][n]) for n in names)
        if name in own:
            assert not same
            continue
        assert same, name
        assert before.keys() == after.keys()
        for key in before:
            assert all(torch.equal(before[key][m], after[key][m]) for m in ("exp_avg", "exp_avg_sq", "step"))
            moved.add(bool(before[key]["exp_avg"].any()))
    assert True in moved  # some of those that stayed had moments


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="not found"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "beingh"}')
    with pytest.raises(checkpoint.CheckpointError, match="released checkpoint is read with"):
        checkpoint.load(tmp_path)

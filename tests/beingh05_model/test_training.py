"""Training runs: the same losses for every ZeRO stage, after a kill, and with another number of ranks."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_tests
from hypothesis import strategies as st

from beingh05_model.network.adapters import ADAPTER_GROUPS
from beingh05_model.network.config import MofConfig
from beingh05_model.network.model import BeingH
from beingh05_model.training import checkpoint
from beingh05_model.training.optimiser import freeze, frozen, groups, rate_at
from beingh05_model.training.rows import RowStream, StreamState
from beingh05_model.training.settings import DataSettings, OptimiserSettings, PackingSettings
from helpers.models import full
from helpers.training_jobs import losses, run, run_all, settings
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
        table = name in ("vision.class_token", "vision.position", "delimiters.weight", "motion_embed.weight")
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


def of_stages(folder):
    return [settings(folder / str(stage), stage=stage) for stage in STAGES]


def back_at_3(folder, where):
    """Copies of runs that saved at steps 3 and 6, as if they had been killed before the second time."""
    for stage in STAGES:
        shutil.copytree(folder / str(stage), where / str(stage))
        (where / str(stage) / "latest").write_text("step-0000003\n")
    return of_stages(where)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """Six steps on two ranks at every ZeRO stage."""
    folder = tmp_path_factory.mktemp("two")
    return losses(run_all(of_stages(folder), folder, 2)), folder


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    """The same on one rank, killed after four steps."""
    folder = tmp_path_factory.mktemp("one")
    return losses(run_all(of_stages(folder), folder, 1, "4")), folder


@pytest.mark.slow
def test_every_zero_stage_gives_the_same_losses(of_two):
    for found in of_two[0]:
        assert np.allclose(found, of_two[0][1], rtol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_bit_for_bit_on_as_many_ranks(of_two, tmp_path):
    stopped = settings(tmp_path / "o", stage=3)
    run(stopped, tmp_path, 2, "5")  # what came after the checkpoint at 3 is lost
    found = run_all([*back_at_3(of_two[1], tmp_path), stopped], tmp_path, 2, "resume")
    assert [one["step"] for one in found] == [6] * 5
    assert losses(found) == [whole[3:] for whole in (*of_two[0], of_two[0][3])]


@pytest.mark.slow
def test_what_two_ranks_began_one_goes_on_with(of_two, tmp_path):
    found = losses(run_all(back_at_3(of_two[1], tmp_path), tmp_path, 1, "resume"))
    assert np.allclose(found, [whole[3:] for whole in of_two[0]], rtol=1e-3)
    averages = [checkpoint.load(place / "0/step-0000006-ema").model for place in (tmp_path, of_two[1])]
    for one, other in zip(*(model.parameters() for model in averages), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_what_one_rank_began_two_go_on_with(of_one, of_two, tmp_path):
    found = losses(run_all(back_at_3(of_one[1], tmp_path), tmp_path, 2, "resume"))
    assert np.allclose(found, [whole[3:] for whole in of_two[0]], rtol=1e-3)


@pytest.mark.slow
def test_one_rank_sees_what_two_saw(of_one, of_two):
    assert np.allclose(of_one[0], [whole[:4] for whole in of_two[0]], rtol=1e-3)


@pytest.mark.slow
def test_a_checkpoint_carries_what_it_was_made_from_and_loads(of_two):
    folder = of_two[1] / "1"
    name = (folder / "latest").read_text().strip()
    assert name == "step-0000006"
    for ending in ("", "-ema"):
        loaded = checkpoint.load(folder / (name + ending))
        assert loaded.about["recipe"] == "made"
        assert loaded.about["step"] == 6
        assert loaded.about["settings"]["stage"] == 1
    plain, average = (checkpoint.load(folder / (name + e)).model for e in ("", "-ema"))
    moved = [not torch.equal(a, b) for a, b in zip(plain.parameters(), average.parameters(), strict=True)]
    assert any(moved)
    assert sorted(p.name for p in (folder / "state").glob("step-*")) == ["step-0000003", "step-0000006"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert {"loss", "flow", "text", "motion", "data_s", "forward_s", "backward_s", "update_s"} <= lines[0].keys()


@pytest.fixture(scope="module")
def all_then_one(tmp_path_factory):
    """Two steps on all embodiments, so that every group they have has moments; then two on one alone."""
    folder = tmp_path_factory.mktemp("adapters")
    model = full(mof=None, mpg=None)
    every = [settings(folder / str(s), stage=s, steps=4, save_every=2, model=model) for s in STAGES]
    run_all(every, folder, 1, "only-after-2")
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


@pytest.mark.slow
def test_biases_of_the_routers_move_while_a_run_goes_on_and_are_kept(tmp_path):
    model = full(mof=MofConfig(experts=3, top_k=1, balance="bias"), mpg=None)
    run(settings(tmp_path / "o", steps=2, save_every=2, model=model), tmp_path)
    loaded = checkpoint.load(tmp_path / "o/step-0000002").model
    assert loaded.backbone.layers[-1].router.bias.any()


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="not found"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "beingh"}')
    with pytest.raises(checkpoint.CheckpointError, match="released checkpoint is read with"):
        checkpoint.load(tmp_path)

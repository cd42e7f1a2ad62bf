"""Open loop and MWDS on shards whose motion is known, so that every figure can be computed by hand."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from beingh05_model.cli import main
from beingh05_model.evaluation import mwds as wrists
from beingh05_model.evaluation.checkpoints import RELEASED_QUESTION, load
from beingh05_model.evaluation.drawn import drawn
from beingh05_model.evaluation.errors import measures
from beingh05_model.evaluation.held_out import HeldOut, HeldOutSettings
from beingh05_model.evaluation.mwds import MwdsSettings, mwds, similarity
from beingh05_model.evaluation.open_loop import OpenLoopSettings, _measures, open_loop, table
from beingh05_model.inference.policy import Policy
from beingh05_model.interop import released
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.chunks import ChunkSettings
from beingh05_model.training import checkpoint
from helpers.models import tiny_release
from unihand_data.errors import DatasetRefused
from unihand_data.ids import make_id
from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import build
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards import staging, writer
from unihand_data.shards.rows import EpisodeRow, LanguageRow, SampleRow
from unihand_data.space import load_embodiment

ARM = np.array([0, 1, 2, 3, 4, 5, 18], np.int16)
HAND = np.array([0, 1, 2, 9, 10, 11, 110, 111, 112], np.int16)
STEPS = ChunkSettings(steps=8)


def episode(name, slots, action, state=None, *, frames=30, **changes):
    """An episode that does the same thing at every step; ``name`` makes it a recording of its own."""
    jitter = np.random.default_rng(int(make_id(name)[:8], 16)).normal(size=(frames, len(slots))) * 1e-7
    values = {
        "episode_id": make_id("e", name), "recording_id": name, "source": "arms", "source_uri": f"file:///{name}",
        "embodiment": "widowx", "embodiment_hash": "e", "domain": "robot", "origin": "real", "setting": "lab",
        "split": "test", "rate_hz": 20.0, "timestamps": np.arange(frames) / 20, "world": "base",
        "raw_to_world": np.eye(4), "state_slots": slots, "action_slots": slots,
        "state": np.repeat(np.array([action if state is None else state], np.float32), frames, 0),
        "action": (np.repeat(np.array([action]), frames, 0) + jitter).astype(np.float32),
        "state_mask": np.ones((frames, len(slots)), bool), "action_mask": np.ones((frames, len(slots)), bool),
        "licence": "CC0-1.0", "shareable": True, "language": [LanguageRow("task", 0.0, frames / 20, "lift it")],
    }  # fmt: skip
    return EpisodeRow(**values | changes)


def samples(row):
    return [
        SampleRow(
            make_id(row.episode_id, task, start), task, row.episode_id, start_frame=start,
            frames_available=row.frames - start, history_available=start, language_ref=0, split=row.split,
        )
        for start in range(row.frames - 1)
        for task in ("motion_generation", "motion_continuation")
    ]  # fmt: skip


def recipe(folder, *directories):
    """Shard directories of these rows, and a recipe of them."""
    inputs = []
    for number, rows in enumerate(directories):
        at = folder / f"shards{number}"
        staging.write_part(at / "staging", rows, [], [s for r in rows for s in samples(r)])
        writer.commit(at / "staging", at, content_hash="h", config={}, run_id="r", clean=True)
        inputs.append(str(at))
    made = build(inputs, folder / "recipe", RecipeSettings(caps={"simulated": None}), new_version=False)
    recipe_file.write(folder / "recipe", made, new_version=False)
    return str(folder / "recipe")


class Constant:
    """Does the same at every step; with ``noise`` it draws from the observation's own seed."""

    def __init__(self, slots, values, noise=0.0, steps=8):
        self.step, self.noise, self.steps, self.seen = np.zeros(200), noise, steps, []
        self.step[slots] = values

    def act(self, observations):
        self.seen += observations
        shake = [np.random.default_rng(o.seed).normal(size=(self.steps, 200)) for o in observations]
        return self.step + self.noise * np.stack(shake)


MOVE = [0.01, 0, 0, 0, 0, 0.02, 0.75]
AT = [0.3, 0.1, 0.2, 0, 0, 0, 0.25]


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Twelve held-out episodes that move 10 mm a step along x, training episodes that move 20 mm."""
    test = [episode(f"t{i}", ARM, MOVE, AT) for i in range(12)]
    test += [episode("v", ARM, MOVE, AT, split="val"), episode("twin", ARM, MOVE, AT, parent_id=test[0].episode_id)]
    train = [episode(f"a{i}", ARM, [0.02, 0, 0, 0, 0, 0.02, 0.75], AT, split="train") for i in range(3)]
    return recipe(tmp_path_factory.mktemp("arms"), test, train)


def judged(arms, policy, chunk=STEPS, **settings):
    asked = OpenLoopSettings.model_validate({"rows": {"recipe": arms, "starts": 3}, **settings})
    return open_loop(policy, chunk, 2, asked)["embodiments"]["widowx"]


def value(found, group, name):
    return found["groups"][group]["contenders"][name]["mean"]["value"]


def test_errors_are_what_a_ruler_and_a_protractor_say(arms):
    found = judged(arms, Constant(ARM, [0.013, 0.004, 0, 0, 0, 0.03, 0.6]))
    assert (found["episodes"], found["starts"]) == (12, 36)
    expected = {  # mm, degrees, 0..1: of the policy, standing still, going on, the mean of training rows
        "right_eef_position": (5, 10, 0, 10),
        "right_eef_rotation": (np.degrees(0.01), np.degrees(0.02), 0, 0),
        "right_gripper": (0.15, 0.5, 0, 0),
    }
    names = ("policy", "zero motion", "last motion", "mean of the recipe")
    for group, values in expected.items():
        for name, wanted in zip(names, values, strict=True):
            assert value(found, group, name) == pytest.approx(wanted, abs=1e-3), (group, name)
    path = found["groups"]["right_eef_position path"]["contenders"]["policy"]["by_step"]
    assert path == pytest.approx([5 * (t + 1) for t in range(8)], abs=1e-3)
    turned = found["groups"]["right_eef_rotation path"]["contenders"]["zero motion"]["by_step"]
    assert turned == pytest.approx([np.degrees(0.02) * (t + 1) for t in range(8)], abs=1e-3)
    assert [g["unit"] for g in found["groups"].values()] == ["mm", "mm", "deg", "deg", "0..1", "rad"]
    assert found["groups"]["right_arm"]["contenders"]["policy"] == {"mean": None, "cells": 0, "by_step": [None] * 8}


def test_the_difference_to_a_baseline_is_taken_start_by_start(arms):
    found = judged(arms, Constant(ARM, [0.013, 0.004, 0, 0, 0, 0.03, 0.6], noise=1e-4))
    minus = found["groups"]["right_eef_position"]["policy_minus"]["zero motion"]
    assert minus["value"] == pytest.approx(-5, abs=0.05)
    assert minus["high"] < -4.9
    assert minus["n"] == 12


def test_merged_steps_are_judged_as_long_as_they_last(arms):
    found = judged(arms, Constant(ARM, [0.01, 0, 0, 0, 0, 0.02, 0.75]), ChunkSettings(steps=8, rate_hz=10.0))
    assert value(found, "right_eef_position", "zero motion") == pytest.approx(20, abs=1e-3)
    assert value(found, "right_eef_position", "policy") == pytest.approx(10, abs=1e-3)
    assert value(found, "right_eef_position", "last motion") == pytest.approx(0, abs=1e-3)


def test_more_draws_are_other_noise_and_the_seed_repeats_them(arms):
    noisy = Constant(ARM, MOVE, noise=0.001)
    once, again, more, other = (
        value(
            judged(arms, noisy, rows={"recipe": arms, "episodes": 4, "starts": 1}, **o), "right_eef_position", "policy"
        )
        for o in ({}, {}, {"draws": 3, "batch": 3}, {"seed": 1})
    )
    assert once == again != other
    assert more != once
    rows = HeldOut(HeldOutSettings(recipe=arms))
    cases = next(rows.cases(STEPS, 0))
    chunks = drawn(noisy, cases, 3, 0)
    assert np.abs(chunks[:, 0] - chunks[:, 1]).max() > 1e-4
    assert np.array_equal(chunks[2:4], drawn(noisy, cases[2:4], 3, 0))  # not by its neighbours


def test_which_rows_are_judged_follows_their_ids_and_the_seed(arms):
    def starts(**settings):
        rows = HeldOut(HeldOutSettings(recipe=arms, **settings))
        return {c.sample_id: c.episode_id for batch in rows.cases(STEPS, 0, pictures=False) for c in batch}

    few = starts(episodes=5, starts=2)
    assert len(set(few.values())) == 5
    assert len(few) == 10
    assert few == starts(episodes=5, starts=2)
    assert few.keys() < starts(episodes=12, starts=4).keys()  # more of everything holds the fewer
    assert set(starts(episodes=5, starts=2, seed=1).values()) != set(few.values())
    assert len(set(starts(split="val").values())) == 1
    assert len(set(starts(twins=True).values())) == 13
    with pytest.raises(DatasetRefused, match="13 episodes of test, 3 episodes of train"):
        HeldOut(HeldOutSettings(recipe=arms, embodiments=["aloha"]))


def test_cells_that_are_not_known_do_not_count(tmp_path):
    one = episode("m", ARM, MOVE, AT)
    one.action[:, 0] = 9.0  # whatever stands in a masked cell
    one.action_mask[:, 0] = False
    one.action_mask[::2, ARM == 18] = False
    late = episode("short", ARM, MOVE, AT, frames=4)
    made = recipe(tmp_path, [one, late], [episode("other", ARM, MOVE, AT, split="train")])
    found = judged(made, Constant(ARM, [0.013, 0.004, 0, 0, 0, 0.02, 0.6]), rows={"recipe": made, "starts": 50})
    assert value(found, "right_eef_position", "policy") == pytest.approx(5, abs=1e-3)
    assert found["groups"]["right_eef_position"]["contenders"]["policy"]["cells"] == 4 + 3 + 2
    assert value(found, "right_gripper", "policy") == pytest.approx(0.15, abs=1e-3)
    last = found["groups"]["right_eef_position"]["contenders"]["last motion"]
    assert last["cells"] == 3 + 2  # nothing was done before the first frame
    assert found["groups"]["right_eef_position"]["contenders"]["policy"]["by_step"][4:] == [None] * 4


@given(st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=6, deadline=None)
def test_every_measure_is_zero_for_the_truth_and_blind_to_masked_cells(seed):
    draw = np.random.default_rng(seed)
    recorded, mask = draw.normal(size=(5, 200)) * 0.3, draw.random((5, 200)) < 0.8
    predicted = recorded + draw.normal(size=(5, 200)) * 0.2
    other = np.where(mask, predicted, draw.normal(size=(5, 200)))
    for name in ("human_hands", "galaxea_r1_lite", "wheeled_base", "robocasa_release"):
        for measure in _measures(name):
            right = measure(recorded, recorded, mask)
            assert np.allclose(right.error, 0, atol=1e-4), measure.name
            found = measure(predicted, recorded, mask)
            assert np.array_equal(found.on, right.on)
            assert (found.error >= 0).all()
            if not measure.path and measure.kind != "theta":
                assert np.allclose(measure(other, np.where(mask, recorded, 0), mask).error, found.error), measure.name


def test_measures_cover_every_action_slot_once():
    for name in ("human_hands", "g1_o6", "libero", "libero_release", "robocasa_release", "galaxea_r1_lite"):
        robot = load_embodiment(name)
        slots = [s for m in measures(robot) if not m.path for s in m.slots]
        assert sorted(slots) == sorted(robot.slots("action"))
    assert {m.unit for m in measures(load_embodiment("libero_release"))} == {"raw"}


def test_theta_is_the_mean_angle_of_the_joints():
    theta = next(m for m in measures(load_embodiment("human_hands")) if m.name == "right_theta")
    a, b = np.zeros((2, 200)), np.zeros((2, 200))
    a[0, 110:113] = Rotation.from_euler("z", 30, degrees=True).as_rotvec()
    mask = np.ones((2, 200), bool)
    mask[:, 119:155] = False  # three joints are known
    assert theta(a, b, mask).error == pytest.approx([10, 0])


# ---- MWDS ------------------------------------------------------------------------------------------------------------


def hand(name, right, left=(0, 0, 0), **changes):
    more = {"domain": "human", "embodiment": "human_hands", "source": "kitchen", "setting": "wild"}
    return episode(name, HAND, [*right, *left, 0, 0, 0], **{**more, **changes})


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    """Right wrists that move along x (lab) and at 60 degrees to it (wild); left ones rest."""
    lab = [hand(f"l{i}", [0.01, 0, 0], setting="lab", source="studio") for i in range(4)]
    sixty = [0.01 * np.cos(np.pi / 3), 0.01 * np.sin(np.pi / 3), 0]
    wild = [hand(f"w{i}", sixty) for i in range(5)]
    lost = hand("lost", sixty)
    lost.action_mask[:, :3] = False
    train = [hand("t", [0, 0, 0.01], split="train"), hand("u", [0, 0, 0.01], split="train", setting="lab")]
    robot = episode("arm", ARM, MOVE, AT)
    return recipe(tmp_path_factory.mktemp("hands"), [*lab, *wild, lost, robot], train)


def scored(hands, policy, **settings):
    asked = MwdsSettings.model_validate({"rows": {"recipe": hands, "starts": 2}, **settings})
    return mwds(policy, STEPS, 0, asked)["splits"]


def test_mwds_is_the_cosine_between_displacements_by_lab_and_wild(hands):
    found = scored(hands, Constant(HAND[:3], [0.004, 0, 0]))
    assert found["lab"]["mwds"]["policy"]["value"] == pytest.approx(1, abs=1e-4)
    assert found["wild"]["mwds"]["policy"]["value"] == pytest.approx(0.5, abs=1e-4)
    assert found["wild"]["mwds"]["last motion"]["value"] == pytest.approx(1, abs=1e-4)
    assert found["wild"]["mwds"]["mean of the recipe"]["value"] == pytest.approx(0, abs=1e-3)
    away = scored(hands, Constant(HAND[:3], [-0.004, 0, 0]))
    assert away["lab"]["mwds"]["policy"]["value"] == pytest.approx(-1, abs=1e-4)


def test_hands_that_rest_or_are_not_known_are_left_out_and_counted(hands):
    found = scored(hands, Constant(HAND[:3], [0.004, 0, 0]))["wild"]
    assert found["episodes"] == 6
    assert found["hands"] == 24
    assert found["left_out"] == {"displacement not known": 2, "moves less than 0.02 m": 12}
    assert found["mwds"]["policy"]["samples"] == 10
    assert found["mwds"]["policy"]["n"] == 5
    still = scored(hands, Constant(HAND[:3], [0, 0, 0]))["wild"]
    assert (still["mwds"]["policy"]["value"], still["predictions_without_motion"]) == (0.0, 10)
    strict = scored(hands, Constant(HAND[:3], [0.004, 0, 0]), least_m=0.09)["wild"]
    assert strict["mwds"] == {}


def test_settings_decide_what_the_paper_leaves_open(hands):
    moved = scored(hands, Constant(HAND[:3], [0.004, 0, 0]), groups={"kit*": "lab"})
    assert list(moved) == ["lab"]
    noisy = Constant(HAND[:3], [0.004, 0, 0], noise=0.01)
    each = scored(hands, noisy, draws=16)["lab"]["mwds"]["policy"]["value"]
    mean = scored(hands, noisy, draws=16, combine="mean")["lab"]["mwds"]["policy"]["value"]
    assert mean > each + 0.1  # the noise of single chunks is averaged away
    assert wrists.table({"steps": 8, "splits": scored(hands, noisy)})
    with pytest.raises(DatasetRefused, match="no human row"):
        scored(hands, noisy, groups={"kitchn": "lab"})
    with pytest.raises(ValueError, match="longer than the policy's chunk"):
        scored(hands, noisy, steps=9)


def test_similarity_ignores_lengths():
    assert similarity(np.array([3.0, 0, 0]), np.array([0.1, 0.1, 0])) == pytest.approx(np.sqrt(0.5))
    assert similarity(np.zeros(3), np.ones(3)) == 0


# ---- a checkpoint through the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    words = tokenizer.small(["lift it", "How should the hands move to do the following?"])
    config = tiny(vocab=len(words), image_size=28)
    small = config.backbone.model_copy(update={"layers": 2})
    config = config.model_copy(update={"backbone": small, "flow": config.flow.model_copy(update={"chunk": 8})})
    folder = tmp_path_factory.mktemp("ck")
    data = {"chunk": {"steps": 8, "rate_hz": 10.0}, "views": 1, "blind": True}
    about = {"step": 3, "system": None, "recipe": "r", "settings": {"data": data}}
    checkpoint.save(folder, config, dict(BeingH(config).state_dict()), words, about)
    return folder


def test_a_checkpoint_says_how_its_chunks_are_cut(saved):
    loaded = load(saved)
    assert (loaded.chunk, loaded.views) == (ChunkSettings(steps=8, rate_hz=10.0), 1)
    assert loaded.policy.blind
    assert (loaded.about["kind"], loaded.about["step"]) == ("own", 3)


def test_a_checkpoint_can_be_asked_in_the_words_it_was_trained_with(saved, arms):
    loaded = load(saved)
    asked = Policy(loaded.policy.model, loaded.policy.serialiser.tokenizer, question=RELEASED_QUESTION)
    rows = HeldOut(HeldOutSettings(recipe=arms, episodes=1, starts=1))
    case = next(rows.cases(STEPS, 0))[0]
    example = asked.example(case.observation, case.observation.instruction)
    words = next(s for s in example.segments if getattr(s, "instruction", False))
    said = asked.serialiser.tokenizer.decode(words.ids)
    assert said == "According to the instruction 'lift it', what's the micro-step actions in the next 8 steps?"


def test_a_released_checkpoint_is_asked_as_the_release_asks(arms, tmp_path):
    words = tokenizer.small(["lift it"], 400)
    raw = tiny_release(chunk=8, vocab=len(words), template="being_h0", use_mpg=False)
    released.save(BeingH(released.from_release(raw)), raw, tmp_path)
    words.save(tmp_path / "tokenizer.json")
    loaded = load(tmp_path)
    assert (loaded.about["kind"], loaded.policy.question, loaded.chunk.steps) == ("released", RELEASED_QUESTION, 8)
    assert loaded.policy.serialiser.system.startswith("You are Being-H0")
    found = judged(arms, loaded.policy, loaded.chunk, rows={"recipe": arms, "episodes": 2, "starts": 1})
    assert np.isfinite(value(found, "right_eef_position", "policy"))
    (tmp_path / "config.json").write_text(json.dumps({**raw, "template": "chatty"}))
    with pytest.raises(released.CheckpointError, match="chatty"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["open-loop", "mwds"])
def test_the_command_prints_a_table_and_writes_the_report(kind, saved, arms, hands, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(f"rows: {{recipe: {arms if kind == 'open-loop' else hands}, episodes: 2, starts: 2}}\n")
    out = tmp_path / "reports" / "r.json"
    assert main(["eval", kind, str(config), "--checkpoint", str(saved), "--output", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["kind"] == kind
    assert report["checkpoint"]["step"] == 3
    used = report["runs_on"]
    if not torch.cuda.is_available():
        assert (used["device"], used["dtype"], used["denoiser"]) == ("cpu", "float32", "plain")
    printed = capsys.readouterr().out
    assert (table(report) if kind == "open-loop" else wrists.table(report)) in printed
    assert main(["eval", kind, str(config), "--checkpoint", str(saved), "--set", "rows.split=holdout"]) == 2
    assert "rows.split" in capsys.readouterr().err

"""From raw robot episodes to a training step: the robot job, a recipe, examples by position, losses and a chunk."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from beingh05_model.inference.denoise import Denoiser
from beingh05_model.interop.released import CheckpointError
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import everything, tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.collate import pack, rows
from beingh05_model.sequence.segments import Action, State, Vision
from beingh05_model.sequence.serialise import Serialiser
from beingh05_model.training import checkpoint, presets
from beingh05_model.training.run import prepare
from beingh05_model.training.settings import DataSettings, TrainSettings, over
from beingh05_model.training.source import Source
from unihand_data.recipe.reader import RecipeReader
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.space import load_embodiment

PIPELINES = Path(__file__).parents[2] / "pipelines"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate("metaworld_experts", folder / "raw", seed=1, episodes=3)

    def call(script, *arguments):
        command = [sys.executable, PIPELINES / script, *arguments]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    call("robot_manipulation.py", "--input", folder / "raw", "--output", folder / "shards", "--engine", "local")
    call("build_recipe.py", "--input", folder / "shards", "--output", folder / "recipe", "--set", "caps.simulated=null")
    return str(folder / "recipe")


@pytest.fixture(scope="module")
def words():
    return tokenizer.small(["open the drawer", "How should the hands move to do the following?"])


def source(recipe, words, seed=0, **settings):
    config = tiny(vocab=len(words))
    serialiser = Serialiser(words, config.flow, config.vision.tokens)
    return Source(DataSettings(recipe=recipe, **settings), serialiser, config.vision.image_size, seed)


def parts(example, kind):
    return [s for s in example.segments if isinstance(s, kind)]


def test_a_position_always_gives_the_same_example(recipe, words):
    first, second, other = (source(recipe, words, seed).example(4) for seed in (0, 0, 1))
    assert first.name == second.name == other.name
    for a, b in zip(first.pixels(), second.pixels(), strict=True):
        assert torch.equal(a, b)
    noise = [parts(e, Action)[0].noise for e in (first, second, other)]
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


def test_an_example_holds_the_numbers_of_its_window(recipe, words):
    position = 2
    with RecipeReader(recipe) as reader:
        _, window = reader.read([position], horizon=16, views=())[0]
    example = source(recipe, words).example(position)
    target, state = parts(example, Action)[0], parts(example, State)[0]
    assert np.array_equal(target.values, window.action)
    assert np.array_equal(target.real, window.action_mask.any(1))
    assert np.array_equal(state.values, window.state[-1])
    slots = load_embodiment("metaworld").slots("action")
    assert set(np.flatnonzero(target.slots)) == set(slots)
    assert not target.cells[~window.action_mask].any()


def test_a_blind_run_sees_no_picture(recipe, words):
    assert parts(source(recipe, words, blind=True).example(0), Vision) == []
    assert parts(source(recipe, words, views=1).example(0), Vision)


def test_merged_steps_last_as_long_as_the_rate_asks(recipe, words):
    """80 source steps a second, 20 steps of the chunk: four are merged, their displacements add up."""
    position = 0
    with RecipeReader(recipe) as reader:
        _, window = reader.read([position], horizon=64, views=())[0]
    merged = parts(source(recipe, words, chunk={"rate_hz": 20.0}).example(position), Action)[0]
    whole = window.action_mask[:, :3].all(1).reshape(16, 4).all(1)
    assert whole.any()
    assert np.allclose(merged.values[whole, :3], window.action[:, :3].reshape(16, 4, 3).sum(1)[whole], atol=1e-6)


def test_a_training_step_and_a_chunk_come_out_of_raw_episodes(recipe, words):
    torch.manual_seed(0)
    model = BeingH(tiny(vocab=len(words), **everything(codebook=32, motion_tokens=4)))
    examples = [source(recipe, words).example(p) for p in range(3)]
    losses = model(pack(examples, 1200))
    (losses.flow + losses.routing).backward()
    assert float(losses.flow) > 0
    assert model.action_encoder.fc1.weight.grad.any()
    actions = Denoiser(model.eval()).run(rows(examples[:1]), lambda shape: torch.zeros(shape))
    assert actions.shape == (1, 16, 200)
    assert torch.isfinite(actions).all()


def test_a_run_takes_internvls_own_tokenizer_and_adds_to_it_what_the_released_order_needs(recipe, tmp_path):
    """InternVL3.5 has neither <|state_start|> nor <|state_end|>."""
    backend = tokenizer.small(["open the drawer"]).backend
    stored = json.loads(backend.to_str())
    stored["added_tokens"] = [t for t in stored["added_tokens"] if t["content"] not in tokenizer.STATE]
    for number, name in enumerate(tokenizer.STATE):
        stored["model"]["vocab"][f"unused{number}"] = stored["model"]["vocab"].pop(name)
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))
    size = len(tokenizer.load(tmp_path))

    def run(vocab, **compat):
        model = {"preset": "tiny", "backbone": {"vocab": vocab}, "compat": compat}
        given = {"model": model, "data": {"recipe": recipe}, "output": "o", "steps": 1, "tokenizer": str(tmp_path)}
        return prepare(TrainSettings.model_validate(given))

    ours = run(size)
    assert len(ours.tokenizer) == size
    assert len(parts(ours.source.example(0), State)) == 1
    released = run(size + 2, bare_actions=True)
    assert [released.tokenizer.ids[name] for name in tokenizer.STATE] == [size, size + 1]
    segments = released.source.example(0).segments
    place = next(i for i, s in enumerate(segments) if isinstance(s, State))
    assert [segments[place + side].ids for side in (-1, 1)] == [[size], [size + 1]]
    with pytest.raises(ValueError, match=f"the tokenizer has {size + 2} tokens and model.backbone.vocab is {size}"):
        run(size, bare_actions=True)


def test_a_specialist_goes_on_from_a_pre_trained_model_without_a_motion_tokenizer(recipe, words, tmp_path):
    """The shipped presets one after the other, tiny sizes laid over both."""
    sizes = {
        "model": {"preset": "tiny-full", "backbone": {"vocab": 800}, "attention": "documents"},
        "data": {"recipe": recipe},
        "output": "o",
    }
    first = TrainSettings.model_validate(over(over(presets.read("pretrain"), sizes), {"start": "internvl"}))
    torch.manual_seed(0)
    before = BeingH(first.model)
    assert before.motion_head is not None
    checkpoint.save(tmp_path / "pretrained", first.model, before.state_dict(), words, {"step": 1})
    start = {"start": str(tmp_path / "pretrained")}
    made = prepare(TrainSettings.model_validate(over(over(presets.read("specialist"), sizes), start)))
    assert made.about["motion_tokenizer"] is None
    assert made.model.motion_head is None
    assert made.model.adapters is not None
    assert made.model.mpg is not None
    own, theirs = dict(made.model.named_parameters()), dict(before.named_parameters())
    shared = own.keys() & theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in shared)
    assert {name.partition("_")[0] for name in theirs.keys() - shared} == {"motion"}
    losses = made.model(pack([made.source.example(0)], 600))
    (losses.flow + losses.routing).backward()
    assert made.model.action_encoder.fc1.weight.grad.any()
    keeps = over(over(over(presets.read("specialist"), sizes), start), {"start_drops": []})
    with pytest.raises(CheckpointError, match=r"start_drops: \[motion_tokens\]"):
        prepare(TrainSettings.model_validate(keeps))

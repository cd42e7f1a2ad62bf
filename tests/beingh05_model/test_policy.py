"""Observations to actions and sentences, on one cache."""

import numpy as np
import pytest
import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser
from beingh05_model.inference.generate import generate
from beingh05_model.inference.policy import Observation, Policy, action_slots
from beingh05_model.network.config import MpgConfig, ReleaseCompat
from beingh05_model.network.presets import everything, tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Example, Text
from helpers.models import build, small, talk
from unihand_data.space import load_embodiment


@pytest.fixture(scope="module")
def policy():
    words = tokenizer.small(["open the drawer", "pick up the cup", "What is the next step of this task?"])
    config = tiny(vocab=len(words), image_size=28, **everything(codebook=16, motion_tokens=3))
    backbone = config.backbone.model_copy(update={"layers": 2})
    return Policy(build(config.model_copy(update={"backbone": backbone})), words, seed=3)


def observation(name="metaworld", seed=0, text="open the drawer", **more):
    draw = np.random.default_rng(seed)
    known = np.zeros(200, bool)
    known[load_embodiment(name).slots("state")] = True
    pictures = {"third_1": draw.integers(0, 255, (40, 60, 3), dtype=np.uint8)}
    return Observation(pictures, text, draw.normal(size=200) * known, known, name, **more)


def by_hand(model, question, end, longest):
    """Greedy text without a cache: everything is run again for every token."""
    ids = []
    while len(ids) < longest:
        t = pack([Example([*question.segments, Text(ids)] if ids else question.segments)])
        with torch.no_grad():
            (und, *_), _, _ = model.features(t)
            token = int(model.text_head(und)[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return ids


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_text_on_the_cache_is_the_text_without_one(seed):
    model = build(small(), seed).eval()
    question = Example(talk(seed).segments[:-1])
    assert generate(model, question, end=63, longest=7).ids == by_hand(model, question, 63, 7)


def test_generation_stops_at_the_end_token_and_at_the_limit():
    model = build(small(), 1).eval()
    question = Example(talk(1).segments[:-1])
    said = generate(model, question, end=-1, longest=5).ids
    assert len(said) == 5
    assert generate(model, question, end=said[2], longest=5).ids == said[: said.index(said[2])]
    with pytest.raises(ValueError, match="at least one token"):
        generate(model, question, end=0, longest=0)


def test_a_warm_start_says_the_same_and_does_not_look_again():
    model = build(small(), 2).eval()
    question = Example(talk(2).segments[:-1])
    cold = generate(model, question, end=63, longest=6)
    looked = []
    hook = model.vision.register_forward_hook(lambda *_: looked.append(1))
    warm = generate(model, question, end=63, longest=6, warm=cold.cache.cut(4))
    hook.remove()
    assert warm.ids == cold.ids
    assert looked == []


def test_warm_text_sampling_follows_its_generator():
    model = build(small(), 2).eval()
    question = Example(talk(2).segments[:-1])
    said = [
        generate(model, question, -1, 8, temperature=2.0, generator=torch.Generator().manual_seed(s)).ids
        for s in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2]


def test_a_chunk_has_the_embodiments_slots_in_physical_units(policy):
    actions = policy.act([observation("so101")])
    own = load_embodiment("so101").slots("action")
    assert actions.shape == (1, 16, 200)
    assert np.flatnonzero(actions[0, 0]).tolist() == sorted(own)
    raw = load_embodiment("so101").from_unified(actions[0], np.arange(200), kind="action")
    assert np.isfinite(raw).all()


def test_a_batch_of_mixed_sentences_and_robots_is_its_members(policy):
    seen = [
        observation("metaworld", 1),
        observation("so101", 2, "pick up the cup"),
        observation("metaworld", 3),
    ]
    for number, one in enumerate(seen):
        one.seed = number
    noise = torch.stack([torch.randn(16, 200, generator=torch.Generator().manual_seed(n)) for n in range(3)])
    together = policy.act(seen)
    for number, one in enumerate(seen):
        tokens = policy._rows([policy.example(one, one.instruction)])
        alone = Denoiser(policy.model).run(tokens, lambda shape, n=number: noise[n : n + 1])
        assert np.allclose(together[number], alone[0].numpy(), atol=1e-5)


def test_committed_steps_are_kept(policy):
    committed = np.random.default_rng(0).normal(size=(5, 200)) * 0.01
    seen = observation(committed=committed, delay=3)
    actions = policy.act([seen])[0]
    own = load_embodiment("metaworld").slots("action")
    assert np.allclose(actions[:3, own], committed[:3, own], atol=1e-7)
    with pytest.raises(ValueError, match="needs the committed actions"):
        policy.act([observation(delay=2)])


@pytest.mark.parametrize("make", [Denoiser, StaticDenoiser])
def test_robots_that_promised_more_or_fewer_steps_keep_their_own_in_one_batch(policy, make):
    committed = np.random.default_rng(0).normal(size=(5, 200)) * 0.01
    long = observation(committed=committed, delay=3)
    short = observation(committed=committed[:2] * 2, delay=3)
    long.seed, short.seed = 1, 2
    together = policy.act([long, short], make(policy.model))
    alone = [policy.act([one], make(policy.model))[0] for one in (long, short)]
    own = action_slots("metaworld")
    assert np.allclose(together[0][:3, own], committed[:3, own], atol=1e-7)
    assert np.allclose(together, alone, atol=1e-6)


def test_an_episode_can_be_repeated_also_where_the_release_draws_noise_and_directions_anew():
    words = tokenizer.small(["open the drawer"])
    config = tiny(vocab=len(words), image_size=28).model_copy(
        update={"mpg": MpgConfig(strength=0.5), "physical_scale": False, "compat": ReleaseCompat.released()}
    )
    seen, chunks = observation(), []
    for other in (0, 1):
        torch.manual_seed(other)  # what else draws in this process does not matter
        chunks.append(Policy(build(config, 1), words, seed=7).act([seen, seen]))
    assert np.array_equal(*chunks)
    assert not np.array_equal(chunks[0][0], chunks[0][1])
    # its gate is one for a batch: robots are run one by one, and none feels another
    policy = Policy(build(config, 1), words)
    pair = [observation(seed=1), observation(seed=2)]
    pair[0].seed, pair[1].seed = 5, 6
    assert np.array_equal(policy.act(pair), np.concatenate([policy.act(pair[:1]), policy.act(pair[1:])]))


def test_planning_names_a_step_and_acts_for_it_without_looking_twice(policy):
    looked = []
    hook = policy.model.vision.register_forward_hook(lambda *_: looked.append(1))
    seen = observation()
    seen.seed = 4
    step, actions = policy.plan_then_act(seen, longest=6)
    hook.remove()
    assert len(looked) == 1
    assert step
    noise = torch.randn(1, 16, 200, generator=torch.Generator().manual_seed(4))
    tokens = policy._rows([policy.example(observation(), step)])
    expected = Denoiser(policy.model).run(tokens, lambda shape: noise)
    assert np.allclose(actions, expected[0].numpy(), atol=1e-5)


def test_planning_asks_as_the_models_own_planning_data_asked(policy, monkeypatch):
    asked, encode = [], policy.serialiser.tokenizer.encode
    monkeypatch.setattr(policy.serialiser.tokenizer, "encode", lambda text: asked.append(text) or encode(text))
    policy.plan_then_act(observation(), longest=2)
    policy.plan_then_act(observation(), longest=2, question="current goal is: {instruction}. immediate next step?")
    assert "What is the next step of this task? open the drawer" in asked
    assert "current goal is: open the drawer. immediate next step?" in asked


def test_a_blind_policy_is_given_no_picture(policy):
    blind = Policy(policy.model, policy.serialiser.tokenizer, blind=True)
    a, b = (blind.act([observation(seed=0)]) for _ in range(2))
    assert not np.allclose(a, b)  # new noise
    assert not blind.example(observation(), "open").pixels()

"""A prefix that is run once gives the numbers of running everything at every step (eqs. 20, 21, 23)."""

import dataclasses

import pytest
import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser, Locked
from beingh05_model.network.config import MofConfig, MpgConfig, ReleaseCompat
from beingh05_model.sequence.collate import rows
from helpers.models import CHUNK, action_slots, build, example, full, small

PARTS = {
    "plain": {},
    "gate": {"mpg": MpgConfig(strength=0.7, refinements=2)},
    "gate and routed experts": {"mpg": MpgConfig(strength=0.7), "mof": MofConfig(experts=3)},
    "adapters": {"adapters": True},
}


def seeded(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def both(model, t, locked=None, **options):
    return [Denoiser(model, cached, **options).run(t, seeded(3), locked) for cached in (False, True)]


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("history", [0, 2], ids=["generation", "continuation"])
@pytest.mark.parametrize("delay", [0, 2], ids=["free", "locked"])
def test_cached_equals_uncached(parts, history, delay):
    model = build(small(**parts)).eval()
    t = rows([example(seed=1, history=history), example(seed=2, history=history)])
    locked = Locked(torch.randn(2, CHUNK, 200) * 0.02, delay) if delay else None
    plain, cached = both(model, t, locked)
    torch.testing.assert_close(cached, plain, atol=1e-6, rtol=1e-5)


def test_cached_equals_uncached_with_everything_on():
    model = build(full()).eval()
    t = rows([example("human_hands", seed=1)])
    plain, cached = both(model, t, Locked(torch.randn(1, 2, 200) * 0.02, 2))
    torch.testing.assert_close(cached, plain, atol=1e-6, rtol=1e-5)


def test_rows_of_several_embodiments_are_the_rows_alone():
    model = build(full()).eval()
    examples = [example("human_hands", seed=1), example("metaworld", seed=2), example("so101", seed=3)]
    noise = torch.randn(3, CHUNK, 200)
    together = Denoiser(model).run(rows(examples), lambda shape: noise)
    for number, one in enumerate(examples):
        alone = Denoiser(model).run(rows([one]), lambda shape, n=number: noise[n : n + 1])
        torch.testing.assert_close(together[number : number + 1], alone, atol=2e-6, rtol=1e-4)


def test_a_locked_prefix_comes_back_as_it_was_committed():
    model = build(small()).eval()
    t = rows([example()])
    committed = torch.randn(1, CHUNK, 200) * 0.02
    slots = torch.from_numpy(action_slots("metaworld"))
    actions = Denoiser(model).run(t, seeded(1), Locked(committed, 3))
    torch.testing.assert_close(actions[:, :3], committed[:, :3] * slots)
    assert not torch.allclose(actions[:, 3], committed[:, 3] * slots)


def test_a_short_committed_chunk_is_continued_by_its_last_step():
    model = build(small()).eval()
    t = rows([example()])
    committed = torch.randn(1, 2, 200) * 0.02
    longer = torch.cat([committed, committed[:, -1:]], 1)
    short = Denoiser(model).run(t, seeded(1), Locked(committed, 3))
    assert torch.equal(short, Denoiser(model).run(t, seeded(1), Locked(longer, 3)))


def test_a_prefix_longer_than_the_chunk_is_refused():
    with pytest.raises(ValueError, match="cannot be locked"):
        Denoiser(build(small())).run(rows([example()]), seeded(1), Locked(torch.zeros(1, 9, 200), 9))


def test_slots_that_the_embodiment_lacks_stay_zero():
    model = build(small()).eval()
    actions = Denoiser(model).run(rows([example("so101")]), seeded(1))
    idle = ~torch.from_numpy(action_slots("so101"))
    assert not actions[..., idle].any()
    assert actions[..., ~idle].all()


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_what_the_decoder_says_of_slots_the_embodiment_lacks_never_reaches_the_next_step(parts):
    """No loss reaches those rows of the decoder, so they hold anything; training saw zeros there."""
    model = build(small(**parts)).eval()
    t = rows([example()])
    lacking = ~torch.from_numpy(action_slots("metaworld"))
    expected = both(model, t), StaticDenoiser(model, mode="eager").run(t, seeded(3))
    with torch.no_grad():
        model.action_decoder.fc2.bias[lacking] += 100
    found = both(model, t), StaticDenoiser(model, mode="eager").run(t, seeded(3))
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize("parts", [PARTS["plain"], PARTS["adapters"], {"mof": MofConfig(experts=3)}])
def test_every_euler_step_is_answered_as_training_answers_the_same_noisy_actions(parts, monkeypatch):
    model = build(small(**parts)).eval()
    t = rows([example(seed=1), example(seed=2)])
    seen, plain = [], model.encode_steps
    monkeypatch.setattr(model, "encode_steps", lambda x, bucket, slots: seen.append(x) or plain(x, bucket, slots))
    count = 4
    last = Denoiser(model, cached=False, euler_steps=count).run(t, seeded(3)) / model.action_unit
    monkeypatch.undo()
    for step, (x, after) in enumerate(zip(seen, [*seen[1:], last], strict=True)):
        time = step / count
        # noise that lies at this point of the way to an action of zeros
        point = dataclasses.replace(
            t, action=torch.zeros_like(x), noise=x / (1 - time), time=torch.full_like(t.time, time)
        )
        (_, act, _, places), _, _ = model.features(point)
        velocity = model.decode_steps(act[:, torch.searchsorted(places, t.action_at)], t.action_slots)
        torch.testing.assert_close((after - x) * count, velocity, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("switch", "draws"), [(None, 1), ("noise_per_round", 4), ("discarded_first_draw", 2)])
def test_one_noise_serves_all_rounds_unless_a_switch_says_otherwise(switch, draws):
    compat = ReleaseCompat(**({switch: True} if switch else {}))
    model = build(small(mpg=MpgConfig(refinements=3), compat=compat)).eval()
    drawn = []
    Denoiser(model).run(rows([example()]), lambda shape: drawn.append(shape) or torch.zeros(shape))
    assert len(drawn) == draws


def test_the_experts_do_not_change_while_the_flow_is_integrated_and_refined():
    model = build(small(mpg=MpgConfig(strength=0.7, refinements=2), mof=MofConfig(experts=4))).eval()
    weights = []
    hook = model.backbone.layers[-1].router.register_forward_hook(lambda *_: weights.append(_[2].weight_BX))
    Denoiser(model).run(rows([example(seed=1), example(seed=2)]), seeded(1))
    hook.remove()
    assert len(weights) == 3 * 4
    assert all(torch.equal(one, weights[0]) for one in weights)


def test_more_euler_steps_come_closer_to_the_flow():
    """A velocity that points from the noise to one action is integrated exactly by any number of steps."""
    model = build(small()).eval()
    goal = torch.full((1, CHUNK, 200), 0.02) * torch.from_numpy(action_slots("metaworld"))
    t = rows([example()])

    class Straight(Denoiser):
        def _velocity(self, *_):
            return goal / self.model.action_unit - self.noise

    for count in (1, 2, 4, 10):
        denoiser = Straight(model, euler_steps=count)
        denoiser.noise = torch.randn(1, CHUNK, 200) * t.action_slots
        torch.testing.assert_close(denoiser.run(t, lambda shape, d=denoiser: d.noise), goal, atol=1e-6, rtol=1e-5)


def test_the_gate_may_not_change_a_state_that_stands_before_text():
    model = build(small(mpg=MpgConfig())).eval()
    t = rows([example()])
    moved = dataclasses.replace(t, state_at=t.text_at[:1], text_at=torch.cat([t.state_at, t.text_at[1:]]).sort().values)
    with pytest.raises(ValueError, match="must follow the text"):
        Denoiser(model).run(moved, seeded(1))

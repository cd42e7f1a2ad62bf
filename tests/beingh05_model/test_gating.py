"""Manifold-preserving gating, eqs. 13 to 16."""

import pytest
import torch

from beingh05_model.network.config import MpgConfig, ReleaseCompat
from beingh05_model.network.layers import plain_norm
from beingh05_model.network.mpg import Mpg, pooled_discrepancy, sliced_discrepancy


def made(seed=0, **settings):
    torch.manual_seed(seed)
    mpg = Mpg(MpgConfig(**settings), ReleaseCompat(), 8, 16)
    for parameter in mpg.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return mpg


def inputs(seed=1, batch=3, steps=5):
    torch.manual_seed(seed)
    state, act, clean = torch.randn(batch, 8), torch.randn(batch, steps, 8), torch.randn(batch, steps, 8)
    return state, act, clean, torch.ones(batch, steps, dtype=torch.bool)


def test_the_closed_form_is_the_mean_over_directions():
    h, z = plain_norm(torch.randn(2, 6, 32)), plain_norm(torch.randn(2, 32))
    real = torch.ones(2, 6, dtype=torch.bool)
    directions = torch.randn(40_000, 32)
    sliced = sliced_discrepancy(h, z, real, directions)
    torch.testing.assert_close(sliced, pooled_discrepancy(h, z, real), rtol=0.02, atol=0)


def test_sorting_changes_nothing_while_the_anchor_is_one_point():
    """Eq. 14 as printed, with its sorts, equals the mean without them."""
    h, z, directions = torch.randn(1, 6, 32), torch.randn(1, 32), torch.randn(9, 32)
    unit = directions / directions.norm(dim=-1, keepdim=True)
    a, b = (h[0] @ unit.T).sort(0).values, (z.expand(6, -1) @ unit.T).sort(0).values
    printed = ((a - b) ** 2).mean()
    real = torch.ones(1, 6, dtype=torch.bool)
    torch.testing.assert_close(sliced_discrepancy(h, z, real, directions)[0], printed)


def test_the_gate_falls_as_the_discrepancy_grows():
    mpg, real = made(), torch.ones(1, 4, dtype=torch.bool)
    anchor = plain_norm(torch.randn(1, 16))
    noise = torch.randn(1, 4, 16)
    gates = [float(mpg.gate(anchor[:, None] + far * noise, anchor, real)) for far in (0.0, 0.2, 0.5, 1.0, 3.0)]
    assert gates == sorted(gates, reverse=True)
    assert gates[0] == pytest.approx(1.0, abs=1e-4)
    assert 0 < gates[-1] < gates[0]


def test_the_residual_is_equation_13():
    mpg = made()
    state, act, clean, real = inputs()
    new_state, new_act, g = mpg(state, act, clean, real)
    h = torch.cat([state[:, None], act], 1)
    e = mpg.observe(mpg.up(h))
    # back in the action expert's width, W_MPG and b_MPG are those of `enhance` and `down` in one
    weight = mpg.down.weight @ mpg.enhance.weight
    offset = mpg.down.weight @ mpg.enhance.bias + mpg.down.bias
    expected = h + mpg.config.strength * (g[:, None, None] * (e @ weight.T) + offset)
    torch.testing.assert_close(torch.cat([new_state[:, None], new_act], 1), expected)


def test_nothing_is_left_of_the_gate_where_lambda_goes_to_zero():
    """Gated term and offset alike: H~ - H is proportional to lambda."""
    state, act, clean, real = inputs()
    apart = []
    for strength in (1.0, 1e-3):
        new_state, new_act, _ = made(strength=strength)(state, act, clean, real)
        apart.append(torch.cat([new_state - state, (new_act - act).flatten(1)], 1) / strength)
    torch.testing.assert_close(*apart, atol=2e-3, rtol=0)
    new_state, new_act, _ = made(strength=0.0)(state, act, clean, real)
    assert torch.equal(new_state, state)
    assert torch.equal(new_act, act)


def test_the_released_gate_draws_nothing_by_itself():
    torch.manual_seed(0)
    mpg = Mpg(MpgConfig(), ReleaseCompat.released(), 8, 16)
    seen = inputs()
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="random directions"):
        mpg(*seen)
    one, again, other = (mpg(*seen, mpg.directions(seed))[2] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_sample_has_a_gate_of_its_own():
    mpg = made()
    state, act, clean, real = inputs()
    together = mpg(state, act, clean, real)[2]
    alone = torch.cat([mpg(state[i : i + 1], act[i : i + 1], clean[i : i + 1], real[i : i + 1])[2] for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert together.unique().numel() == 3


def test_no_gradient_passes_through_the_gate_unless_asked_for():
    state, act, clean, real = inputs()
    for stop in (True, False):
        mpg = made(stop_gradient=stop)
        mpg(state, act, clean, real)[1].sum().backward()
        assert (mpg.act.weight.grad is None) == stop


def test_input_gating_varies_less_than_output_gating_when_the_gate_flickers():
    """Paper 5.3.2: the ungated offset leaves the variance; proportional to |W e|^2 against |W e + b|^2 when b adds
    to W e."""
    torch.manual_seed(0)
    mpg = made()
    e = torch.randn(16)
    projected = mpg.enhance.weight @ e
    with torch.no_grad():
        mpg.enhance.bias.copy_(projected / projected.norm())  # an offset along the correction, the case that matters
    g = torch.rand(2000, 1)
    inside = g * projected + mpg.enhance.bias
    outside = g * (projected + mpg.enhance.bias)
    assert inside.var(0).sum() < outside.var(0).sum()
    ratio = inside.var(0).sum() / outside.var(0).sum()
    expected = projected.norm() ** 2 / (projected + mpg.enhance.bias).norm() ** 2
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=0)


def test_steps_past_the_end_of_an_episode_do_not_count():
    mpg = made()
    state, act, clean, real = inputs(batch=1)
    real[:, 3:] = False
    one = mpg(state, act, clean, real)[2]
    act[:, 3:], clean[:, 3:] = 50.0, -50.0
    assert torch.equal(mpg(state, act, clean, real)[2], one)


def test_seeded_directions_give_the_same_gate_twice():
    mpg = made(distance="sliced")
    first, second = (mpg(*inputs())[2] for _ in range(2))
    assert torch.equal(first, second)

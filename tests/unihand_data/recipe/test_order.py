"""The training order: permutations, proportions, resume and sharding, as properties over random catalogues."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.recipe.order import Order, Part, draws_per_cycle
from unihand_data.recipe.permutation import permute

CYCLE = 512


@st.composite
def catalogues(draw):
    sizes = draw(st.lists(st.integers(1, 3000), min_size=1, max_size=12))
    shares = draw(st.lists(st.floats(0.001, 1.0), min_size=len(sizes), max_size=len(sizes)))
    return [Part(f"s{i}", n, p) for i, (n, p) in enumerate(zip(sizes, shares))]


@given(n=st.integers(1, 5000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_reaches_every_index_once(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, np.uint64(key))), np.arange(n))


@given(n=st.integers(1, 2**40), at=st.integers(0, 2**40), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_of_any_size_stays_inside_it(n, at, key):
    assert 0 <= int(permute(np.int64(at % n), n, np.uint64(key))) < n


def test_permutations_of_different_keys_look_independent():
    """Where index 0 goes, over many keys: uniform by chi-square (99.9 % point of 15 degrees of freedom is 37.7)."""
    where = permute(np.zeros(16_000, np.int64), 1600, np.arange(16_000, dtype=np.uint64) * np.uint64(7919))
    counts = np.bincount(where // 100, minlength=16)
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.7


def test_neighbours_do_not_stay_neighbours():
    out = permute(np.arange(100_000), 100_000, np.uint64(3))
    assert abs(np.corrcoef(np.arange(100_000), out)[0, 1]) < 0.02
    assert (np.abs(np.diff(out)) < 10).mean() < 0.002


@given(parts=catalogues(), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_within_a_pass_every_sample_of_a_stratum_comes_once(parts, seed):
    order = Order(parts, seed, CYCLE)
    draws = order.at(np.arange(6 * CYCLE))
    for number, part in enumerate(parts):
        mine = draws.sample[draws.stratum == number]
        for start in range(0, len(mine), part.samples):
            one_pass = mine[start : start + part.samples]
            assert len(set(one_pass.tolist())) == len(one_pass)
        epochs = draws.epoch[draws.stratum == number]
        assert np.array_equal(epochs, np.arange(len(mine)) // part.samples)


@given(parts=catalogues(), start=st.integers(0, 5000), length=st.integers(1, 1500))
@settings(max_examples=40, deadline=None)
def test_any_window_holds_every_stratum_in_proportion(parts, start, length):
    """A jittered draw lies in its own piece of the cycle, so a stretch of it that holds m of all draws has between
    (m - 2 S) w - 2 and (m + 2 S) w + 2 of a stratum with share w; a window has two cut ends."""
    order = Order(parts, 0, CYCLE)
    count = np.bincount(order.at(np.arange(start, start + length)).stratum, minlength=len(parts))
    assert (np.abs(count - length * order.shares) <= 4 + 4 * len(parts) * order.shares).all()


def test_no_rank_sees_one_stratum_only():
    """Two halves and two ranks: a strictly alternating order would give each rank one of them."""
    order = Order([Part("a", 1000, 0.5), Part("b", 1000, 0.5)], 0, CYCLE)
    mine = order.at(np.arange(0, 4 * CYCLE, 2)).stratum
    assert 0.4 < (mine == 0).mean() < 0.6


@given(parts=catalogues(), position=st.integers(0, 4000), first=st.integers(1, 5), second=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_a_run_goes_on_exactly_at_any_position_and_with_another_world_size(parts, position, first, second):
    def consumed(world: int, start: int, steps: int) -> np.ndarray:
        ranks = [Order(parts, 1, CYCLE).shard(r, world, start, batch=3) for r in range(world)]
        taken = [next(rank) for _ in range(steps) for rank in ranks]
        return np.sort(np.concatenate(taken))

    before = consumed(first, 0, 2)
    after = consumed(second, position, 2)
    assert np.array_equal(before, np.arange(6 * first))
    assert np.array_equal(after, position + np.arange(6 * second))
    straight = Order(parts, 1, CYCLE).at(np.arange(position + 6 * second))
    resumed = Order(parts, 1, CYCLE).at(after)
    for name in ("stratum", "sample", "epoch"):
        assert np.array_equal(getattr(resumed, name), getattr(straight, name)[position:])


def test_another_stratum_does_not_reshuffle_the_others():
    parts = [Part("a", 700, 2.0), Part("b", 300, 1.0)]
    alone, beside = Order(parts, 5, CYCLE), Order([Part("new", 900, 3.0), *parts], 5, CYCLE)

    def sequence(order: Order, name: str) -> list[int]:
        draws = order.at(np.arange(3 * CYCLE))
        number = [p.name for p in order.parts].index(name)
        return draws.sample[draws.stratum == number].tolist()

    for name in ("a", "b"):
        short, long = sorted((sequence(alone, name), sequence(beside, name)), key=len)
        assert long[: len(short)] == short


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda s: sum(s) > 1e-3))
@settings(max_examples=60, deadline=None)
def test_draws_of_a_cycle_are_whole_and_within_one_of_their_quota(shares):
    draws = draws_per_cycle(shares, 4096)
    quota = np.array(shares) / sum(shares) * 4096
    assert draws.sum() == 4096
    assert ((draws > 0) == (np.array(shares) > 0)).all()
    assert (np.abs(draws - quota)[quota >= 1] <= len(shares)).all()


def test_an_order_refuses_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="no sample and a share"):
        Order([Part("empty", 0, 0.5), Part("a", 5, 0.5)], 0)
    with pytest.raises(ValueError, match="same name"):
        Order([Part("a", 5, 0.5), Part("a", 5, 0.5)], 0)
    with pytest.raises(ValueError, match="do not fit a cycle"):
        Order([Part(f"s{i}", 5, 1.0) for i in range(40)], 0, cycle=32)
    with pytest.raises(IndexError):
        Order([Part("a", 5, 1.0)], 0).at([-1])

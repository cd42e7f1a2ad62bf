"""Intervals against published tables, and what resampling by episode must satisfy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from beingh05_model.evaluation.intervals import by_episode, paired_difference, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score, no continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_table(successes, trials, low, high):
    found = wilson(successes, trials)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@hypothesis_settings(max_examples=40, deadline=None)
def test_wilson_holds_its_value_and_is_symmetric(case):
    k, n = case
    a, b = wilson(k, n), wilson(n - k, n)
    assert -1e-12 <= a.low <= a.value <= a.high <= 1 + 1e-12
    assert a.low == pytest.approx(1 - b.high, abs=1e-9)


def test_wilson_refuses_what_is_no_proportion():
    for case in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="successes"):
            wilson(*case)


def test_the_bootstrap_of_independent_values_is_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = by_episode(values, range(400))
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    assert found == by_episode(values, range(400))
    assert found != by_episode(values, range(400), seed=1)


def test_copies_of_a_step_do_not_narrow_an_interval():
    """Fifty equal steps of an episode are one observation."""
    values = np.random.default_rng(1).normal(size=30)
    once = by_episode(values, range(30))
    often = by_episode(np.repeat(values, 50), np.repeat(np.arange(30), 50))
    assert (once.low, once.high) == (pytest.approx(often.low), pytest.approx(often.high))
    assert often.n == 30
    loose = by_episode(np.repeat(values, 50), range(1500))
    assert loose.high - loose.low < 0.3 * (once.high - once.low)


def test_weights_count_cells():
    found = by_episode([1.0, 4.0, 9.0], ["a", "b", "c"], weights=[3, 1, 0])
    assert found.value == pytest.approx(7 / 4)
    assert found.n == 2  # an episode without a cell says nothing
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(("n", "quantile"), [(3, 4.30265), (4, 3.18245), (9, 2.30600)])
def test_a_few_episodes_have_students_interval(n, quantile):
    """Quantiles of t (97.5 %, n - 1) from the printed tables; episodes of two steps, whose means are 1 to n."""
    episodes = np.repeat(np.arange(n), 2)
    found = by_episode(episodes + np.tile([0.5, 1.5], n), episodes)
    half = quantile * np.arange(n).std(ddof=1) / np.sqrt(n)
    assert found.value == pytest.approx((n + 1) / 2)
    assert (found.low, found.high) == (
        pytest.approx(found.value - half, abs=1e-5),
        pytest.approx(found.value + half, abs=1e-5),
    )


def test_students_interval_of_unequal_episodes_is_the_ratio_estimators():
    """By hand: sums 2, 12, 9 over 1, 3, 3 cells: mean 23 / 7; rests of a mean weight of 7 / 3."""
    found = by_episode([2.0, 4.0, 3.0], "abc", weights=[1, 3, 3])
    rest = np.array([2 - 23 / 7, 12 - 69 / 7, 9 - 69 / 7]) / (7 / 3)
    assert found.value == pytest.approx(23 / 7)
    assert found.high - found.value == pytest.approx(4.30265 * np.sqrt((rest**2).sum() / 2 / 3), abs=1e-5)


def test_two_episodes_have_no_interval_and_ten_are_resampled():
    two = by_episode([1.0, 2.0], ["a", "b"])
    assert (two.value, two.low, two.high, two.n) == (1.5, None, None, 2)
    values = np.random.default_rng(4).normal(size=10)
    assert by_episode(values, range(10)) != by_episode(values, range(10), seed=1)  # drawn
    assert by_episode(values[:9], range(9)) == by_episode(values[:9], range(9), seed=1)  # computed


def test_students_interval_holds_what_it_promises_where_a_bootstrap_does_not():
    """400 samples of five normal episodes: about 95 % of the intervals hold the mean (binomial: 92 to 98 %)."""
    random = np.random.default_rng(3)
    found = [by_episode(random.normal(1, 2, 5), range(5)) for _ in range(400)]
    assert 0.92 <= np.mean([one.low <= 1 <= one.high for one in found]) <= 0.98


def test_one_episode_has_no_interval_and_none_no_mean():
    found = by_episode([1.0, 2.0], ["a", "a"])
    assert (found.value, found.low, found.high, found.n) == (1.5, None, None, 1)
    assert "no interval" in found.text()
    assert wilson(1, 4).text(100) == "25.0 [4.6, 69.9]"
    with pytest.raises(ValueError, match="nothing to average"):
        by_episode([], [])


def test_a_paired_difference_sees_through_what_both_find_hard():
    random = np.random.default_rng(2)
    hard = random.normal(0, 5, 60)
    first, second = hard + 1 + random.normal(0, 0.1, 60), hard
    found = paired_difference(first, second, range(60))
    assert found.low > 0.9
    assert found.high < 1.1
    assert by_episode(first, range(60)).low < by_episode(second, range(60)).high  # beside each other they overlap
    with pytest.raises(ValueError, match="same samples"):
        paired_difference([1.0], [1.0, 2.0], [0])

"""Clips of at most ten seconds that split nothing they should not."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.errors import Reason
from unihand_data.video.segment import SegmentSettings, plan_clips


def span(t0, t1):
    return SimpleNamespace(t0=t0, t1=t1)


def lengths(pts, plan):
    step = np.median(np.diff(pts))
    return [pts[b - 1] - pts[a] + step for a, b in plan]


def test_a_short_recording_is_one_clip():
    pts = np.arange(300) / 30
    assert plan_clips(pts).clips == [(0, 300)]


def test_a_long_one_is_cut_into_equal_pieces_without_a_tail():
    pts = np.arange(306) / 30  # 10.2 s
    plan = plan_clips(pts)
    assert len(plan) == 2
    assert min(lengths(pts, plan)) > 5
    assert not plan.losses


def test_cuts_gaps_and_damage_are_never_inside_a_clip():
    pts = np.arange(900) / 30
    pts[600:] += 0.2  # a gap of six intervals
    damaged = np.zeros(900, bool)
    damaged[200:203] = True
    plan = plan_clips(pts, cuts=[450], damaged=damaged)
    assert plan.clips == [(0, 200), (203, 450), (450, 600), (600, 900)]
    assert [(r.reason, r.level, r.frames) for r in plan.losses] == [(Reason.CORRUPT, "clip", 3)]
    assert plan.losses[0].duration_s == pytest.approx(0.1)


def test_what_is_too_short_is_a_loss_with_its_length():
    pts = np.arange(300) / 30
    plan = plan_clips(pts, cuts=[150, 160], name="film.mp4")
    assert plan.clips == [(0, 150), (160, 300)]
    assert plan.losses[0].reason is Reason.TOO_SHORT
    assert plan.losses[0].frames == 10
    assert "film.mp4" in plan.losses[0].message


def test_a_narration_is_not_split_where_that_can_be_helped():
    pts = np.arange(540) / 30  # 18 s: equal pieces would meet at 9.0
    plan = plan_clips(pts, narrations=[span(1.0, 4.0), span(7.5, 9.6), span(12.0, 13.0)])
    (_, a), (b, _) = plan.clips
    assert a == b
    assert pts[a] == pytest.approx(9.6, abs=1 / 30) or pts[a] <= 9.6 + 0.5
    assert not any(s0 + 0.02 < pts[a] < s1 - 0.02 for s0, s1 in [(1, 4), (7.5, 9.6), (12, 13)])
    assert max(lengths(pts, plan)) <= 10 + 1e-6


def test_narrations_back_to_back_are_met_at_their_seams():
    pts = np.arange(1200) / 30
    edges = [0, 3.1, 6.4, 9.2, 13.3, 18.8, 22.0, 27.5, 31.1, 36.0, 40.0]
    plan = plan_clips(pts, narrations=[span(a, b) for a, b in pairwise(edges)])
    for a, _ in plan.clips[1:]:
        assert min(abs(pts[a] - e) for e in edges) <= 1 / 30 + 1e-6


def test_a_narration_longer_than_a_clip_does_not_count():
    pts = np.arange(540) / 30
    assert plan_clips(pts, narrations=[span(0, 18)]).clips == [(0, 270), (270, 540)]


def test_a_point_in_time_keeps_the_second_after_it():
    pts = np.arange(540) / 30
    plan = plan_clips(pts, narrations=[span(8.7, 8.7)])
    assert not 8.72 < pts[plan[1][0]] < 9.68


def test_nothing_in_nothing_out():
    assert plan_clips(np.zeros(0)).clips == []
    assert plan_clips(np.zeros(1)).clips == []
    assert [r.reason for r in plan_clips(np.zeros(1)).losses] == [Reason.TOO_SHORT]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_frame_is_in_one_clip_or_one_loss_and_the_limits_hold(data):
    n = data.draw(st.integers(2, 1500))
    rate = data.draw(st.sampled_from([5.0, 14.9, 29.97, 59.94]))
    jitter = data.draw(st.sampled_from([0.0, 0.3]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    pts = np.cumsum(np.r_[0, (1 + jitter * rng.uniform(-1, 1, n - 1)) / rate])
    if data.draw(st.booleans()):
        pts[n // 2 :] += 1.0
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=4)))
    damaged = rng.uniform(size=n) < data.draw(st.sampled_from([0.0, 0.01]))
    narrations = [span(t, t + d) for t, d in zip(rng.uniform(0, pts[-1], 8), rng.uniform(0, 12, 8))]
    s = SegmentSettings(max_seconds=data.draw(st.sampled_from([2.5, 10.0])), min_seconds=1.0)
    plan = plan_clips(pts, cuts, narrations if data.draw(st.booleans()) else [], damaged, s)
    step = np.median(np.diff(pts))
    covered = np.zeros(n, int)
    for a, b in plan:
        assert a < b
        covered[a:b] += 1
        assert pts[b - 1] - pts[a] + step <= s.max_seconds + 1e-6
        assert not damaged[a:b].any()
        assert not any(a < c < b for c in cuts)
        assert np.diff(pts[a:b]).max(initial=0) <= s.gap_factor * step + 1e-9
    assert covered.max(initial=0) <= 1
    assert covered.sum() + sum(r.frames for r in plan.losses) == n
    assert sum(damaged) <= sum(r.frames for r in plan.losses if r.reason is Reason.CORRUPT)
    assert list(plan) == sorted(plan)
    if jitter == 0 and not narrations:
        assert all(p >= s.min_seconds - step for p in lengths(pts, plan))

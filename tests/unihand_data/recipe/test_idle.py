"""Start frames at which nothing happens: which they are, and what a recipe does about them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st

from unihand_data.recipe.build import INDEX, build
from unihand_data.recipe.frames import solve
from unihand_data.recipe.idle import IdleFrames, idle_starts
from unihand_data.recipe.index import open_index
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards.rows import EventRow


def recipe_of(directory, folder, **changes):
    return build([directory], folder, RecipeSettings.model_validate(changes), new_version=True)


def starts(recipe, folder, task: str) -> list[int]:
    out: list[int] = []
    for s in recipe["strata"]:
        if s["task"] == task:
            records = open_index(folder / INDEX / recipe["recipe"][:12], s["name"], s["samples"])
            out += records["start_frame"].tolist()
    return sorted(out)


@given(
    st.integers(5, 60), st.lists(st.tuples(st.floats(0, 6), st.floats(0.2, 4)), max_size=3), st.floats(0.1, 3),
    st.integers(0, 10**6),
)  # fmt: skip
@running(max_examples=80, deadline=None)
def test_a_start_frame_is_idle_when_its_whole_chunk_lies_in_one_span_and_the_row_moves_again(steps, spans, chunk, seed):
    gaps = np.random.default_rng(seed).choice([0.1, 0.1, 0.1, 0.7], steps)  # a clock with holes
    times = np.cumsum(gaps) - gaps[0]
    end = times[-1] + 0.1
    runs = idle_starts(times, end, [a for a, _ in spans], [a + long for a, long in spans], chunk)
    got = {f for first, stop in runs for f in range(first, stop)}
    rest = min((a for a, long in spans if a + long >= end - 1e-6), default=np.inf)
    for frame, t in enumerate(times):
        inside = any(a - 1e-6 <= t and t + chunk <= a + long + 1e-6 for a, long in spans)
        assert (frame in got) == (inside and t < rest - 1e-6)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(runs))


def test_runs_of_several_rows_are_told_apart():
    idle = IdleFrames(np.array([2, 2, 5]), np.array([0, 10, 3]), np.array([4, 12, 6]))
    row, frame = np.repeat([1, 2, 5, 6], 14), np.tile(np.arange(14), 4)
    held = list(zip(row[idle.holds(row, frame)].tolist(), frame[idle.holds(row, frame)].tolist()))
    assert held == [(2, f) for f in (0, 1, 2, 3, 10, 11)] + [(5, f) for f in (3, 4, 5)]
    assert idle.count(7).tolist() == [0, 0, 6, 0, 0, 3, 0]


@pytest.fixture(scope="module")
def paused(make, tmp_path_factory):
    """An episode of 100 frames at 20 Hz that stands still from 1 s to 3 s and in its last second, and another event."""
    events = [EventRow(1.0, 3.0, "idle", "motion"), EventRow(4.0, 5.0, "idle", "motion"),
              EventRow(0.0, 5.0, "contact", "motion")]  # fmt: skip
    rows = [make.episode("p", frames=100, events=events), make.episode("q", frames=100)]
    return make.write(tmp_path_factory.mktemp("paused") / "d", rows)


def test_idle_samples_are_kept_unless_they_are_not_wanted_and_the_stop_at_the_end_always_is(paused, tmp_path):
    quiet = {*range(20, 41)}  # chunks of 1 s inside the first span; the last second is how the episode stops
    skipped = recipe_of(paused, tmp_path, robot_frame_share=None, idle={"rule": "skip"})
    kept = recipe_of(paused, tmp_path, robot_frame_share=None)
    for task, first in (("motion_generation", 0), ("motion_continuation", 4)):
        whole = list(range(first, 99))
        assert starts(kept, tmp_path, task) == sorted(whole * 2)
        assert starts(skipped, tmp_path, task) == sorted(whole + [f for f in whole if f not in quiet])
    assert skipped["left_out"]["samples"] == {"idle": 2 * len(quiet)}
    assert kept["left_out"]["samples"] == {}
    assert skipped["totals"]["robot_frames"]["idle_share"] == pytest.approx(21 / 200)
    assert kept["totals"]["robot_frames"]["idle_share"] == 0
    assert skipped["totals"]["robot_frames"]["kept_share"] == pytest.approx(179 / 200)
    assert sum(s["samples"] for s in skipped["strata"] if s["task"] == "motion_description") == 2


def test_idle_samples_can_be_drawn_less_often(paused, tmp_path):
    some = recipe_of(paused, tmp_path, robot_frame_share=None, idle={"rule": "downweight", "weight": 0.3})
    assert some["left_out"]["samples"]["idle"] == pytest.approx(0.7 * 42, abs=4)
    fewer = recipe_of(paused, tmp_path, robot_frame_share=None, idle={"rule": "downweight", "weight": 0.1})
    assert set(starts(fewer, tmp_path, "motion_generation")) <= set(starts(some, tmp_path, "motion_generation"))


def test_a_shorter_chunk_finds_more_idle_starts(paused, tmp_path):
    long, short = (
        recipe_of(paused, tmp_path, robot_frame_share=None, idle={"rule": "skip", "chunk_s": s}) for s in (1.5, 0.5)
    )
    assert long["left_out"]["samples"]["idle"] < short["left_out"]["samples"]["idle"]


def test_the_share_of_frames_is_of_all_of_them_and_is_taken_from_those_at_which_something_happens(paused, tmp_path):
    frames = recipe_of(paused, tmp_path, floor_hz=1.0, idle={"rule": "skip"})["totals"]["robot_frames"]
    assert frames["kept_share"] == pytest.approx(0.3, abs=0.02)
    assert solve({20.0: 50.0}, 0.3, 1.0, 100.0).kept(20.0) == pytest.approx(0.6)
    whole = solve({20.0: 20.0}, 0.3, 1.0, 100.0)  # fewer are there than were wanted
    assert (whole.rate_hz, whole.share, whole.floor_wins) == (float("inf"), pytest.approx(0.2), False)

"""One row clock for topics with their own: nearest or previous samples, gaps, drift, late messages.

Expected values are the simulated motion at the times the topics were sampled, never what the reader computes.
"""

from __future__ import annotations

import numpy as np
import pytest

from helpers.bags import ARM, GRIPPER, ROWS, WRIST, keep, made, shifted, topic, with_paths
from helpers.robots import opened
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.generate import rosbag_sets as sets

# -- clocks ------------------------------------------------------------------------------------------------------------


def test_nearest_and_previous_take_the_sample_they_are_named_for(tmp_path):
    """Samples 4 ms before each row against 3 ms after it, of two values."""

    def edit(bag):
        one, rows = topic(bag, GRIPPER), topic(bag, ROWS).times
        one.times = np.sort(np.concatenate([rows - 0.004, rows + 0.003]))
        one.values = [{"position": [10.0 if i % 2 == 0 else 20.0]} for i in range(len(one.times))]

    made(tmp_path / "in", edit)
    nearest = opened(tmp_path / "in").columns[f"{GRIPPER}:position"]
    previous = opened(tmp_path / "in", with_paths(tmp_path, join="previous")).columns[f"{GRIPPER}:position"]
    assert (nearest == 20).all()
    assert (previous == 10).all()


def test_rows_without_a_sample_within_the_tolerance_are_nan_and_told(tmp_path):
    def edit(bag):
        one = topic(bag, GRIPPER)
        keep(one, (one.times < 0.5) | (one.times > 1.0))

    made(tmp_path, edit)
    episode = opened(tmp_path)
    gripper = episode.columns[f"{GRIPPER}:position"]
    rows = episode.timestamps
    far = (rows > 0.5 + 0.05) & (rows < 1.0 - 0.05)
    assert np.isnan(gripper[far]).all()
    assert np.isfinite(gripper[(rows < 0.5) | (rows > 1.0)]).all()
    assert [r.reason for r in episode.losses] == [Reason.BAD_VALUE]
    assert episode.losses[0].level == "row"
    assert episode.facts["topics"][GRIPPER]["rows_without"] == int(np.isnan(gripper).sum())


def test_nothing_is_extrapolated_behind_the_last_sample(tmp_path):
    def edit(bag):
        keep(topic(bag, GRIPPER), topic(bag, GRIPPER).times < 1.0)

    made(tmp_path, edit)
    episode = opened(tmp_path)
    late = episode.timestamps > 1.05
    assert late.sum() > 5
    assert np.isnan(episode.columns[f"{GRIPPER}:position"][late]).all()


@pytest.mark.parametrize(
    ("paths", "message"), [({"gaps": "reject"}, "has no sample"), ({"max_gap_share": "0.1"}, "rows")]
)
def test_a_data_set_file_may_end_the_episode_at_a_gap(tmp_path, paths, message):
    def edit(bag):
        keep(topic(bag, GRIPPER), topic(bag, GRIPPER).times < 1.0)

    made(tmp_path / "in", edit)
    with pytest.raises(Reject, match=message) as caught:
        opened(tmp_path / "in", with_paths(tmp_path, **paths))
    assert caught.value.reason == Reason.BAD_VALUE


def test_a_topic_on_another_clock_is_a_contradiction_and_the_recorders_stamp_mends_it(tmp_path):
    """The arm's computer is an hour behind; the recorder stamped its messages all the same."""

    def edit(bag):
        for t in bag.topics:
            if t.name == ARM:
                t.times, t.delay_s = t.times - 3600, 3600.004

    _, left = made(tmp_path / "in", edit)
    with pytest.raises(Reject, match="is its stamp the rows' clock") as caught:
        opened(tmp_path / "in")
    assert caught.value.reason == Reason.CONTRADICTION
    for paths in ({"stamp": "bag"}, {"bag_stamped": ARM}):
        arm = opened(tmp_path / "in", with_paths(tmp_path, **paths)).columns[f"{ARM}:position"]
        assert np.array_equal(arm, left.joints[:: sets.FINE])


def test_a_clock_that_drifts_against_the_recorder_is_told_with_its_seconds(tmp_path):
    """The recorder's clock runs 10 % slow against the arm's: 0.14 s over the median of first and last tenth."""

    def edit(bag):
        for t in bag.topics:
            if t.name == ARM:
                t.delay_s = 0.1 * t.times

    made(tmp_path, edit)
    episode = opened(tmp_path)
    drift = episode.facts["topics"][ARM]["drift_s"]
    span = episode.timestamps[-1]
    assert drift == pytest.approx(0.1 * span * 0.9, rel=0.1)
    assert [r.reason for r in episode.losses] == [Reason.BAD_VALUE]
    assert ARM in episode.losses[0].message


def test_late_messages_are_sorted_and_repeated_stamps_counted(tmp_path):
    def edit(bag):
        one = topic(bag, ARM)
        one.delay_s = np.where(np.arange(len(one.times)) % 7 == 3, 0.03, 0.004)  # these come after their successors
        one.times, one.delay_s = np.append(one.times, one.times[-1]), np.append(one.delay_s, 0.005)
        one.values = [*one.values, {"position": np.full(6, 9.0)}]

    _, left = made(tmp_path, edit)
    episode = opened(tmp_path)
    assert np.array_equal(episode.columns[f"{ARM}:position"], left.joints[:: sets.FINE])
    figures = episode.facts["topics"][ARM]
    assert figures["unordered"] > 5
    assert figures["repeated"] == 1


def test_a_clock_that_is_set_back_is_rejected_where_it_happens(tmp_path):
    def edit(bag):
        one = topic(bag, ROWS)
        half = len(one.times) // 2
        one.times[half:] -= 0.5
        one.delay_s = np.where(np.arange(len(one.times)) < half, 0.004, 0.504)

    made(tmp_path, edit)
    with pytest.raises(Reject, match=r"goes back by 0\.4\d\d s at message 12"):
        opened(tmp_path)


def test_rows_at_a_declared_rate_span_what_all_needed_topics_share(tmp_path):
    made(tmp_path / "in", shifted({ARM}, 0.2))
    episode = opened(tmp_path / "in", with_paths(tmp_path, rows="rate", tolerance_s="0.04"))
    assert np.allclose(np.diff(episode.timestamps), 1 / 15, atol=1e-6)
    assert episode.steps == 20  # from 0.2 s, where the arm begins, to 1.524 s, where the right wrist camera ends
    assert np.isfinite(episode.columns[f"{ARM}:position"]).all()


def test_a_camera_that_lacks_pictures_of_some_rows_is_a_loss_and_not_the_end(tmp_path):
    def edit(bag):
        one = topic(bag, WRIST)
        keep(one, (np.arange(len(one.times)) < 4) | (np.arange(len(one.times)) > 7))

    made(tmp_path, edit)
    episode = opened(tmp_path)
    assert WRIST not in episode.views
    assert ROWS in episode.views
    assert [r.reason for r in episode.losses] == [Reason.TRUNCATED]


def test_missing_header_stamps_are_named_with_the_mend(tmp_path):
    def edit(bag):
        for v in topic(bag, GRIPPER).values:
            v["header"] = {"stamp": {"sec": 0, "nanosec": 0}}

    made(tmp_path, edit)
    with pytest.raises(Reject, match="without a header stamp; name it in paths"):
        opened(tmp_path)

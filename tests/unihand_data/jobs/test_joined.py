"""Joined videos: who needs one keeps it, nobody's goes, a missing one comes back as it was."""

from __future__ import annotations

import os
import pickle
from functools import partial
from pathlib import Path

import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.registry import open_source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("h2o")
    generate("h2o", folder, recordings=2, frames=6, width=64, height=48)
    return folder


@pytest.fixture
def made(pictures, tmp_path):
    """(joined videos of a folder of the test's own, [(item, path of its video)])."""
    source = partial(open_source, str(pictures), None, SourceOptions(work_dir=str(tmp_path / "joined")))
    joined = JoinedVideos(str(tmp_path / "joined"), source, 1 << 30)
    opened = source()
    return joined, [(item, opened.open(item).video) for item in opened.items()]


def test_the_last_one_that_needs_a_video_removes_it(made, tmp_path):
    joined, [(item, video), *_] = made
    joined.mark(video, ["a", "b"])
    for user, there in (("a", True), ("a", True), ("b", False), ("b", False)):
        joined.release(video, user)
        assert os.path.exists(video) == there
    assert item.uri
    assert [p.suffix for p in (tmp_path / "joined").iterdir()] == [".mkv"]  # the other item's


def test_a_missing_video_is_made_again_byte_for_byte_on_another_machine_too(made, pictures, tmp_path):
    joined, [(item, video), *_] = made
    before = Path(video).read_bytes()
    os.unlink(video)
    with joined.video(video, item, "a") as again:
        assert again == video
        assert Path(again).read_bytes() == before
    elsewhere = tmp_path / "elsewhere"
    other = JoinedVideos(
        str(elsewhere), partial(open_source, str(pictures), None, SourceOptions(work_dir=str(elsewhere))), 1 << 30
    )
    with pickle.loads(pickle.dumps(joined)).video(video, item, "a") as path:
        assert path == video
    with other.video(video, item, "a") as path:
        assert Path(path).parent == elsewhere
        assert Path(path).read_bytes() == before


def test_a_video_that_is_read_is_not_removed_by_anything(made):
    joined, [(item, video), (_, second)] = made
    joined.max_bytes = 0
    with joined.video(video, item, "a"):
        joined.shrink(keep="none")
        assert (os.path.exists(video), os.path.exists(second)) == (True, False)
        joined.clear()
        joined.release(video, "a")
        assert os.path.exists(video)
    joined.clear()
    assert not joined.folder.exists()


def test_the_least_recently_used_go_first_and_the_one_just_made_stays(made):
    joined, [(_, first), (_, second)] = made
    os.utime(first, (10, 10))
    os.utime(second, (5, 5))
    joined.max_bytes = os.path.getsize(first)
    joined.shrink(keep="none")
    assert (os.path.exists(first), os.path.exists(second)) == (True, False)
    joined.max_bytes = 0
    joined.shrink(keep=first)
    assert os.path.exists(first)


def test_marks_that_a_dead_worker_left_go_at_the_end_of_the_run(made):
    joined, [(_, video), *_] = made
    joined.mark(video, ["of a worker that died", "b"])
    joined.release(video, "b")
    assert os.path.exists(video)
    joined.clear()
    assert not joined.folder.exists()


def test_other_pictures_than_those_that_were_cut_into_clips_are_a_contradiction(made, pictures, tmp_path):
    joined, [(item, video), *_] = made
    os.unlink(video)
    with pytest.raises(Reject) as caught, joined.video(str(tmp_path / "joined" / "another.mkv"), item, "a"):
        pass
    assert caught.value.reason == Reason.CONTRADICTION

"""Folders that cannot be read, archives far away, annotation without its videos: each is an item with a reason."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.jobs.items import list_units
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.registry import open_source


@contextmanager
def somebody():
    """Without the rights of root, whom no folder refuses."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_to_all():
    """A folder that any user can reach (pytest's own cannot be reached by others)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def only_reject(source) -> Reject:
    items = [item for item in source.items() if item.payload.get("kind") == "broken"]
    (item,) = items
    with pytest.raises(Reject) as caught:
        source.open(item)
    return caught.value


def test_a_folder_that_cannot_be_read_is_an_item_that_names_it_and_the_mend(open_to_all):
    (open_to_all / "good").mkdir()
    (open_to_all / "good" / "a.mp4").write_bytes(b"x")
    (open_to_all / "closed").mkdir()
    (open_to_all / "closed" / "b.mp4").write_bytes(b"x")
    (open_to_all / "closed").chmod(0)
    with somebody():
        source = open_source(str(open_to_all))
        assert [item.key for item in source.items()] == ["closed/", "good/a.mp4"]
        reject = only_reject(source)
    assert reject.reason == Reason.UNREADABLE
    assert f"{open_to_all}/closed" in reject.message
    assert "chmod" in reject.message


def test_an_input_that_cannot_be_read_is_refused(open_to_all):
    closed = open_to_all / "closed"
    closed.mkdir()
    (closed / "b.mp4").write_bytes(b"x")
    closed.chmod(0)
    with somebody():
        with pytest.raises(DatasetRefused, match=r"closed: the folder cannot be read .*chmod"):
            open_source(str(closed))
        with pytest.raises(DatasetRefused, match=r"closed: the folder cannot be read"):
            list(open_source(str(closed), "video_folder").items())


def test_an_archive_in_a_bucket_is_an_item_that_says_to_copy_it_near():
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket_of_archives/a.mp4": b"x", "/bucket_of_archives/b.tar": b"x"})
    source = open_source("memory://bucket_of_archives")
    assert [item.key for item in source.items()] == ["a.mp4", "b.tar"]
    reject = only_reject(source)
    assert reject.reason == Reason.UNSUPPORTED
    assert "copy it near" in reject.message
    assert source.ignored() == 0
    with pytest.raises(DatasetRefused, match="copy it near"):
        open_source("memory://bucket_of_archives/b.tar")


@pytest.mark.parametrize("name", ["epic_kitchens_100", "ego4d", "vitra_1m"])
def test_annotation_without_its_videos_is_one_missing_file_for_each_video(tmp_path, name):
    generate(name, tmp_path, recordings=2, frames=4)
    for video in [p for p in tmp_path.rglob("*") if p.suffix.lower() == ".mp4"]:
        video.unlink()
    source = open_source(str(tmp_path), name)
    items = list(source.items())
    assert items
    for item in items:
        with pytest.raises(Reject) as caught:
            source.open(item)
        assert caught.value.reason == Reason.MISSING_FILE


def test_a_wrong_data_set_or_a_folder_without_items_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DatasetRefused, match=r"as dexycb: no input item; 1 files"):
        list_units(open_source(str(tmp_path), "dexycb"))

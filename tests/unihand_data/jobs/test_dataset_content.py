"""A data set's YAML counts by what it says, not by its name or place."""

from __future__ import annotations

import pytest
import yaml

from unihand_data.config import SettingsError, content_hash
from unihand_data.jobs.human_config import HumanVideoSettings, checked, with_dataset
from unihand_data.sources.registry import DATASETS, load_dataset, open_source


def hash_of(dataset: str | None, folder) -> str:
    settings = checked(HumanVideoSettings(dataset=dataset))
    return content_hash(with_dataset(settings, open_source(str(folder), settings.dataset).spec))


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"x")
    return tmp_path / "videos"


@pytest.fixture
def mine(tmp_path):
    """A user's YAML as text that says another licence than the shipped one."""
    data = yaml.safe_load((DATASETS / "video_folder.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**data, "licence": "CC0"}))
    return path


def test_a_data_set_found_or_named_is_the_same_content(videos):
    assert hash_of(None, videos) == hash_of("video_folder", videos)


def test_a_moved_yaml_is_the_same_content_and_a_changed_one_is_not(videos, mine, tmp_path, monkeypatch):
    first = hash_of(str(mine), videos)
    assert first != hash_of(None, videos)
    (tmp_path / "other").mkdir()
    moved = mine.rename(tmp_path / "other" / "mine.yaml")
    assert hash_of(str(moved), videos) == first
    monkeypatch.chdir(moved.parent)
    assert hash_of("mine.yaml", videos) == first
    moved.write_text(moved.read_text().replace("CC0", "CC BY 4.0"))
    assert hash_of(str(moved), videos) != first


def test_what_only_people_read_is_no_content(videos, mine):
    first = hash_of(str(mine), videos)
    mine.write_text(yaml.safe_dump({**yaml.safe_load(mine.read_text()), "title": "Our own", "quirks": ["none"]}))
    assert hash_of(str(mine), videos) == first


def test_its_hash_cannot_be_set():
    with pytest.raises(SettingsError, match="dataset_id"):
        with_dataset(HumanVideoSettings(dataset_id="x"), load_dataset("video_folder"))

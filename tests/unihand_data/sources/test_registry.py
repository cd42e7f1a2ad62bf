"""Which reader a folder gets, what counts as an item, and what the YAML files may say."""

from __future__ import annotations

import shutil

import pytest
import yaml

from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.generate.media import write_video
from unihand_data.sources.generate.scene import make_scene
from unihand_data.sources.registry import DATASETS, READERS, dataset_names, load_dataset, open_source


def test_all_data_sets_load_and_name_a_reader():
    assert len(dataset_names()) == 21
    for name in dataset_names():
        spec = load_dataset(name)
        assert spec.name == name
        assert spec.reader in READERS
        assert spec.tried.generated


@pytest.mark.parametrize("name", sorted({"ego4d", "fpha", "arctic", "hot3d", "epic_kitchens_100", "egodex", "hoi4d"}))
def test_restricted_data_sets_are_not_shareable(name):
    assert not load_dataset(name).shareable


def test_an_unknown_key_in_a_yaml_is_an_error(tmp_path):
    data = yaml.safe_load((DATASETS / "egodex.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**data, "licnece": "x"}))
    with pytest.raises(ValueError, match="licnece"):
        load_dataset(str(tmp_path / "mine.yaml"))


def test_a_shareable_set_needs_a_permissive_licence(tmp_path):
    data = yaml.safe_load((DATASETS / "ego4d.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**data, "shareable": True}))
    with pytest.raises(ValueError, match="permissive"):
        load_dataset(str(tmp_path / "mine.yaml"))


def test_a_yaml_of_the_users_own_describes_a_new_set(tmp_path):
    data = yaml.safe_load((DATASETS / "video_folder.yaml").read_text())
    mine = {**data, "name": "mine", "licence": "CC0", "licence_class": "permissive", "shareable": True}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    write_video(tmp_path / "v" / "a.mp4", make_scene(0, frames=4))
    source = open_source(str(tmp_path / "v"), str(tmp_path / "mine.yaml"))
    recording = source.open(next(iter(source.items())))
    assert (recording.licence, recording.shareable) == ("CC0", True)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(DatasetRefused, match="--dataset takes one of arctic"):
        load_dataset("nope")


def test_a_folder_without_video_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetRefused, match="--dataset") as caught:
        open_source(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DatasetRefused, match="does not exist"):
        open_source(str(tmp_path / "no"))


def test_two_recognised_sets_in_one_folder_are_refused_by_name(tmp_path):
    generate("epic_kitchens_100", tmp_path, recordings=1, frames=4)
    generate("taco", tmp_path, recordings=1, frames=4)
    with pytest.raises(DatasetRefused, match="epic_kitchens_100 and taco; say which with --dataset"):
        open_source(str(tmp_path))
    assert open_source(str(tmp_path), "taco").dataset == "taco"


def test_videos_are_items_wherever_they_lie_and_other_files_are_counted(tmp_path):
    scene = make_scene(0, frames=4)
    write_video(tmp_path / "b" / "2.MP4", scene)
    write_video(tmp_path / "a.mp4", scene)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "._a.mp4").write_bytes(b"left over")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "b")
    (tmp_path / "broken.tar").write_bytes(b"no tar")
    source = open_source(str(tmp_path))
    items = list(source.items())
    assert [i.key for i in items] == ["a.mp4", "b/2.MP4", "broken.tar", "packed.zip!2.MP4"]
    assert source.ignored_by_suffix() == {".txt": 1, ".mp4": 1}
    assert source.open(items[3]).content_id == source.open(items[1]).content_id
    with pytest.raises(Reject, match=r"broken\.tar"):
        source.open(items[2])


def test_one_file_can_be_the_input(tmp_path):
    write_video(tmp_path / "a.mp4", make_scene(0, frames=4))
    write_video(tmp_path / "b.mp4", make_scene(1, frames=4))
    assert [i.key for i in open_source(str(tmp_path / "a.mp4")).items()] == ["a.mp4"]


def test_one_tar_of_a_web_dataset_can_be_the_input(made):
    tar = next(made("egocentric_10k").folder.rglob("*.tar"))
    source = open_source(str(tar))
    assert source.dataset == "egocentric_10k"
    assert source.open(next(iter(source.items()))).intrinsics.model == "kannala_brandt"


def test_links_to_folders_are_followed_once(tmp_path):
    write_video(tmp_path / "real" / "a.mp4", make_scene(0, frames=4))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [i.key for i in open_source(str(tmp_path / "in")).items()] == ["link/a.mp4"]


def test_annotation_without_its_video_is_rejected_unless_only_inspected(made, tmp_path):
    folder = tmp_path / "vitra"
    shutil.copytree(made("vitra_1m").folder / "annotations", folder)
    source = open_source(str(folder))
    with pytest.raises(Reject, match="videos=") as caught:
        source.open(next(iter(source.items())))
    assert caught.value.reason == Reason.MISSING_FILE
    source = open_source(str(folder), options=SourceOptions(require_video=False))
    recording = source.open(next(iter(source.items())))
    assert recording.video is None
    assert recording.hands[0].valid.any()


def test_a_corrected_annotation_has_another_annotation_id_and_the_same_recording(made, tmp_path):
    m = made("egodex")
    before = m.opened()[0][1]
    folder = tmp_path / "copy"
    shutil.copytree(m.folder, folder)
    import h5py

    path = next(p for p in folder.rglob("0.hdf5"))
    with h5py.File(path, "a") as f:
        f.attrs["llm_description"] = "something else"
    source = open_source(str(folder))
    after = source.open(next(iter(source.items())))
    assert after.recording_id == before.recording_id
    assert after.extra["annotation_id"] != before.extra["annotation_id"]


def test_the_command_line_writes_a_data_set(tmp_path):
    from unihand_data.sources.generate.__main__ import main

    assert main(["fpha", str(tmp_path), "--recordings", "3", "--frames", "4", "--width", "64", "--height", "48"]) == 0
    assert len(list(open_source(str(tmp_path)).items())) == 3


def test_videos_on_object_storage_are_listed_and_hashed(tmp_path):
    import fsspec

    local = write_video(tmp_path / "a.mp4", make_scene(0, frames=4))
    fs = fsspec.filesystem("memory")
    fs.pipe("/bucket/set/x/a.mp4", local.read_bytes())
    fs.pipe("/bucket/set/notes.txt", b"x")
    source = open_source("memory://bucket/set")
    (item,) = source.items()
    assert item.key == "x/a.mp4"
    assert source.ignored() == 1
    recording = source.open(item)
    assert recording.content_id == open_source(str(local)).open(next(iter(open_source(str(local)).items()))).content_id
    with pytest.raises(DatasetRefused, match="local disk"):
        open_source("memory://bucket/set", "egodex")


def test_the_table_in_the_docs_is_the_one_the_yaml_files_give():
    from pathlib import Path

    from unihand_data.sources.table import markdown

    page = Path(__file__).resolve().parents[3] / "docs" / "sources.md"
    assert markdown() in page.read_text()

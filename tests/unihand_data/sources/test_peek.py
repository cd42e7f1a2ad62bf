"""A like name is no data set: foreign files beside good videos cost nothing."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.sources.generate.media import write_video
from unihand_data.sources.generate.scene import make_scene
from unihand_data.sources.registry import open_source


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", make_scene(0, frames=4))


def hdf5_file(path):
    import h5py

    with h5py.File(path, "w") as f:
        f["observations/qpos"] = np.zeros((4, 7))


def tar_of_videos(path, video):
    with tarfile.open(path, "w") as t:
        t.add(video, "clips/a.mp4")
        info = tarfile.TarInfo("readme.txt")
        t.addfile(info, io.BytesIO(b""))


FOREIGN = {
    "egodex": ("3.hdf5", lambda path, video: hdf5_file(path)),
    "egodex, named otherwise": ("notes.hdf5", lambda path, video: hdf5_file(path)),
    "ego4d": (
        "annotations/narration.json",
        lambda path, video: path.write_text(json.dumps({"a.mp4": "cuts"})),
    ),
    "hot3d": ("clip-000003.tar", tar_of_videos),
    "vitra_1m": ("kitchen_ep_3.npy", lambda path, video: np.save(path, np.zeros(3))),
    "dexycb": ("meta.yml", lambda path, video: (path.write_text("a: 1"), np.savez(path.parent / "labels_3.npz", a=1))),
    "taste_rob": ("SingleHand/b.mp4", lambda path, video: shutil.copy(video, path)),
    "hoi4d": ("align_rgb/image.mp4", lambda path, video: shutil.copy(video, path)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_of_a_like_name_does_not_lose_the_video(tmp_path, video, kind):
    name, write = FOREIGN[kind]
    shutil.copy(video, tmp_path / "3.mp4")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name, video)
    source = open_source(str(tmp_path))
    assert source.dataset == "video_folder"
    opened = [source.open(item) for item in source.items()]
    assert len(opened) >= 1
    assert all(recording.video for recording in opened)


def test_one_good_file_among_foreign_ones_shows_the_data_set(made, tmp_path):
    shutil.copytree(made("egodex").folder, tmp_path / "in")
    for i in range(3):
        hdf5_file(tmp_path / "in" / f"{i}.hdf5")
    assert open_source(str(tmp_path / "in")).dataset == "egodex"


def test_a_task_folder_of_egodex_is_known_and_so_is_a_set_whose_every_file_is_damaged(made, tmp_path):
    shutil.copytree(made("egodex").folder, tmp_path / "in")
    task = next((tmp_path / "in").rglob("*.hdf5")).parent
    assert open_source(str(task)).dataset == "egodex"
    for path in (tmp_path / "in").rglob("*.hdf5"):
        path.write_bytes(path.read_bytes()[:2000])
    source = open_source(str(tmp_path / "in"))
    assert source.dataset == "egodex"
    with pytest.raises(Reject) as caught:
        source.open(next(iter(source.items())))
    assert caught.value.reason in {Reason.TRUNCATED, Reason.UNREADABLE}

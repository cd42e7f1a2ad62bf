"""Cameras of HDF5 recordings: every way to store a picture per step, colours, videos beside the file."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from helpers.robots import edited, opened
from unihand_data.errors import Reason, Reject
from unihand_data.sources import isolated
from unihand_data.sources.robot.generate.hdf5_sets import generate
from unihand_data.sources.robot.generate.hdf5_writer import frames, jpeg
from unihand_data.sources.robot.readers.hdf5_views import one_frame_a_step


def red_over_blue(picture: bytes) -> bool:
    """Of an ordinary decoder; the generated ground is red."""
    r, _, b = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3).mean(0)
    return bool(r > b)


# pictures -----------------------------------------------------------------------------------------------------------


def test_colours_of_each_robot_as_an_ordinary_decoder_sees_them(made):
    """Red ground: RoboMIND's Franka and ACT's arrays are red; AgileX and packed ACT have red and blue exchanged, and
    their files say ``channels: bgr``."""
    for name in ("robomind_franka", "aloha_act", "robomind2_franka_dual", "robomimic_hdf5"):
        spec, e, _ = made(name)[1][0]
        assert red_over_blue(next(v for v in e.views.values() if not v.depth).pictures[0]), name
        assert {v.channels for v in spec.views} == {"rgb"}
    for name in ("robomind_agilex", "robomind_tienkung_gello", "aloha_act_packed"):
        spec, e, _ = made(name)[1][0]
        assert not red_over_blue(next(v for v in e.views.values() if not v.depth).pictures[0]), name
        assert {v.channels for v in spec.views} == {"bgr"}


def test_raw_arrays_lose_nothing(made):
    pictures = made("robomimic_hdf5")[1][0][1].views["obs/agentview_image"].pictures
    got = np.stack([np.asarray(Image.open(io.BytesIO(p))) for p in pictures])
    assert np.array_equal(got, frames(40, 0))


def test_libero_pictures_are_stored_upside_down_and_its_file_turns_them(made):
    spec, e, _ = made("libero_hdf5")[1][0]
    first = np.asarray(Image.open(io.BytesIO(e.views["obs/agentview_rgb"].pictures[0])))
    assert np.array_equal(first[::-1, ::-1], frames(40, 0)[0])
    assert {v.turn for v in spec.views} == {"rotate_180"}


def test_raw_bytes_are_told_by_their_number_in_the_order_opencv_takes(tmp_path):
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[..., 2] = 200  # red, the last channel of a camera's BGR array
    edited(
        tmp_path, "robomind_ur", lambda m: m.update({"observations/rgb_images/camera_top": [picture.tobytes()] * 24})
    )
    view = opened(tmp_path).views["observations/rgb_images/camera_top"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(view.pictures[0]))), picture[..., ::-1])


@pytest.mark.parametrize("how", ["fixed strings", "opaque", "padded rows", "depth array"])
def test_other_ways_to_store_a_picture_per_step(tmp_path, how):
    path = tmp_path / "x.hdf5"
    encoded = [jpeg(p) for p in frames(3)]
    with h5py.File(path, "w") as f:
        if how == "fixed strings":
            f["p"] = np.array(encoded, dtype=f"S{max(map(len, encoded))}")
        elif how == "opaque":
            f["p"] = np.array([np.void(e.ljust(4000, b"\0")) for e in encoded])
        elif how == "padded rows":
            rows = np.zeros((3, 5000), np.uint8)
            for row, e in zip(rows, encoded):
                row[: len(e)] = np.frombuffer(e, np.uint8)
            f["p"] = rows
        else:
            f["p"] = np.full((3, 48, 64, 1), 1234, np.uint16)
    got = isolated.hdf5_pictures(str(path), "p")
    if how == "depth array":
        assert all(np.asarray(Image.open(io.BytesIO(p))).max() == 1234 for p in got)
    else:
        assert [p.rstrip(b"\0") for p in got] == encoded


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p[:-1], Reason.CONTRADICTION),
        (lambda p: [*p[:5], b"", *p[6:]], Reason.UNREADABLE),
        (lambda p: [*p[:5], b"<html>", *p[6:]], Reason.UNREADABLE),
    ],
)
def test_a_camera_that_cannot_be_read_is_one_loss(tmp_path, change, reason):
    def alter(members):
        members["observations/rgb_images/camera_left"] = change(members["observations/rgb_images/camera_left"])

    e = opened(edited(tmp_path, "robomind_franka", alter))
    assert [(loss.reason, loss.level) for loss in e.losses] == [(reason, "row")]
    assert len(e.views) == 3


def test_a_video_beside_the_file_shows_one_frame_per_step(made, tmp_path):
    view = made("droid_raw")[1][0][1].views["ext1"]  # 40 frames stamped 60 fps for 40 steps at 15 Hz
    assert view.pace == pytest.approx(15 / 60, rel=1e-3)
    with pytest.raises(Reject) as short:
        one_frame_a_step(view.video, "ext1", np.arange(50) / 15)
    assert short.value.reason is Reason.TRUNCATED
    with pytest.raises(Reject) as many:
        one_frame_a_step(view.video, "ext1", np.arange(20) / 15)
    assert many.value.reason is Reason.CONTRADICTION


def test_droid_cameras_that_are_there_as_svo_only_say_so(tmp_path):
    generate("droid_raw", tmp_path, seed=1, episodes=1)
    mp4 = next(tmp_path.rglob("22008760.mp4"))
    (mp4.parents[1] / "SVO").mkdir()
    mp4.rename(mp4.parents[1] / "SVO" / "22008760.svo")
    e = opened(tmp_path)
    assert sorted(e.views) == ["ext2", "wrist"]
    assert [loss.reason for loss in e.losses] == [Reason.UNSUPPORTED]


def test_agibot_depth_and_intrinsics(made):
    e = made("agibot_world_h5")[1][0][1]
    assert e.views["head_depth"].depth
    assert np.array_equal(e.views["head_color"].intrinsics, [60, 60, 32, 24])
    assert len(e.views["head_depth"].pictures) == 40

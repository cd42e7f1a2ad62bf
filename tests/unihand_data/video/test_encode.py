"""Stored clips: the right frames at their own times, the same bytes every time."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest

from unihand_data.errors import Reject
from unihand_data.ids import hash_file
from unihand_data.values.camera import Intrinsics
from unihand_data.video.decode import iter_frames
from unihand_data.video.encode import EncodeSettings, choose_time_base, encode_clip, stored_size
from unihand_data.video.probe import probe


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_frames_times_and_groups_are_as_asked(tmp_path, videos, codec):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 60, bframes=2, width=192, height=128))
    row = encode_clip(info.clip(10, 50), tmp_path / "out" / "b.mp4", EncodeSettings(codec=codec, gop=5), licence="x")
    got = probe(row.path)
    assert [videos.read_number(p) for _, _, p in iter_frames(got.clip())] == list(range(10, 50))
    np.testing.assert_allclose(got.pts, info.pts[10:50] - info.pts[10], atol=1e-6)
    np.testing.assert_allclose(row.pts, got.pts, atol=1e-9)
    assert np.flatnonzero(got.keyframe).tolist() == list(range(0, 40, 5))
    assert (np.diff(got.order) == 1).all(), "no frame is decoded out of turn"
    assert (row.width, row.height, row.frames, row.gop, row.codec, row.pts_start) == (192, 128, 40, 5, codec, 0.0)
    assert (row.kind, row.licence, row.data, row.media_id) == ("video", "x", None, hash_file(row.path))
    assert got.pix_fmt == "yuv420p"
    assert os.listdir(tmp_path / "out") == ["b.mp4"], "nothing temporary is left"


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_the_same_clip_gives_the_same_bytes(tmp_path, videos, codec):
    clip = probe(videos.write_numbers(tmp_path / "a.mp4", 24, width=192, height=128)).clip()
    rows = [encode_clip(clip, tmp_path / f"{k}.mp4", EncodeSettings(codec=codec)) for k in range(2)]
    assert rows[0].media_id == rows[1].media_id
    assert (tmp_path / "0.mp4").read_bytes() == (tmp_path / "1.mp4").read_bytes()
    other = encode_clip(clip, tmp_path / "2.mp4", EncodeSettings(codec=codec, gop=3))
    assert other.media_id != rows[0].media_id


@pytest.mark.parametrize(
    ("ticks", "time_base"),
    [
        (np.arange(30) * 1001, Fraction(1, 30000)),
        (np.arange(30) * 1001, Fraction(1, 60000)),
        (np.arange(30) * 10, Fraction(1, 149)),
        (np.cumsum([0, 3000, 3000, 6000, 1500, 4500, 3003, 2997]), Fraction(1, 90000)),
        (np.cumsum([0, 33, 34, 33, 40, 27]), Fraction(1, 1000)),
        (np.cumsum([0, 33333, 33334, 50001, 12345]), Fraction(1, 1000000)),
    ],
)
def test_odd_and_variable_rates_keep_their_times_to_a_microsecond(tmp_path, videos, ticks, time_base):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", len(ticks), ticks=ticks, time_base=time_base))
    np.testing.assert_allclose(info.pts, ticks * float(time_base), atol=1e-9)
    got = probe(encode_clip(info.clip(), tmp_path / "b.mp4").path)
    np.testing.assert_allclose(got.pts, info.pts, atol=1e-6)


@pytest.mark.parametrize(
    "rate",
    [
        Fraction(30),
        Fraction(30000, 1001),
        Fraction(60000, 1001),
        Fraction(149, 10),
        Fraction(24000, 1001),
        Fraction(90),
        Fraction(3),
    ],
)
def test_camera_rates_find_an_exact_base(rate):
    pts = np.arange(500) / float(rate)
    base = choose_time_base(pts)
    assert (Fraction(1) / rate / base).denominator == 1
    assert base > Fraction(1, 1000000)


def test_a_turned_clip_is_stored_upright(tmp_path, videos):
    for ccw in (90, -90, 180):
        info = probe(videos.write_numbers(tmp_path / "a.mp4", 20, rotation_ccw=ccw, width=200, height=128))
        for settings in (EncodeSettings(longest_side=None), EncodeSettings(longest_side=100)):
            got = probe(encode_clip(info.clip(), tmp_path / "b.mp4", settings).path)
            assert got.rotation == 0
            assert (got.width > got.height) == (info.width > info.height)
            assert [videos.read_number(p) for _, _, p in iter_frames(got.clip())] == list(range(20))


def test_sizes_are_even_kept_in_aspect_and_never_enlarged():
    from unihand_data.values.clip import ClipRef

    clip = ClipRef("a", np.zeros(1), 1920, 1080, intrinsics=Intrinsics(1000, 1000, 959.5, 539.5, 1920, 1080))
    assert stored_size(clip, EncodeSettings(longest_side=480)) == (480, 270)
    assert stored_size(clip, EncodeSettings(longest_side=None)) == (1920, 1080)
    assert stored_size(clip, EncodeSettings(longest_side=4000)) == (1920, 1080)
    assert stored_size(clip, EncodeSettings(size=(224, 224))) == (224, 224)
    camera = clip.view_intrinsics.resized(*stored_size(clip, EncodeSettings(longest_side=480)))
    np.testing.assert_allclose(camera.vector, [250, 250, 239.5, 134.5])
    assert stored_size(ClipRef("a", np.zeros(1), 654, 368), EncodeSettings(longest_side=300)) == (300, 168)
    with pytest.raises(ValueError, match="even"):
        EncodeSettings(size=(225, 224))


def test_a_rectified_clip_is_stored_rectified(tmp_path, videos):
    fisheye = Intrinsics(80, 80, 95.5, 63.5, 192, 128, "kannala_brandt", (0.05, 0.0, 0.0, 0.0))
    pinhole = Intrinsics(80, 80, 79.5, 49.5, 160, 100)
    clip = probe(videos.write_numbers(tmp_path / "a.mp4", 10, width=192, height=128)).clip(
        intrinsics=fisheye, undistort_to=pinhole
    )
    row = encode_clip(clip, tmp_path / "b.mp4", EncodeSettings(crf=5))
    assert (row.width, row.height) == (160, 100)
    stored = [p.astype(float) for _, _, p in iter_frames(probe(row.path).clip())]
    for (_, _, view), got in zip(iter_frames(clip), stored):
        assert np.abs(view - got).mean() < 4


def test_colours_are_kept(tmp_path, videos):
    for pix_fmt in ("yuv420p", "yuvj420p"):
        picture = np.full((64, 96, 3), (180, 60, 40), np.uint8)
        clip = probe(
            videos.write_video(tmp_path / "a.mp4", [picture] * 4, pix_fmt=pix_fmt, options={"crf": "2"})
        ).clip()
        before = next(iter_frames(clip))[2].astype(int)
        after = next(iter_frames(probe(encode_clip(clip, tmp_path / "b.mp4", EncodeSettings(crf=2)).path).clip()))[2]
        assert np.abs(before - after).max() <= 4


def test_a_clip_that_cannot_be_decoded_leaves_no_file(tmp_path, videos):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 20))
    clip = info.clip()
    clip.pts = np.append(clip.pts, 5.0)
    (tmp_path / "out").mkdir()
    with pytest.raises(Reject, match="no frame at"):
        encode_clip(clip, tmp_path / "out" / "b.mp4")
    assert os.listdir(tmp_path / "out") == []


def test_an_url_is_written_through_fsspec(tmp_path, videos):
    import fsspec

    clip = probe(videos.write_numbers(tmp_path / "a.mp4", 8)).clip()
    row = encode_clip(clip, "memory://media/b.mp4")
    assert probe("memory://media/b.mp4").frames == 8
    with fsspec.open(row.path, "rb") as f:
        from unihand_data.ids import hash_bytes

        assert hash_bytes(f.read()) == row.media_id


def test_one_frame_is_a_clip_too(tmp_path, videos):
    clip = probe(videos.write_numbers(tmp_path / "a.mp4", 8)).clip(3, 4)
    row = encode_clip(clip, tmp_path / "b.mp4")
    assert (row.frames, row.pts.tolist()) == (1, [0.0])
    assert videos.read_number(next(iter_frames(probe(row.path).clip()))[2]) == 3

"""Copied packets: the same pictures at the same times, and an honest no where copying would not do."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_file
from unihand_data.shards.media_reader import MediaDecoder
from unihand_data.values.clip import ClipRef
from unihand_data.video.encode import EncodeSettings, encode_clip
from unihand_data.video.remux import NotUsable, RemuxSettings, remux
from unihand_data.video.worker import VideoWorker

FRAMES = 70


@pytest.fixture(scope="module")
def numbers(videos):
    """Which pictures the stored frames at row times ``wanted`` (s) show."""

    def read(row, wanted) -> list[int]:
        with open(row.path, "rb") as file:
            decoder = MediaDecoder(row, file)
            at = [int(np.argmin(np.abs(row.pts - t))) for t in wanted]
            pictures = decoder.read(at)
            decoder.close()
        return [videos.read_number(pictures[i], strict=False) for i in at]

    return read


@pytest.fixture(scope="module", params=[("libx264", 0), ("libx264", 2), ("libx265", 0), ("libsvtav1", 0)])
def video(request, tmp_path_factory, videos):
    codec, bframes = request.param
    path = tmp_path_factory.mktemp("remux") / f"{codec}{bframes}.mp4"
    return videos.write_numbers(path, FRAMES, codec=codec, bframes=bframes)


def test_a_copied_stretch_shows_the_same_frames_at_row_times_from_zero(video, numbers, tmp_path):
    row = remux(str(video), tmp_path / "cut.mp4", t0=25 / 30, t1=50 / 30)
    assert row.pts[0] <= 0
    assert row.pts_start == row.pts[0]
    assert row.frames == len(row.pts)
    wanted = np.arange(25) / 30
    assert np.abs(row.pts[:, None] - wanted).min(0).max() < 1e-3
    assert numbers(row, wanted[[0, 3, 11, 24]]) == [25, 28, 36, 49]


def test_a_whole_file_keeps_every_frame(video, numbers, tmp_path):
    row = remux(str(video), tmp_path / "all.mp4")
    assert (row.frames, row.pts[0], row.gop) == (FRAMES, 0, 12)
    assert numbers(row, [0, 40 / 30, 69 / 30]) == [0, 40, 69]


def test_the_same_stretch_gives_the_same_bytes(video, tmp_path):
    first = remux(str(video), tmp_path / "a.mp4", t0=0.9, t1=1.6)
    second = remux(str(video), tmp_path / "b.mp4", t0=0.9, t1=1.6)
    assert first.media_id == second.media_id == hash_file(tmp_path / "b.mp4")


def test_a_worker_copies_and_says_why_not(video, numbers, tmp_path):
    with VideoWorker() as worker:
        row = worker.remux(str(video), tmp_path / "cut.mp4", t0=0.5, t1=1.0)
        assert numbers(row, [0.0]) == [15]
        with pytest.raises(NotUsable, match="12 frames"):
            worker.remux(str(video), tmp_path / "no.mp4", RemuxSettings(max_reach_pixels=96 * 64 * 11))
    assert not (tmp_path / "no.mp4").exists()


def test_pictures_that_must_be_turned_or_scaled_are_not_copied(videos, tmp_path):
    pictures = [videos.number_picture(n) for n in range(6)]
    turned = videos.write_video(tmp_path / "turned.mp4", pictures, rotation_ccw=90)
    with pytest.raises(NotUsable, match="rotation"):
        remux(str(turned), tmp_path / "x.mp4")
    plain = videos.write_video(tmp_path / "plain.mp4", pictures)
    with pytest.raises(NotUsable, match="longest_side"):
        remux(str(plain), tmp_path / "x.mp4", RemuxSettings(longest_side=64))
    with pytest.raises(NotUsable, match="codec"):
        remux(str(plain), tmp_path / "x.mp4", RemuxSettings(codecs=["av1"]))


def test_damage_and_stretches_outside_the_file_are_rejected(videos, tmp_path):
    path = videos.write_video(tmp_path / "v.mp4", [videos.number_picture(n) for n in range(FRAMES)])
    with pytest.raises(Reject) as error:
        remux(str(path), tmp_path / "x.mp4", t0=10.0, t1=11.0)
    assert error.value.reason == Reason.TRUNCATED
    data = bytearray(path.read_bytes())
    at = data.find(b"mdat") + 200
    data[at : at + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(Reject) as error:
        remux(str(path), tmp_path / "x.mp4")
    assert error.value.level == "clip"
    assert not (tmp_path / "x.mp4").exists()


@pytest.mark.parametrize("change", ["rotate_180", "flip_vertical", "bgr"])
def test_a_declared_change_of_the_picture_is_made_when_it_is_encoded(videos, tmp_path, change):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48] = (220, 30, 30)
    path = videos.write_video(tmp_path / "v.mp4", [picture] * 4)
    clip = ClipRef(str(path), np.arange(4) / 30, 96, 64, extra={"change": [change]})
    row = encode_clip(clip, tmp_path / "o.mp4", EncodeSettings(crf=10))
    with open(row.path, "rb") as file:
        stored = MediaDecoder(row, file).read([2])[2].astype(int)
    corner = {"rotate_180": stored[40:, 56:], "flip_vertical": stored[40:, :40], "bgr": stored[:24, :40]}[change]
    expected = (30, 30, 220) if change == "bgr" else (220, 30, 30)
    assert np.abs(corner.reshape(-1, 3).mean(0) - expected).max() < 12

"""Facts read from packets: times, rotation, counts."""

from __future__ import annotations

import io
import tarfile
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.video.probe import VideoInfo, probe


def test_facts_of_a_plain_file(tmp_path, videos):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 60, bframes=2))
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 96, 64, 0)
    assert (info.frames, info.announced, info.audio, info.vfr) == (60, 60, False, False)
    np.testing.assert_allclose(info.pts, np.arange(60) / 30, atol=1e-9)
    assert info.fps == pytest.approx(30)
    assert info.duration_s == pytest.approx(2.0)
    assert np.flatnonzero(info.keyframe).tolist() == [0, 12, 24, 36, 48]
    assert sorted(info.order) == list(range(60))
    assert (np.diff(info.order) < 0).any(), "B-frames are decoded in another order than they are shown"


@pytest.mark.parametrize(
    ("rate", "ticks_per_frame", "time_base"),
    [
        ("29.97", 1001, Fraction(1, 30000)),
        ("59.94", 1001, Fraction(1, 60000)),
        ("14.9", 10, Fraction(1, 149)),
        ("23.976", 1001, Fraction(1, 24000)),
    ],
)
def test_odd_rates_keep_their_exact_times(tmp_path, videos, rate, ticks_per_frame, time_base):
    n = 40
    path = videos.write_numbers(
        tmp_path / "a.mp4", n, ticks=np.arange(n) * ticks_per_frame, time_base=time_base, bframes=2
    )
    info = probe(path)
    np.testing.assert_allclose(info.pts, np.arange(n) * ticks_per_frame * float(time_base), atol=1e-9)
    assert info.fps == pytest.approx(float(rate), rel=1e-3)
    assert not info.vfr


def test_variable_rate_is_flagged_and_kept(tmp_path, videos):
    ticks = np.cumsum([0, 3000, 3000, 6000, 3000, 1500, 4500, 3000, 3000, 9000])
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 10, ticks=ticks, time_base=Fraction(1, 90000)))
    np.testing.assert_allclose(info.pts, ticks / 90000, atol=1e-9)
    assert info.vfr


def test_times_count_from_the_first_frame_whatever_the_stream_starts_at(tmp_path, videos):
    path = videos.write_numbers(tmp_path / "a.ts", 20, ticks=np.arange(20) + 900, bframes=2)
    info = probe(path)
    np.testing.assert_allclose(info.pts, np.arange(20) / 30, atol=2e-5)
    assert info.origin > 0


@pytest.mark.parametrize(
    ("ccw", "clockwise", "size"), [(0, 0, (96, 64)), (90, 270, (64, 96)), (-90, 90, (64, 96)), (180, 180, (96, 64))]
)
def test_rotation_is_clockwise_and_the_size_is_the_displayed_one(tmp_path, videos, ccw, clockwise, size):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 3, rotation_ccw=ccw))
    assert (info.rotation, (info.width, info.height)) == (clockwise, size)
    assert (info.coded_width, info.coded_height) == (96, 64)


def test_a_mirrored_picture_is_refused_since_it_would_swap_the_hands(tmp_path, videos):
    with pytest.raises(Reject, match="mirrors") as caught:
        probe(videos.write_numbers(tmp_path / "a.mp4", 3, hflip=True))
    assert caught.value.reason is Reason.UNSUPPORTED


def test_pixels_that_are_not_square_widen_the_displayed_picture(tmp_path, videos):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 3, sar=Fraction(3, 2)))
    assert (info.width, info.height, info.coded_width) == (144, 64, 96)


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path, videos):
    # a negative start makes the muxer write an edit list that hides everything before zero
    path = videos.write_numbers(
        tmp_path / "a.mp4",
        30,
        ticks=np.arange(30) - 10,
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
    )
    info = probe(path)
    assert info.frames == info.announced
    np.testing.assert_allclose(info.pts, np.arange(info.frames) / 30, atol=1e-9)


def test_bytes_members_and_files_are_the_same(tmp_path, videos):
    path = videos.write_numbers(tmp_path / "odd!name:with%d.mp4", 10)
    data = path.read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("junk.txt"), io.BytesIO())
        entry = tarfile.TarInfo("x/clip.mp4")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("clip.mp4", data)
    for other in (data, f"{tmp_path}/a.tar!x/clip.mp4", f"{tmp_path}/a.zip!clip.mp4", f"file://{path}"):
        np.testing.assert_array_equal(probe(other).pts, probe(path).pts)


def test_an_url_is_read_through_fsspec(videos, tmp_path):
    import fsspec

    data = videos.write_numbers(tmp_path / "a.mp4", 10).read_bytes()
    with fsspec.open("memory://folder/a.mp4", "wb") as f:
        f.write(data)
    assert probe("memory://folder/a.mp4").frames == 10


def test_info_survives_the_wire(tmp_path, videos):
    info = probe(videos.write_numbers(tmp_path / "a.mp4", 10))
    again = VideoInfo.from_dict(info.to_dict())
    assert again.time_base == info.time_base
    np.testing.assert_array_equal(again.pts, info.pts)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"this is no video " * 50, Reason.UNREADABLE),
        (bytes(5000), Reason.UNREADABLE),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", Reason.UNREADABLE),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", Reason.UNREADABLE),
    ],
)
def test_files_that_are_no_video_say_so(tmp_path, content, reason):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(Reject) as caught:
            probe(source)
        assert caught.value.reason is reason
    with pytest.raises(Reject) as caught:
        probe(tmp_path / "nowhere.mp4")
    assert caught.value.reason is Reason.MISSING_FILE


def test_a_file_cut_before_its_index_is_truncated(tmp_path, videos):
    data = videos.write_numbers(tmp_path / "a.mp4", 60).read_bytes()
    with pytest.raises(Reject, match="mdat") as caught:
        probe(data[: len(data) // 2])
    assert caught.value.reason is Reason.TRUNCATED


def test_sound_alone_is_unsupported(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        for i in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, 1024 * i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(Reject, match="no video stream") as caught:
        probe(tmp_path / "a.mp4")
    assert caught.value.reason is Reason.UNSUPPORTED


def test_the_real_clip(kitchen):
    info = probe(kitchen)
    assert (info.codec, info.width, info.height, info.frames, info.announced) == ("h264", 1920, 1080, 121, 121)
    np.testing.assert_allclose(np.diff(info.pts), 1 / 30, atol=1e-9)

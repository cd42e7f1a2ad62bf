"""One pass finds damage, cuts and thumbnails; damaged files end in counts, never in a crash."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_file
from unihand_data.video.integrity import check, content_id
from unihand_data.video.scan import ScanResult, ScanSettings, scan
from unihand_data.video.segment import plan_clips
from unihand_data.video.taint import Taint, spoiled


def flip(data: bytes, seed: int, count: int = 20) -> bytes:
    """``count`` random bytes overwritten between a tenth and nine tenths of the file."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for at in rng.integers(len(data) // 10, len(data) * 9 // 10, count):
        out[at] = rng.integers(256)
    return bytes(out)


def test_a_whole_file_is_whole(tmp_path, videos):
    path = videos.write_numbers(tmp_path / "a.mp4", 90, bframes=2)
    report = check(path)
    assert report.ok
    assert (report.decoded, report.announced, report.decoded_ratio, report.corrupt_frames) == (90, 90, 1.0, 0)
    assert report.hash == hash_file(path) == content_id(path.read_bytes())


def test_one_pass_gives_thumbnails_by_time_and_cuts_by_frame(tmp_path, videos):
    rng = np.random.default_rng(0)
    scenes = [np.kron(rng.integers(0, 255, (9, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(3)]
    path = videos.write_video(tmp_path / "a.mp4", [s for s in scenes for _ in range(25)])
    result = scan(path, ScanSettings(thumbnail_hz=2, thumbnail_side=48))
    assert result.cuts.tolist() == [25, 50]
    assert result.thumbnail_frames.tolist() == [0, 15, 30, 45, 60]
    assert result.thumbnails.shape == (5, 36, 48, 3)
    assert result.distances.argmax() in (25, 50)
    for k, i in enumerate(result.thumbnail_frames):
        small = scenes[i // 25].reshape(36, 2, 48, 2, 3).mean((1, 3))
        assert np.abs(result.thumbnails[k] - small).mean() < 12


def test_thumbnails_of_a_turned_film_are_upright(tmp_path, videos):
    path = videos.write_numbers(tmp_path / "a.mp4", 40, rotation_ccw=-90)
    result = scan(path, ScanSettings(thumbnail_hz=1))
    assert [videos.read_number(p) for p in result.thumbnails] == result.thumbnail_frames.tolist() == [0, 30]


def test_a_film_that_changes_its_size_is_refused(tmp_path, videos):
    a = videos.write_numbers(tmp_path / "a.ts", 10).read_bytes()
    b = videos.write_numbers(tmp_path / "b.ts", 10, width=192, height=128, ticks=np.arange(10) + 10).read_bytes()
    with pytest.raises(Reject, match="changes size") as caught:
        scan(a + b)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx264", "mp4"),
        ("libx265", "mp4"),
        ("libsvtav1", "mp4"),
        ("libx264", "mkv"),
        ("libx264", "ts"),
        ("mpeg4", "avi"),
        ("mjpeg", "mov"),
    ],
)
def test_many_damaged_files_each_end_in_counts_or_a_reason(tmp_path, videos, codec, suffix):
    path = tmp_path / f"a.{suffix}"
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    data = videos.write_numbers(path, 60, codec=codec, width=192, height=128, pix_fmt=pix_fmt).read_bytes()
    found = 0
    reasons = {Reason.UNREADABLE, Reason.TRUNCATED, Reason.CORRUPT, Reason.UNSUPPORTED, Reason.EMPTY}
    for seed in range(30):
        damaged = flip(data, seed) if seed % 3 else data[: int(len(data) * (0.3 + 0.02 * seed))]
        result = reason = None
        try:
            result = scan(damaged)
        except Reject as reject:
            reason = reject.reason
        if result is None:
            assert reason in reasons
            found += 1
            continue
        assert 0 <= result.decoded_ratio <= 1
        assert len(result.damaged) == result.info.frames
        plan = plan_clips(result.info.pts, result.cuts, damaged=result.damaged)
        assert all(not result.damaged[a:b].any() for a, b in plan)
        found += bool(result.damaged.any() or result.errors or result.losses())
    # A transport stream announces no length, and MJPEG has no rule that a changed coefficient would break.
    assert found >= (20 if suffix in ("mp4", "mkv") else 8)


def test_frames_the_index_promises_and_the_file_lacks_are_counted(tmp_path, videos):
    path = videos.write_numbers(tmp_path / "a.mp4", 120, container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    result = scan(data[: len(data) * 6 // 10])
    assert result.announced == 120
    assert 10 < result.decoded < 110
    assert result.decoded_ratio == pytest.approx(result.decoded / 120)
    lost = sum(r.frames for r in result.losses())
    assert lost == 120 - result.info.frames
    assert all(r.reason is Reason.TRUNCATED for r in result.losses())
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    report = check(tmp_path / "cut.mp4")
    assert not report.ok
    assert report.decoded < report.announced


def test_a_matroska_file_cut_short_is_seen_by_its_announced_duration(tmp_path, videos):
    data = videos.write_numbers(tmp_path / "a.mkv", 240, gop=12).read_bytes()
    result = scan(data[: len(data) // 2])
    (loss,) = result.losses()
    assert loss.reason is Reason.TRUNCATED
    assert loss.frames == pytest.approx(240 - result.info.frames, abs=2)


def test_damage_lasts_until_the_next_key_frame(tmp_path, videos):
    """Flip bytes of one packet in the middle of a group: the rest of the group is out, the next group is in."""
    import av

    data = bytearray(videos.write_numbers(tmp_path / "a.mp4", 48, gop=12, width=192, height=128).read_bytes())
    import io

    with av.open(io.BytesIO(bytes(data))) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    at, size = packets[16].pos, packets[16].size
    for k in range(at + 12, at + size):
        data[k] ^= 0xFF
    result = scan(bytes(data))
    assert np.flatnonzero(result.damaged).tolist() in (list(range(16, 24)), list(range(15, 24)))


def test_spoiled_follows_references_not_time():
    # decoding order I0 P3 B1 B2 I6 B4 B5 (shown 0 1 2 3 4 5 6)
    keyframe = np.array([1, 0, 0, 0, 0, 0, 1], bool)
    order = np.array([0, 2, 3, 1, 5, 6, 4])

    def after(*damaged):
        d = np.zeros(7, bool)
        d[list(damaged)] = True
        return np.flatnonzero(spoiled(d, keyframe, order)).tolist()

    assert after() == []
    assert after(3) == [1, 2, 3, 4, 5], (
        "frames shown before and leading the next key frame refer to it; the key does not"
    )
    assert after(6) == [4, 5, 6]
    assert after(0) == [0, 1, 2, 3, 4, 5]


def test_a_missing_frame_also_spoils_the_one_decoded_before_it():
    keyframe = np.array([1, 0, 0, 0, 1, 0], bool)
    missing = np.array([0, 0, 0, 1, 0, 0], bool)
    out = spoiled(np.zeros(6, bool), keyframe, np.arange(6), missing)
    assert np.flatnonzero(out).tolist() == [2, 3]


def test_the_streaming_rule_agrees_where_frames_are_not_reordered():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = 40
        keyframe = rng.uniform(size=n) < 0.15
        keyframe[0] = True
        damaged = rng.uniform(size=n) < 0.08
        taint, out = Taint(), []
        for i in range(n):
            taint.packet(i, bool(keyframe[i]))
            out.append(taint.frame(i, bool(damaged[i])))
        np.testing.assert_array_equal(out, spoiled(damaged, keyframe, np.arange(n)))


def test_a_result_survives_the_wire(tmp_path, videos):
    result = scan(videos.write_numbers(tmp_path / "a.mp4", 20))
    again = ScanResult.from_dict(result.to_dict())
    np.testing.assert_array_equal(again.thumbnails, result.thumbnails)
    assert again.decoded_ratio == 1.0


def test_too_many_frames_are_refused_before_they_are_decoded(tmp_path, videos):
    with pytest.raises(Reject, match="max_frames"):
        scan(videos.write_numbers(tmp_path / "a.mp4", 20), ScanSettings(max_frames=10))


def test_the_real_clip_is_whole_and_has_no_cut(kitchen):
    result = scan(kitchen)
    assert (result.decoded, result.announced, int(result.damaged.sum()), result.cuts.tolist()) == (121, 121, 0, [])
    assert plan_clips(result.info.pts, result.cuts, damaged=result.damaged).clips == [(0, 121)]

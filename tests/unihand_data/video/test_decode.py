"""Frames by time: the right ones, turned and rectified, or a reason."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unihand_data.errors import Reason, Reject
from unihand_data.values.camera import Intrinsics
from unihand_data.video import adapters
from unihand_data.video.decode import iter_frames, open_reader
from unihand_data.video.probe import probe


def _extra(backend):
    """Skipped where it is not installed, or installed and does not load (torchcodec without FFmpeg's libraries)."""
    try:
        adapters.load(backend)
        reason = ""
    except ImportError as error:
        reason = str(error).splitlines()[0]
    return pytest.param(backend, marks=pytest.mark.skipif(bool(reason), reason=reason))


BACKENDS = ["pyav", _extra("decord"), _extra("torchcodec")]


@pytest.fixture(scope="module")
def library(tmp_path_factory, videos):
    """One number video per kind of stream, made once."""
    folder = tmp_path_factory.mktemp("library")
    vfr = np.cumsum(np.tile([0, 3000, 3000, 6000, 1500, 4500], 20))[1:100]
    vfr = np.unique(vfr)
    kinds = {
        "h264": {},
        "h264_b": {"bframes": 3, "gop": 24},
        "h264_open": {"bframes": 3, "gop": 10, "options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
        "long_gop": {"gop": 250},
        "vfr": {"ticks": vfr, "time_base": Fraction(1, 90000), "bframes": 2},
        "ntsc": {"ticks": np.arange(60) * 1001, "time_base": Fraction(1, 30000), "bframes": 2},
        "turned": {"rotation_ccw": -90},
        "late": {"ticks": np.arange(60) + 500, "bframes": 2},
        "hevc": {"codec": "libx265", "bframes": 3},
        "av1": {"codec": "libsvtav1"},
        "mpeg4": {"codec": "mpeg4", "bframes": 2},
    }
    out = {}
    for kind, options in kinds.items():
        n = len(options["ticks"]) if "ticks" in options else 60
        suffix = "ts" if kind == "late" else "mkv" if kind == "h264_open" else "mp4"
        out[kind] = videos.write_numbers(folder / f"{kind}.{suffix}", n, **options)
    return out


KINDS = ["h264", "h264_b", "h264_open", "long_gop", "vfr", "ntsc", "turned", "late", "hevc", "av1", "mpeg4"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_returns_the_frame_that_belongs_to_the_time(library, videos, backend, kind):
    info = probe(library[kind])
    if (backend, kind) in (("decord", "av1"), ("decord", "late"), ("torchcodec", "late")):
        with pytest.raises(Reject, match="AV1" if kind == "av1" else "transport stream"):
            list(iter_frames(info.clip(), backend=backend))
        return
    rng = np.random.default_rng(0)
    for wanted in (
        np.arange(info.frames),
        np.sort(rng.choice(info.frames, 9, replace=False)),
        np.array([info.frames - 1]),
        np.array([0]),
    ):
        clip = info.clip()
        clip.pts = info.pts[wanted]
        got = list(iter_frames(clip, backend=backend))
        assert [i for i, _, _ in got] == list(range(len(wanted)))
        assert [videos.read_number(p) for _, _, p in got] == wanted.tolist()
        np.testing.assert_allclose([t for _, t, _ in got], clip.pts, atol=1e-3)
        assert got[0][2].shape == (info.height, info.width, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_serves_requests_in_any_order_and_size(library, videos, backend):
    info = probe(library["h264_b"])
    reader = open_reader(library["h264_b"], backend)
    for wanted in ([50], [3, 4, 5], [59], [0], [20, 40, 59]):
        got = list(reader.frames(info.pts[wanted], size=(48, 32)))
        assert [videos.read_number(p) for _, _, p in got] == wanted
        assert got[0][2].shape == (32, 48, 3)
    gray = next(iter(reader.frames(info.pts[[7]], rgb=False)))[2]
    assert gray.shape == (64, 96)
    assert videos.read_number(gray) == 7
    reader.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_time_between_frames_finds_the_nearer_one_within_half_a_frame(library, videos, backend):
    reader = open_reader(library["h264"], backend)
    got = list(reader.frames([0.004, 10.4 / 30, 10.6 / 30]))
    assert [videos.read_number(p) for _, _, p in got] == [0, 10, 11]
    with pytest.raises(Reject) as caught:
        list(reader.frames([2.1]))
    assert (caught.value.reason, caught.value.level) == (Reason.TRUNCATED, "clip")
    with pytest.raises(ValueError, match="increase"):
        list(reader.frames([0.1, 0.1]))
    reader.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", ["h264_open", "long_gop", "vfr", "hevc"])
def test_any_selection_is_frame_exact_with_and_without_seeks(library, videos, kind, data):
    info = probe(library[kind])
    wanted = sorted(data.draw(st.sets(st.integers(0, info.frames - 1), min_size=1, max_size=6)))
    clip = info.clip()
    clip.pts = info.pts[wanted]
    assert [videos.read_number(p) for _, _, p in iter_frames(clip)] == wanted


def test_seeks_skip_groups_of_pictures_that_hold_no_target(tmp_path, videos, monkeypatch):
    from unihand_data.video.taint import Taint

    path = videos.write_numbers(tmp_path / "a.mp4", 600, gop=10)
    decoded = 0
    original = Taint.frame

    def count(self, tick, corrupt):
        nonlocal decoded
        decoded += 1
        return original(self, tick, corrupt)

    monkeypatch.setattr(Taint, "frame", count)
    reader = open_reader(path)
    assert [videos.read_number(p) for _, _, p in reader.frames(np.array([5, 305, 595]) / 30)] == [5, 305, 595]
    reader.close()
    assert decoded < 60


def test_a_subsampled_clip_does_not_accept_a_neighbour_of_a_missing_frame(library):
    info = probe(library["h264"])
    clip = info.clip()
    clip.pts = info.pts[::3] + 0.01
    with pytest.raises(Reject, match="no frame at"):
        list(iter_frames(clip))


def test_a_clip_that_says_another_size_than_its_file_is_a_contradiction(library):
    clip = probe(library["turned"]).clip()
    clip.width, clip.height = clip.height, clip.width
    with pytest.raises(Reject) as caught:
        list(iter_frames(clip))
    assert caught.value.reason is Reason.CONTRADICTION


def test_a_closed_iterator_closes_its_file(library):
    frames = iter_frames(probe(library["h264"]).clip())
    next(frames)
    frames.close()
    assert list(frames) == []


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_flipped_bytes_yield_a_reject_and_no_wrong_frame(tmp_path, videos, codec):
    """Up to the first Reject, what is returned shows its number; HEVC's decoder misses damage that breaks no rule of
    the syntax, so there only most of it does."""
    data = videos.write_numbers(tmp_path / "a.mp4", 60, codec=codec, width=192, height=128).read_bytes()
    info = probe(data)
    rejected = returned = wrong = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        damaged = bytearray(data)
        for at in rng.integers(len(data) // 10, len(data) * 9 // 10, 20):
            damaged[at] = rng.integers(256)
        path = tmp_path / "b.mp4"
        path.write_bytes(damaged)
        clip = info.clip()
        clip.path = str(path)
        try:
            for i, _, picture in iter_frames(clip):
                wrong += videos.read_number(picture, strict=False) != i
                returned += 1
        except Reject:
            rejected += 1
    assert rejected > 20
    assert returned
    assert wrong <= (0 if codec == "libx264" else returned * 0.1)


def test_colours_survive_limited_and_full_range(tmp_path, videos):
    for pix_fmt in ("yuv420p", "yuvj420p", "yuv444p"):
        for colour in ((200, 30, 60), (128, 128, 128), (255, 255, 255), (0, 0, 0)):
            picture = np.full((64, 96, 3), colour, np.uint8)
            path = videos.write_video(tmp_path / "a.mp4", [picture] * 2, pix_fmt=pix_fmt, options={"crf": "1"})
            got = next(iter_frames(probe(path).clip()))[2]
            assert np.abs(got.astype(int) - picture).max() <= 6, (pix_fmt, colour, got[0, 0])
            gray = next(iter_frames(probe(path).clip(), rgb=False))[2]
            luma = np.dot(colour, (0.299, 0.587, 0.114))
            assert abs(gray.mean() - luma) <= 5, (pix_fmt, colour, gray.mean(), luma)


def test_a_rectified_clip_is_the_pinhole_picture(tmp_path, videos):
    """A fisheye picture of a vertical stripe at x/z = 0.5 shows it at fx * 0.5 + cx after rectification."""
    fisheye = Intrinsics(120, 120, 159.5, 119.5, 320, 240, "kannala_brandt", (0.05, -0.01, 0.0, 0.0))
    pinhole = Intrinsics(100, 100, 149.5, 99.5, 300, 200)
    x, y = np.meshgrid((np.arange(320) - 159.5) / 120, (np.arange(240) - 119.5) / 120)
    radius = np.hypot(x, y)
    theta = np.interp(radius.ravel(), np.polyval([-0.01, 0, 0.05, 0, 1, 0], s := np.linspace(0, 1.5, 5000)), s).reshape(
        radius.shape
    )
    slope = x / np.maximum(radius, 1e-9) * np.tan(theta)
    picture = np.where(np.abs(slope - 0.5) < 0.03, 255, 0).astype(np.uint8)[..., None].repeat(3, -1)
    path = videos.write_video(tmp_path / "a.mp4", [picture] * 3, options={"crf": "5"})
    clip = probe(path).clip(intrinsics=fisheye, undistort_to=pinhole)
    _, _, got = next(iter_frames(clip))
    assert got.shape == (200, 300, 3)
    for row in (20, 99, 180):
        line = got[row, :, 0].astype(float)
        assert (line * np.arange(300)).sum() / line.sum() == pytest.approx(149.5 + 50, abs=0.7)
    _, _, half = next(iter_frames(clip, size=(150, 100)))
    line = half[50, :, 0].astype(float)
    assert (line * np.arange(150)).sum() / line.sum() == pytest.approx((149.5 + 50 + 0.5) / 2 - 0.5, abs=0.5)
    assert next(iter_frames(clip, undistort=False))[2].shape == (240, 320, 3)


def test_a_backend_that_is_not_installed_is_named():
    with pytest.raises(ValueError, match="no video backend"):
        open_reader("a.mp4", "quicktime")


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
def test_an_extra_that_is_missing_says_how_to_get_it(backend, monkeypatch):
    monkeypatch.setattr(adapters.importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(ImportError, match=f"unihand-data\\[{backend}\\]"):
        open_reader("a.mp4", backend)


def test_bytes_are_read_like_files(library, videos):
    reader = open_reader(library["h264"].read_bytes())
    assert [videos.read_number(p) for _, _, p in reader.frames([0.0, 1.0])] == [0, 30]
    reader.close()
    with av.open(io.BytesIO(library["h264"].read_bytes())) as container:
        assert container.streams.video[0].frames == 60

"""The job's decoder in its own process: the same answers, and survived hangs and crashes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.values.camera import Intrinsics
from unihand_data.video.clip_message import clip_from_message, clip_to_message
from unihand_data.video.encode import EncodeSettings, encode_clip
from unihand_data.video.integrity import check
from unihand_data.video.probe import probe
from unihand_data.video.scan import ScanSettings, scan
from unihand_data.video.worker import VideoWorker, VideoWorkerSettings

BROKEN = """
import os, signal, time
from unihand_data.video import worker

def build():
    real = worker.build()
    def answer(request):
        if request["path"] == "hang.mp4":
            time.sleep(1000)
        if request["path"] == "crash.mp4":
            os.kill(os.getpid(), signal.SIGSEGV)
        return real(request)
    return answer
"""


@pytest.fixture(scope="module")
def worker():
    with VideoWorker() as w:
        yield w


def test_answers_are_those_of_the_functions(tmp_path, videos, worker):
    path = str(videos.write_numbers(tmp_path / "a.mp4", 60, bframes=2))
    here, there = scan(path, ScanSettings(thumbnail_hz=2)), worker.scan(path, ScanSettings(thumbnail_hz=2))
    np.testing.assert_array_equal(here.thumbnails, there.thumbnails)
    np.testing.assert_array_equal(here.info.pts, there.info.pts)
    assert here.info.time_base == there.info.time_base
    assert worker.check(path) == check(path)
    np.testing.assert_array_equal(worker.probe(path).order, probe(path).order)
    clip = there.clip(5, 40)
    row = worker.encode(clip, tmp_path / "b.mp4", EncodeSettings(gop=4), licence="cc0")
    assert row.media_id == encode_clip(clip, tmp_path / "c.mp4", EncodeSettings(gop=4)).media_id
    assert (row.licence, row.frames, row.path) == ("cc0", 35, str(tmp_path / "b.mp4"))


def test_losses_arrive_with_their_level(tmp_path, videos, worker):
    with pytest.raises(Reject) as caught:
        worker.scan(str(tmp_path / "nowhere.mp4"))
    assert (caught.value.reason, caught.value.level) == (Reason.MISSING_FILE, "item")
    clip = probe(videos.write_numbers(tmp_path / "a.mp4", 10)).clip()
    clip.pts = clip.pts + 0.01
    with pytest.raises(Reject) as caught:
        worker.encode(clip, tmp_path / "b.mp4")
    assert (caught.value.reason, caught.value.level) == (Reason.TRUNCATED, "clip")


def test_a_decoder_that_hangs_or_dies_costs_one_file(tmp_path, videos, monkeypatch):
    (tmp_path / "broken_decoder.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    good = str(videos.write_numbers(tmp_path / "good.mp4", 10))
    with VideoWorker(VideoWorkerSettings(timeout_s=1.5), target="broken_decoder:build") as w:
        assert w.probe(good).frames == 10
        with pytest.raises(Reject, match="hang") as caught:
            w.scan("hang.mp4")
        assert (caught.value.reason, caught.value.level) == (Reason.TIMEOUT, "item")
        with pytest.raises(Reject, match="SIGSEGV") as caught:
            w.scan("crash.mp4")
        assert caught.value.reason is Reason.CRASHED
        assert w.probe(good).frames == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_many_damaged_files_pass_through_one_process(tmp_path, videos, worker):
    data = videos.write_numbers(tmp_path / "a.mp4", 40, width=192, height=128, bframes=2).read_bytes()
    path = tmp_path / "damaged.mp4"
    worker.scan(str(tmp_path / "a.mp4"))
    before = worker._worker.starts
    for seed in range(25):
        rng = np.random.default_rng(seed)
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 10):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert 0 <= worker.scan(str(path)).decoded_ratio <= 1
        except Reject as reject:
            assert str(path) in reject.message  # noqa: PT017
    assert worker._worker.starts == before, "damaged bytes neither hang nor crash this decoder"


def test_a_clip_survives_the_wire():
    import msgpack

    from unihand_data.values.clip import ClipRef

    camera = Intrinsics(1, 2, 3, 4, 5, 6, "radtan", (0.1, 0.2))
    clip = ClipRef("a!b", np.arange(3.0), 10, 20, 90, camera, Intrinsics(1, 1, 1, 1, 2, 2), {"origin": 7})
    packed = msgpack.packb({k: v for k, v in clip_to_message(clip).items() if k != "pts"})
    again = clip_from_message({**msgpack.unpackb(packed), "pts": clip.pts})
    assert again.intrinsics == camera
    assert vars(again) | {"pts": 0} == vars(clip) | {"pts": 0}

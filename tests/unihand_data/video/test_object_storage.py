"""Video on object storage: read and written through fsspec against a loopback S3 server."""

from __future__ import annotations

import pytest

from unihand_data.ids import hash_bytes
from unihand_data.video.decode import iter_frames
from unihand_data.video.encode import encode_clip
from unihand_data.video.integrity import check
from unihand_data.video.probe import probe


@pytest.fixture
def bucket(monkeypatch):
    server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}", skip_instance_cache=True)
    fs.mkdir("videos")
    yield fs
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_a_clip_is_probed_decoded_checked_and_stored_on_s3(tmp_path, videos, bucket):
    data = videos.write_numbers(tmp_path / "a.mp4", 40, bframes=2).read_bytes()
    bucket.pipe("videos/in/a.mp4", data)
    info = probe("s3://videos/in/a.mp4")
    assert (info.frames, info.path) == (40, "s3://videos/in/a.mp4")
    assert [videos.read_number(p) for _, _, p in iter_frames(info.clip(7, 12))] == [7, 8, 9, 10, 11]
    report = check("s3://videos/in/a.mp4")
    assert report.ok
    assert report.hash == hash_bytes(data)
    row = encode_clip(info.clip(), "s3://videos/out/b.mp4")
    assert hash_bytes(bucket.cat("videos/out/b.mp4")) == row.media_id

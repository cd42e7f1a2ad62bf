"""The same directory on object storage: staging, commit, reading and counting against a server on loopback."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.shards import catalogue, staging, writer
from unihand_data.shards.reader import ShardReader

s3fs = pytest.importorskip("s3fs")
boto3 = pytest.importorskip("boto3")
server_module = pytest.importorskip("moto.server")


@pytest.fixture
def bucket(monkeypatch):
    """(url, storage options) of an empty bucket."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="shards")
    yield "s3://shards", options
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_stage_commit_again_read_and_validate_in_a_bucket(bucket, make):
    url, options = bucket
    for i in range(2):
        media = make.media(np.arange(20) / 30, numbers=range(50 * i, 50 * i + 20))
        e = make.episode(f"e{i}", media.media_id, frames=20)
        staging.write_part(f"{url}/staging", [e], [media], make.samples(e), [make.reject("x")], storage_options=options)
    arguments = {"content_hash": "h", "config": {}, "run_id": "r", "storage_options": options}
    got = writer.commit(f"{url}/staging", f"{url}/out", **arguments)
    assert got["new"] == {"media": 2, "episodes": 2, "conversations": 0, "samples": 24, "rejects": 1}
    assert not any(writer.commit(f"{url}/staging", f"{url}/out", **arguments)["new"].values())
    found = catalogue.inspect(f"{url}/out", storage_options=options)
    assert (found["episodes"], found["samples"]["total"]) == (2, 24)
    with ShardReader(f"{url}/out", storage_options=options) as reader:
        numbers = [make.number(w.frames["ego"][0]) for w in reader.windows([(i, 9) for i in reader.episode_ids])]
    assert numbers == [9, 59]
    assert catalogue.validate(f"{url}/out", storage_options=options) == []
    writer.commit(f"{url}/staging", f"{url}/out", **arguments, clean=True)
    assert staging.parts(staging.Store(f"{url}/staging", options)) == []

"""The job on an S3 server on loopback: ledger, resume, and remote videos for workers."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.runner import paths
from unihand_data.runner.ledger import Ledger

HASH = "c" * 32


@pytest.fixture(scope="module")
def bucket(object_store):
    """Url of an empty bucket."""
    boto3.client("s3", endpoint_url=object_store).create_bucket(Bucket="shards")
    return "s3://shards"


class Store:
    """The toy job's staging on an object store."""

    def __init__(self, url, make_id):
        self.url, self.make_id = url, make_id

    def __call__(self, units, losses):
        name = self.make_id(*(u.id for u in units))
        paths.write_atomic(f"{self.url}/_staging/{name}", "\n".join(u.id for u in units).encode())


def test_a_job_on_an_object_store_resumes_and_adds_nothing_twice(bucket, toy, monkeypatch):
    out = f"{bucket}/run"
    monkeypatch.setattr(toy, "JsonParts", lambda output: Store(output, toy.make_id))
    first = toy.run_toy(toy.Toy(reject=frozenset({1})), out, engine="local")
    assert first.status == {"written": 19, "rejected": 1, "split": 4}
    assert toy.run_toy(toy.Toy(), out, engine="local").finished == 0
    ledger = Ledger(out, HASH)
    assert ledger.counts()["items_written"] == 4
    assert ledger.forget(reasons=["corrupt"]) == 1
    assert toy.run_toy(toy.Toy(), out, engine="local").status == {"written": 1}
    staged = [paths.read_bytes(f"{out}/_staging/{n}").decode().split() for n in paths.list_files(f"{out}/_staging", "")]
    assert sum(len(part) for part in staged) == 40


def test_a_remote_video_is_fetched_once_and_the_cache_stays_in_its_bound(bucket, tmp_path):
    for n in range(4):
        paths.write_atomic(f"{bucket}/videos/{n}.mp4", bytes([n]) * 1000)
    cache = paths.LocalCopies(str(tmp_path), max_bytes=2500)
    with cache.local(f"{bucket}/videos/0.mp4") as zero:
        assert Path(zero).read_bytes() == b"\x00" * 1000
        stamp = (zero, len(list(tmp_path.iterdir())))
        with cache.local(f"{bucket}/videos/0.mp4") as again:
            assert (again, len(list(tmp_path.iterdir()))) == stamp
        for n in (1, 2, 3):
            with cache.local(f"{bucket}/videos/{n}.mp4") as path:
                assert Path(path).read_bytes() == bytes([n]) * 1000
        assert Path(zero).read_bytes() == b"\x00" * 1000, "a file in use is never removed"
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 2500
    paths.write_atomic(f"{bucket}/videos/0.mp4", b"new content")
    with cache.local(f"{bucket}/videos/0.mp4") as changed:
        assert Path(changed).read_bytes() == b"new content", "a changed object is not served from an old copy"


def test_a_missing_object_is_a_reject_that_names_it(bucket, tmp_path):
    with pytest.raises(Reject) as info, paths.LocalCopies(str(tmp_path)).local(f"{bucket}/videos/none.mp4"):
        pass
    assert info.value.reason is Reason.MISSING_FILE
    assert "videos/none.mp4" in info.value.message


def test_local_paths_pass_through(tmp_path):
    with paths.LocalCopies(str(tmp_path)).local("/some/file.mp4") as path:
        assert path == "/some/file.mp4"

"""The job from and into a bucket (an S3 server on loopback): nothing of the output stays on this machine's paths."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from unihand_data.shards.catalogue import validate


@pytest.fixture(scope="module")
def bucket(object_store, tmp_path_factory):
    """(bucket name, client); the machine's temporary folder is one of the test's own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("machine")))
    patch.setattr("tempfile.tempdir", None)
    client = boto3.client("s3", endpoint_url=object_store)
    client.create_bucket(Bucket="unihand")
    yield "unihand", client
    patch.undo()


def keys(bucket) -> list[str]:
    name, client = bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.fixture(scope="module")
def stored(job, bucket, one_recording):
    """(input url, output url, first run) of the quick job on the bucket."""
    name, client = bucket
    for video in one_recording.iterdir():
        client.upload_file(str(video), name, f"videos/{video.name}")
    client.put_object(Bucket=name, Key="videos/notes.txt", Body=b"not a video")
    source, output = f"s3://{name}/videos", f"s3://{name}/shards"
    return source, output, job.run_here(source, output)


def test_the_run_ends_well_and_the_directory_holds_what_it_promises(job, stored):
    _, output, ran = stored
    assert ran.code == 0, ran.out + ran.err
    held = job.holds(output)
    assert held.summary["inputs"] == held.summary["written"] == 1
    assert held.summary["ignored"] == 1
    assert held.summary["episodes"] == held.summary["mirrored"]["episodes"] == 2
    assert validate(output) == []
    assert f"look at {output}/report.html" in ran.out


def test_report_and_manifest_land_in_the_bucket_and_staged_clips_do_not_stay(bucket, stored):
    found = keys(bucket)
    assert {"shards/manifest.json", "shards/report.html"} <= set(found)
    name, client = bucket
    page = client.get_object(Bucket=name, Key="shards/report.html")["Body"].read().decode()
    assert page.count('src="data:image/jpeg;base64,') >= 5
    assert [k for k in found if k.endswith(".mp4")] == ["videos/place.mp4"]
    assert not [k for k in found if k.startswith("shards/_job/staging/")]


def test_no_folder_is_called_like_a_url(job, stored):
    assert not Path("s3:").exists()
    assert not (job.ROOT / "s3:").exists()


def test_a_second_run_adds_nothing(job, stored):
    source, output, _ = stored
    before = job.holds(output)
    again = job.run_here(source, output)
    assert again.code == 0
    assert "skipped 1" in again.out
    assert job.holds(output) == before


def test_a_model_sees_clips_that_lie_in_a_bucket(job, bucket, stored, monkeypatch):
    """Encoded clips are in the bucket until the commit; the client that uploads them needs a file."""
    fakes = job.load(job.ROOT / "tests" / "unihand_data" / "language" / "conftest.py", "language_fakes")
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    server = fakes.FakeGemini()
    good = '{"is_manipulation": true, "dominant_activity": "manipulation", "per_second": ["Lift the cube."], '
    good += '"active_hand": ["left"], "intent": "Move it.", "has_readable_text": false, "confidence": "high"}'
    server.script = [(200, fakes.gemini_response(good)) for _ in range(2)]
    chosen = ["language.backend=gemini", "language.model=gemini-3.5-flash", f"language.base_url={server.url}"]
    output = f"s3://{bucket[0]}/with_words"
    try:
        ran = job.run_here(stored[0], output, *[x for s in chosen for x in ("--set", s)])
    finally:
        server.stop()
    assert ran.code == 0, ran.err
    assert "Lift the cube." in {t.text for r in job.rows_of(output).values() for t in r.language}
    assert not [k for k in keys(bucket) if k.startswith("with_words/") and k.endswith(".mp4")]


def test_on_a_cluster_one_account_needs_one_folder(job, bucket, stored, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    chosen = ["--set", "language.backend=gemini", "--set", "language.model=gemini-3.5-flash"]
    ran = job.run_here(stored[0], f"s3://{bucket[0]}/elsewhere", *chosen)
    assert ran.code == 2
    assert "--work" in ran.err

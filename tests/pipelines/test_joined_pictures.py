"""Data sets kept as pictures, through the whole job: joined videos go when they are not needed and come back when they
are, on this machine or another."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.runner.ledger import Ledger
from unihand_data.sources.generate.catalogue import generate


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """H2O as generated: two takes of 48 pictures of 64x48; two clips each with the quick settings."""
    folder = tmp_path_factory.mktemp("h2o")
    generate("h2o", folder, recordings=2, frames=48, width=64, height=48)
    return folder


@pytest.fixture(scope="module")
def expected(job, pictures, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed") / "shards"
    ran = job.run_here(pictures, output)
    assert ran.code == 0, ran.out + ran.err
    assert not (output / "_job" / "work" / "joined").exists()
    held = job.holds(output)
    assert held.summary["episodes"] == 4
    return held


def rows_of(held) -> tuple:
    """Everything but the encoded bytes: libx264's of these pictures were seen to differ between runs that had the same
    joined file (which ``tests/unihand_data/jobs/test_joined.py`` compares byte for byte)."""
    return held.episodes, held.samples, held.rejects, held.summary["frames"], held.summary["episodes"]


def joined(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.mkv"))


def test_a_joined_video_goes_with_its_last_clip_and_not_at_the_end_of_the_run(
    job, pictures, expected, tmp_path, monkeypatch
):
    from unihand_data.jobs.human_stages import BuildRows

    there, real = [], BuildRows.__call__

    def rows(self, unit):
        there.append(len(joined(tmp_path / "out")))
        return real(self, unit)

    monkeypatch.setattr(BuildRows, "__call__", rows)
    monkeypatch.setattr(JoinedVideos, "clear", lambda self: None)
    assert job.run_here(pictures, tmp_path / "out").code == 0
    assert there == [1, 0, 1, 0]  # two clips of one take, then of the other
    assert not list((tmp_path / "out" / "_job" / "work" / "joined").iterdir())
    assert rows_of(job.holds(tmp_path / "out")) == rows_of(expected)


def test_a_clip_that_is_rejected_lets_go_of_its_video_too(job, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(JoinedVideos, "clear", lambda self: None)
    job.run_here(pictures, tmp_path / "out", settings=[*job.FAST, "motion.min_travel_m=100.0"])
    held = job.holds(tmp_path / "out")
    assert held.episodes == []
    assert {stage for _, stage, *_ in held.rejects} >= {"quality"}
    assert joined(tmp_path / "out") == []


def test_a_video_that_was_deleted_between_the_stages_is_joined_again_and_gives_the_same(
    job, pictures, expected, tmp_path, monkeypatch
):
    from unihand_data.jobs.human_stages import ScreenClip

    real, deleted = ScreenClip.__call__, []

    def screen(self, unit):
        for path in joined(tmp_path / "out"):
            path.unlink()
            deleted.append(path)
        return real(self, unit)

    monkeypatch.setattr(ScreenClip, "__call__", screen)
    assert job.run_here(pictures, tmp_path / "out").code == 0
    assert len(deleted) == 4
    assert rows_of(job.holds(tmp_path / "out")) == rows_of(expected)
    assert joined(tmp_path / "out") == []


def test_with_a_bucket_as_output_another_machine_goes_on_without_a_shared_disk(
    job, pictures, expected, object_store, tmp_path, monkeypatch
):
    from unihand_data.jobs.human_stages import EncodeClip

    def machine(name: str) -> Path:
        monkeypatch.setenv("TMPDIR", str(tmp_path / name))
        monkeypatch.setattr("tempfile.tempdir", None)
        (tmp_path / name).mkdir()
        return tmp_path / name

    boto3.client("s3", endpoint_url=object_store).create_bucket(Bucket="pictures")
    output, real, calls = "s3://pictures/shards", EncodeClip.__call__, []

    def encode(self, unit):
        calls.append(unit.id)
        if len(set(calls)) == 2:
            raise Reject(Reason.CRASHED, "the encoder died", level="clip")
        return real(self, unit)

    with monkeypatch.context() as patch:
        first = machine("first")
        patch.setattr(EncodeClip, "__call__", encode)
        ran = job.run_here(pictures, output, "--set", "runner.max_reject_share=1.0")
    assert "crashed" in {reason for _, _, reason, _ in job.holds(output).rejects}
    assert joined(first) == [], ran.err
    (ledger,) = {p.split("/")[2] for p in _keys(object_store) if "/ledger/" in p}
    assert Ledger(output, ledger).forget(reasons=[Reason.CRASHED])

    machine("second")
    assert not os.path.exists(first / "unihand_work" / "joined")
    assert job.run_here(pictures, output).code == 0
    assert rows_of(job.holds(output)) == rows_of(expected)
    assert joined(tmp_path) == []


def _keys(object_store: str) -> list[str]:
    found = boto3.client("s3", endpoint_url=object_store).list_objects_v2(Bucket="pictures")
    return [entry["Key"] for entry in found["Contents"]]

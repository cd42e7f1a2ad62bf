"""A fault of the machine is refused before any work, or stops the job: never a verdict on a video."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("plan", [[], ["--plan"]])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["hand_estimator=hawor", "hawor.repo=/nothere"], "hawor.repo /nothere"),
        (["hands.model_path=/nope"], "/nope"),
        (["mano_dir=/nope"], "mano_dir /nope: no such folder"),
        (["videos=/nope"], "videos /nope: no such folder"),
    ],
)
def test_weights_and_folders_that_are_not_there_are_refused(job, one_recording, tmp_path, settings, words, plan):
    ran = job.run_here(one_recording, tmp_path / "out", *plan, settings=[*job.FAST, *settings])
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused_by_option_and_path(job, one_recording, tmp_path):
    (tmp_path / "file").write_text("")
    ran = job.run_here(one_recording, tmp_path / "out", "--work", str(tmp_path / "file" / "work"))
    assert (ran.code, "--work" in ran.err, "file/work" in ran.err) == (2, True, True), ran.err
    ran = job.run_here(one_recording, tmp_path / "file" / "out")
    assert (ran.code, "--output" in ran.err) == (2, True), ran.err


def test_a_disk_that_fills_while_clips_are_encoded_stops_the_job_and_the_next_run_goes_on(
    job, one_recording, tmp_path, undisturbed, monkeypatch
):
    import errno

    from unihand_data.video.worker import VideoWorker

    encode, calls = VideoWorker.encode, []

    def full(self, clip, path, *more, **options):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return encode(self, clip, path, *more, **options)

    monkeypatch.setattr(VideoWorker, "encode", full)
    ran = job.run_here(one_recording, tmp_path / "out")
    assert ran.code == 2, ran.out
    assert "fault of this machine" in ran.out
    assert "1 units are left for a later run" in ran.out
    held = job.holds(tmp_path / "out")
    assert [(level, reason) for level, _, reason, _ in held.rejects] == [("clip", "environment")]
    again = job.run_here(one_recording, tmp_path / "out")
    assert again.code == 0, again.out
    assert job.holds(tmp_path / "out").ids == undisturbed.ids
    assert job.holds(tmp_path / "out").rejects == undisturbed.rejects


def test_a_job_that_writes_nothing_does_not_end_with_code_0(job, tmp_path):
    (tmp_path / "in").mkdir()
    job.no_hands(tmp_path / "in" / "wall.mp4")
    ran = job.run_here(tmp_path / "in", tmp_path / "out")
    assert ran.code == 3
    assert "nothing was written" in ran.out

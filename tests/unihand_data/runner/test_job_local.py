"""The job's bookkeeping on the plain loop; the Ray engine goes through the same code and has tests of its own."""

from __future__ import annotations

import json
import subprocess

import pytest

from unihand_data.errors import DatasetRefused
from unihand_data.runner.ledger import Ledger

pytestmark = pytest.mark.timeout(600)  # starts and waits for whole jobs

HASH = "c" * 32


def run(toy, path, settings=None, **spec):
    return toy.run_toy(toy.Toy(**spec), str(path), engine="local", **(settings or {}))


def test_every_unit_is_written_once_and_a_second_run_adds_nothing(toy, tmp_path, staged_ids, ledger_ids):
    first = run(toy, tmp_path)
    before = staged_ids(tmp_path), ledger_ids(tmp_path)
    second = run(toy, tmp_path)
    assert first.status == {"written": 20, "split": 4}
    assert first.measures["frames"] == 40  # clip and twin
    assert len(before[0]) == len(set(before[0])) == 40
    assert (second.skipped, second.parts, second.finished) == (4, 0, 0)
    assert (staged_ids(tmp_path), ledger_ids(tmp_path)) == before


def test_every_loss_is_a_reject_row_with_stage_reason_level_and_attempt(toy, tmp_path):
    result = run(
        toy,
        tmp_path,
        bad_recordings=frozenset({3}),
        reject=frozenset({2, 1001}),
        filter=frozenset({3}),
        fail=frozenset({1}),
        partial=frozenset({1002}),
        vanish=frozenset({1003}),
    )
    rows = Ledger(str(tmp_path), HASH).rejects().to_pylist()
    found = {(r["item"], r["level"], r["stage"], r["reason"], r["attempt"], r["frames"]) for r in rows}
    assert found == {
        ("item3", "item", "split", "corrupt", 1, 0),
        ("item0", "clip", "work", "corrupt", 1, 7),
        ("item1", "clip", "work", "corrupt", 1, 7),
        ("item0", "clip", "work", "jitter", 1, 0),
        ("item0", "clip", "work", "internal", 2, 0),
        ("item1", "row", "work", "no_text", 1, 0),
        ("item1", "clip", "work", "empty", 1, 0),
    }
    assert result.status == {"written": 10, "split": 3, "rejected": 4, "filtered": 1, "failed": 1}
    internal = next(r for r in rows if r["reason"] == "internal")
    assert "ZeroDivisionError at toy_job.py" in internal["message"]
    counts = Ledger(str(tmp_path), HASH).counts()
    assert (counts["items"], counts["items_written"], counts["items_rejected"]) == (4, 3, 1)


def test_what_stages_spend_is_counted_for_units_and_attempts_that_came_to_nothing_too(toy, tmp_path):
    from prometheus_client import REGISTRY

    def counted() -> float:
        return REGISTRY.get_sample_value("unihand_tokens_total", {"kind": "output"}) or 0.0

    before = counted()
    result = run(toy, tmp_path, reject=frozenset({2}), fail=frozenset({1}))  # 20 clips; clip 1 is tried twice
    assert result.measures["tokens_output"] == 21 * 2
    assert counted() - before == 21 * 2


def test_an_exception_that_does_not_come_back_costs_one_attempt(toy, tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    result = run(toy, tmp_path / "out", flaky=frozenset({1, 2}), once_dir=str(once))
    assert result.status == {"written": 20, "split": 4}
    assert not result.reasons


def test_rejected_filtered_and_failed_units_count_as_done(toy, tmp_path):
    spec = {"reject": frozenset({1}), "filter": frozenset({2}), "fail": frozenset({3})}
    run(toy, tmp_path, **spec)
    assert run(toy, tmp_path, **spec).finished == 0


def test_forgotten_units_are_done_again_without_splitting_again(toy, tmp_path, staged_ids):
    log = tmp_path / "calls"
    out = tmp_path / "out"
    run(toy, out, reject=frozenset({1, 1001}), filter=frozenset({2}))
    ledger = Ledger(str(out), HASH)
    assert ledger.forget(reasons=["corrupt"]) == 2
    again = run(toy, out, log=str(log), filter=frozenset({2}))
    assert again.status == {"written": 2}
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [["work", "1"], ["work", "1001"]]
    assert {r["reason"] for r in ledger.rejects().to_pylist()} == {"jitter"}
    undisturbed = tmp_path / "undisturbed"
    run(toy, undisturbed, filter=frozenset({2}))
    assert staged_ids(out) == staged_ids(undisturbed)


def test_an_input_item_can_be_forgotten_with_all_its_clips(toy, tmp_path):
    run(toy, tmp_path)
    assert Ledger(str(tmp_path), HASH).forget(["item2"]) == 6
    again = run(toy, tmp_path)
    assert (again.skipped, again.status) == (3, {"written": 5, "split": 1})


def test_a_recording_whose_split_is_known_is_not_split_again_and_only_missing_clips_run(toy, tmp_path, staged_ids):
    out, log = tmp_path / "out", tmp_path / "calls"
    run(toy, out)
    whole = staged_ids(out)
    ledger = Ledger(str(out), HASH)
    split_of_two = {toy.make_id("clip", 2, i) for i in (1, 3)}
    assert ledger.forget(split_of_two) == 2
    again = run(toy, out, log=str(log))
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [["work", "2001"], ["work", "2003"]]
    assert again.status == {"written": 2}
    assert set(staged_ids(out)) == set(whole)


def test_a_forgotten_split_is_made_again_and_done_clips_stay_done(toy, tmp_path):
    out, log = tmp_path / "out", tmp_path / "calls"
    run(toy, out)
    assert Ledger(str(out), HASH).forget([toy.make_id("recording", 1), toy.make_id("clip", 1, 4)]) == 2
    again = run(toy, out, log=str(log))
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [["split", "1"], ["work", "1004"]]
    assert again.status == {"written": 1, "split": 1}


def test_what_the_budget_left_is_the_next_runs_work(toy, tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    spec = {"budget": frozenset({1, 2}), "once_dir": str(once)}
    first, second = run(toy, tmp_path / "out", **spec), run(toy, tmp_path / "out", **spec)
    assert first.status == {"written": 18, "split": 4, "deferred": 2}
    assert second.status == {"written": 2}
    assert Ledger(str(tmp_path / "out"), HASH).rejects().num_rows == 0


def test_a_full_disk_stops_the_job_with_code_2_and_is_no_verdict_on_any_unit(toy, tmp_path, staged_ids):
    spec = {"recordings": 2, "disk_full": frozenset({1002}), "once_dir": str(tmp_path)}
    first = run(toy, tmp_path / "out", **spec)
    assert first.exit_code == 2
    assert first.reasons == {"environment": 1}
    assert first.status["deferred"] == 1
    assert first.status["written"] == 7, "it stops where the fault is met"
    assert "same command" in first.message
    (row,) = Ledger(str(tmp_path / "out"), "c" * 32).rejects().to_pylist()
    assert "/scratch/clip.mp4: No space left on device" in row["message"]
    again = run(toy, tmp_path / "out", **spec)
    assert again.exit_code == 0
    assert len(staged_ids(tmp_path / "out")) == 2 * 2 * 5
    assert not Ledger(str(tmp_path / "out"), "c" * 32).rejects().to_pylist()


def test_a_small_job_is_judged_by_its_reject_share_at_its_end(toy, tmp_path):
    settings = {"max_reject_share": 0.5}
    assert run(toy, tmp_path / "bad", settings, recordings=1, reject=frozenset({0, 1, 2})).exit_code == 3
    assert run(toy, tmp_path / "good", settings, recordings=1, reject=frozenset({0, 1})).exit_code == 0


def test_too_large_a_reject_share_ends_the_job_with_code_3_and_keeps_what_was_done(toy, tmp_path):
    bad = frozenset(range(5)) | frozenset(range(1000, 1005))
    limits = {"max_reject_share": 0.4, "min_units_for_share": 6}
    failed = run(toy, tmp_path, limits, reject=bad)
    assert failed.exit_code == 3
    assert "max_reject_share" in failed.message
    assert failed.finished < 20, "the job must not go on to burn money"
    on = run(toy, tmp_path, {"max_reject_share": None}, reject=bad)
    assert on.exit_code == 0
    assert failed.finished + on.finished == 20


def test_verdicts_of_filters_do_not_count_towards_the_reject_share(toy, tmp_path):
    everything = frozenset(1000 * n + i for n in range(4) for i in range(5))
    result = run(toy, tmp_path, {"max_reject_share": 0.1, "min_units_for_share": 1}, filter=everything)
    assert (result.exit_code, result.status["filtered"]) == (0, 20)


def test_a_directory_of_other_content_settings_is_refused_unless_a_new_version_is_asked_for(toy, tmp_path):
    run(toy, tmp_path)
    with pytest.raises(DatasetRefused, match="--new-version"):
        toy.run_toy(toy.Toy(), str(tmp_path), content_hash="d" * 32, engine="local")
    other = toy.run_toy(toy.Toy(), str(tmp_path), content_hash="d" * 32, engine="local", new_version=True)
    assert other.status["written"] == 20
    assert run(toy, tmp_path).finished == 0


def test_two_jobs_on_one_directory_at_a_time_are_refused(toy, tmp_path):
    from unihand_data.runner.paths import output_lock

    with output_lock(str(tmp_path)), pytest.raises(RuntimeError, match="another job"):
        run(toy, tmp_path)


def test_two_listed_units_with_one_id_are_a_programming_error(toy, tmp_path):
    from unihand_data.runner.job import run_job
    from unihand_data.runner.settings import RunnerSettings
    from unihand_data.runner.sink import SinkSpec
    from unihand_data.runner.stage import StageSpec, Unit

    with pytest.raises(ValueError, match="unique"):
        run_job(
            name="twice",
            units=[Unit("a", "a", "a"), Unit("a", "b", "b")],
            stages=[StageSpec("same", lambda: toy.Split(toy.Toy()))],
            sink=SinkSpec(lambda units, losses: None),
            output=str(tmp_path),
            settings=RunnerSettings(engine="local", progress="off"),
            content_hash=HASH,
        )


def test_parts_are_the_same_bytes_however_units_were_batched_into_runs(toy, tmp_path):
    run(toy, tmp_path / "a")
    run(toy, tmp_path / "b")
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / d / "_staging").iterdir()} for d in "ab")
    assert a == b


def test_a_unit_that_segfaults_the_plain_loop_is_given_up_after_its_attempts(tmp_path, driver, ledger_ids):
    codes, out = [], ""
    for _ in range(3):
        process = driver(tmp_path, {"segfault": [1002]}, {"engine": "local"})
        out, _ = process.communicate(timeout=240)
        codes.append(process.returncode)
    assert codes == [-11, -11, 0]
    assert json.loads(out)["reasons"] == {"crashed": 1}
    assert sum(s == "written" for _, s in ledger_ids(tmp_path)) == 19


def test_the_driver_of_the_plain_loop_may_be_stopped_any_number_of_times(tmp_path, driver, wait_until, ledger_ids):
    """A person who kills a job must not turn the file that was in work into a reject."""
    for _ in range(3):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        process = driver(tmp_path / "out", {"hang": [0], "log": str(log)}, {"engine": "local"})
        wait_until(lambda log=log: log.exists() and "work 0" in log.read_text())
        process.kill()
        process.wait()
    done: subprocess.Popen = driver(tmp_path / "out", {}, {"engine": "local"})
    assert json.loads(done.communicate(timeout=240)[0])["status"]["written"] == 20


def test_the_exit_code_of_the_driver_process_is_the_results(tmp_path, driver):
    bad = list(range(5)) + list(range(1000, 1005))
    process = driver(tmp_path, {"reject": bad}, {"engine": "local", "max_reject_share": 0.1, "min_units_for_share": 3})
    assert (json.loads(process.communicate(timeout=240)[0])["exit"], process.returncode) == (3, 3)

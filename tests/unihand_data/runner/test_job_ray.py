"""The same job on Ray: the same ids as the plain loop, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from unihand_data.config import SettingsError
from unihand_data.runner import submit
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.settings import RunnerSettings

HASH = "c" * 32


@pytest.fixture(scope="module", autouse=True)
def shared_ray():
    with submit.connected(RunnerSettings(num_cpus=2, object_store_mb=100)):
        yield


@pytest.fixture
def undisturbed(toy, tmp_path, staged_ids, ledger_ids):
    """Ids of the toy job on the plain loop."""
    out = tmp_path / "undisturbed"
    toy.run_toy(toy.Toy(), str(out), engine="local")
    return staged_ids(out), ledger_ids(out)


def run(toy, path, settings=None, **spec):
    return toy.run_toy(toy.Toy(**spec), str(path), engine="ray", **(settings or {}))


def test_ray_and_the_plain_loop_give_the_same_ids_and_a_second_run_adds_nothing(
    toy, tmp_path, staged_ids, ledger_ids, undisturbed
):
    out = tmp_path / "out"
    first = run(toy, out, {"wave_units": 3})  # two waves
    assert first.status == {"written": 20, "split": 4}
    assert first.measures["frames"] == 40
    assert first.measures["tokens_output"] == 40
    assert (staged_ids(out), ledger_ids(out)) == undisturbed
    assert run(toy, out).finished == 0


@pytest.mark.parametrize("kind", ["tasks", "kept per worker", "a pool of actors"])
def test_every_kind_of_worker_gives_the_same_ids(toy, tmp_path, staged_ids, undisturbed, kind):
    settings = {"units_per_task": 3} if kind == "tasks" else None
    workers = {"actor": kind != "tasks", "workers": 1 if kind == "a pool of actors" else None}
    run(toy, tmp_path / "out", settings, **workers)
    assert staged_ids(tmp_path / "out") == undisturbed[0]


def test_a_stage_that_no_machine_has_a_gpu_for_is_refused_instead_of_waited_for(toy, tmp_path):
    with pytest.raises(SettingsError, match="work asks for 1 GPUs"):
        run(toy, tmp_path / "out", {"stages": {"work": {"num_gpus": 1}}})


def test_a_full_disk_of_a_worker_stops_the_job_and_the_next_run_does_the_rest(
    toy, tmp_path, staged_ids, ledger_ids, undisturbed
):
    spec = {"disk_full": frozenset({1002}), "once_dir": str(tmp_path)}
    first = run(toy, tmp_path / "out", **spec)
    assert first.exit_code == 2
    assert first.reasons["environment"] == 1
    assert run(toy, tmp_path / "out", **spec).exit_code == 0
    # a part that was staged but not yet in the ledger when the job stopped is staged again; the commit takes each once
    assert sorted(set(staged_ids(tmp_path / "out"))) == undisturbed[0]
    assert ledger_ids(tmp_path / "out") == undisturbed[1]


def test_crashes_hangs_and_bugs_of_a_stage_are_rejects_and_cost_nothing_else(toy, tmp_path):
    result = run(
        toy,
        tmp_path,
        {"stages": {"work": {"timeout_s": 1.5}}, "kill_attempts": 3},
        segfault=frozenset({1}),
        hang=frozenset({1001}),
        kill=frozenset({2001}),
        fail=frozenset({3001}),
        reject=frozenset({2}),
    )
    assert result.status == {"written": 15, "split": 4, "rejected": 1, "failed": 4}
    rows = {r["source_uri"]: r for r in Ledger(str(tmp_path), HASH).rejects().to_pylist()}
    assert {u: (r["reason"], r["attempt"], r["level"]) for u, r in rows.items()} == {
        "mem://0#1": ("crashed", 2, "clip"),
        "mem://1#1": ("timeout", 2, "clip"),
        "mem://2#1": ("crashed", 3, "clip"),
        "mem://3#1": ("internal", 2, "clip"),
        "mem://0#2": ("corrupt", 1, "clip"),
    }
    assert "string_at" in rows["mem://0#1"]["message"]
    assert "toy_job.py" in rows["mem://1#1"]["message"]


def test_killed_workers_lose_and_repeat_nothing(toy, tmp_path, staged_ids, ledger_ids, undisturbed):
    out, log = tmp_path / "out", tmp_path / "log"
    killed: list[int] = []

    def kill_at(moments: list[int]) -> None:
        for moment in moments:
            while len(lines := log.read_text().splitlines() if log.exists() else []) < moment:
                time.sleep(0.01)
            pid = next((int(x.split()[2]) for x in reversed(lines) if x.startswith("work")), None)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill_at, args=([3, 9, 15],), daemon=True)
    thread.start()
    result = run(toy, out, sleep_s=0.15, log=str(log))
    assert len(killed) == 3
    assert not result.reasons
    assert (staged_ids(out), ledger_ids(out)) == undisturbed


@pytest.mark.parametrize("num_cpus", [0.5, 2])
def test_parts_are_written_beside_the_stages_workers_whose_threads_follow_their_cpus(tmp_path, num_cpus):
    from unihand_data.ids import make_id
    from unihand_data.runner.job import run_job
    from unihand_data.runner.sink import SinkSpec
    from unihand_data.runner.stage import StageSpec, Unit

    def note(who: str) -> None:
        threads = {os.environ[name] for name in submit.THREADS}
        with open(tmp_path / "log", "a") as log:
            log.write(f"{who} {os.getpid()} {','.join(threads)}\n")

    class Note:
        def __call__(self, unit: Unit) -> list[Unit]:
            note("stage")
            return [unit]

        def close(self) -> None: ...

    result = run_job(
        name="notes",
        units=[Unit(make_id("unit", n), f"item{n}", f"mem://{n}") for n in range(12)],
        stages=[StageSpec("note", Note, actor=True, num_cpus=num_cpus)],
        sink=SinkSpec(lambda units, losses: note("writer")),
        output=str(tmp_path / "out"),
        settings=RunnerSettings(units_per_part=1, progress="off"),
        content_hash=HASH,
    )
    assert result.status == {"written": 12}
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    stage, writer = ({pid for who, pid, _ in lines if who == name} for name in ("stage", "writer"))
    assert not stage & writer  # a process that writes and then gets a stage would load the models once more
    assert {threads for who, _, threads in lines if who == "stage"} == {str(max(1, int(num_cpus)))}


def test_more_tasks_are_handed_out_than_can_run_and_the_callers_settings_are_put_back():
    import ray
    from ray.data import DataContext

    from unihand_data.runner.ray_engine import _data_context

    before = DataContext.get_current()
    with _data_context():
        now = DataContext.get_current().execution_options
        assert now.exclude_resources.cpu == -ray.cluster_resources()["CPU"]
    assert DataContext.get_current() is before
    assert before.execution_options.exclude_resources.cpu == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["first clip", "first part", "late"])
def test_a_killed_driver_is_resumed_without_loss_or_repeat(
    toy, tmp_path, driver, wait_until, staged_ids, ledger_ids, undisturbed, moment
):
    out, log = tmp_path / "out", tmp_path / "log"
    process = driver(out, {"sleep_s": 0.1, "log": str(log)}, {"engine": "ray", "num_cpus": 2})
    reached = {
        "first clip": lambda: log.exists() and "work" in log.read_text(),
        "first part": lambda: any(Path(out).glob("_staging/*.jsonl")),
        "late": lambda: log.exists() and log.read_text().count("work") >= 15,
    }
    wait_until(lambda: reached[moment]() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.wait()
    resumed = run(toy, out)
    assert resumed.exit_code == 0
    assert ledger_ids(out) == undisturbed[1]
    assert set(staged_ids(out)) == set(undisturbed[0])
    assert run(toy, out).finished == 0

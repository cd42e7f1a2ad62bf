"""What is fused and reserved, and a ledger of many ids."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from unihand_data.config import SettingsError
from unihand_data.errors import Reason, Reject
from unihand_data.runner import metrics
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.parcel import DEFERRED, FAILED, FILTERED, REJECTED, Parcel, status_of
from unihand_data.runner.plan import Node, need_room, plan_ops, steps_of
from unihand_data.runner.settings import RunnerSettings
from unihand_data.runner.stage import StageSpec, Unit


class Nothing:
    def __call__(self, unit):
        return [unit]

    def close(self): ...


def plan(specs, cpus=4.0, **settings):
    return plan_ops(steps_of(specs, RunnerSettings.model_validate(settings)), cpus)


def spec(name, **kwargs):
    return StageSpec(name, Nothing, **kwargs)


def test_stages_of_one_kind_share_an_operator_and_a_split_ends_it():
    ops = plan([spec("a"), spec("b", actor=True), spec("c", splits=True), spec("d"), spec("e", actor=True)])
    assert [op.name for op in ops] == ["a+b+c", "d+e"]
    assert [op.pool for op in ops] == [None, None]


def test_a_gpu_or_a_number_of_workers_makes_a_pool_of_its_own():
    ops = plan([spec("a"), spec("gpu", actor=True, num_gpus=1), spec("few", actor=True, workers=2), spec("b")], cpus=16)
    assert [(op.name, op.pool) for op in ops] == [("a", None), ("gpu", 1), ("few", 2), ("b", None)]


def test_pools_never_take_the_cpus_that_tasks_need():
    for cpus in (1.0, 2.0, 4.0):
        ops = plan([spec("a"), spec("p", actor=True, workers=4), spec("q", actor=True, workers=2), spec("b")], cpus)
        held = sum(op.pool * op.num_cpus for op in ops if op.pool)
        assert held <= cpus / 2
        assert all(op.num_cpus <= cpus - held for op in ops if op.pool is None)


@pytest.mark.parametrize(
    ("asked", "nodes", "words"),
    [
        ({"num_gpus": 1}, [Node(4, 0, 8000)], "p asks for 1 GPUs"),
        ({"num_gpus": 1, "workers": 3}, [Node(4, 1, 8000), Node(4, 1, 8000)], "hold 3 GPUs .* the cluster has 2"),
        ({"num_gpus": 2}, [Node(4, 1, 8000), Node(4, 1, 8000)], "no machine here has that"),
        ({"memory_mb": 9000}, [Node(4, 0, 8000)], "9000 MB for one worker"),
        ({"memory_mb": 5000, "workers": 2}, [Node(4, 0, 8000)], "hold 10000 MB"),
    ],
)
def test_what_a_cluster_will_never_have_room_for_is_refused_with_the_mend(asked, nodes, words):
    with pytest.raises(SettingsError, match=words) as caught:
        need_room(plan([spec("a"), spec("p", actor=True, **asked)]), nodes)
    assert "runner.elastic" in str(caught.value)


def test_what_fits_on_one_machine_of_several_is_not_refused():
    ops = plan([spec("a"), spec("p", actor=True, num_gpus=1, memory_mb=20_000, workers=2)])
    need_room(ops, [Node(4, 0, 8000), Node(8, 2, 64_000)])


def test_settings_override_a_stage_by_name_and_unknown_names_are_errors():
    ops = plan([spec("a"), spec("b")], stages={"b": {"num_cpus": 2, "attempts": 5, "timeout_s": 9}})
    assert [(op.name, op.num_cpus) for op in ops] == [("a", 1.0), ("b", 2)]
    assert (ops[1].steps[0].attempts, ops[1].steps[0].timeout_s) == (5, 9)
    with pytest.raises(ValueError, match="are no stages"):
        plan([spec("a")], stages={"typo": {"num_cpus": 2}})
    with pytest.raises(ValueError, match="asks for 8"):
        plan([spec("a", num_cpus=8.0)])
    with pytest.raises(ValueError, match="at most one"):
        plan([spec("a", splits=True), spec("b", splits=True)])


def test_every_reason_has_a_status_and_the_kinds_are_kept_apart():
    statuses = {reason: status_of(reason) for reason in Reason}
    assert statuses[Reason.JITTER] == statuses[Reason.NO_HANDS] == FILTERED
    assert statuses[Reason.CORRUPT] == statuses[Reason.UNSAFE_CONTENT] == REJECTED
    assert statuses[Reason.CRASHED] == statuses[Reason.INTERNAL] == FAILED
    assert statuses[Reason.BUDGET] == DEFERRED


def test_a_metric_outside_the_registry_cannot_be_recorded():
    with pytest.raises(KeyError, match="registry"):
        metrics.count("unihand_typo_total")
    with pytest.raises(KeyError):
        metrics.observe("unihand_rejects_total", 1.0)
    assert len({m.name for m in metrics.METRICS}) == len(metrics.METRICS)


def test_files_that_hold_an_id_twice_count_once(tmp_path):
    from unihand_data.runner.parcel import Parcel
    from unihand_data.runner.stage import Unit

    ledger = Ledger(str(tmp_path), "c" * 32)
    parcels = [Parcel.of(Unit(str(i), "item", "uri")) for i in range(4)]
    ledger.write_part("p1", parcels[:3])
    ledger.write_part("p2", parcels[1:])  # a worker that outlived its driver
    before = ledger.rows().rows()
    assert [row[0] for row in sorted(before)] == ["0", "1", "2", "3"]
    ledger.compact()
    ledger.compact()
    assert sorted(ledger.rows()["id"]) == ["0", "1", "2", "3"]
    assert ledger.forget(["1"]) == 1
    assert sorted(ledger.rows()["id"]) == ["0", "2", "3"]


@pytest.mark.slow
def test_a_lookup_in_a_million_ids_needs_little_memory(tmp_path):
    script = """
import resource, sys
import pyarrow as pa
from unihand_data.runner.ledger import Ledger, ROWS
ledger = Ledger(sys.argv[1], "c" * 32)
for f in range(4):
    n = range(f * 250_000, (f + 1) * 250_000)
    ids = [f"{i:032x}" for i in n]
    parents = [f"{i // 50:031x}r" for i in n]
    columns = {"id": ids, "parent": parents, "status": ["written"] * len(ids), "part": ["p"] * len(ids)}
    table = pa.table({k.name: pa.array(columns.get(k.name, [None] * len(ids)), k.type) for k in ROWS})
    ledger._write(table.cast(ROWS), "base", f"{f:06d}")
del table, ids, parents, columns
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = ledger.lookup([f"{i:031x}r" for i in range(0, 20_000, 100)])
assert sum(map(len, found.done_children.values())) == 200 * 50, found
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400, "MiB on top of what building the ledger took"


def test_a_recording_that_lost_a_stretch_when_it_was_split_is_taken_back_by_that_reason(tmp_path):
    ledger = Ledger(str(tmp_path), "f" * 32)
    whole, cut = (Parcel.of(Unit(name, name, f"/in/{name}.mp4")) for name in ("whole", "cut"))
    for parcel in (whole, cut):
        parcel.children = [(f"{parcel.key}-0", b"")]
    cut.lose(Reject(Reason.TRUNCATED, "10 frames are missing", level="clip", frames=10), "split", 1, cut.uri)
    ledger.write_part("p", [whole, cut])
    assert ledger.forget(reasons=[Reason.JITTER]) == 0
    assert ledger.forget(reasons=[Reason.TRUNCATED]) == 1
    assert ledger.rows(["id"])["id"].to_list() == ["whole"]


def _filled(folder, content_hash: str = "c" * 32) -> Ledger:
    """Two items of 30 clips in small parts; every third clip is lost, some are held twice, one was forgotten and done
    again, and the second item's first clips are the first item's."""
    ledger = Ledger(str(folder), content_hash)
    for item in range(2):
        for start in range(0, 30, 7):
            parcels = []
            for n in range(start, min(start + 9, 30)):  # two of each part are in the next one too
                name = f"clip{n}" if n < 4 else f"clip{item}-{n}"
                parcel = Parcel.of(Unit(name, f"item{item}", f"/in/{item}.mp4"))
                parcel.parent = f"item{item}"
                if n % 3 == 0:
                    parcel.lose(Reject(Reason.JITTER, f"{n} shakes", level="clip", frames=n), "hands", 1, parcel.uri)
                parcels.append(parcel)
            ledger.write_part(f"{item}-{start:02d}", parcels)
    ledger.forget(["clip1-20"])
    again = Parcel.of(Unit("clip1-20", "item1", "/in/1.mp4"))
    ledger.write_part("again", [again])
    return ledger


def test_rows_come_in_batches_as_they_come_at_once(tmp_path, monkeypatch):
    from unihand_data.runner import ledger_files

    ledger = _filled(tmp_path)
    ids = [f"clip{n}" for n in range(4)] + [f"clip{item}-{n}" for item in range(2) for n in range(4, 30)]
    want = ledger.rows(["id", "item", "status", "part"]).sort("id")
    assert want["id"].to_list() == sorted(ids)
    assert want.filter(want["id"].is_in(["clip0", "clip3"]))["item"].to_list() == ["item0", "item0"]  # first by uri
    assert want.filter(want["id"] == "clip1-20")["part"].to_list() == ["again"]
    rejects, counts = ledger.rejects(), ledger.counts()
    monkeypatch.setattr(ledger_files, "_ROWS_AT_ONCE", 5)
    pieces = list(ledger.batches(["id", "item", "status", "part"]))
    assert len(pieces) > 5
    assert pl.concat(pieces).sort("id").equals(want)
    assert (ledger.rejects(), ledger.counts()) == (rejects, counts)
    ledger.compact()
    assert ledger.rows(["id", "item", "status", "part"]).sort("id").equals(want)


@pytest.mark.parametrize("at_once", [10, 1000])
def test_every_row_of_an_item_is_in_one_group_whichever_ledger_has_it(tmp_path, at_once):
    from unihand_data.runner.ledger_items import item_groups

    ledgers = [_filled(tmp_path, "c" * 32), _filled(tmp_path, "d" * 32)]
    groups = list(item_groups(ledgers, ["id", "losses"], rows_at_once=at_once))
    places = [item for group in groups for item in group["item"].unique().to_list()]
    assert sorted(places) == ["item0", "item1"]
    assert sum(map(len, groups)) == 2 * len(ledgers[0].rows(["id"]))
    assert sorted(pl.concat(groups)["ledger"].unique()) == [0, 1]

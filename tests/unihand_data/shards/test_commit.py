"""One committer, and a commit that may die anywhere and be run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lance
import lancedb
import pyarrow.parquet as pq
import pytest

from unihand_data.shards import catalogue, maintenance, staging, writer
from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import CommitRefused, RowError, ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.store import Store


def commit(stage, out, run="r", **options):
    return writer.commit(stage, out, **{"content_hash": "h", "config": {"a": 1}, "run_id": run} | options)


def content(out) -> dict:
    """Everything a person could read out of a directory, in stored order."""
    tables = {t: lance.dataset(f"{out}/{t}.lance") for t in ("media", "episodes", "conversations")}
    found = {t: d.to_table(columns=[c for c in d.schema.names if c != "bytes"]).to_pylist() for t, d in tables.items()}
    blobs = tables["media"].take_blobs("bytes", indices=list(range(tables["media"].count_rows())))
    found["bytes"] = [b.readall() for b in blobs]
    for folder in ("samples", "rejects"):
        files = sorted(Path(out, folder).glob("*.parquet"))
        found[folder] = {f.name: pq.read_table(f).to_pylist() for f in files}
    found["manifest"] = json.loads(Path(out, "manifest.json").read_text())
    found["tags"] = {t: sorted(d.tags.list()) for t, d in tables.items()}
    return json.loads(json.dumps(found, default=repr).replace("NaN", '"nan"'))


def test_a_part_has_the_same_name_and_content_whoever_writes_it(tmp_path, make, clip):
    e, f = make.episode("e", clip.media_id), make.episode("f", clip.media_id)
    a = staging.write_part(tmp_path / "a", [e, f], [clip], make.samples(e))
    b = staging.write_part(tmp_path / "b", [f, e], [clip], make.samples(e)[::-1])
    assert Path(a).name == Path(b).name
    assert Path(a).read_bytes() == Path(b).read_bytes()
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_a_committed_directory_is_a_lancedb_database(tmp_path, staged):
    got = commit(staged(3), tmp_path / "out")
    assert got["new"] == {"media": 1, "episodes": 3, "conversations": 0, "samples": 54, "rejects": 3}
    database = lancedb.connect(str(tmp_path / "out"))
    assert database.open_table("episodes").count_rows() == 3
    assert database.open_table("episodes").search().where("split = 'train'").select(["episode_id"]).to_list()
    version = lance.dataset(str(tmp_path / "out" / "episodes.lance"))
    assert version.read_transaction(version.version).transaction_properties["run_id"] == "r"
    assert "run-r" in version.tags.list()


def test_rows_come_back_from_the_directory_as_they_were_written(tmp_path, make, clip):
    e = make.episode("e", clip.media_id)
    staging.write_part(tmp_path / "st", [e], [clip], make.samples(e))
    commit(tmp_path / "st", tmp_path / "out")
    reader = ShardReader(tmp_path / "out")
    back = reader.episode(e.episode_id)
    assert back.provenance == e.provenance
    assert (back.state[e.state_mask] == e.state[e.state_mask]).all()
    assert reader.media_bytes(clip.media_id) == clip.data
    sample = make.samples(e)[4]
    assert reader.sample(sample.sample_id) == sample


def test_a_second_commit_changes_nothing(tmp_path, staged):
    stage = staged(3)
    commit(stage, tmp_path / "out")
    before = content(tmp_path / "out")
    again = commit(stage, tmp_path / "out", "another run")
    assert not any(again["new"].values())
    assert again["tag"] is None
    assert content(tmp_path / "out") == before


def test_how_rows_are_spread_over_parts_does_not_show(tmp_path, make, clip):
    episodes = [make.episode(f"e{i}", clip.media_id) for i in range(5)]
    for name, groups in (("a", [[0, 1, 2, 3, 4]]), ("b", [[4, 2], [0], [3, 1], [1]])):
        for group in groups:
            rows = [episodes[i] for i in group]
            staging.write_part(
                tmp_path / name, rows, [clip], [s for e in rows for s in make.samples(e)],
                [make.reject(f"item-{e.recording_id}") for e in rows],
            )  # fmt: skip
        commit(tmp_path / name, tmp_path / f"{name}.out")
    assert content(tmp_path / "a.out") == content(tmp_path / "b.out")


def test_many_samples_are_dealt_to_files_alike_however_they_were_staged(tmp_path, make, clip, monkeypatch):
    monkeypatch.setattr(writer.append, "SAMPLES_PER_FILE", 40)
    episodes = [make.episode(f"e{i}", clip.media_id) for i in range(6)]
    for name, size in (("a", 1), ("b", 4)):
        for i in range(0, 6, size):
            rows = episodes[i : i + size]
            staging.write_part(tmp_path / name, rows, [clip], [s for e in rows for s in make.samples(e)])
        commit(tmp_path / name, tmp_path / f"{name}.out")
    assert content(tmp_path / "a.out") == content(tmp_path / "b.out")
    assert len(mf.need(Store(tmp_path / "a.out")).samples) > 1
    assert catalogue.inspect(tmp_path / "a.out")["samples"]["total"] == 6 * 18


def test_the_work_of_a_commit_grows_with_what_is_staged_alone(tmp_path, make, clip, monkeypatch):
    """Parts are read once however many files come out, and of the stored index only staged episodes count."""
    episodes = [make.episode(f"e{i}", clip.media_id) for i in range(6)]
    staging.write_part(tmp_path / "first", episodes[:5], [clip], [s for e in episodes[:5] for s in make.samples(e)])
    commit(tmp_path / "first", tmp_path / "out")

    reads, skipped = [], []
    whole, one_file = staging.read_kind, staging._one_file
    monkeypatch.setattr(writer.append, "SAMPLES_PER_FILE", 10)
    monkeypatch.setattr(
        staging, "read_kind", lambda s, n, kind, f=None: (reads.append((n, kind, f)), whole(s, n, kind, f))[1]
    )
    monkeypatch.setattr(staging, "_one_file", lambda d, kind, skip: (skipped.append(skip), one_file(d, kind, skip))[1])
    for e in episodes[4:]:  # one is stored already
        staging.write_part(tmp_path / "second", [e], [clip], make.samples(e))
    commit(tmp_path / "second", tmp_path / "out", run="r2")
    samples = [name for name, kind, fields in reads if kind == "sample" and fields is None]
    assert sorted(samples) == sorted(set(samples))
    assert max(map(len, skipped)) == len(make.samples(episodes[4]))
    assert catalogue.inspect(tmp_path / "out")["samples"]["total"] == 6 * 18
    assert catalogue.validate(tmp_path / "out", decode=False) == []


STEPS = ["begin", "media", "episodes", "conversations", "parquet file", "samples", "rejects", "manifest", "tag"]
RARE = ("begin", "conversations", "rejects")  # alike to their neighbours: left to `make soak`

KILLED = """
import os, signal, sys
from unihand_data.shards import writer
stage, out, where, how = sys.argv[1:]
def step(name):
    if name == where:
        os.kill(os.getpid(), signal.SIGKILL) if how == "kill" else os._exit(7)
writer._step = step
writer.commit(stage, out, content_hash="h", config={"a": 1}, run_id="r")
"""


def run_killed(stage, out, where, how="kill") -> int:
    return subprocess.run([sys.executable, "-c", KILLED, stage, str(out), where, how], timeout=120).returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, make, clip):
    """A staging directory and the content of its undisturbed commit."""
    root = tmp_path_factory.mktemp("undisturbed")
    for i in range(3):
        e = make.episode(f"e{i}", clip.media_id)
        staging.write_part(root / "st", [e], [clip], make.samples(e), [make.reject(f"item-e{i}")])
    commit(root / "st", root / "out")
    return str(root / "st"), content(root / "out")


@pytest.mark.slow
@pytest.mark.parametrize("where", [pytest.param(s, marks=[pytest.mark.soak] if s in RARE else []) for s in STEPS])
def test_a_commit_killed_after_any_step_is_completed_by_the_next(tmp_path, undisturbed, where):
    stage, want = undisturbed
    how = "exit" if STEPS.index(where) % 2 else "kill"
    assert run_killed(stage, tmp_path / "out", where, how) == (7 if how == "exit" else -signal.SIGKILL)
    commit(stage, tmp_path / "out")
    assert content(tmp_path / "out") == want


@pytest.mark.slow
def test_a_commit_killed_while_it_appends_is_completed_by_the_next(tmp_path, make):
    import numpy as np

    for i in range(3):
        media = make.media(np.arange(30) / 30, numbers=range(i, i + 30))
        e = make.episode(f"e{i}", media.media_id)
        staging.write_part(tmp_path / "st", [e], [media], make.samples(e))
    commit(tmp_path / "st", tmp_path / "want")
    inside = KILLED.replace(
        "writer._step = step",
        "read, calls = writer.append._media_bytes, []\n"
        "def dying(*a):\n    calls.append(1)\n    return os._exit(7) if len(calls) == 3 else read(*a)\n"
        "writer.append._media_bytes = dying",
    )
    code = subprocess.run(
        [sys.executable, "-c", inside, str(tmp_path / "st"), str(tmp_path / "out"), "", ""], timeout=120
    )
    assert code.returncode == 7
    commit(tmp_path / "st", tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "want")


def test_more_staged_after_a_crash_replaces_the_half_written_index(tmp_path, make, clip, monkeypatch):
    first = make.episode("a", clip.media_id)
    staging.write_part(tmp_path / "st", [first], [clip], make.samples(first))

    def dies(name):
        if name == "samples":
            raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        commit(tmp_path / "st", tmp_path / "out")
    monkeypatch.undo()
    second = make.episode("b", clip.media_id)
    staging.write_part(tmp_path / "st", [second], [clip], make.samples(second))
    commit(tmp_path / "st", tmp_path / "out")
    files = list((tmp_path / "out" / "samples").glob("*.parquet"))
    assert sum(pq.read_metadata(f).num_rows for f in files) == 36


def test_other_settings_are_refused_unless_a_new_version_is_asked_for(tmp_path, make, clip, staged):
    commit(staged(1), tmp_path / "out")
    other = staging.write_part(tmp_path / "other", [make.episode("new", clip.media_id)], [clip])
    assert other
    with pytest.raises(CommitRefused, match=r"content hash h and this run has h2: .*--new-version"):
        commit(tmp_path / "other", tmp_path / "out", content_hash="h2")
    commit(tmp_path / "other", tmp_path / "out", content_hash="h2", new_version=True)
    manifest = mf.need(Store(tmp_path / "out"))
    assert [v["content_hash"] for v in manifest.versions] == ["h", "h2"]
    assert manifest.counts["episodes"] == 2
    assert manifest.state == "committed"
    assert manifest.run_id == manifest.tags[-1].run_id, "a committed manifest names the run of its last tag"


def test_two_committers_do_not_work_at_once(tmp_path, staged):
    stage = staged(1)
    with writer.only_committer(Store(tmp_path / "out")), pytest.raises(CommitRefused, match="another process"):
        commit(stage, tmp_path / "out")
    commit(stage, tmp_path / "out")


def test_a_row_without_its_media_is_refused_and_nothing_refers_to_nothing(tmp_path, make):
    staging.write_part(tmp_path / "st", [make.episode("e", "0" * 32)])
    with pytest.raises(ShardError, match=r"media 0+ is neither staged nor stored"):
        commit(tmp_path / "st", tmp_path / "out")
    assert lance.dataset(str(tmp_path / "out/episodes.lance")).count_rows() == 0


def test_staged_media_with_other_content_or_none_are_refused(tmp_path, make, clip):
    file = tmp_path / "clip.mp4"
    file.write_bytes(clip.data + b"x")
    staging.write_part(tmp_path / "st", [make.episode("e", clip.media_id)], [replace(clip, data=None, path=str(file))])
    with pytest.raises(ShardError, match=rf"media {clip.media_id}: .*clip.mp4 has other content"):
        commit(tmp_path / "st", tmp_path / "out")
    file.unlink()
    with pytest.raises(ShardError, match=rf"media {clip.media_id}: .*clip.mp4 cannot be read"):
        commit(tmp_path / "st", tmp_path / "out")


def test_an_id_twice_in_a_part_is_a_bug_that_is_named(tmp_path, make):
    e = make.episode("e")
    with pytest.raises(RowError, match=f"episode {e.episode_id} occurs more than once"):
        staging.write_part(tmp_path / "st", [e, e])


def test_equal_losses_of_one_part_count_apart_and_of_two_parts_once(tmp_path, make):
    twice = [make.reject("i"), make.reject("i")]
    staging.write_part(tmp_path / "st", rejects=twice)
    staging.write_part(tmp_path / "st", rejects=[make.reject("i"), make.reject("j")])
    got = commit(tmp_path / "st", tmp_path / "out")
    assert got["new"]["rejects"] == 3


def test_nothing_to_stage_writes_no_part(tmp_path):
    assert staging.write_part(tmp_path / "st") == ""
    assert commit(tmp_path / "st", tmp_path / "out")["counts"]["episodes"] == 0


def test_clean_removes_the_parts_and_only_what_staging_owns(tmp_path, make, clip):
    file = tmp_path / "mine.mp4"
    file.write_bytes(clip.data)
    staging.write_part(tmp_path / "st", [make.episode("e", clip.media_id)], [replace(clip, data=None, path=str(file))])
    commit(tmp_path / "st", tmp_path / "out", clean=True)
    assert not list((tmp_path / "st").glob("*.parquet"))
    assert file.exists()


def test_compaction_joins_small_fragments_and_keeps_rows_and_tags(tmp_path, make):
    import numpy as np

    for i in range(6):
        media = make.media(np.arange(10) / 30, numbers=range(i, i + 10))
        e = make.episode(f"e{i}", media.media_id, frames=10)
        staging.write_part(tmp_path / "st", [e], [media], make.samples(e))
        commit(tmp_path / "st", tmp_path / "out", f"r{i}", clean=True)
    url = str(tmp_path / "out/episodes.lance")
    assert len(lance.dataset(url).get_fragments()) == 6
    maintenance.compact(tmp_path / "out")
    assert len(lance.dataset(url).get_fragments()) == 1
    assert len(lance.dataset(str(tmp_path / "out/media.lance")).get_fragments()) == 1
    now, then = ShardReader(tmp_path / "out"), ShardReader(tmp_path / "out", tag="run-r2")
    assert (len(now.episode_ids), len(then.episode_ids)) == (6, 3)
    assert [make.number(now.window((i, 4)).frames["ego"][0]) for i in now.episode_ids] == [4, 5, 6, 7, 8, 9]
    assert [make.number(then.window((i, 4)).frames["ego"][0]) for i in then.episode_ids] == [4, 5, 6]
    assert catalogue.validate(tmp_path / "out") == []


def test_retried_items_lose_their_old_rejects(tmp_path, staged):
    commit(staged(2), tmp_path / "out")
    assert writer.drop_rejects(tmp_path / "out", ["item-e0"]) == 1
    assert catalogue.inspect(tmp_path / "out")["rejects"]["by_reason"] == {"jitter": 1}
    assert catalogue.validate(tmp_path / "out") == []


def test_a_killed_committer_leaves_no_lock(tmp_path, staged):
    stage = staged(1)
    hang = "import sys, time\nfrom unihand_data.shards import writer\n"
    hang += "writer._step = lambda n: (print(n, flush=True), time.sleep(60))\n"
    hang += "writer.commit(sys.argv[1], sys.argv[2], content_hash='h', config={'a': 1}, run_id='r')\n"
    child = subprocess.Popen([sys.executable, "-c", hang, stage, str(tmp_path / "out")], stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"begin"
    with pytest.raises(CommitRefused):
        commit(stage, tmp_path / "out")
    os.kill(child.pid, signal.SIGKILL)
    child.wait(timeout=30)
    commit(stage, tmp_path / "out")


def test_what_is_said_anew_about_settled_items_replaces_what_was_said_before(tmp_path, make):
    old = [make.reject("a", reason="budget", stage="language"), make.reject("a"), make.reject("b"), make.reject("c")]
    staging.write_part(tmp_path / "one", rejects=old)
    commit(tmp_path / "one", tmp_path / "out")
    staging.write_part(tmp_path / "two", rejects=[make.reject("a"), make.reject("d")])
    commit(tmp_path / "two", tmp_path / "out", settled=["a", "b", "d"])
    files = [Path(tmp_path, "out", f.name) for f in mf.need(Store(tmp_path / "out")).rejects]
    rows = [r for f in files for r in pq.read_table(f).to_pylist()]
    assert sorted((r["item"], r["reason"]) for r in rows) == [("a", "jitter"), ("c", "jitter"), ("d", "jitter")]
    before = content(tmp_path / "out")
    commit(tmp_path / "two", tmp_path / "out", settled=["a", "b", "d"])
    assert content(tmp_path / "out") == before


def test_equal_losses_are_numbered_through_all_files_and_only_files_that_lose_rows_are_written_anew(tmp_path, make):
    out, store = tmp_path / "out", Store(tmp_path / "out")
    staging.write_part(tmp_path / "a", rejects=[make.reject("i"), make.reject("i"), make.reject("k")])
    commit(tmp_path / "a", out)
    staging.write_part(tmp_path / "b", rejects=[*[make.reject("i")] * 3, make.reject("j")])
    assert commit(tmp_path / "b", out, "r2")["new"]["rejects"] == 2  # the third "i", and "j"
    first, second = mf.need(store).rejects
    assert writer.drop_rejects(out, ["j"]) == 1
    assert mf.need(store).rejects[0] == first
    assert not store.exists(second.name)
    assert catalogue.validate(out) == []
    assert commit(tmp_path / "b", out, "r3")["new"]["rejects"] == 1


def test_of_a_settled_item_only_the_losses_that_are_staged_again_stay(tmp_path, make):
    out = tmp_path / "out"
    old = [make.reject("i"), make.reject("i", reason="no_hands"), make.reject("other")]
    staging.write_part(tmp_path / "a", rejects=old)
    commit(tmp_path / "a", out)
    staging.write_part(tmp_path / "b", rejects=[make.reject("i"), make.reject("i", reason="static_hands")])
    commit(tmp_path / "b", out, "r2", settled=["i"])
    assert catalogue.inspect(out)["rejects"]["by_reason"] == {"jitter": 2, "static_hands": 1}
    assert catalogue.validate(out) == []


def test_items_are_derived_from_the_rows_where_nobody_counted_them(tmp_path, make, clip):
    kept = [make.episode(f"e{n}", clip.media_id, provenance={"item": f"i{n // 2}"}) for n in range(4)]
    staging.write_part(tmp_path / "st", kept, [clip], rejects=[make.reject("i0"), make.reject("gone")])
    commit(tmp_path / "st", tmp_path / "out")
    assert mf.need(Store(tmp_path / "out")).inputs == {"inputs": 3, "written": 2, "rejected": 1, "ignored": 0}

"""``inspect`` counts by the contract's rules; ``validate`` finds each broken promise and names the row."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.shards import catalogue, schema, staging, validate_samples, writer
from unihand_data.shards import manifest as mf
from unihand_data.shards.errors import ShardError
from unihand_data.shards.rows import ConversationRow, HandRow, LanguageRow
from unihand_data.shards.store import Store
from unihand_data.space import mirror


@pytest.fixture
def shard(tmp_path):
    def build(episodes, media, samples=(), rejects=(), conversations=(), **options):
        staging.write_part(tmp_path / "st", episodes, media, samples, rejects, conversations=conversations)
        writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config={}, run_id="r", **options)
        return tmp_path / "out"

    return build


def twin_of(e, **changes):
    """A mirror twin as the pipeline makes it."""
    state = mirror.mirror_row(np.where(e.state_mask, e.state, 0), e.state_slots, e.state_mask, "state")
    action = mirror.mirror_row(e.action, e.action_slots, e.action_mask, "action")
    row = replace(
        e, episode_id="twin-" + e.episode_id, parent_id=e.episode_id, state=state.values.astype(np.float32),
        state_slots=state.slots, state_mask=state.mask, action=action.values.astype(np.float32),
        action_slots=action.slots, action_mask=action.mask,
        cameras=[replace(c, mirrored=not c.mirrored) for c in e.cameras],
        provenance={**e.provenance, "mirror_version": "1"},
    )  # fmt: skip
    return replace(row, **changes)


def whole_eef(e):
    """EEF values come in sixes: known together or not at all; a mirrored pose needs all three of its angles."""
    for mask in (e.state_mask, e.action_mask):
        mask[:, :12] = mask[:, :1]
    e.state[:, :12] = np.where(e.state_mask[:, :12], np.nan_to_num(e.state[:, :12]), np.nan)
    return e


def test_inspect_prints_the_keys_of_the_design(shard, make, clip):
    out = catalogue.inspect(shard([make.episode("e", clip.media_id)], [clip]))
    listed = (
        "schema_version inputs written rejected ignored episodes conversations frames hours samples mirrored tokens"
    )
    assert set(out) == {*listed.split(), "by_source", "by_embodiment", "by_licence", "rejects", "hands"}
    assert set(out["tokens"]) == {"text", "visual", "supervised", "estimate"}
    assert set(out["samples"]) == {"total", "by_task"}
    assert set(out["rejects"]) == {"by_level", "by_stage", "by_reason"}
    json.dumps(out, allow_nan=False)


def test_twins_are_counted_apart_and_rejected_clips_in_the_hand_ratio(shard, make, clip):
    e = whole_eef(make.episode("e", clip.media_id))
    e.hands = [
        HandRow("left", "generic_v1", "t", np.ones(30), np.arange(30) < 10, np.zeros(30, bool)),
        HandRow("right", "generic_v1", "t", np.ones(30), np.abs(np.arange(30) - 9.5) < 5, np.zeros(30, bool)),
    ]  # fmt: skip
    twin = twin_of(e)
    rejects = [
        make.reject("item-e", frames=20, frames_with_hand=5),
        make.reject("other", frames=50, frames_with_hand=0, reason="no_hands"),
        make.reject("item-e", level="row", frames=999, message="a sentence"),
    ]
    samples = make.samples(e) + [
        replace(s, sample_id="t" + s.sample_id, episode_id=twin.episode_id) for s in make.samples(e)
    ]
    out = catalogue.inspect(shard([e, twin], [clip], samples, rejects))
    assert (out["episodes"], out["frames"]) == (1, 30)
    assert out["hours"] == pytest.approx(1 / 3600)
    assert out["mirrored"] == {"episodes": 1, "frames": 30, "hours": pytest.approx(1 / 3600), "samples": 18}
    assert out["hands"]["frames_with_hand_ratio"] == (15 + 5) / (30 + 20 + 50)
    assert out["samples"]["total"] == 36
    assert (out["inputs"], out["written"], out["rejected"]) == (2, 1, 1)
    # images: generation 1, continuation 2, description 2 per sample; 66 tokens each
    assert out["tokens"]["visual"] == 12 * (1 + 2 + 2) * 66
    assert out["tokens"] == {"text": 36 * 8, "visual": 3960, "supervised": 12 * 5, "estimate": True}


def test_a_directory_without_human_video_has_no_hand_ratio(shard, make):
    talk = ConversationRow("c", "llava", "general", [], [{"role": "user", "text": "hi"}], [], "MIT", "train", 1, 0)
    out = catalogue.inspect(shard([], [], conversations=[talk]))
    assert out["hands"]["frames_with_hand_ratio"] is None
    assert out["conversations"] == 1
    assert out["by_source"]["llava"]["conversations"] == 1


def test_counts_given_by_the_runner_are_shown_as_they_are(shard, make, clip):
    inputs = {"inputs": 7, "written": 4, "rejected": 3, "ignored": 2}
    out = catalogue.inspect(shard([make.episode("e", clip.media_id)], [clip], inputs=inputs, tokenizer="qwen3"))
    assert {k: out[k] for k in inputs} == inputs
    assert out["tokens"]["estimate"] is False


def test_what_is_no_shard_directory_is_refused(tmp_path):
    with pytest.raises(ShardError, match="is not a shard directory"):
        catalogue.inspect(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ShardError, match="not JSON"):
        catalogue.inspect(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "unihand-shards", "schema_version": 99}')
    with pytest.raises(ShardError, match="schema version 99"):
        catalogue.inspect(tmp_path)


def test_a_sound_directory_has_no_problems(shard, make, clip):
    e = whole_eef(make.episode("e", clip.media_id))
    assert catalogue.validate(shard([e, twin_of(e)], [clip], make.samples(e), [make.reject("x")])) == []


def _with(change):
    def build(make, clip):
        e = whole_eef(make.episode("e", clip.media_id))
        return change(make, clip, e)

    return build


BROKEN = {
    "split": lambda make, clip, e: ([e, twin_of(e, split="val")], [], "split is 'val', its parent's 'train'"),
    "parent": lambda make, clip, e: ([twin_of(e)], [], "its parent .* is not in this directory"),
    "not flipped": lambda make, clip, e: ([e, twin_of(e, cameras=e.cameras)], [], "not marked as mirrored"),
    "numbers": lambda make, clip, e: (
        [e, twin_of(e, action=twin_of(e).action + np.float32(1e-2))], [], "action differs from the mirror .* 0.01"),
    "masks": lambda make, clip, e: (
        [e, twin_of(e, state_mask=np.zeros_like(e.state_mask))], [], "state_mask is not the mirror"),
    "version": lambda make, clip, e: ([e, twin_of(e, provenance={})], [], "provenance has no mirror_version"),
    "sample range": lambda make, clip, e: (
        [e], [replace(make.samples(e)[3], frames_available=99)], "are not within the 30 frames"),
    "sample split": lambda make, clip, e: (
        [e], [replace(make.samples(e)[3], split="test")], "split test, its episode"),
    "sample text": lambda make, clip, e: ([e], [replace(make.samples(e)[3], language_ref=4)], "language_ref 4"),
    "sample episode": lambda make, clip, e: (
        [e], [replace(make.samples(e)[3], episode_id="gone")], "episode gone is"),
    "language span": lambda make, clip, e: (
        [replace(e, language=[LanguageRow("intent", 0.0, 9.0, "x")])], [], r"language\[0\] spans"),
    "frames": lambda make, clip, e: ([make.episode("long", clip.media_id, frames=50)], [], "no frame is stored for t"),
    "size": lambda make, clip, e: (
        [replace(e, cameras=[replace(e.cameras[0], width=640)])], [], "is 640x64, its media 96x64"),
    "recording": lambda make, clip, e: (
        [e, make.episode("f", clip.media_id, recording_id=e.recording_id, split="val")], [], "clips of recording"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_promise_is_found_and_named(shard, make, clip, name):
    episodes, samples, problem = _with(BROKEN[name])(make, clip)
    found = catalogue.validate(shard(episodes, [clip], samples))
    assert len(found) >= 1
    assert any(re.search(problem, line) for line in found), found


def test_damaged_media_and_wrong_counts_are_found(shard, make, clip):
    lied = replace(clip, frames=40, pts=np.arange(40) / 30)
    out = shard([make.episode("e", clip.media_id)], [lied])
    store = Store(out)
    manifest = mf.need(store)
    manifest.counts["episodes"] = 5
    manifest.inputs["written"] = 9
    mf.write(store, manifest)
    (out / "samples").mkdir(exist_ok=True)
    (out / "samples" / "stray.parquet").write_bytes(b"x")
    found = "\n".join(catalogue.validate(out))
    for problem in (
        "counts 5 episodes, there are 1",
        "stray.parquet is not listed",
        "announces 40 frames",
        "written 9",
    ):
        assert problem in found


def test_an_unfinished_commit_is_the_one_problem(shard, make, clip):
    out = shard([make.episode("e", clip.media_id)], [clip])
    manifest = mf.need(Store(out))
    mf.write(Store(out), replace(manifest, state="committing", run_id="r9"))
    assert catalogue.validate(out) == ["the commit of run r9 did not finish; run that job again"]


def test_hands_that_were_only_filled_in_are_not_counted_as_seen(shard, make, clip):
    e = whole_eef(make.episode("e", clip.media_id))
    frames = np.arange(30)
    e.hands = [HandRow("left", "generic_v1", "t", np.ones(30), frames < 20, (frames >= 10) & (frames < 20))]
    assert catalogue.inspect(shard([e], [clip]))["hands"]["frames_with_hand_ratio"] == 10 / 30


@given(st.lists(st.integers(0, 2**31 - 1), max_size=6))
def test_frames_with_a_hand_are_those_where_any_hand_was_seen(seeds):
    frames, hands, want = [], [], 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        T, n = int(rng.integers(1, 9)), int(rng.integers(0, 4))
        valid, filled = rng.random((n, T)) < 0.5, rng.random((n, T)) < 0.3
        frames.append(T)
        hands.append([{"valid": v.tolist(), "interpolated": f.tolist()} for v, f in zip(valid, filled)])
        want += int((valid & ~filled).any(axis=0).sum())
    column = pa.array(hands, schema.EPISODES.field("hands").type)
    got = catalogue.frames_with_hand(np.array(frames, np.int32), column)
    assert got == want
    # a slice of a longer column has offsets of its own
    longer = pa.concat_arrays([pa.array([[{"valid": [True]}]], column.type), column])
    assert catalogue.frames_with_hand(np.array(frames, np.int32), longer.slice(1)) == want


@pytest.mark.parametrize("at_once", [3, 1000])
def test_a_sample_id_in_two_files_is_found_however_little_fits_into_memory(tmp_path, make, monkeypatch, at_once):
    monkeypatch.setattr(validate_samples, "IDS_AT_ONCE", at_once)
    ids = [s.sample_id for s in make.samples(make.episode("e"))]
    files = []
    for name, some in (("a", ids[:10]), ("b", [ids[3], *ids[10:], ids[7], ids[3]])):
        pq.write_table(pa.table({"sample_id": some}), tmp_path / name)
        files.append(mf.ParquetFile(name, len(some)))
    found = list(validate_samples.repeated_samples(Store(tmp_path), files))
    assert found == [f"sample {ids[3]} occurs 3 times", f"sample {ids[7]} occurs 2 times"]
    assert list(validate_samples.repeated_samples(Store(tmp_path), files[:1])) == []
    assert list(validate_samples.repeated_samples(Store(tmp_path), [])) == []


def test_rows_read_in_several_batches_are_checked_like_one(shard, make, clip, monkeypatch):
    from unihand_data.shards import parquet_files, validate

    monkeypatch.setattr(validate, "EPISODES_AT_ONCE", 2)
    monkeypatch.setattr(parquet_files.batches, "__kwdefaults__", {"rows": 7})
    rows = [make.episode(f"e{i}", clip.media_id, split="val" if i == 3 else "train") for i in range(5)]
    for e in rows:
        e.recording_id = "one"
    samples = [s for e in rows for s in make.samples(e)]
    late = samples[-1]
    samples[-1] = replace(late, frames_available=99, language_ref=8, split="test")
    out = shard(rows, [clip], samples, [make.reject(f"i{n}") for n in range(9)])
    found = catalogue.validate(out)
    assert [line for line in found if "of recording one" in line] == [
        f"episode {rows[3].episode_id}: split val, but other clips of recording one are in train"
    ]
    assert [line.split(": ", 1)[1] for line in found if line.startswith(f"sample {late.sample_id}")] == [
        f"frames 0..{late.start_frame + 99} are not within the 30 frames of episode {late.episode_id}",
        "language_ref 8, its episode has 1 sentences",
        "split test, its episode is in train",
    ]
    assert catalogue.inspect(out)["rejects"]["by_reason"] == {"jitter": 9}

"""An export is read back here by its documented layout alone, not by our reader, and gives the same values."""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from unihand_data.shards import staging, writer
from unihand_data.shards.errors import ShardError
from unihand_data.shards.export import lerobot3, official, preview
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, ConversationRow, LanguageRow, SampleRow


@pytest.fixture
def reader(tmp_path, make):
    """Two clips of one file (the second starts 20 frames in), a twin of the first, a clip with pre-roll, and talk."""
    shared, own = make.media(np.arange(50) / 30), make.media(np.arange(-4, 30) / 30, numbers=range(100, 134))
    lines = [LanguageRow("intent", 0.0, 1.0, "make tea"), LanguageRow("instruction", 0.2, 0.5, "lift the cup", "right")]
    a = make.episode("a", shared.media_id, language=lines)
    b = make.episode("b", cameras=[CameraRow("ego", shared.media_id, 96, 64, 30.0, t_offset=-20 / 30)], split="val")
    c = make.episode("c", own.media_id, language=[])
    twin = replace(a, episode_id="twin", parent_id=a.episode_id, cameras=[replace(a.cameras[0], mirrored=True)])
    samples = [
        SampleRow("g", "motion_generation", a.episode_id, "", 6, language_ref=1),
        SampleRow("d", "motion_description", a.episode_id, "", 0, language_ref=0),
        SampleRow("t", "motion_generation", twin.episode_id, "", 6, language_ref=1),
    ]
    turns = [{"role": "user", "text": "<video>\nwhat?"}, {"role": "assistant", "text": "a cup"}]
    talk = ConversationRow(
        "talk", "s", "general", [{"media_id": own.media_id, "times": []}], turns, [], "MIT", "train", 3, 2
    )
    staging.write_part(tmp_path / "st", [a, b, c, twin], [shared, own], samples, conversations=[talk])
    writer.commit(tmp_path / "st", tmp_path / "shard", content_hash="h", config={}, run_id="r")
    return ShardReader(tmp_path / "shard", render=lambda i, text, hand: ("?", text))


def frame_at(path: Path, t: float) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = stream.start_time or 0
        frames = [(abs(float((f.pts - start) * stream.time_base) - t), f) for f in container.decode(stream)]
        return min(frames, key=lambda x: x[0])[1].to_ndarray(format="rgb24")


def column(table, name) -> np.ndarray:
    return np.array(table[name].to_pylist())


def test_lerobot_v3_reads_back_to_the_same_values(reader, tmp_path, make):
    assert lerobot3.export(reader, tmp_path / "out") == {"episodes": 3, "frames": 90, "videos": 2}
    out = tmp_path / "out"
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 30, 3, 90)
    assert info["splits"] == {"train": "0:2", "val": "2:3"}
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    tasks = {r["task_index"]: r["__index_level_0__"] for r in pq.read_table(out / "meta/tasks.parquet").to_pylist()}
    data = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=0))
    assert pq.ParquetFile(out / info["data_path"].format(chunk_index=0, file_index=0)).num_row_groups == 3
    key = "observation.images.ego"
    for row in episodes:
        e = reader.episode(row["unihand/episode_id"])
        part = data.slice(row["dataset_from_index"], row["length"])
        assert set(part["episode_index"].to_pylist()) == {row["episode_index"]}
        np.testing.assert_array_equal(
            column(part, "index"), np.arange(row["dataset_from_index"], row["dataset_to_index"])
        )
        np.testing.assert_array_equal(column(part, "observation.state_mask"), e.state_mask)
        np.testing.assert_array_equal(column(part, "action")[e.action_mask], e.action[e.action_mask])
        np.testing.assert_array_equal(column(part, "observation.state")[e.state_mask], e.state[e.state_mask])
        assert np.isfinite(column(part, "observation.state")).all()
        np.testing.assert_allclose(column(part, "timestamp"), e.timestamps, atol=1e-6)
        file = out / info["video_path"].format(
            video_key=key, chunk_index=row[f"videos/{key}/chunk_index"], file_index=row[f"videos/{key}/file_index"]
        )
        for k in (0, 7, 29):
            want = make.number(reader.window((e.episode_id, k)).frames["ego"][0])
            assert make.number(frame_at(file, row[f"videos/{key}/from_timestamp"] + e.timestamps[k])) == want
    first = data.slice(0, 30)
    said = [tasks[i] for i in first["task_index"].to_pylist()]
    assert said[0] == "make tea"
    assert said[6:15] == ["lift the cup"] * 9
    names = info["features"]["action"]["names"]
    assert names[0] == "right_eef_x"
    assert len(names) == info["features"]["action"]["shape"][0] == 14


@pytest.mark.skipif(
    "LEROBOT_PYTHON" not in os.environ, reason="LEROBOT_PYTHON: the Python of an environment with lerobot"
)
def test_lerobots_own_loader_reads_the_same_values(reader, tmp_path):
    lerobot3.export(reader, tmp_path / "out")
    command = [os.environ["LEROBOT_PYTHON"], lerobot_reads_path(), tmp_path / "out", tmp_path / "read.npz"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "read.npz")
    listed = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    rows = [reader.episode(row["unihand/episode_id"]) for row in listed]  # train first, then val
    assert (int(found["length"]), int(found["episodes"]), int(found["fps"])) == (90, 3, 30)
    mask = np.concatenate([e.action_mask for e in rows])
    np.testing.assert_array_equal(found["action"][mask], np.concatenate([e.action for e in rows])[mask])
    mask = np.concatenate([e.state_mask for e in rows])
    np.testing.assert_array_equal(found["state"][mask], np.concatenate([e.state for e in rows])[mask])
    assert found["picture"].shape == (3, 64, 96)
    assert found["sentences"][0] == "make tea"
    assert found["sentences"][6] == "lift the cup"


def lerobot_reads_path() -> Path:
    return Path(__file__).parents[2] / "helpers" / "lerobot_reads.py"


def test_lerobot_v3_statistics_leave_masked_values_out(reader, tmp_path):
    lerobot3.export(reader, tmp_path / "out")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())["action"]
    rows = [reader.episode(i) for i in reader.episode_ids if not reader.episode(i).mirrored]
    values, mask = np.concatenate([e.action for e in rows]), np.concatenate([e.action_mask for e in rows])
    for c in (0, 13):
        known = values[mask[:, c], c].astype(float)
        assert stats["mean"][c] == pytest.approx(known.mean())
        assert stats["count"][c] == mask[:, c].sum()
        assert stats["q99"][c] == pytest.approx(np.quantile(known, 0.99))


def test_lerobot_v3_of_mirror_twins_holds_flipped_pixels(reader, tmp_path, make):
    assert lerobot3.export(reader, tmp_path / "out", mirrored=True)["videos"] == 3
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    row = next(r for r in episodes if r["unihand/episode_id"] == "twin")
    file = (
        tmp_path
        / f"out/videos/observation.images.ego/chunk-000/file-{row['videos/observation.images.ego/file_index']:03d}.mp4"
    )
    picture = frame_at(file, row["videos/observation.images.ego/from_timestamp"] + 11 / 30)
    assert make.number(picture[:, ::-1]) == 11


def test_lerobot_v3_refuses_uneven_rates_and_mixed_tables(tmp_path, make, clip):
    times = np.concatenate([[0.0], np.cumsum(np.random.default_rng(0).uniform(0.02, 0.05, 29))])
    media = make.media(times)
    rows = [make.episode("u", media.media_id, timestamps=times), make.episode("f", clip.media_id, rate=15.0)]
    staging.write_part(tmp_path / "st", rows, [media, clip])
    writer.commit(tmp_path / "st", tmp_path / "shard", content_hash="h", config={}, run_id="r")
    reader = ShardReader(tmp_path / "shard")
    with pytest.raises(ShardError, match=r"15\.0, 30\.0.*--rate"):
        lerobot3.export(reader, tmp_path / "out")
    with pytest.raises(ShardError, match="--keep-uneven"):
        lerobot3.export(reader, tmp_path / "out", rate_hz=30)
    assert lerobot3.export(reader, tmp_path / "out", rate_hz=30, keep_uneven=True)["episodes"] == 1


def test_the_preview_layout_has_its_tree_and_points_at_rows_and_frames(reader, tmp_path, make):
    assert preview.export(reader, tmp_path / "out")["videos"] == 2
    out = tmp_path / "out"
    info = json.loads((out / "meta/info.json").read_text())
    assert info["layout"] == "file-centric-split-mirror-v4"
    assert (info["mirror_video_transform"], info["fps"], info["num_files"]) == ("horizontal_flip", 30.0, 2)
    lines = [json.loads(line) for line in (out / "meta/tasks_description.jsonl").read_text().splitlines()]
    assert lines == [{"task_index": 0, "task": "make tea"}]
    rows = pq.read_table(out / "meta/episodes/instruction/chunk-000/file-000000.parquet").to_pylist()
    assert [r["mirrored"] for r in rows] == [False, True]
    for r in rows:
        e = reader.episode(r["unihand/episode_id"])
        data = pq.read_table(out / f"data/chunk-000/file-{r['file_index']:06d}.parquet").slice(
            r["from_index"], r["length"]
        )
        np.testing.assert_array_equal(column(data, "action")[e.action_mask[6:15]], e.action[6:15][e.action_mask[6:15]])
        picture = frame_at(out / f"videos/ego-view/chunk-000/file-{r['file_index']:06d}.mp4", r["from_timestamp"])
        assert make.number(picture) == 6


def test_words_of_the_mirror_image_are_not_read_back_as_words_of_the_picture(reader, tmp_path):
    from unihand_data.sources.registry import open_source

    preview.export(reader, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    recordings = [source.open(item) for item in source.items()]
    left_out = sum(r.extra.get("narrations_left_out", {}).get("mirrored", 0) for r in recordings)
    kept = sum(len(r.narrations) for r in recordings)
    rows = pq.read_table(tmp_path / "out/meta/episodes/instruction/chunk-000").to_pylist()
    assert left_out == sum(r["mirrored"] for r in rows) > 0
    assert kept == sum(not r["mirrored"] for r in rows)
    assert not any("no_text" in r.extra for r in recordings)  # the one table serves every file it names


def test_lerobot_v21_video_starts_with_its_episode(reader, tmp_path, make):
    assert official.export_motion(reader, tmp_path / "out") == {"episodes": 3, "frames": 90, "videos": 3}
    out = tmp_path / "out"
    info = json.loads((out / "meta/info.json").read_text())
    episodes = [json.loads(line) for line in (out / "meta/episodes.jsonl").read_text().splitlines()]
    tasks = {r["task_index"]: r["task"] for r in map(json.loads, (out / "meta/tasks.jsonl").read_text().splitlines())}
    starts = set()
    for row in episodes:
        at = {"episode_chunk": 0, "episode_index": row["episode_index"]}
        data = pq.read_table(out / info["data_path"].format(**at))
        assert data.num_rows == row["length"]
        video = out / info["video_path"].format(**at, video_key="observation.images.ego")
        numbers = [make.number(frame_at(video, k / 30)) for k in (0, 12)]
        assert numbers[1] - numbers[0] == 12
        starts.add(numbers[0])
        if row["action_config"] and row["length"] and len(row["action_config"]) == 2:
            assert row["action_config"][1] == {"start_frame": 6, "end_frame": 15, "action_text": "lift the cup"}
            assert tasks[data["task_index"][7].as_py()] == "lift the cup"
    assert starts == {0, 20, 104}


def test_text_rows_are_conversations_with_their_media_beside_them(reader, tmp_path):
    assert official.export_text(reader, tmp_path / "out") == {"rows": 2, "media": 2}
    rows = [json.loads(line) for line in (tmp_path / "out/conversations.jsonl").read_text().splitlines()]
    talk, described = rows
    assert talk["conversations"] == [{"from": "human", "value": "<video>\nwhat?"}, {"from": "gpt", "value": "a cup"}]
    assert described["conversations"][1] == {"from": "gpt", "value": "make tea"}
    assert (described["start"], described["duration"]) == (0.0, 1.0)
    for row in rows:
        av.open(io.BytesIO((tmp_path / "out" / row["video"]).read_bytes())).close()


def test_tasks_are_the_index_when_pandas_reads_them(reader, tmp_path):
    pandas = pytest.importorskip("pandas")
    lerobot3.export(reader, tmp_path / "out")
    table = pandas.read_parquet(tmp_path / "out/meta/tasks.parquet")
    assert list(table.columns) == ["task_index"]
    assert "lift the cup" in table.index

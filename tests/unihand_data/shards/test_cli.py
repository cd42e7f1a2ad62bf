"""``unihand``: exit codes 0, 1, 2 and what a person or a program reads on the terminal."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from unihand_data import cli
from unihand_data.commands.rerun_recording import slot_curves, wrist_paths
from unihand_data.shards import manifest as mf
from unihand_data.shards import staging, writer
from unihand_data.shards.store import Store
from unihand_data.space import load_embodiment
from unihand_data.space.slots import SLOTS


@pytest.fixture
def shard(tmp_path, make, clip):
    e = make.hands(clip.media_id)
    staging.write_part(
        tmp_path / "st", [e], [clip], make.samples(e), [make.reject("x"), make.reject("y", reason="budget")]
    )
    writer.commit(tmp_path / "st", tmp_path / "shard", content_hash="h", config={}, run_id="r")
    return str(tmp_path / "shard")


def test_inspect_prints_one_json_object_or_lines(shard, capsys):
    assert cli.main(["inspect", shard, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert cli.main(["inspect", shard]) == 0
    assert "1, 30 frames" in capsys.readouterr().out


def test_validate_exits_with_one_when_there_are_problems(shard, capsys):
    assert cli.main(["validate", shard]) == 0
    assert "no problems" in capsys.readouterr().out
    manifest = mf.need(Store(shard))
    manifest.counts["media"] = 9
    mf.write(Store(shard), manifest)
    assert cli.main(["validate", shard, "--no-decode"]) == 1
    assert "counts 9 media, there are 1" in capsys.readouterr().out


def test_what_cannot_be_done_is_one_sentence_and_exit_code_two(tmp_path, shard, capsys):
    for arguments in (["inspect", str(tmp_path)], ["view", shard, "zzz"], ["retry", shard, "--reason", "mood"]):
        assert cli.main(arguments) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "Traceback" not in said


def test_the_beginning_of_an_id_names_one_episode(tmp_path, make, clip, capsys):
    episodes = [make.episode(f"e{i}", clip.media_id, episode_id=f"{i:032x}") for i in range(2)]
    staging.write_part(tmp_path / "st", episodes, [clip], make.samples(episodes[0]))
    writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config={}, run_id="r")
    for start, said in (("zzz", f"no episode of {tmp_path}/out begins with"), ("0", "2 episodes of")):
        assert cli.main(["view", str(tmp_path / "out"), start]) == 2
        assert said in capsys.readouterr().err


def test_view_draws_the_hands_where_the_camera_sees_them(tmp_path, shard, make, clip, capsys):
    episode = make.hands(clip.media_id).episode_id
    assert cli.main(["view", shard]) == 0
    assert episode in capsys.readouterr().out
    out = tmp_path / "o.mp4"
    assert cli.main(["view", shard, episode[:8], "--out", str(out)]) == 0
    with av.open(str(out)) as container:
        pictures = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]
    assert len(pictures) == 30
    # wrists at 47.5 +- 80 * 0.12 / 0.4 = 24 px from the centre; around each wrist the hand's colour must be
    for x, strong, weak in ((71, 0, 2), (23, 2, 0)):
        patch = pictures[15][24:40, x - 6 : x + 7]
        coloured = (patch[..., strong] - patch[..., weak]) > 60
        assert coloured.sum() > 10


def entities(path) -> dict[str, int]:
    """Entity path of a recording -> rows logged there."""
    chunk = pytest.importorskip("rerun.chunk")
    found: dict[str, int] = {}
    for piece in chunk.RrdReader(str(path)).stream():
        found[piece.entity_path.strip("/")] = found.get(piece.entity_path.strip("/"), 0) + piece.num_rows
    return found


def test_a_rerun_recording_has_video_skeletons_wrist_paths_and_a_curve_per_slot_group(tmp_path, shard, make, clip):
    pytest.importorskip("rerun")
    row = make.hands(clip.media_id)
    assert cli.main(["view", shard, row.episode_id, "--rerun", "--out", str(tmp_path / "o.rrd")]) == 0
    found = entities(tmp_path / "o.rrd")
    groups = [f"{side}_{part}" for side in ("right", "left") for part in ("eef_position", "eef_rotation", "theta")]
    every_frame = [f"{kind}/{group}" for kind in ("state", "action") for group in groups]
    every_frame += ["world/camera/video", "world/camera/right", "world/camera/left"]
    assert {name: found.get(name, 0) >= row.frames for name in every_frame} == dict.fromkeys(every_frame, True)
    assert {"world/right/path", "world/left/path"} <= set(found)
    assert any(name.startswith("language/") for name in found)


def test_a_wrist_path_is_broken_where_its_position_is_masked_and_a_curve_has_a_gap(make, clip):
    row = make.hands(clip.media_id)
    row.state_mask[10:12, :3] = False
    row.state_mask[:, 6:9] = False
    paths = wrist_paths(row)
    assert [len(strip) for strip in paths["right"]] == [10, 18]
    assert paths["right"][0][0] == pytest.approx([0.12, 0, 0.4])
    assert "left" not in paths  # no known position, so no path
    values, names = slot_curves(row)["state/right_eef_position"]
    assert np.isnan(values[:, 0]).nonzero()[0].tolist() == [10, 11]
    assert len(names) == 3
    assert not np.isnan(slot_curves(row)["action/right_eef_position"][0]).any()


def test_a_path_that_cannot_be_used_is_one_sentence_and_code_2(tmp_path, shard, make, clip, capsys):
    (tmp_path / "film.mp4").write_bytes(b"x")
    episode = make.hands(clip.media_id).episode_id
    for command in (
        ["inspect", str(tmp_path / "film.mp4")],
        ["validate", str(tmp_path / "film.mp4")],
        ["export", shard, str(tmp_path / "film.mp4" / "out")],
        ["view", shard, episode, "--out", str(tmp_path / "film.mp4" / "x.mp4")],
    ):
        assert cli.main(command) == 2, command
        said = capsys.readouterr().err
        assert "film.mp4" in said
        assert said.count("\n") == 1


def test_view_makes_the_folder_it_writes_to(tmp_path, shard, make, clip):
    out = tmp_path / "new" / "folder" / "x.mp4"
    assert cli.main(["view", shard, make.hands(clip.media_id).episode_id, "--out", str(out)]) == 0
    assert out.is_file()


def test_export_goes_into_a_new_directory_only(tmp_path, shard, capsys):
    assert cli.main(["export", shard, str(tmp_path / "lerobot")]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert cli.main(["export", shard, str(tmp_path / "lerobot")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_retry_lists_rejects_and_forgets_the_chosen(shard, capsys):
    assert cli.main(["retry", shard]) == 0
    said = capsys.readouterr().out
    assert "budget: 1" in said
    assert "jitter: 1" in said
    assert cli.main(["retry", shard, "--reason", "budget"]) == 0
    assert "1 rejects dropped" in capsys.readouterr().out
    assert cli.main(["inspect", shard, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rejects"]["by_reason"] == {"jitter": 1}


def test_retry_of_an_item_that_was_not_rejected_is_refused_by_name_and_forgets_nothing(shard, capsys):
    assert cli.main(["retry", shard, "--item", "x", "nope"]) == 2
    said = capsys.readouterr()
    assert "nope is no rejected item" in said.err
    assert said.out == ""
    assert cli.main(["retry", shard]) == 0
    assert "jitter: 1" in capsys.readouterr().out


def test_embodiments_are_listed_and_one_is_printed_with_what_is_unknown(capsys):
    assert cli.main(["embodiments"]) == 0
    said = capsys.readouterr().out
    assert "gr1" in said
    assert "28 of 40 limits unknown" in said
    assert cli.main(["embodiments", "gr1"]) == 0
    said = capsys.readouterr().out
    assert "unknown limits: state and action: left_arm_1..7, right_arm_1..7" in said
    assert "no slot:" in said
    for arguments in (["embodiments", "nobody"], ["embodiments", "--shards", "x"]):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_stored_values_are_held_against_the_known_limits(tmp_path, make, capsys):
    robot = load_embodiment("so101")
    slots = robot.slots("state")
    bounds = np.array([robot.limits("state")[int(s)] for s in slots])
    state = np.tile(bounds.mean(axis=1), (30, 1)).astype(np.float32)
    state[3:5, 0] = bounds[0, 1] + 0.2
    state[7, 1] = bounds[1, 1] + 0.2  # masked: not known, so not judged
    mask = np.ones(state.shape, bool)
    mask[7, 1] = False
    episode = make.episode(
        "r", embodiment="so101", domain="robot", hands=[], state_slots=slots, action_slots=slots, state=state,
        action=np.tile(bounds.mean(axis=1), (30, 1)).astype(np.float32), state_mask=mask, action_mask=mask,
    )  # fmt: skip
    staging.write_part(tmp_path / "st", [episode], [], make.samples(episode))
    writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config={}, run_id="r")
    assert cli.main(["embodiments", "so101", "--shards", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert f"state.{SLOTS[slots[0]].name}: 2 of 30 steps beyond" in said[0]
    assert cli.main(["embodiments", "so101", "--shards", str(tmp_path / "out"), "--slack", "0.5"]) == 0
    assert cli.main(["embodiments", "gr1", "--shards", str(tmp_path / "out")]) == 2

"""The robot job from end to end on generated sets of every shipped data-set file."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from unihand_data.cli import main as unihand
from unihand_data.curate.robot.checks import NAMES
from unihand_data.curate.robot.derive import with_derived
from unihand_data.curate.robot.invert import raw_columns
from unihand_data.errors import Reason
from unihand_data.jobs.arguments import main_with
from unihand_data.jobs.robot_items import list_episodes
from unihand_data.shards import catalogue
from unihand_data.shards.reader import ShardReader
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.sources.robot.registry import open_robot
from unihand_data.sources.robot.spec import FOLDER, load_spec, spec_names

PIPELINE = Path(__file__).parents[2] / "pipelines" / "robot_manipulation.py"
EPISODES = 2
#: sets whose generated files hold one recording re-drawn on several robots: one folder serves all their files
SHARED = "oxe_auge_"


def robot_job(page, source, output, *more: str) -> int:
    before, sys.argv = sys.argv, [str(PIPELINE)]
    try:
        argv = ["--input", str(source), "--output", str(output), "--engine", "local", *more]
        return main_with(
            page.RobotSettings, page.run, default_config="robot_manipulation.yaml", description=page.__doc__, argv=argv
        )
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def page(job):
    return job.load(PIPELINE, "robot_manipulation_page")


@pytest.fixture(scope="module")
def everything(page, tmp_path_factory):
    """(input folder, shard directory) of all data sets in one run."""
    folder = tmp_path_factory.mktemp("robots")
    names = [n for n in spec_names() if not n.startswith(SHARED)]
    names += [next(n for n in spec_names() if n.startswith(SHARED))]
    for name in names:
        generate(name, folder / "in" / name, seed=3, episodes=EPISODES)
    assert robot_job(page, folder / "in", folder / "out") == 0
    return folder / "in", folder / "out"


@pytest.mark.slow
def test_every_data_set_file_is_written_from_its_documented_format(everything):
    reader = ShardReader(str(everything[1]))
    rows = [reader.episode(i) for i in reader.episode_ids]
    found = {r.provenance["dataset_file"] for r in rows}
    assert found == set(spec_names())
    assert all(r.domain == "robot" and r.cameras and r.language for r in rows), "each shows pictures and says words"
    assert {r.embodiment for r in rows} == {load_spec(n).embodiment for n in found}


@pytest.mark.slow
def test_the_directory_keeps_the_contract(everything):
    assert catalogue.validate(str(everything[1])) == []


@pytest.mark.slow
def test_a_recipe_of_every_data_set_knows_copies_idle_frames_and_hints(everything, tmp_path):
    from unihand_data.recipe.build import build
    from unihand_data.recipe.settings import RecipeSettings

    recipe = build([str(everything[1])], tmp_path, RecipeSettings(caps={"simulated": None, "sources": {}}))
    bounds = {b["name"]: b["is"] for b in recipe["totals"]["bounds"]}
    assert bounds["max_weight of oxe_auge"] == pytest.approx(0.05, abs=1e-6)
    assert not [n for n in recipe["notes"] if "signatures" in n]
    left = recipe["left_out"]["rows"]
    assert left["same_recording"] > 0  # DROID as it was recorded and in LeRobot
    assert set(left) <= {"same_recording", "near_duplicate", "held_out_copy", "split"}


@pytest.mark.slow
def test_through_the_inverse_every_declared_column_equals_the_source(everything):
    """Of every row of every data set; compared as float32, as the shard stores it."""
    source, output = everything
    opened = open_robot(str(source))
    reader = ShardReader(str(output))
    rows = {(r.provenance["dataset_file"], r.provenance["content_id"]): r for r in
            (reader.episode(i) for i in reader.episode_ids)}  # fmt: skip
    seen = 0
    for item in opened.items():
        spec, episode = opened.open(item)
        row = rows[spec.name, episode.content_id]
        raw = with_derived(episode, spec, item.uri)
        for kind in ("state", "action"):
            back = raw_columns(row, spec, kind)
            for take in spec.takes(kind):
                expected = take.read(raw, item.uri)
                if expected is None:
                    continue
                got = np.float32(back[take.block])
                assert np.allclose(got, np.float32(expected), rtol=1e-6, atol=2e-6, equal_nan=True), (
                    f"{spec.name} {kind} {take.block}: off by {np.nanmax(np.abs(got - expected)):.2g}"
                )
        seen += 1
    assert seen == len(rows)


def test_a_second_run_adds_nothing_and_a_corrected_yaml_is_refused_until_asked_for(page, tmp_path, capsys):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    mine = tmp_path / "mine.yaml"
    text = (FOLDER / "gr00t_gr1.yaml").read_text().replace("name: gr00t_gr1", "name: mine")
    mine.write_text(text)
    run = partial(robot_job, page, tmp_path / "in", tmp_path / "out", "--dataset", str(mine))
    assert run() == 0
    before = sorted(ShardReader(str(tmp_path / "out")).episode_ids)
    assert run() == 0
    assert sorted(ShardReader(str(tmp_path / "out")).episode_ids) == before
    mine.write_text(text.replace("setting: lab", "setting: wild"))
    capsys.readouterr()
    assert run() == 2
    assert "episodes of mine as an earlier version" in capsys.readouterr().err
    assert run("--new-version") == 0
    rows = ShardReader(str(tmp_path / "out"))
    assert {rows.episode(i).setting for i in set(rows.episode_ids) - set(before)} == {"wild"}
    mine.write_text(text.replace("setting: lab", "setting: wild").replace("title:", "title: another"))
    assert run() == 0, "a title says nothing of rows"


def test_a_replaced_video_is_another_item(tmp_path):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    before = [unit.id for unit in list_episodes(open_robot(str(tmp_path / "in")))]
    video = min((tmp_path / "in").rglob("*.mp4"))
    video.write_bytes(video.read_bytes() + b"\0")
    after = [unit.id for unit in list_episodes(open_robot(str(tmp_path / "in")))]
    assert [a == b for a, b in zip(before, after)] == [False, True]


def test_one_episode_in_two_sets_is_written_once_and_the_copy_is_named(page, tmp_path):
    for copy in ("first", "again"):
        generate("gr00t_gr1", tmp_path / "in" / copy, seed=1, episodes=2)
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    found = catalogue.inspect(str(tmp_path / "out"))
    assert (found["inputs"], found["written"], found["rejected"]) == (4, 2, 2)
    assert found["rejects"]["by_reason"] == {"duplicate": 2}


def test_one_motion_shown_in_other_pictures_is_two_episodes_of_one_recording(page, tmp_path):
    for copy in ("first", "again"):
        generate("gr00t_gr1", tmp_path / "in" / copy, seed=1, episodes=2)
    videos = sorted((tmp_path / "in" / "again").rglob("*.mp4"))
    videos[0].write_bytes(videos[1].read_bytes())  # another picture of the same length
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    reader = ShardReader(str(tmp_path / "out"))
    rows = [reader.episode(i) for i in reader.episode_ids]
    assert len(rows) == 3
    assert len({r.recording_id for r in rows}) == 2
    assert catalogue.validate(str(tmp_path / "out")) == []


def test_an_episode_that_lost_all_its_cameras_is_rejected(page, tmp_path):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    min((tmp_path / "in").rglob("*.mp4")).unlink()
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    found = catalogue.inspect(str(tmp_path / "out"))
    assert (found["written"], found["rejected"]) == (1, 1)
    assert found["rejects"]["by_level"]["item"] == 1


def test_a_folder_with_a_contradicted_set_writes_the_others_and_shows_the_evidence(page, tmp_path):
    generate("libero_ipec", tmp_path / "in" / "good", seed=1, episodes=2)
    generate("gr00t_gr1", tmp_path / "in" / "bad", seed=1, episodes=2)
    info = next((tmp_path / "in" / "bad").rglob("info.json"))
    data = json.loads(info.read_text())
    data["features"]["observation.state"]["names"] = ["only", "two"]
    info.write_text(json.dumps(data))
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    found = catalogue.inspect(str(tmp_path / "out"))
    assert (found["inputs"], found["written"], found["rejected"]) == (3, 2, 1)
    assert found["rejects"]["by_reason"] == {Reason.UNKNOWN_DATASET.value: 1}


def test_a_folder_without_robot_data_is_refused_in_one_sentence(page, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing here")
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("refused: ")
    assert said.count("\n") == 1


def test_a_data_set_file_that_does_not_fit_is_refused_once_with_what_does_not(page, tmp_path, capsys):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    assert robot_job(page, tmp_path / "in", tmp_path / "out", "--dataset", "so101_degrees") == 2
    said = capsys.readouterr().err
    assert said.startswith("refused: ")
    assert said.count("\n") == 1
    assert "does not fit so101_degrees.yaml: observation.state has 44 columns, not 6" in said
    assert "layout ''" in said, "labels are told too"
    assert not (tmp_path / "out").exists()


def test_a_data_set_file_that_no_episode_fits_is_refused_once(page, tmp_path, capsys):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    mine = tmp_path / "mine.yaml"
    text = (FOLDER / "gr00t_gr1.yaml").read_text().replace("name: gr00t_gr1", "name: mine")
    mine.write_text(text.replace("rate_hz: 20", "rate_hz: 60"))
    assert robot_job(page, tmp_path / "in", tmp_path / "out", "--dataset", str(mine)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "none of the 2 episodes looked at fits mine.yaml; the first: " in said
    assert "the clock runs at 20 Hz, mine declares 60 Hz" in said


def test_what_was_checked_and_what_was_not_is_in_the_plan_in_inspect_and_in_the_report(page, tmp_path, capsys):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    assert robot_job(page, tmp_path / "in", tmp_path / "out", "--plan") == 0
    assert "gripper_sign not checked: no trusted command of a gripper beside its state" in capsys.readouterr().out
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    checks = catalogue.inspect(str(tmp_path / "out"))["data_checks"]
    assert {name.split(" ")[0] for name in checks} == {"gr00t_gr1"}
    (found,) = checks.values()
    assert set(found) == set(NAMES)
    assert {f["verdict"] for f in found["commanded_joints"]} == {"agrees"}
    assert {f["verdict"] for f in found["eef_range"]} == {"not_checked"}
    capsys.readouterr()
    assert unihand(["inspect", str(tmp_path / "out")]) == 0
    line = "gr00t_gr1: eef_range not checked: the rows have no position of an end effector"
    assert f"check      {line}" in capsys.readouterr().out
    assert line in (tmp_path / "out" / "report.html").read_text()


def test_the_plan_says_what_is_read_as_what_and_runs_nothing(page, tmp_path, capsys):
    generate("gr00t_gr1", tmp_path / "in", seed=1, episodes=2)
    assert robot_job(page, tmp_path / "in", tmp_path / "out", "--plan") == 0
    said = capsys.readouterr().out
    assert "gr00t_gr1 (gr1), 2 episodes, licence Apache-2.0" in said
    assert "2 input items: 0 done, 2 left" in said
    assert "convert" in said
    assert not (tmp_path / "out").exists()


def test_a_lerobot_export_of_an_ingested_set_reads_back_to_the_same_values(page, tmp_path):
    """Through the robot reader of LeRobot v3.0: state, action, masks, sentences and pictures' place."""
    from unihand_data.shards.export.lerobot3 import export
    from unihand_data.sources.listing import list_files
    from unihand_data.sources.robot.readers.lerobot import LeRobotReader

    generate("bridge_lerobot", tmp_path / "in", seed=2, episodes=3)
    assert robot_job(page, tmp_path / "in", tmp_path / "out") == 0
    reader = ShardReader(str(tmp_path / "out"))
    export(reader, tmp_path / "lerobot")
    rows = [reader.episode(i) for i in reader.episode_ids]
    found = LeRobotReader.find(str(tmp_path / "lerobot"), list_files(str(tmp_path / "lerobot")))[0]
    assert not found.problems
    assert found.version == "v3.0"
    back = LeRobotReader(str(tmp_path / "lerobot"), found, load_spec("bridge_lerobot"))
    episodes = [back.open(item) for item in back.items()]
    assert len(episodes) == len(rows)
    for episode in episodes:
        state = episode.columns["observation.state"].astype(np.float32)
        row = next(r for r in rows if np.array_equal(r.state, state))
        assert np.array_equal(episode.columns["action"].astype(np.float32), row.action)
        assert np.array_equal(episode.columns["action_mask"] > 0, row.action_mask)
        assert {t.text for t in episode.texts} <= {t.text for t in row.language}

"""LeRobot v2.0, v2.1 and v3.0: every departure from the format that was met in published sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.robots import outcomes
from unihand_data.errors import DatasetRefused, Reason
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.generate.lerobot_drift import BASE, DRIFTS, STATE, VIEW, write_drift
from unihand_data.sources.robot.generate.lerobot_sets import generate
from unihand_data.sources.robot.readers.lerobot import LeRobotReader
from unihand_data.sources.robot.registry import find, open_robot, proposal
from unihand_data.sources.robot.spec import load_spec

VERSIONS = ("v2.0", "v2.1", "v3.0")
STEPS = 12


def found_of(folder):
    (found,) = find(str(folder), list_files(str(folder)))
    return found


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    """``drifted(name, version)``: the folder of a departure, written once."""
    cache = {}

    def get(name, version="v2.1"):
        if (name, version) not in cache:
            cache[name, version] = tmp_path_factory.mktemp(name)
            write_drift(name, cache[name, version], version, STEPS)
        return cache[name, version]

    return get


@pytest.mark.parametrize("version", VERSIONS)
def test_an_episode_comes_back_as_it_was_written(tmp_path, version):
    motions = generate(BASE, tmp_path, seed=5, episodes=3, steps=STEPS, version=version)
    episodes = outcomes(tmp_path)
    assert [e.steps for e in episodes] == [STEPS] * 3
    for i, (e, (right, _)) in enumerate(zip(episodes, motions)):
        np.testing.assert_array_equal(e.columns[STATE][:, :7], right.joints.astype(np.float32))
        np.testing.assert_array_equal(e.columns["action"][:, :7], right.joint_commands.astype(np.float32))
        np.testing.assert_allclose(e.timestamps, np.arange(STEPS) / 20, atol=1e-6)
        assert [(t.text, t.level, t.start, t.stop) for t in e.texts] == [(f"put it away {i}", "task", 0, None)]
        assert e.losses == []
        view = e.views[VIEW]
        assert (view.t0, view.pace) == ((i * STEPS / 20 if version == "v3.0" else 0.0), 1.0)
        assert view.t1 == (pytest.approx((i + 1) * STEPS / 20) if version == "v3.0" else None)


def test_the_same_numbers_have_the_same_identity_in_every_version(tmp_path):
    ids = []
    for version in VERSIONS:
        generate(BASE, tmp_path / version, steps=STEPS, version=version)
        ids.append([e.content_id for e in outcomes(tmp_path / version)])
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 2


@pytest.mark.parametrize("form", ["nested", "motors", "axes", "state_names", "by_number", "two_lists"])
def test_column_names_are_read_in_every_form(drifted, form):
    names = found_of(drifted(f"names_{form}")).column_names[STATE]
    assert names[0] == "fr3_joint1"
    assert names[12] == "thumb_rotation"
    assert len(names) == 13


@pytest.mark.parametrize("form", ["null", "of_the_vector"])
def test_a_vector_without_names_for_its_columns_has_none(drifted, form):
    found = found_of(drifted(f"names_{form}"))
    assert STATE not in found.column_names
    assert found.features[STATE] == 13


def test_names_for_another_number_of_columns_are_refused_in_one_sentence(drifted):
    with pytest.raises(DatasetRefused, match=r"meta/info\.json: observation\.state: 11 names for 13 columns") as caught:
        open_robot(str(drifted("names_mismatch")))
    assert "\n" not in str(caught.value)


def test_names_that_do_not_fit_side_information_do_not_refuse_the_set(drifted):
    assert len(outcomes(drifted("names_mismatch_elsewhere"))) == 2


@pytest.mark.parametrize(
    "name", ["shape_chw", "shape_floats_and_empty", "fps_float", "version_without_v", "wrong_counts"]
)
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_harmless_departures_change_nothing(drifted, name, version):
    plain, changed = outcomes(drifted("plain", version)), outcomes(drifted(name, version))
    assert [e.content_id for e in plain] == [e.content_id for e in changed]
    assert [list(e.views) for e in plain] == [list(e.views) for e in changed]


def test_a_set_without_robot_type_is_refused_but_taken_when_a_person_names_it(drifted):
    folder = drifted("robot_type_null")
    with pytest.raises(DatasetRefused, match="robot type unknown"):
        open_robot(str(folder))
    assert len(outcomes(folder, BASE)) == 2
    assert "unsure of" in proposal(found_of(folder))


def test_a_declared_camera_without_files_costs_a_row_per_episode(drifted):
    for e in outcomes(drifted("view_without_files")):
        (loss,) = e.losses
        assert (loss.level, loss.reason) == ("row", Reason.MISSING_FILE)
        assert "camera_1_declared" in loss.message
        assert len(e.views) == 2


def test_a_camera_missing_from_one_episode_costs_that_one(drifted):
    first, second = outcomes(drifted("view_of_one_episode_gone"))
    assert first.losses == []
    assert [loss.reason for loss in second.losses] == [Reason.MISSING_FILE]
    assert list(second.views) == [VIEW]


@pytest.mark.parametrize("name", ["timestamp_float64", "timestamp_from_one_period", "timestamp_global"])
@pytest.mark.parametrize("version", ["v2.0", "v3.0"])
def test_times_count_from_the_first_step(drifted, name, version):
    for e in outcomes(drifted(name, version)):
        np.testing.assert_allclose(e.timestamps, np.arange(STEPS) / 20, atol=1e-4)
        assert e.views[VIEW].t0 == (e.facts["episode_index"] * STEPS / 20 if version == "v3.0" else 0.0)


@pytest.mark.parametrize(
    ("name", "words"), [("timestamp_resets", "goes from 0.3 to 0.05 s at step 7"), ("timestamp_gaps", "or gaps")]
)
def test_a_clock_that_does_not_advance_rejects_the_episode(drifted, name, words):
    for reject in outcomes(drifted(name)):
        assert reject.reason == Reason.BAD_VALUE
        assert "timestamp" in reject.message
        assert words in reject.message


@pytest.mark.parametrize("name", ["no_timestamp", "no_frame_index"])
def test_a_missing_clock_column_follows_from_the_other(drifted, name):
    for e in outcomes(drifted(name)):
        np.testing.assert_allclose(e.timestamps, np.arange(STEPS) / 20, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("frame_index_twice", Reason.CONTRADICTION, "frame_index goes from 0 to 0"),
        ("rows_of_another_episode", Reason.CONTRADICTION, "rows of episode [77]"),
        ("ragged_rows", Reason.WRONG_TYPE, "rows of 12 and of 13 numbers"),
        ("length_too_long", Reason.TRUNCATED, "announces length 912"),
    ],
)
def test_rows_that_contradict_themselves_reject_the_episode(drifted, name, reason, words):
    for reject in outcomes(drifted(name)):
        assert reject.reason == reason
        assert words in reject.message
        assert ".parquet" in reject.message


def test_a_row_of_another_episode_in_a_shared_file_is_a_row_too_few(drifted):
    assert {r.reason for r in outcomes(drifted("rows_of_another_episode", "v3.0"))} == {Reason.TRUNCATED}


def test_a_null_vector_is_missing_not_zero(drifted):
    for e in outcomes(drifted("null_row")):
        assert np.isnan(e.columns[STATE][0]).all()
        assert np.isfinite(e.columns[STATE][1:]).all()


def test_the_rows_own_clock_wins_over_a_wrong_stamp_and_the_stamp_is_kept(drifted):
    for e in outcomes(drifted("wrong_fps_stamp"), BASE):
        assert (e.facts["fps_stamp"], e.facts["fps_clock"]) == (60, pytest.approx(20, abs=0.01))


def test_steps_the_set_calls_void_are_named_and_pseudo_tasks_are_no_sentences(tmp_path, drifted):
    text = (drifted("validity") / "meta" / "info.json").read_text()
    assert "annotation.human.validity" in text
    spec = load_spec(BASE).model_copy(
        update={"language": {"validity": {"annotation.human.validity": "valid"}, "skip": ["valid"]}}
    )
    found = found_of(drifted("validity"))
    reader = LeRobotReader(str(drifted("validity")), found, spec)
    first = reader.open(next(iter(reader.items())))
    assert first.facts["invalid_steps"] == [(STEPS - 3, STEPS)]
    assert [t.text for t in first.texts] == ["put it away 0"]
    assert "annotation.human.validity" not in first.columns
    assert found.features["annotation.human.validity"] == 1


def test_without_task_index_the_episode_table_gives_the_sentence(drifted):
    assert [e.texts[0].text for e in outcomes(drifted("no_task_index"))] == ["put it away 0", "put it away 1"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tasks_gone", Reason.MISSING_FILE),
        ("task_that_is_not_listed", Reason.CONTRADICTION),
        ("other_sentence", Reason.CONTRADICTION),
    ],
)
def test_a_sentence_that_cannot_be_found_costs_a_row_and_none_is_guessed(drifted, name, reason):
    for e in outcomes(drifted(name)):
        assert [(loss.level, loss.reason) for loss in e.losses] == [("row", reason)]
        assert all(t.text.startswith("put it away") for t in e.texts)
        assert bool(e.texts) == (name == "tasks_gone")  # there the episode table still says it


def test_data_files_the_table_does_not_name_are_episodes_too(drifted):
    assert [e.facts["episode_index"] for e in outcomes(drifted("episode_not_listed"))] == [0, 1]
    assert [e.texts[0].text for e in outcomes(drifted("episodes_gone"))] == ["put it away 0", "put it away 1"]


def test_subtasks_success_and_seed_of_the_episode_table(drifted):
    for e in outcomes(drifted("segments")):
        assert (e.success, e.seed, e.task_id) == (True, 12, "put-away")
        assert [(t.text, t.level, t.start, t.stop) for t in e.texts][1:] == [("reach", "subtask", 0, 5)]
        assert [loss.reason for loss in e.losses] == [Reason.BAD_VALUE]
        assert "action_config[1]" in e.losses[0].message


@pytest.mark.parametrize("name", ["pictures", "pictures_as_paths"])
@pytest.mark.parametrize("version", ["v2.0", "v3.0"])
def test_pictures_inside_the_rows(drifted, name, version):
    spec = load_spec(BASE)
    spec = spec.model_copy(update={"views": [*spec.views, spec.views[0].model_copy(update={"key": r".*\.still"})]})
    reader = LeRobotReader(str(drifted(name, version)), found_of(drifted(name, version)), spec)
    for item in reader.items():
        view = reader.open(item).views["observation.images.still"]
        assert len(view.pictures) == STEPS
        assert all(p.startswith(b"\x89PNG") for p in view.pictures)
        assert view.video is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("pictures_one_missing", Reason.UNREADABLE), ("pictures_outside", Reason.UNSAFE_CONTENT)],
)
def test_a_picture_that_is_not_there_costs_the_camera_not_the_episode(drifted, name, reason):
    spec = load_spec(BASE)
    spec = spec.model_copy(update={"views": [*spec.views, spec.views[0].model_copy(update={"key": r".*\.still"})]})
    reader = LeRobotReader(str(drifted(name)), found_of(drifted(name)), spec)
    e = reader.open(next(iter(reader.items())))
    assert "observation.images.still" not in e.views
    assert [(loss.level, loss.reason) for loss in e.losses] == [("row", reason)]


def test_pictures_no_rule_asks_for_are_named_and_not_read(drifted):
    assert outcomes(drifted("pictures"))[0].facts["other_views"] == ["observation.images.still"]


def test_sixteen_bit_pictures_are_depth(drifted):
    spec = load_spec(BASE)
    rule = spec.views[0].model_copy(update={"key": r"observation\.depth\..*"})
    spec = spec.model_copy(update={"views": [rule], "paths": {"depth_unit_m": "0.0001"}})
    reader = LeRobotReader(str(drifted("depth_pictures")), found_of(drifted("depth_pictures")), spec)
    view = reader.open(next(iter(reader.items()))).views["observation.depth.camera_0"]
    assert view.depth
    assert view.depth_unit_m == 0.0001


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data_path_outside", "no path inside the data set"),
        ("old_version", "codebase_version is 'v1.6'"),
        ("no_fps", "no field 'fps'"),
    ],
)
def test_sets_that_cannot_be_read_are_refused_in_one_sentence(drifted, name, words):
    with pytest.raises(DatasetRefused, match=words) as caught:
        open_robot(str(drifted(name)))
    assert "\n" not in str(caught.value)


def test_every_departure_has_been_tried():
    import inspect
    import sys

    source = inspect.getsource(sys.modules[__name__])
    assert [name for name in DRIFTS if name not in source and name.removeprefix("names_") not in source] == []


def test_a_shared_file_of_one_large_row_group_is_read_right(tmp_path):
    import pyarrow.parquet as pq

    motions = generate(BASE, tmp_path, episodes=5, steps=STEPS, version="v3.0")
    path = tmp_path / "data" / "chunk-000" / "file-000.parquet"
    pq.write_table(pq.read_table(path), path)
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    for e, (right, _) in zip(outcomes(tmp_path), motions):
        np.testing.assert_array_equal(e.columns[STATE][:, :7], right.joints.astype(np.float32))


def test_a_set_of_its_own_inside_a_folder_of_sets(tmp_path):
    generate(BASE, tmp_path / "a" / "one", steps=STEPS)
    generate("metaworld_experts", tmp_path / "a" / "two", steps=STEPS)
    (tmp_path / "a" / "notes.txt").write_text("x")
    source = open_robot(str(tmp_path))
    assert sorted({item.dataset for item in source.items()}) == ["metaworld_experts", BASE]
    assert source.ignored() == 1
    assert all(source.open(item)[1].steps == STEPS for item in source.items())


def test_a_declared_rate_sets_the_pace_of_the_pictures(tmp_path):
    generate("libero_ipec", tmp_path, steps=STEPS)
    for e in outcomes(tmp_path):
        assert e.facts["fps_stamp"] == 10
        assert {v.pace for v in e.views.values()} == {2.0}  # a file second of two row seconds: 20 Hz stamped 10


def test_columns_taken_by_name_do_not_depend_on_their_order(tmp_path):
    generate("unitree_g1_inspire", tmp_path / "a", steps=STEPS)
    order = list(range(26))[::-1]

    def info(raw):
        for name in (STATE, "action"):
            names = raw["features"][name]["names"][0]
            raw["features"][name]["names"] = [[names[i] for i in order]]

    def rows(cells):
        for name in (STATE, "action"):
            cells[name] = [x[order] for x in cells[name]]

    generate("unitree_g1_inspire", tmp_path / "b", steps=STEPS, edit_info=info, edit_rows=rows)
    a, b = (outcomes(tmp_path / n)[0] for n in "ab")
    for name in a.columns:
        np.testing.assert_array_equal(a.columns[name], b.columns[name])
    assert a.content_id != b.content_id  # other bytes


def test_names_that_are_not_distinct_cannot_be_taken_by_name(tmp_path):
    def info(raw):
        raw["features"][STATE]["names"][0][5] = raw["features"][STATE]["names"][0][4]

    generate("unitree_g1_inspire", tmp_path, steps=STEPS, edit_info=info)
    assert [(r.reason, "25 names for 26" in r.message) for r in outcomes(tmp_path)] == [
        (Reason.MISSING_FIELD, True)
    ] * 2


def test_one_recording_redrawn_on_many_robots_is_one_find_per_robot(tmp_path):
    generate("oxe_auge_panda", tmp_path, episodes=1, steps=STEPS)
    source = open_robot(str(tmp_path))
    items = list(source.items())
    assert len(items) == 9
    assert len({item.key for item in items}) == len({item.uri for item in items}) == 9
    episodes = [source.open(item) for item in items]
    assert {spec.embodiment for spec, _ in episodes} >= {"franka", "ur5e", "kinova_jaco", "sawyer"}
    assert len({e.content_id for _, e in episodes}) == 9
    assert len({e.facts["split_group"] for _, e in episodes}) == 1
    for spec, e in episodes:
        assert list(e.views) == [f"observation.images.{spec.match.robot_types[0]}"]
        assert e.facts["invalid_steps"] == [(STEPS - 3, STEPS)]


def test_the_gr00t_sample_is_read_whole(samples):
    source = open_robot(str(samples / "gr00t_gr1_picknplace_v20"))
    episodes = [source.open(item)[1] for item in source.items()]
    assert [e.steps for e in episodes] == [416, 470, 470, 412, 328]
    assert episodes[2].texts[0].text == "pick the meat from the counter and place it in the plate"
    assert all(e.losses == [] and len(e.texts) == 1 and e.success for e in episodes)
    assert source.ignored() == 0


def test_the_robocoin_sample_is_refused_in_one_sentence(samples):
    with pytest.raises(DatasetRefused, match="28 names for 30 columns") as caught:
        open_robot(str(samples / "robocoin_g1edu_meta"))
    assert "\n" not in str(caught.value)
    assert json.loads((samples / "robocoin_g1edu_meta" / "meta" / "info.json").read_text())["robot_type"] is None

"""The RLDS reader: flattened steps, listing, words, pictures and departures from the format."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.robots import outcomes
from helpers.samples import sample
from unihand_data.errors import DatasetRefused, Reason
from unihand_data.sources import image_sequence
from unihand_data.sources.robot.generate.motion import simulate
from unihand_data.sources.robot.generate.rlds_sets import PLANS, episode_of, generate
from unihand_data.sources.robot.generate.rlds_writer import Packed, Pictures, pictures, write_tfds
from unihand_data.sources.robot.readers.rlds import RldsReader
from unihand_data.sources.robot.readers.rlds_values import intrinsics_of, poses_of
from unihand_data.sources.robot.registry import open_robot, opened_sets, proposal
from unihand_data.sources.robot.spec import load_spec

VIOLA, BRIDGE = "oxe_viola", "bridge_rlds"
STEPS = 12


def make(folder: Path, name: str = VIOLA, **more) -> Path:
    """The version folder of a small generated set."""
    generate(name, folder, seed=1, **{"steps": STEPS, **more})
    return next(folder.glob("*/*"))


def shard(base: Path, number: int = 0) -> Path:
    return sorted(base.glob("*.tfrecord-*"))[number]


def first_record_end(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little") + 16


# steps and columns ----------------------------------------------------------------------------------------------------


def test_steps_are_unflattened_and_flags_are_no_columns(tmp_path):
    motions = generate(VIOLA, tmp_path, seed=1, steps=STEPS)
    for episode, (r, _) in zip(outcomes(tmp_path), motions, strict=True):
        assert episode.steps == STEPS
        assert np.array_equal(episode.columns["observation/joint_states"], r.joints.astype(np.float32))
        assert episode.columns["observation/gripper_states"].shape == (STEPS, 1)
        assert not {"is_first", "reward", "observation/natural_language_embedding"} & set(episode.columns)
        assert episode.timestamps is None


def test_copies_in_other_shards_without_embeddings_or_packed_have_the_same_identity(tmp_path):
    def no_embedding(e):
        e.steps = {k: v for k, v in e.steps.items() if "embedding" not in k}

    def packed(e):
        e.steps["observation/joint_states"] = Packed(e.steps["observation/joint_states"])

    make(tmp_path / "a", episodes=4)
    make(tmp_path / "b", episodes=4, shards=3)
    make(tmp_path / "c", episodes=4, edit_episode=no_embedding)
    make(tmp_path / "d", episodes=4, edit_episode=packed)
    identities = [{e.content_id for e in outcomes(tmp_path / k)} for k in "abcd"]
    assert len(identities[0]) == 4
    assert all(i == identities[0] for i in identities)


def test_without_flags_the_features_tell_the_number_of_steps(tmp_path):
    def bare(e):
        for flag in ("is_first", "is_last", "is_terminal"):
            del e.steps[flag]

    make(tmp_path, edit_episode=bare)
    assert [e.steps for e in outcomes(tmp_path)] == [STEPS, STEPS]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda r: r.update({"steps/is_first": np.array([1, 0, 0, 1] + [0] * (STEPS - 4))}), Reason.CONTRADICTION),
        (lambda r: r.update({"steps/is_last": r["steps/is_last"][:-1]}), Reason.CONTRADICTION),
        (lambda r: r.update({"steps/observation/joint_states": r["steps/observation/joint_states"][:-1]}),
         Reason.CONTRADICTION),
        (lambda r: r.update({"steps/observation/joint_states": [b"x"] * STEPS}), Reason.WRONG_TYPE),
        (lambda r: [r.pop(k) for k in list(r) if k.startswith("steps/")], Reason.EMPTY),
        (lambda r: [r.pop(k) for k in list(r) if k.split("/")[1] in ("observation", "action", "reward")],
         Reason.MISSING_FIELD),
    ],
)  # fmt: skip
def test_a_record_that_contradicts_the_features_is_rejected(tmp_path, edit, reason):
    make(tmp_path, edit_record=edit)
    found = outcomes(tmp_path)
    assert [r.reason for r in found] == [reason, reason]
    assert all("#" in r.message for r in found), "the record is named"


def test_zlib_values_are_bounded_by_their_announced_size(tmp_path):
    import zlib

    bomb = zlib.compress(bytes(1 << 22))

    def swell(record):
        record["steps/observation/joint_states"] = [bomb] * STEPS

    make(tmp_path, edit_episode=lambda e: e.steps.update(
        {"observation/joint_states": Packed(e.steps["observation/joint_states"])}), edit_record=swell)  # fmt: skip
    assert {r.reason for r in outcomes(tmp_path)} == {Reason.CONTRADICTION}


def test_an_absent_feature_is_named_and_only_costs_the_set_that_needs_it(tmp_path):
    make(tmp_path, edit_record=lambda r: r.pop("steps/observation/ee_states"))
    assert [e.facts["absent_features"] for e in outcomes(tmp_path)] == [["observation/ee_states"]] * 2


# listing --------------------------------------------------------------------------------------------------------------


def test_a_complete_split_is_listed_without_opening_its_files(tmp_path):
    base = make(tmp_path, episodes=6, shards=3)
    for path in base.glob("*.tfrecord-*"):  # only the size stays
        path.write_bytes(bytes(path.stat().st_size))
    items = list(open_robot(str(tmp_path)).items())
    assert len(items) == 6
    assert all(i.payload["offset"] is None for i in items)


def test_counts_that_lie_are_overruled_by_the_files(tmp_path):
    def lie(info):
        info["splits"][0]["shardLengths"] = ["2"]

    make(tmp_path, episodes=3, edit_info=lie)
    assert [type(e).__name__ for e in outcomes(tmp_path)] == ["RobotEpisode"] * 3


def test_announced_records_that_are_not_there_are_rejected_each(tmp_path):
    def lie(info):
        info["splits"][0]["shardLengths"] = ["5"]

    make(tmp_path, episodes=3, edit_info=lie)
    found = outcomes(tmp_path)
    assert len(found) == 5
    assert [r.reason for r in found[3:]] == [Reason.TRUNCATED] * 2


def test_a_file_cut_inside_a_record_gives_the_records_before(tmp_path):
    base = make(tmp_path, episodes=3)
    path = shard(base)
    path.write_bytes(path.read_bytes()[:-100])
    found = outcomes(tmp_path)
    assert [getattr(r, "reason", "fine") for r in found] == ["fine", "fine", Reason.TRUNCATED]


def test_a_file_that_cannot_be_opened_is_one_item(tmp_path):
    base = make(tmp_path, episodes=4, shards=2)
    shard(base).write_bytes(b"not a record file" * 9)
    found = outcomes(tmp_path)
    assert [getattr(r, "reason", "fine") for r in found] == [Reason.UNREADABLE, "fine", "fine"]


def test_a_missing_file_is_one_item_that_says_so(tmp_path):
    base = make(tmp_path, episodes=4, shards=2)
    shard(base, 1).unlink()
    found = outcomes(tmp_path)
    assert [getattr(r, "reason", "fine") for r in found] == ["fine", "fine", Reason.MISSING_FILE]


def test_a_wrong_checksum_costs_its_record_alone(tmp_path):
    base = make(tmp_path, episodes=3)
    path = shard(base)
    data = bytearray(path.read_bytes())
    data[first_record_end(path) + 400] ^= 1
    path.write_bytes(bytes(data))
    found = outcomes(tmp_path)
    assert [getattr(r, "reason", "fine") for r in found] == ["fine", Reason.CORRUPT, "fine"]


def test_items_open_alike_from_offsets_and_from_counts(tmp_path):
    make(tmp_path / "counts", episodes=3)
    make(tmp_path / "offsets", episodes=3, edit_info=lambda i: i["splits"][0].pop("numBytes"))
    a, b = (list(open_robot(str(tmp_path / k)).items()) for k in ("counts", "offsets"))
    assert [i.key for i in a] == [i.key for i in b]
    assert a[1].payload["offset"] is None
    assert b[1].payload["offset"] > 0
    assert [e.content_id for e in outcomes(tmp_path / "counts")] == [
        e.content_id for e in outcomes(tmp_path / "offsets")
    ]


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: (b / "features.json").unlink(), "features.json is missing"),
        (lambda b: (b / "features.json").write_text("{"), "features.json cannot be read"),
        (lambda b: (b / "features.json").write_text("[]"), "holds no object"),
        (lambda b: (b / "dataset_info.json").unlink(), "dataset_info.json is missing"),
        (
            lambda b: (b / "features.json").write_text('{"featuresDict": {"features": {"image": {}}}}'),
            "no feature 'steps'",
        ),
        (lambda b: shard(b).rename(str(shard(b)).replace("tfrecord", "array_record")), "only tfrecord"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, spoil, said):
    spoil(make(tmp_path))
    with pytest.raises(DatasetRefused, match=said) as refused:
        open_robot(str(tmp_path))
    assert "\n" not in str(refused.value)


def test_one_file_of_a_set_is_not_the_set(tmp_path):
    base = make(tmp_path)
    with pytest.raises(DatasetRefused, match="whole folder"):
        open_robot(str(shard(base)))


def test_an_unknown_set_is_refused_and_proposed_the_nearest_file(tmp_path):
    base = make(tmp_path)
    info = json.loads((base / "dataset_info.json").read_text())
    (base / "dataset_info.json").write_text(json.dumps({**info, "name": "my_robot"}))
    _, sets = opened_sets(str(tmp_path))
    assert sets[0].refused
    assert f"not {VIOLA}: name 'my_robot'" in proposal(sets[0].found)
    assert len(list(open_robot(str(tmp_path), dataset=VIOLA).items())) == 2


def test_a_split_that_was_not_fetched_is_told_by_probe(tmp_path):
    base = make(tmp_path, edit_info=lambda i: i["splits"].append(
        {"name": "val", "numBytes": "9", "shardLengths": ["7"]}))  # fmt: skip
    found = open_robot(str(tmp_path)).sets[0].found
    assert "val" in found.note
    assert found.episodes is None
    assert len(outcomes(tmp_path)) == 2
    assert base.exists()


def test_a_json_file_of_that_name_alone_is_no_data_set():
    assert RldsReader.find("/nowhere", ["a/features.json", "b/notes.txt", "c/dataset_info.json"]) == []


def test_files_beside_the_set_are_ignored(tmp_path):
    make(tmp_path)
    (tmp_path / "README.md").write_text("hello")
    assert open_robot(str(tmp_path)).ignored() == 1


# pictures -------------------------------------------------------------------------------------------------------------


def test_steps_without_a_picture_keep_the_times_of_the_others(tmp_path):
    def holes(record):
        for t in (3, 7):
            record["steps/observation/agentview_rgb"][t] = b""

    make(tmp_path, edit_episode=lambda e: e.steps.update(
        {"observation/agentview_rgb": pictures(STEPS)}), edit_record=holes)  # fmt: skip
    view = outcomes(tmp_path)[0].views["observation/agentview_rgb"]
    assert len(view.pictures) == STEPS - 2
    assert np.allclose(view.times * 20, [t for t in range(STEPS) if t not in (3, 7)])


@pytest.mark.parametrize("values", [[b""] * STEPS, [b"x"] * (STEPS - 1), []])
def test_a_camera_that_cannot_be_read_is_a_loss_and_the_others_stay(tmp_path, values):
    make(tmp_path, edit_record=lambda r: r.update({"steps/observation/agentview_rgb": values}))
    for episode in outcomes(tmp_path):
        assert [loss.level for loss in episode.losses] == ["row"]
        assert set(episode.views) == {"observation/eye_in_hand_rgb"}


def test_a_camera_of_one_colour_throughout_was_not_recorded(tmp_path):
    from PIL import Image

    black = io.BytesIO()
    Image.new("RGB", (64, 48)).save(black, "JPEG")
    make(tmp_path, BRIDGE, edit_episode=lambda e: e.steps.update(
        {"observation/image_3": Pictures([black.getvalue()] * STEPS)}))  # fmt: skip
    for episode in outcomes(tmp_path):
        assert episode.facts["blank_views"] == ["observation/image_3"]
        assert "observation/image_3" not in episode.views
        assert episode.losses == []


def test_depth_pictures_carry_their_unit(tmp_path):
    make(tmp_path, "oxe_maniskill")
    views = outcomes(tmp_path)[0].views
    assert views["observation/depth"].depth
    assert views["observation/depth"].depth_unit_m == pytest.approx(1 / 1024)
    assert not views["observation/image"].depth


def test_calibration_of_cameras_is_read_where_the_file_names_it(tmp_path):
    (r, _), _ = generate("oxe_maniskill", tmp_path, seed=1, steps=STEPS)
    views = outcomes(tmp_path)[0].views
    front, wrist = views["observation/image"], views["observation/wrist_image"]
    assert front.intrinsics.tolist() == [60, 60, 31.5, 23.5]
    assert np.allclose(front.poses[3, :3, 3], [1, 0, 0.4])
    assert np.allclose(front.poses[3, :3, 2], [-1, 0, 0]), "it looks back along x"
    assert np.allclose(wrist.poses, r.matrices(), atol=1e-5)
    assert wrist.intrinsics is None
    assert np.isnan(poses_of(np.ones((2, 16)))).all()
    assert intrinsics_of(np.arange(18.0).reshape(2, 9), corner=False) is None


def test_depth_pictures_join_without_loss(tmp_path):
    import av
    from PIL import Image

    encoded, times = pictures(STEPS, depth=True).encoded, np.arange(STEPS) / 7.3
    out = tmp_path / "joined.mkv"
    image_sequence.join([str(i) for i in range(STEPS)], lambda n: encoded[int(n)], times, out, "here")
    with av.open(str(out)) as container:
        frames = list(container.decode(video=0))
    assert np.allclose([f.time for f in frames], times, atol=1e-4)
    for frame, data in zip(frames, encoded, strict=True):
        assert np.array_equal(frame.to_ndarray(), np.asarray(Image.open(io.BytesIO(data))))


def test_a_reader_travels_to_a_worker(tmp_path):
    make(tmp_path)
    source = open_robot(str(tmp_path))
    there = pickle.loads(pickle.dumps(source.without_files()))
    assert [there.open(i)[1].content_id for i in there.items()] == [
        source.open(i)[1].content_id for i in source.items()
    ]


def test_maps_and_clouds_are_not_taken_apart(tmp_path):
    make(tmp_path, "oxe_kaist")
    source = open_robot(str(tmp_path))
    assert "observation/partial_pointcloud" not in source.sets[0].found.features
    assert "observation/partial_pointcloud" not in outcomes(tmp_path)[0].columns


# words ----------------------------------------------------------------------------------------------------------------


def test_a_sentence_that_changes_gets_its_steps(tmp_path):
    make(tmp_path, "oxe_language_table")
    texts = outcomes(tmp_path)[0].texts
    assert [(t.text, t.start, t.stop) for t in texts] == [
        ("push the red star left", 0, STEPS // 2),
        ("to the blue cube", STEPS // 2, STEPS),
    ]


# flags, splits --------------------------------------------------------------------------------------------------------


def test_features_of_the_episode_are_repeated_for_every_step(tmp_path):
    make(tmp_path, BRIDGE)
    columns = outcomes(tmp_path)[0].columns
    assert columns["episode_metadata/has_image_0"].tolist() == [[1]] * STEPS
    assert columns["episode_metadata/has_image_3"].tolist() == [[0]] * STEPS


def test_two_splits_are_read_and_said_in_the_facts(tmp_path):
    plan = PLANS[VIOLA]
    episodes = [episode_of(plan, simulate(i, STEPS, 20), simulate(9, STEPS, 20), i) for i in range(3)]
    write_tfds(tmp_path, plan.tfds, plan.version, {"train": [[episodes[0]], [episodes[1]]], "val": [[episodes[2]]]})
    assert [e.facts["tfds_split"] for e in outcomes(tmp_path)] == ["train", "train", "val"]
    assert load_spec(VIOLA).title in proposal(open_robot(str(tmp_path)).sets[0].found)
    shutil.rmtree(tmp_path / plan.tfds)


def test_real_bytes_of_bridge_open_whole():
    """25 + 25 episodes of 10 steps; the second split holds the first one's episodes again. Measured facts of the
    format notes: flags of cameras are all 0 although three were recorded, the fourth is one black picture."""
    source = open_robot(str(sample("bridge_rlds_debug")))
    assert [one.spec.name for one in source.sets] == [BRIDGE]
    episodes = [source.open(item)[1] for item in source.items()]
    assert len(episodes) == 50
    assert len({e.content_id for e in episodes}) == 25
    assert {e.steps for e in episodes} == {10}
    assert all(e.facts["blank_views"] == ["observation/image_3"] and len(e.views) == 3 for e in episodes)
    assert all(len(e.texts) == 1 and not e.losses for e in episodes)
    first = np.stack([e.columns["action"][0] for e in episodes])
    assert np.abs(first[:, :6]).max() < 1e-5
    assert (first[:, 6] == 1).all()

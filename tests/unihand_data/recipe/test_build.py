"""Shard directories -> recipe -> windows, on generated shards."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.ids import make_id
from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import INDEX, build
from unihand_data.recipe.index import open_index
from unihand_data.recipe.reader import RecipeReader, Talk
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards import catalogue
from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader


def made(inputs, folder: Path, **settings):
    recipe = build(list(inputs), folder, RecipeSettings.model_validate(settings), new_version=True)
    recipe_file.write(folder, recipe, new_version=True)
    return recipe


def sample_ids(recipe, folder: Path, name: str | None = None) -> list[str]:
    out = []
    for s in recipe["strata"]:
        if name in (None, s["name"]):
            records = open_index(folder / INDEX / recipe["recipe"][:12], s["name"], s["samples"])
            out += [bytes(r).hex() for r in records["sample_id"]]
    return out


@pytest.fixture(scope="module")
def recipe(mixed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    return made(mixed.values(), folder), folder


def test_what_was_found_is_what_inspect_counts(recipe, mixed):
    counted = [catalogue.inspect(d) for d in mixed.values()]
    found = recipe[0]["totals"]["found"]
    assert found["episodes"] == sum(c["episodes"] for c in counted)
    assert found["conversations"] == sum(c["conversations"] for c in counted)
    assert found["frames"] == sum(c["frames"] for c in counted)
    assert found["hours"] == pytest.approx(sum(c["hours"] for c in counted), abs=1e-5)
    assert found["samples"] == sum(c["samples"]["total"] for c in counted)
    assert found["tokens"]["text"] == sum(c["tokens"]["text"] for c in counted)
    assert found["tokens"]["supervised"] == sum(c["tokens"]["supervised"] for c in counted)
    assert found["tokens"]["visual_224"] == sum(c["tokens"]["visual"] for c in counted)
    assert found["tokens"]["visual_448"] * 66 == found["tokens"]["visual_224"] * 258


def test_the_index_holds_the_selected_samples_as_the_shards_have_them(recipe, mixed):
    data, folder = recipe
    listed = {}
    for directory in mixed.values():
        for row in ShardReader(directory).samples().to_pylist():
            listed[row["sample_id"]] = row
    taken = sample_ids(data, folder)
    assert len(taken) == len(set(taken)) == data["totals"]["taken"]["samples"]
    with RecipeReader(folder) as reader:
        for drawn in reader.draw(np.arange(300)):
            row = listed[drawn.sample.sample_id]
            assert {k: getattr(drawn.sample, k) for k in row} == row


def test_robot_frames_total_their_share_and_no_source_falls_below_the_floor(recipe):
    frames = recipe[0]["totals"]["robot_frames"]
    assert frames["wanted_share"] == 0.3
    assert frames["kept_share"] == pytest.approx(0.3, abs=0.02)
    slow = recipe[0]["by_source"]["bridge"]
    assert slow["taken"]["frames"] / slow["found"]["frames"] >= 3 / 5 - 0.05


def test_where_the_floor_alone_keeps_more_it_wins_and_says_so(mixed, tmp_path):
    frames = made([mixed["robot"], mixed["human"]], tmp_path, robot_frame_share=0.1)["totals"]["robot_frames"]
    assert frames["floor_wins"]
    assert frames["kept_share"] == pytest.approx(frames["floor_share"], abs=0.03)
    assert "the floor wins" in " ".join(recipe_file.read(tmp_path)[1]["notes"])


def test_human_frames_and_descriptions_are_never_thinned(recipe):
    by = {s["name"]: s["samples"] for s in recipe[0]["strata"]}
    assert by["human/kitchen/human_hands/real/motion_generation"] == 5 * 59  # four clips and a twin
    assert by["robot/arm_set/widowx/real/motion_description"] == 3


def test_val_and_test_are_kept_out(recipe):
    data, folder = recipe
    assert data["left_out"]["rows"]["split"] == 1
    held = make_id("episode", "held-out")
    with RecipeReader(folder) as reader:
        assert held not in {d.sample.episode_id for d in reader.draw(np.arange(5000))}


def test_the_cap_of_simulated_data_is_a_weight_and_drops_nothing(recipe):
    weighted = recipe[0]["totals"]["weighted"]["simulated_over"]
    assert weighted["human_and_robot"] == pytest.approx(0.26, abs=1e-4)
    assert weighted["robot"] > weighted["human_and_robot"] > weighted["all_with_equivalent_hours"]
    assert recipe[0]["by_source"]["metaworld"]["taken"]["episodes"] == 4


def test_the_same_inputs_give_the_same_recipe_byte_for_byte(recipe, mixed, tmp_path):
    again = made(mixed.values(), tmp_path)
    assert (tmp_path / "recipe.yaml").read_bytes() == (recipe[1] / "recipe.yaml").read_bytes()
    assert sample_ids(again, tmp_path) == sample_ids(*recipe)


def test_a_further_corpus_changes_no_other_corpus(mixed, tmp_path):
    """A text corpus beside it leaves every sample and the order within each stratum; a further robot corpus lowers the
    rate, so frames go and none is exchanged."""
    before = made([mixed["human"], mixed["robot"]], tmp_path / "a")
    after = made([mixed["human"], mixed["robot"], mixed["text"]], tmp_path / "b")
    for s in before["strata"]:
        assert sample_ids(before, tmp_path / "a", s["name"]) == sample_ids(after, tmp_path / "b", s["name"])
    thin = made([mixed["robot"], mixed["human"]], tmp_path / "c", robot_frame_share=0.28)
    for s in thin["strata"]:
        assert set(sample_ids(thin, tmp_path / "c", s["name"])) <= set(sample_ids(before, tmp_path / "a", s["name"]))


def test_a_fraction_takes_whole_recordings_by_hash(make, tmp_path):
    rows = [make.episode(f"x{i}", frames=6, domain="human") for i in range(60)]
    twins = [make.episode(f"x{i}-twin", frames=6, domain="human", parent_id=r.episode_id, recording_id=r.recording_id)
             for i, r in enumerate(rows)]  # fmt: skip
    directory = make.write(tmp_path / "d", rows + twins)
    half = made([directory], tmp_path / "half", sources={"arm_set": {"fraction": 0.5}})
    less = made([directory], tmp_path / "less", sources={"arm_set": {"fraction": 0.2}})
    assert set(sample_ids(less, tmp_path / "less")) < set(sample_ids(half, tmp_path / "half"))
    assert half["by_source"]["arm_set"]["taken"]["episodes"] == 60 - half["left_out"]["rows"]["fraction"] / 2


def test_a_conversation_is_a_duplicate_when_all_its_questions_were_asked_about_its_images(make, tmp_path):
    a, b = make.picture(1), make.picture(2)
    first = [make.talk("1", a, "What is it?"), make.talk("2", a, "Where is it?")]
    both = make.talk("3", a, "what  is it?", source="mix")[0].turns + make.talk("x", a, "WHERE is it?")[0].turns
    second = [
        make.talk("4", a, "what is it? <image>", source="mix"),
        make.talk("5", b, "what is it?", source="mix"),
        make.talk("6", a, "", source="mix", turns=both),
        make.talk("7", a, "", source="mix", turns=both + make.talk("y", a, "what colour?")[0].turns),
        make.talk("8", None, "Continue.", source="mix"),
        make.talk(
            "9",
            None,
            "",
            source="mix",
            turns=[{"role": "user", "text": "Continue."}, {"role": "assistant", "text": "and so on"}],
        ),
    ]
    inputs = [make.write(tmp_path / "one", (), first, [a]), make.write(tmp_path / "two", (), second, [a, b])]
    found = made(inputs, tmp_path / "r")
    assert found["left_out"]["rows"] == {"same_question": 2}
    assert found["by_source"]["mix"]["taken"]["conversations"] == 4  # without an image the answer tells two apart


def test_windows_come_in_the_order_and_conversations_with_their_pictures(recipe):
    with RecipeReader(recipe[1]) as reader:
        got = reader.read(np.arange(40), horizon=8, size=(48, 64))
        drawn = reader.draw(np.arange(40))
        assert [d for d, _ in got] == drawn
        for d, what in got:
            if d.domain == "vision_text":
                assert isinstance(what, Talk)
                assert what.pictures[0].shape == (48, 64, 3)
            else:
                assert what.sample_id == d.sample.sample_id
                described = d.sample.task == "motion_description"  # the steps of its span
                assert what.action.shape == (d.sample.frames_available if described else 8, 200)
                images = 2 if d.sample.task != "motion_generation" else 1
                assert next(iter(what.frames.values())).shape == (images, 48, 64, 3)
        text = next(p for p in range(3000) if reader.draw([p])[0].domain == "vision_text")
        assert reader.read([text])[0][1].conversation.turns[0]["role"] == "user"


def test_a_short_history_shows_the_first_image_there_is_and_masks_the_rest(recipe):
    with RecipeReader(recipe[1]) as reader:
        position = next(
            p for p, d in enumerate(reader.draw(np.arange(3000)))
            if d.sample.task == "motion_continuation" and d.sample.history_available < 8
        )  # fmt: skip
        d, window = reader.read([position], horizon=8)[0]
        assert window.frame_times[1] - window.frame_times[0] == pytest.approx(
            d.sample.history_available / window.rate_hz
        )
        assert not window.history_mask[: 8 - d.sample.history_available].any()
        assert window.history_mask[8 - d.sample.history_available :].any()


def test_a_checkpoint_goes_on_in_another_process_and_refuses_another_recipe(recipe, mixed, tmp_path):
    with RecipeReader(recipe[1]) as reader:
        batches = reader.batches(4, rank=1, world=2, views=())
        seen = [[d.sample.sample_id for d, _ in next(batches)] for _ in range(3)]
        state = json.loads(json.dumps(reader.state(2 * 4 * 2)))
        with pickle.loads(pickle.dumps(reader)) as other:
            rest = other.batches(4, rank=1, world=2, position=other.resume(state), views=())
            assert [d.sample.sample_id for d, _ in next(rest)] == seen[2]
    made(mixed.values(), tmp_path, seed=1)
    with RecipeReader(tmp_path) as third, pytest.raises(ShardError, match="belongs to recipe"):
        third.resume(state)


def test_another_recipe_in_the_same_folder_is_refused_or_kept_beside(recipe, mixed, tmp_path):
    first = build(list(mixed.values()), tmp_path, RecipeSettings())
    assert recipe_file.write(tmp_path, first, new_version=False)
    assert not recipe_file.write(tmp_path, first, new_version=False)
    with pytest.raises(DatasetRefused, match="--new-version"):
        build(list(mixed.values()), tmp_path, RecipeSettings(seed=9))
    assert len(list((tmp_path / INDEX).iterdir())) == 1
    second = build(list(mixed.values()), tmp_path, RecipeSettings(seed=9), new_version=True)
    with pytest.raises(DatasetRefused, match="--new-version"):
        recipe_file.write(tmp_path, second, new_version=False)
    assert recipe_file.write(tmp_path, second, new_version=True)
    with RecipeReader(tmp_path / f"recipe-{first['recipe'][:12]}.yaml") as old, RecipeReader(tmp_path) as new:
        assert (old.hash, new.hash) == (first["recipe"], second["recipe"])
        old.draw(np.arange(10))
        new.draw(np.arange(10))


def test_moved_directories_are_found_and_changed_ones_refused(make, tmp_path):
    directory = make.write(tmp_path / "d", [make.episode("a", domain="human")])
    made([directory], tmp_path / "r")
    Path(directory).rename(tmp_path / "moved")
    with RecipeReader(tmp_path / "r", places={directory: str(tmp_path / "moved")}) as reader:
        assert reader.read([0], horizon=4, views=())[0][1].action.shape == (4, 200)
    with RecipeReader(tmp_path / "r") as reader, pytest.raises(ShardError, match="not a shard directory"):
        reader.read([0])


def test_damaged_recipes_are_refused_in_one_sentence(recipe, mixed, tmp_path):
    made([mixed["human"]], tmp_path)
    file = tmp_path / "recipe.yaml"
    text = file.read_text()
    for wrong, said in (
        (text.replace("share: 0.", "share: 0.1", 1), "changed by hand"),
        ("a: [", "cannot be read as YAML"),
        ("a: 1", "is not a recipe"),
        (text.replace("\nversion: 1", "\nversion: 99"), "version 99"),
    ):
        file.write_text(wrong)
        with pytest.raises(ShardError, match=said):
            RecipeReader(tmp_path)
    file.write_text(text)
    index = next((tmp_path / INDEX).rglob("*.samples"))
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(ShardError, match="the recipe says"), RecipeReader(tmp_path) as reader:
        reader.draw(np.arange(2000))


def test_bad_inputs_are_refused_and_leave_nothing(mixed, tmp_path, make):
    with pytest.raises(ShardError, match="not a shard directory"):
        build([str(tmp_path)], tmp_path / "r", RecipeSettings())
    with pytest.raises(SettingsError, match="given twice"):
        build([mixed["human"], mixed["human"]], tmp_path / "r", RecipeSettings())
    odd = make.write(tmp_path / "odd", [make.episode("a", episode_id="not-hex")])
    with pytest.raises(ShardError, match="not an id of the contract"):
        build([odd], tmp_path / "r", RecipeSettings())
    only = make.write(tmp_path / "sim", [make.episode("s", origin="sim")])
    with pytest.raises(SettingsError, match=r"caps\.simulated"):
        build([only], tmp_path / "r", RecipeSettings())
    assert not list((tmp_path / "r").rglob("*.samples"))


def test_licences_that_may_not_leave_can_be_left_out(make, tmp_path):
    rows = [
        make.episode("a", domain="human"),
        make.episode("b", domain="human", licence="CC-BY-NC-4.0", shareable=False),
    ]
    picture, other = make.picture(1), make.picture(2)
    talks = [
        make.talk("open", picture, "what?", shareable=True),
        make.talk("closed", other, "where?", licence="CC-BY-NC-4.0", shareable=False),
        make.talk("unsaid", picture, "who?"),
    ]
    directory = make.write(tmp_path / "d", rows, talks, [picture, other])
    found = made([directory], tmp_path / "r", only_shareable=True)
    assert found["left_out"]["rows"] == {"licence": 3}
    assert found["by_source"]["llava"]["taken"]["conversations"] == 1
    assert f"1 conversations of {directory} do not say whether they may leave" in " ".join(found["notes"])
    without = made([directory], tmp_path / "r", exclude_licences=["CC0-1.0"])["totals"]["taken"]
    assert (without["episodes"], without["conversations"]) == (1, 1)


def test_a_picture_that_a_row_may_not_take_away_leaves_with_no_row_of_any_directory(make, tmp_path):
    shared, own = make.picture(1), make.picture(2)
    talks = [make.talk("1", shared, "what?", shareable=True), make.talk("2", own, "what?", shareable=True)]
    free = make.write(tmp_path / "a", (), talks, [shared, own])
    locked = make.write(
        tmp_path / "b", (), [make.talk("3", shared, "where?", source="other", shareable=False)], [shared]
    )
    assert made([free], tmp_path / "r", only_shareable=True)["totals"]["taken"]["conversations"] == 2
    assert made([free, locked], tmp_path / "r", only_shareable=True)["totals"]["taken"]["conversations"] == 1
    assert made([free, locked], tmp_path / "r")["totals"]["taken"]["conversations"] == 3


def test_a_licence_to_exclude_that_no_row_has_is_refused_with_those_there_are(make, tmp_path):
    directory = make.write(tmp_path / "d", [make.episode("a", domain="human")])
    with pytest.raises(SettingsError, match=r"exclude_licences: no row has the licence 'CC0'; there are 'CC0-1.0'"):
        build([directory], tmp_path / "r", RecipeSettings(exclude_licences=["CC0-1.0", "CC0"]))
    assert not list((tmp_path / "r").rglob("*.samples"))


def test_a_directory_older_than_the_column_counts_its_conversations_as_not_shareable_until_they_are_written_again(
    make, tmp_path
):
    import lance

    picture = make.picture(1)
    directory = make.write(tmp_path / "d", (), [make.talk("1", picture, "what?", shareable=True)], [picture])
    table = lance.dataset(f"{directory}/conversations.lance")
    table.drop_columns(["shareable"])
    catalogue_of = json.loads((tmp_path / "d/manifest.json").read_text())
    tag = catalogue_of["tags"][-1]
    tag["state"]["conversations"] = table.version
    table.tags.update(tag["name"], table.version)
    (tmp_path / "d/manifest.json").write_text(json.dumps(catalogue_of))
    with ShardReader(directory) as reader:
        assert reader.conversation(reader.conversation_ids[0]).shareable is None
    with pytest.raises(SettingsError, match="nothing to draw"):
        build([directory], tmp_path / "r", RecipeSettings(only_shareable=True))
    made([directory], tmp_path / "r")
    make.write(tmp_path / "d", (), [make.talk("2", picture, "where?", shareable=True)], [picture])
    found = made([directory], tmp_path / "r", only_shareable=True)
    assert found["by_source"]["llava"]["taken"]["conversations"] == 1


def test_the_cap_that_a_data_set_file_hints_at_comes_with_its_rows(make, tmp_path):
    rows = [make.episode("a", provenance={"max_weight": 0.2}, source="redrawn"), make.episode("b")]
    found = made([make.write(tmp_path / "d", rows)], tmp_path / "r")
    assert next(b for b in found["totals"]["bounds"] if b["name"] == "max_weight of redrawn")["is"] == 0.2


def test_figure_4_shows_bridge_droid_and_the_other_subsets_as_open_x_embodiment(make, tmp_path):
    from unihand_data.recipe.figures import shares

    names = ("bridge", "droid", "oxe_fractal", "oxe_auge", "agibot_world", "so100_community")
    rows = [make.episode(n, source=n) for n in names]
    settings = {"robot_frame_share": None, "caps": {"sources": {"oxe_auge*": None}}}
    ours = dict(shares(made([make.write(tmp_path / "d", rows)], tmp_path / "r", **settings))[1])
    sixth = pytest.approx(1 / 6, abs=1e-5)
    assert [ours[n] for n in ("OXE-AugE", "AgiBot World", "other real")] == [sixth] * 3
    assert ours["Open X-Embodiment"] == pytest.approx(0.5, abs=1e-5)


def test_recipe_yaml_is_plain_yaml(recipe):
    data = yaml.safe_load((recipe[1] / "recipe.yaml").read_text())
    assert data["recipe"] == recipe[0]["recipe"]
    assert sum(s["draws"] for s in data["strata"]) == data["settings"]["cycle"]


def test_inputs_in_a_bucket_give_the_recipe_that_local_ones_give(object_store, make, tmp_path):
    import fsspec

    local = make.write(tmp_path / "d", [make.episode("a", domain="human"), make.episode("b")])
    fs = fsspec.filesystem("s3")
    fs.mkdir("recipes")
    fs.put(local, "recipes/d", recursive=True)
    near, far = made([local], tmp_path / "near"), made(["s3://recipes/d"], tmp_path / "far")
    assert near["recipe"] == far["recipe"]
    with RecipeReader(tmp_path / "far") as reader:
        assert reader.read([0], horizon=4, views=())[0][1].action.shape == (4, 200)

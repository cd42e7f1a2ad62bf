"""Words with spans on the video's clock."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.narration_tables import hand_in, spans, wearer_text
from unihand_data.sources.registry import open_source
from unihand_data.untrusted import tables


@pytest.mark.parametrize(("text", "seconds"), [("00:00:01.89", 1.89), ("01:02:03.5", 3723.5), ("00:05:26.840", 326.84)])
def test_hours_minutes_seconds(text, seconds):
    assert tables.hms(text, "t") == pytest.approx(seconds)


@pytest.mark.parametrize("bad", ["", "1:2", "00:61:00", "00:00:99", "a:b:c", None, 5, "-1:00:00", "nan:00:00"])
def test_what_is_no_time_of_day_is_rejected(bad):
    with pytest.raises(Reject):
        tables.hms(bad, "t")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("#C C picks up a cup", "picks up a cup"),
        ("#c c  opens a door", "opens a door"),
        ("#C opens a door", "opens a door"),
        ("#O a man X talks", None),
        ("#C C moves the #unsure", None),
        ("Someone talks", None),
    ],
)
def test_only_the_camera_wearer_is_described(raw, words):
    assert wearer_text(raw, Counter()) == words


def test_what_is_left_out_is_counted():
    count: Counter[str] = Counter()
    for text in ("#O x", "#C C #Unsure", "bare", "#C C "):
        wearer_text(text, count)
    assert count == {"other_person": 1, "unsure": 1, "untagged": 1, "empty": 1}


@pytest.mark.parametrize(
    ("text", "hand"),
    [
        ("take cup with the left hand", "left"),
        ("the Right Hand turns", "right"),
        ("with both hands", "both"),
        ("left hand holds, right hand turns", "both"),
        ("turn left", "none"),
        ("what is left over", "none"),
    ],
)
def test_only_a_named_hand_counts(text, hand):
    assert hand_in(text) == hand


def test_moments_become_spans_of_the_mean_gap():
    assert spans([10.0, 12.0, 14.0]) == [(9.0, 11.0), (11.0, 13.0), (13.0, 15.0)]
    assert spans([0.2, 100.0])[0] == (0.0, 2.2)
    assert spans([5.0]) == [(3.0, 7.0)]


def test_epic_rows_are_spans_in_seconds(made):
    m = made("epic_kitchens_100")
    for (_, recording), scene in zip(m.opened(), m.scenes):
        half = len(scene.times) / scene.fps / 2
        assert [n.text for n in recording.narrations] == [scene.text, f"{scene.verb} other {scene.thing}"]
        assert recording.narrations[0].t1 == pytest.approx(half, abs=0.01)


def test_ego4d_leaves_out_others_and_the_unsure_and_counts_them(made):
    for _, recording in made("ego4d").opened():
        counts = recording.extra["narrations_left_out"]
        assert counts == {"other_person": 1, "unsure": 1, "rejected": 1}
        assert [n.hand for n in recording.narrations].count("right") == 1
        assert not [n for n in recording.narrations if "#" in n.text]


def test_exo_descriptions_are_joined_through_the_take_uid(made):
    for _, recording in made("ego_exo4d").opened():
        (narration,) = recording.narrations
        assert narration.hand == "left"
        assert recording.extra["narrations_left_out"] == {"other_person": 1, "unsure": 1}


def test_the_described_direction_of_a_reversible_task_is_taken(made):
    for (_, recording), scene in zip(made("egodex").opened(), made("egodex").scenes):
        assert [n.text for n in recording.narrations] == [f"{scene.text} with both hands"]
        assert recording.narrations[0].hand == "both"


def test_vitra_sentences_belong_to_a_hand_and_empty_spans_are_context(made):
    for (_, recording), scene in zip(made("vitra_1m").opened(), made("vitra_1m").scenes):
        assert {(n.text, n.hand) for n in recording.narrations} == {(f"{scene.text}.", "right")}


def test_preview_sentences_come_from_the_files_own_episodes(made):
    m = made("unihand_preview")
    by_text = {n.text for _, r in m.opened() for n in r.narrations}
    assert {s.text for s in m.scenes} <= by_text
    for _, recording in m.opened():
        assert [n.t0 for n in recording.narrations] == pytest.approx([0, 6 / 30])
        assert recording.extra["narrations_left_out"] == {"mirrored": 1}


def rewritten_preview(made, tmp_path, change):
    """The loose half of the preview set with its episode table changed."""
    import pyarrow.parquet as pq

    folder = tmp_path / "taco_lerobot_v3"
    shutil.copytree(made("unihand_preview").folder / "taco_lerobot_v3", folder)
    path = folder / "meta/episodes/instruction/chunk-000/file-000000.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    source = open_source(str(folder))
    return [source.open(item) for item in source.items()]


def test_a_mirrored_set_that_does_not_say_which_rows_are_mirrored_gives_no_words(made, tmp_path):
    (recording,) = rewritten_preview(made, tmp_path, lambda t: t.drop_columns(["mirrored"]))
    assert recording.narrations == []
    assert "'mirrored'" in recording.extra["no_text"]
    assert [(r.level, r.reason) for r in recording.extra["rejects"]] == [("row", Reason.NO_TEXT)]


def test_rows_of_another_file_are_no_words_of_this_one(made, tmp_path):
    import pyarrow as pa

    (recording,) = rewritten_preview(made, tmp_path, lambda t: t.append_column("file_index", pa.array([1, 0, 0])))
    assert [n.t0 for n in recording.narrations] == pytest.approx([6 / 30])


def test_a_damaged_row_costs_only_itself(made, tmp_path):
    folder = tmp_path / "epic"
    shutil.copytree(made("epic_kitchens_100").folder, folder)
    table = folder / "EPIC_100_train.csv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace("00:00:00.00,00:00:00.12", "00:00:09.00,00:00:00.12")
    table.write_text("\n".join(lines))
    source = open_source(str(folder))
    recording = source.open(next(iter(source.items())))
    assert len(recording.narrations) == 1
    (reject,) = recording.extra["rejects"]
    assert (reject.level, reject.reason) == ("row", Reason.BAD_VALUE)


def test_a_missing_column_costs_the_item_and_is_named(made, tmp_path):
    folder = tmp_path / "epic"
    shutil.copytree(made("epic_kitchens_100").folder, folder)
    table = folder / "EPIC_100_train.csv"
    table.write_text(table.read_text().replace("stop_timestamp", "end"))
    source = open_source(str(folder))
    with pytest.raises(Reject, match="stop_timestamp") as caught:
        source.open(next(iter(source.items())))
    assert caught.value.reason == Reason.MISSING_FIELD


def test_both_forms_of_hoi4d_events_are_read(made, tmp_path):
    folder = tmp_path / "hoi4d"
    shutil.copytree(made("hoi4d").folder, folder)
    for path in folder.rglob("color.json"):
        marks = {"markResult": {"marks": [{"event": "grasp", "hdTimeStart": 0.1, "hdTimeEnd": 0.5}]}}
        path.write_text(json.dumps(marks))
    source = open_source(str(folder), options=SourceOptions(mano_dir=str(folder / "mano_stand_in")))
    recording = source.open(next(iter(source.items())))
    assert [(n.text, n.t0, n.t1) for n in recording.narrations] == [("grasp", 0.1, 0.5)]

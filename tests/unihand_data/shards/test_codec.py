"""Rows survive Arrow unchanged, and what does not fit is refused with the name of the field."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unihand_data.shards import codec, schema
from unihand_data.shards.codec.episodes import _array_in
from unihand_data.shards.errors import RowError
from unihand_data.shards.rows import (
    CameraRow,
    ConversationRow,
    EpisodeRow,
    EventRow,
    HandRow,
    LanguageRow,
    MediaRow,
    RejectRow,
    SampleRow,
)

words = st.text(st.characters(codec="utf-8"), max_size=8)
floats32 = st.floats(width=32)
finite = st.floats(-1e6, 1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, ">f4", "<U3"]),
    hnp.array_shapes(min_dims=0, min_side=0),
)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def episodes(draw) -> EpisodeRow:
    T = draw(st.integers(1, 5))
    slots = st.lists(st.integers(0, 199), unique=True, max_size=6).map(lambda s: np.array(sorted(s), np.int16))
    state_slots, action_slots = draw(slots), draw(slots)
    values = {}
    for kind, S in (("state", len(state_slots)), ("action", len(action_slots))):
        values[kind] = draw(hnp.arrays(np.float32, (T, S), elements=floats32))
        values[f"{kind}_mask"] = draw(hnp.arrays(bool, (T, S))) & np.isfinite(values[kind])
    per_frame = hnp.arrays(bool, T)
    camera = st.builds(
        CameraRow, st.sampled_from(["ego", "third_1", "wrist_left", "top"]), words.filter(bool), st.integers(0, 4000),
        st.integers(0, 4000), finite, finite, maybe(hnp.arrays(np.float64, st.integers(0, 4))),
        maybe(hnp.arrays(np.float64, 4)), maybe(hnp.arrays(np.float64, st.integers(0, 8))),
        maybe(hnp.arrays(np.float32, (T, 4, 4))), maybe(per_frame), words, st.booleans(),
    )  # fmt: skip
    hand = st.builds(
        HandRow, st.sampled_from(["left", "right"]), st.sampled_from(["mano", "generic_v1"]), words,
        hnp.arrays(np.float32, T), per_frame, per_frame, finite,
    )  # fmt: skip
    line = st.builds(LanguageRow, words, st.floats(0, 1), st.floats(1, 2), words, words,
                     st.sampled_from(sorted(codec.WORDS["text_source"])), words, words, st.integers(0, 9))  # fmt: skip
    return EpisodeRow(
        *[draw(words) for _ in range(6)], draw(st.sampled_from(["human", "robot"])),
        draw(st.sampled_from(["real", "sim"])), draw(st.sampled_from(["lab", "wild"])),
        draw(st.sampled_from(["train", "val", "test"])), draw(st.floats(0.1, 1e3)),
        np.concatenate([[0.0], np.cumsum(draw(hnp.arrays(float, T - 1, elements=st.floats(1e-3, 10))))]),
        draw(st.sampled_from(["gravity", "table", "base", "camera"])), draw(hnp.arrays(float, (4, 4))),
        state_slots, action_slots, values["state"], values["action"], values["state_mask"], values["action_mask"],
        draw(words), draw(st.booleans()), draw(words), draw(words), draw(words), draw(maybe(st.booleans())),
        draw(maybe(st.integers(-(2**63), 2**63 - 1))),
        draw(st.lists(st.fixed_dictionaries({"slot_group": words, "kind": words}), max_size=2)),
        draw(st.dictionaries(words, arrays, max_size=2)), draw(st.lists(camera, max_size=2)),
        draw(st.lists(hand, max_size=2)),
        draw(st.lists(line, max_size=2)), draw(st.lists(st.builds(EventRow, finite, finite, words, words), max_size=2)),
        draw(st.dictionaries(words, st.floats(), max_size=3)), draw(st.dictionaries(words, json_values, max_size=3)),
    )  # fmt: skip


def same(a, b) -> bool:
    """Equal, where NaN equals NaN, arrays need dtype and shape, and None is not an empty list."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        alike = isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
        return alike and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(episodes(), min_size=1, max_size=3))
def test_any_episode_row_comes_back_from_arrow_as_it_went(rows):
    table = codec.table([codec.episode_to_record(r) for r in rows], schema.EPISODES)
    assert same([codec.episode_from_record(r) for r in codec.records(table)], rows)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=episodes())
def test_any_episode_row_comes_back_from_parquet_and_lance(row, tmp_path_factory):
    import lance
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("codec")
    table = codec.table([codec.episode_to_record(row)], schema.EPISODES)
    pq.write_table(table, folder / "a.parquet")
    stored = lance.write_dataset(table, folder / "a.lance", data_storage_version=schema.LANCE_STORAGE)
    for back in (pq.read_table(folder / "a.parquet"), stored.to_table(), stored.take([0])):
        assert same(codec.episode_from_record(next(iter(codec.records(back)))), row)


def test_small_rows_come_back(make, clip):
    media = MediaRow("m", "image", 2, 3, 1, "png", 1, 0.0, "CC0-1.0")
    for row in (clip, media):
        record = codec.media_to_record(row)
        back = codec.media_from_record(next(iter(codec.records(codec.table([record], schema.MEDIA_INFO)))))
        assert same(back, dataclasses.replace(row, data=None, path=""))
    sample = SampleRow("s", "vision_text", conversation_id="c", weight=0.5)
    table = codec.table([codec.sample_to_record(sample)], schema.SAMPLES)
    assert codec.sample_from_record(table.to_pylist()[0]) == sample
    reject = make.reject("i", frames=3, duration_s=0.5)
    table = codec.table([codec.reject_to_record(reject)], schema.REJECTS)
    assert RejectRow(**table.to_pylist()[0]) == reject
    talk = ConversationRow(
        "c", "src", "grounding", [{"media_id": "m", "times": [0.0, 1.5]}], [{"role": "user", "text": "where?"}],
        [{"kind": "box", "points": [0.1, 0.2, 0.3, 0.4], "label": "cup", "turn": 0}], "MIT", "train", 3, 4,
    )  # fmt: skip
    table = codec.table([codec.conversation_to_record(talk)], schema.CONVERSATIONS)
    assert codec.conversation_from_record(next(iter(codec.records(table)))) == talk


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"state": np.zeros((3, 2), np.float32)}, "state must have shape"),
        ({"state_mask": np.zeros((30, 14))}, "state_mask must be boolean"),
        ({"action": np.full((30, 14), "x")}, "action must be numeric"),
        ({"action": np.full((30, 14), np.nan, np.float32)}, "action is not finite where action_mask"),
        ({"state_slots": np.arange(14)[::-1]}, "state_slots"),
        ({"timestamps": np.zeros(30)}, "timestamps must be finite and strictly increasing"),
        ({"timestamps": np.arange(1, 31) / 30}, "timestamps must start at 0"),
        ({"rate_hz": 0.0}, "rate_hz must be positive"),
        ({"domain": "animal"}, "domain is 'animal', not one of human, robot"),
        ({"raw_to_world": np.eye(3)}, "raw_to_world must have shape"),
        ({"raw_extra": {"x": np.array([object()])}}, r"raw_extra\[x\] has dtype object"),
        ({"quality": {"jitter": "high"}}, r"quality\[jitter\] must be a number"),
        ({"provenance": {"when": object()}}, "provenance must be plain JSON"),
        ({"provenance": {"x": float("nan")}}, "provenance must be plain JSON"),
        ({"cameras": [CameraRow("front", "m", 1, 1, 30.0)]}, "view 'front' is not one of"),
        ({"cameras": [CameraRow("ego", "m", 1, 1, 30.0, poses=np.zeros((2, 4, 4)))]}, "ego: poses must have shape"),
        ({"language": [LanguageRow("intent", 2.0, 1.0, "x")]}, "t0 2.0 is after t1 1.0"),
        ({"language": [LanguageRow("intent", 0.0, 1.0, "\ud800")]}, "text is not valid Unicode"),
        ({"language": [LanguageRow("intent", 0.0, 1.0, "x", text_source="me")]}, "text_source is 'me'"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_refused_with_the_name_of_row_and_field(make, change, field):
    row = make.episode("e", **change)
    with pytest.raises(RowError, match=field) as error:
        codec.episode_to_record(row)
    assert row.episode_id in str(error.value)


def test_a_dtype_from_a_foreign_file_is_not_constructed():
    extra = {"name": "x", "dtype": "|O8", "shape": [1], "data": b"\0" * 8}
    with pytest.raises(RowError, match="does not construct"):
        _array_in(extra)


def test_the_columns_are_those_of_the_contract():
    listed = """
        episode_id parent_id recording_id source source_uri suite task_id success seed licence shareable embodiment
        embodiment_hash domain origin setting split rate_hz frames duration_s world raw_to_world action_source
        state_slots action_slots state action state_mask action_mask timestamps raw_extra cameras hands language
        events quality provenance
    """
    assert sorted(listed.split()) == sorted(schema.EPISODES.names)
    assert {f.name for f in dataclasses.fields(EpisodeRow)} | {"frames", "duration_s"} == set(schema.EPISODES.names)
    assert {f.name for f in dataclasses.fields(SampleRow)} == set(schema.SAMPLES.names)
    assert "bytes" in schema.MEDIA.names

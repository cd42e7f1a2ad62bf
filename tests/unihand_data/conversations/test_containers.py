"""Blocks: every row exactly once whatever the block size, and damage that costs what it damages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.containers import blocks, read_block
from unihand_data.sources.conversations.json_rows import json_elements
from unihand_data.sources.conversations.registry import corpus_names, load_corpus
from unihand_data.sources.conversations.spec import CorpusSpec

LLAVA = load_corpus("llava_v1_5")
LINES = load_corpus("llava_records")
_text = st.text(max_size=8)
_rows = st.lists(
    st.dictionaries(_text, st.recursive(st.none() | st.integers() | _text, lambda c: st.lists(c)), max_size=3)
)


def read_all(spec: CorpusSpec, path: Path, size: int) -> list:
    out = []
    for block in blocks(spec, str(path.parent), path.name, size):
        out += list(read_block(spec, block))
    return out


@settings(max_examples=150, deadline=None)
@given(_rows.filter(bool), st.sampled_from([None, 1, 4]), st.booleans(), st.integers(1, 4), st.integers(8, 64))
def test_elements_of_a_json_list_are_found_at_their_bytes(tmp_path_factory, rows, indent, ascii_only, size, window):
    path = tmp_path_factory.getbasetemp() / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="surrogatepass")
    data = path.read_bytes()
    found = [json.loads(data[a : a + n].decode("utf-8", "surrogatepass")) for a, n in json_elements(path, window)]
    assert found == rows


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.text("aé\u2028\x85ß例", max_size=4), st.integers()), min_size=1), st.integers(1, 5))
def test_every_line_is_read_once_whatever_the_block_size(tmp_path_factory, rows, size):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_text("\n\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n", encoding="utf-8")
    assert read_all(LINES, path, size) == list(enumerate(rows))


def test_a_byte_order_mark_is_no_damage(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([{"a": "é"}, {"b": 2}]).encode())
    assert [row for _, row in read_all(LLAVA, path, 1)] == [{"a": "é"}, {"b": 2}]


@pytest.mark.parametrize(
    ("data", "reason", "rows"),
    [
        (b"", Reason.EMPTY, 0),
        (b"{}", Reason.UNREADABLE, 0),
        (b"<html>", Reason.UNREADABLE, 0),
        (b'[{"a": 1}, {"b": 2}', Reason.TRUNCATED, 2),
        (b'[{"a": 1}, {"b": "cut he', Reason.TRUNCATED, 1),
        (b'[{"a": 1}, ', Reason.TRUNCATED, 1),
        (b'[{"a": 1} {"b": 2}]', Reason.UNREADABLE, 1),
        (b'[{"a": 1}, {b: 2}]', Reason.UNREADABLE, 1),
        (b"[" * 5000, Reason.UNREADABLE, 0),
        (b"[]", None, 0),
    ],
)
def test_rows_before_the_damage_stand_and_the_damage_is_one_loss(tmp_path, data, reason, rows):
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    found = list(blocks(LLAVA, str(tmp_path), path.name, 100))
    assert sum(b.count for b in found) == rows
    damaged = [b for b in found if b.damage is not None]
    assert [b.damage[0] for b in damaged] == ([str(reason)] if reason else [])
    for block in damaged:
        with pytest.raises(Reject):
            list(read_block(LLAVA, block))


def test_a_row_that_is_no_mapping_or_no_utf8_costs_itself(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": 1}, 7, {"b": "\xff"}, {"c": 3}]')
    found = read_all(LLAVA, path, 10)
    assert [r if isinstance(r, dict) else str(r.reason) for _, r in found] == [
        {"a": 1},
        "wrong_type",
        "encoding",
        {"c": 3},
    ]


def test_every_yaml_says_what_it_was_tried_on():
    for name in corpus_names():
        spec = load_corpus(name)
        assert spec.name == name
        assert spec.tried.real or spec.tried.generated
        assert spec.licence


def test_the_table_in_the_docs_is_the_one_of_the_yamls():
    from unihand_data.sources.conversations.table import markdown

    page = Path(__file__).resolve().parents[3] / "docs" / "vision_text.md"
    assert markdown() in page.read_text(), "python -m unihand_data.sources.conversations.table writes it"

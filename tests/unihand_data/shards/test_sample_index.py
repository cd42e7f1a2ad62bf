"""The training index by number, a row group at a time."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.ids import make_id
from unihand_data.shards import codec, sample_index, schema
from unihand_data.shards.errors import ShardError
from unihand_data.shards.id_index import IdIndex, id_keys
from unihand_data.shards.manifest import ParquetFile
from unihand_data.shards.rows import SampleRow
from unihand_data.shards.sample_index import SampleIndex
from unihand_data.shards.store import Store

TEXTS = st.one_of(
    st.text(max_size=40), st.binary(min_size=16, max_size=16).map(bytes.hex), st.integers(0, 9).map(make_id)
)


@given(st.lists(TEXTS, max_size=60), st.lists(TEXTS, max_size=20))
def test_an_id_is_found_in_its_first_row_and_any_other_text_nowhere(ids, others):
    first = {text: ids.index(text) for text in ids}
    cut = len(ids) // 3
    index = IdIndex([pa.array(ids[:cut], pa.string()), pa.chunked_array([ids[cut:]], pa.large_string())])
    wanted = [*ids, *others]
    assert index.rows(wanted).tolist() == [first.get(text, -1) for text in wanted]
    counts = [(first[text], ids.count(text)) for text in first if ids.count(text) > 1]
    assert list(index.repeated()) == sorted(counts)


def test_ids_that_share_their_first_half_are_told_apart():
    ids = [f"{'a' * 16}{n:016x}" for n in (5, 3, 9, 3)]
    index = IdIndex.of(ids)
    assert index.rows([*ids, f"{'a' * 16}{4:016x}"]).tolist() == [0, 1, 2, 1, -1]
    assert list(index.repeated()) == [(1, 2)]


def test_the_key_of_an_id_is_its_digits():
    assert [hex(half) for half in id_keys(["0123456789abcdeffedcba9876543210"])[0]] == [
        "0x123456789abcdef",
        "0xfedcba9876543210",
    ]


def row(number: int) -> SampleRow:
    owner = make_id("episode", number // 10)
    return SampleRow(make_id("sample", number), "motion_generation", owner, start_frame=number % 10, tokens_text=number)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three files of 40, 25 and 60 samples in row groups of 16; sample k is ``row(k)``."""
    store = Store(tmp_path_factory.mktemp("index"))
    files, at = [], 0
    for rows in (40, 25, 60):
        records = [codec.sample_to_record(row(n)) for n in range(at, at + rows)]
        name = f"samples/part-{len(files)}.parquet"
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records, schema=schema.SAMPLES), sink, row_group_size=16)
        store.write(name, sink.getvalue())
        files.append(ParquetFile(name, rows))
        at += rows
    return store, files


@pytest.fixture
def index(made) -> SampleIndex:
    return SampleIndex(*made)


@given(data=st.data())
def test_samples_come_in_the_order_asked_for_repeats_included(made, data):
    numbers = data.draw(st.lists(st.integers(0, 124), max_size=40))
    index = SampleIndex(*made)
    assert index.rows(numbers) == [row(n) for n in numbers]
    assert index.take(numbers, ["tokens_text"]).to_pylist() == [{"tokens_text": n} for n in numbers]


@given(st.integers(0, 130), st.integers(0, 130), st.integers(1, 50))
def test_batches_are_a_stretch_of_the_index(made, start, stop, rows):
    found = list(SampleIndex(*made).batches(["tokens_text"], start=start, stop=stop, rows=rows))
    assert [n for batch in found for n in batch["tokens_text"].to_pylist()] == list(range(start, min(stop, 125)))
    assert all(batch.num_rows <= rows for batch in found)


def test_groups_cover_the_index_and_each_is_read_alone(index):
    groups = list(index.groups())
    assert [g.rows for g in groups] == [16, 16, 8, 16, 9, 16, 16, 16, 12]
    assert [n for g in groups for n in index.read(g, ["tokens_text"])["tokens_text"].to_pylist()] == list(range(125))
    assert index.locate(64) == groups[4]
    assert index.locate(65) == groups[5]


def test_only_the_groups_and_columns_asked_for_are_decoded(index, monkeypatch):
    read = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda f, g, columns: (read.append((g, columns)), real(f, g, columns))[1]
    )
    index.take([41, 3, 42, 2, 41], ["weight"])
    index.take([4, 43], ["weight"])  # kept
    assert read == [(0, ["weight"]), (0, ["weight"])]
    assert len(index._open) == 2


def test_memory_holds_a_few_files_and_groups(index, monkeypatch):
    monkeypatch.setattr(sample_index, "OPEN_FILES", 1)
    monkeypatch.setattr(sample_index, "GROUPS_KEPT", 2)
    assert index.rows(np.arange(125)) == [row(n) for n in range(125)]
    assert (len(index._open), len(index._kept)) == (1, 2)


def test_a_sample_is_found_by_its_id_also_where_first_bits_are_shared(index, monkeypatch):
    ids = [make_id("sample", n) for n in (120, 0, 64)]
    assert index.numbers(ids) == [120, 0, 64]
    monkeypatch.setattr(sample_index, "id_keys", lambda ids: id_keys(ids) & np.uint64(0x80))  # as if all bits collided
    assert SampleIndex(index._store, index._files).numbers(ids) == [120, 0, 64]
    with pytest.raises(ShardError, match="sample none is not in this shard directory"):
        index.numbers(["none"])


def test_a_number_outside_the_index_and_an_unknown_column_are_refused(index):
    for number in (-1, 125):
        with pytest.raises(IndexError, match=f"sample number {number} of .*: there are 125"):
            index.take([3, number])
    with pytest.raises(KeyError, match="no column 'colour'"):
        index.take([0], ["colour"])


def test_an_empty_index_has_no_samples_and_no_groups(tmp_path):
    index = SampleIndex(Store(tmp_path), [])
    assert (len(index), list(index.groups()), list(index.batches())) == (0, [], [])
    assert index.take([]).schema.names == schema.SAMPLES.names
    with pytest.raises(ShardError):
        index.numbers(["x"])


def test_a_file_that_is_gone_or_has_other_rows_is_named(made):
    store, files = made
    with pytest.raises(ShardError, match=r"part-1.parquet has 25 rows, the manifest says 26"):
        SampleIndex(store, [files[0], ParquetFile(files[1].name, 26)]).row(50)
    with pytest.raises(ShardError, match=r"gone.parquet is listed in the manifest and cannot be read"):
        SampleIndex(store, [ParquetFile("samples/gone.parquet", 5)]).row(0)


def test_an_index_travels_to_another_process_as_its_address(index):
    index.row(7)
    assert pickle.loads(pickle.dumps(index)).row(99) == row(99)

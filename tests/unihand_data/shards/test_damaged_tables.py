"""Bytes of a Lance file flipped, zeroed or cut off: one sentence and exit code 2, or a problem that validate lists."""

from __future__ import annotations

import pickle
import random
import shutil
from pathlib import Path

import pytest

from unihand_data import cli
from unihand_data.shards import catalogue, staging, tables, writer
from unihand_data.shards.errors import TableDamaged
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.store import Store


@pytest.fixture(scope="module")
def good(tmp_path_factory, make, clip) -> Path:
    """One episode with hands, one media, a few samples, a reject."""
    at = tmp_path_factory.mktemp("good")
    episode = make.hands(clip.media_id)
    staging.write_part(at / "st", [episode], [clip], make.samples(episode), [make.reject("x")])
    writer.commit(at / "st", at / "shard", content_hash="h", config={}, run_id="r")
    return at / "shard"


@pytest.fixture
def copy(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "shard"))


def data_file(directory: Path, table: str) -> Path:
    (found,) = (directory / f"{table}.lance" / "data").glob("*.lance")
    return found


def spoil(path: Path, how: str, seed: int) -> None:
    """``flip``: 2,000 bytes anywhere change; ``cut``: the end is missing; ``zero``: a page of zeros; ``bit``: one."""
    rng, content = random.Random(seed), bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if how == "flip":
        for _ in range(2000):
            content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    elif how == "cut":
        del content[at:]
    elif how == "zero":
        content[at : at + 4096] = bytes(len(content[at : at + 4096]))
    else:
        content[at] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def said_in_one_sentence(capsys) -> str:
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize(("table", "commands"), [("episodes", ("inspect", "view")), ("media", ("view",))])
def test_a_damaged_file_is_named_with_its_mend_and_exit_code_two(copy, how, table, commands, capsys, tmp_path):
    episode = ShardReader(copy).episode_ids[0]
    spoil(data_file(copy, table), how, 1)
    for command in commands:
        rest = [episode, "--out", str(tmp_path / "o.mp4")] if command == "view" else []
        capsys.readouterr()
        assert cli.main([command, str(copy), *rest]) == 2
        said = said_in_one_sentence(capsys)
        assert f"table {table}" in said
        assert data_file(copy, table).name in said
        assert "put back a copy" in said
        assert ".rs:" not in said


@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize("table", ["episodes", "media"])
def test_validate_lists_a_damaged_file_and_goes_on(copy, how, table, capsys):
    (copy / "rejects" / "stray.parquet").write_bytes(b"")
    spoil(data_file(copy, table), how, 1)
    assert cli.main(["validate", str(copy)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert sum("cannot be read" in line for line in said) == 1, said
    assert any(data_file(copy, table).name in line for line in said)
    assert any("stray.parquet is not listed" in line for line in said)


def test_validate_checks_the_media_where_the_episodes_are_lost(copy, capsys):
    spoil(data_file(copy, "episodes"), "cut", 1)
    spoil(data_file(copy, "media"), "cut", 2)
    assert cli.main(["validate", str(copy)]) == 1
    said = capsys.readouterr().out
    assert data_file(copy, "episodes").name in said
    assert data_file(copy, "media").name in said


def test_a_damaged_version_file_is_named(copy, capsys):
    for version in (copy / "episodes.lance" / "_versions").glob("*.manifest"):
        spoil(version, "cut", 1)
    assert cli.main(["inspect", str(copy)]) == 2
    assert "episodes.lance/_versions" in said_in_one_sentence(capsys)


@pytest.mark.parametrize("how", ["flip", "cut", "zero", "bit"])
def test_no_damage_ends_in_a_traceback(good, tmp_path, how, capfd):
    """Any file of the three tables; every command either ends well, lists problems, or says one sentence."""
    files = sorted(p.relative_to(good) for p in good.rglob("*") if p.is_file() and p.parts[-2] in ("data", "_versions"))
    episode = ShardReader(good).episode_ids[0]
    for seed in range(6):
        rng, copy = random.Random(seed), tmp_path / f"{seed}"
        shutil.copytree(good, copy)
        spoil(copy / rng.choice(files), how, seed)
        assert cli.main(["inspect", str(copy)]) in (0, 2)
        assert cli.main(["validate", str(copy)]) in (0, 1)
        assert cli.main(["view", str(copy), episode, "--out", str(tmp_path / "o.mp4")]) in (0, 2)
        assert "Traceback" not in capfd.readouterr().err


def test_of_several_files_the_one_that_holds_the_row_is_named(tmp_path, make, clip):
    for i in range(3):
        episode = make.episode(f"e{i}", clip.media_id)
        staging.write_part(tmp_path / f"st{i}", [episode], [clip], make.samples(episode))
        writer.commit(tmp_path / f"st{i}", tmp_path / "out", content_hash="h", config={}, run_id=f"r{i}")
    table = tables.open_table(Store(tmp_path / "out"), "episodes")
    files = [tmp_path / "out/episodes.lance/data" / f.data_files()[0].path for f in table.get_fragments()]
    assert len(files) == 3
    whole = files[1].read_bytes()
    # A file without its end cannot be opened; one with zeros in front opens, and its first columns do not decode.
    for content in (whole[:-50], bytes(4096) + whole[4096:]):
        files[1].write_bytes(content)
        table = tables.open_table(Store(tmp_path / "out"), "episodes")
        with pytest.raises(TableDamaged) as caught:
            tables.take(table, [1])
        assert caught.value.file == str(files[1])
        with pytest.raises(TableDamaged) as caught:
            list(tables.batches(table, table.schema.names))
        assert caught.value.file == str(files[1])
        assert any(files[1].name in problem for problem in catalogue.validate(tmp_path / "out", decode=False))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.table, again.file, str(again)) == ("episodes", str(files[1]), str(caught.value))

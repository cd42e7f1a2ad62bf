"""A folder with everything that can be wrong with it: every item is written or rejected with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from unihand_data.errors import Reason
from unihand_data.shards.catalogue import validate


def flip_bits(path: Path, count: int = 60) -> None:
    """Flip bits in the coded pictures of an MP4 (its mdat box), spread over the whole."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 400
    end = data.index(b"moov") - 8 if data.index(b"moov") > start else len(data)
    for at in np.random.default_rng(1).integers(start, end, count):
        data[at] ^= 1 << int(at % 8)
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def mixed(job, recordings, tmp_path_factory):
    """(input folder, output, run) of the quick job over good and bad files."""
    folder = tmp_path_factory.mktemp("mixed")
    good = folder / "good.mp4"
    shutil.copy(recordings / "place.mp4", good)
    (folder / "nested").mkdir()
    shutil.copy(good, folder / "nested" / "copy_of_good.mp4")
    (folder / "truncated.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    shutil.copy(recordings / "reach.mp4", folder / "flipped.mp4")
    flip_bits(folder / "flipped.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "a_web_page.mp4").write_text("<html>404</html>")
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    (folder / "notes.txt").write_text("not a video")
    job.no_hands(folder / "no_hands.mp4")
    output = tmp_path_factory.mktemp("mixed_out") / "shards"
    return folder, output, job.run_here(folder, output)


def test_the_job_ends_well_and_every_item_is_counted_once(job, mixed):
    _, output, ran = mixed
    assert ran.code == 0, ran.err
    held = job.holds(output).summary
    assert held["inputs"] == 8
    assert held["inputs"] == held["written"] + held["rejected"]
    assert held["ignored"] == 1
    assert validate(str(output)) == []


def test_every_bad_item_is_a_row_with_its_reason(job, mixed):
    _, output, _ = mixed
    rows = job.reject_rows(output)
    items = {Path(r["source_uri"]).name: r for r in rows if r["level"] == "item"}
    expected = {
        "truncated.mp4": {"truncated"},
        "empty.mp4": {"empty"},
        "a_web_page.mp4": {"unreadable"},
        "broken.zip": {"unreadable", "unsafe_content", "truncated", "corrupt"},
        "no_hands.mp4": {"no_hands"},
    }
    for name, reasons in expected.items():
        assert items[name]["reason"] in reasons, items[name]
        assert name in items[name]["message"]
    assert {r["reason"] for r in rows} <= {str(r) for r in Reason}
    assert all(r["message"] and r["stage"] for r in rows)


def test_a_copy_is_a_duplicate_and_its_clips_are_there_once(job, mixed):
    _, output, _ = mixed
    held = job.holds(output)
    assert len(set(held.episodes)) == len(held.episodes)
    parents = [r for r in job.rows_of(output).values() if not r.mirrored]
    names = {Path(r.source_uri).name for r in parents}
    assert len([r for r in parents if Path(r.source_uri).name in ("good.mp4", "copy_of_good.mp4")]) == 2
    duplicates = [r for r in job.reject_rows(output) if r["reason"] == "duplicate"]
    assert len(duplicates) == 1
    assert names & {"good.mp4", "copy_of_good.mp4"} == {"good.mp4"}
    assert Path(duplicates[0]["source_uri"]).name == "copy_of_good.mp4"


def test_damaged_pictures_are_lost_with_a_reason_and_never_become_samples(job, mixed):
    _, output, _ = mixed
    losses = [r for r in job.reject_rows(output) if Path(r["source_uri"].split("#")[0]).name == "flipped.mp4"]
    assert losses
    assert {r["reason"] for r in losses} & {"corrupt", "truncated", "too_short"}
    kept = sum(
        r.frames for r in job.rows_of(output).values() if not r.mirrored and Path(r.source_uri).name == "flipped.mp4"
    )
    lost = sum(r["frames"] for r in losses if r["level"] == "clip" or kept == 0)
    assert kept + lost <= 45
    assert kept < 45


def test_the_hand_ratio_counts_rejected_frames_too(job, mixed):
    _, output, _ = mixed
    ratio = job.holds(output).summary["hands"]["frames_with_hand_ratio"]
    assert 0.2 < ratio < 1.0


def test_the_report_names_the_rejects(mixed):
    html = (mixed[1] / "report.html").read_text()
    for reason in ("truncated", "empty", "duplicate", "no_hands"):
        assert f"<td>{reason}</td>" in html


def test_a_second_run_takes_nothing_up_again(job, mixed):
    folder, output, _ = mixed
    before = job.holds(output)
    again = job.run_here(folder, output)
    assert again.code == 0
    assert "skipped 8" in again.out
    assert job.holds(output) == before
    assert len(json.loads((output / "manifest.json").read_text())["tags"]) == 1


def test_too_many_rejects_end_the_job_with_code_3_and_keep_what_is_good(job, mixed, tmp_path, caplog):
    folder, _, _ = mixed
    bad = tmp_path / "bad"
    bad.mkdir()
    for name in ("empty.mp4", "truncated.mp4", "a_web_page.mp4"):
        shutil.copy(folder / name, bad)
    ran = job.run_here(
        bad, tmp_path / "out", "--set", "runner.max_reject_share=0.4", "--set", "runner.min_units_for_share=3"
    )
    assert ran.code == 3
    assert ran.out.count("more than max_reject_share") == 1
    assert "max_reject_share" not in ran.err + caplog.text, "said once, not again in the log"
    held = job.holds(tmp_path / "out")
    assert (held.summary["inputs"], held.summary["rejected"], held.summary["episodes"]) == (3, 3, 0)
    assert (tmp_path / "out" / "report.html").is_file()
    assert validate(str(tmp_path / "out")) == []


def test_a_rejected_item_is_taken_up_again_by_retry_once_it_is_mended(job, mixed, recordings, tmp_path, capsys):
    """The whole way of a mended file: reject, `unihand retry`, run again, written."""
    from unihand_data.cli import main as unihand

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    good = (recordings / "place.mp4").read_bytes()
    (source / "a.mp4").write_bytes(good[:200] + bytes(len(good) - 200))  # the right length, the wrong bytes
    assert job.run_here(source, out).code == 3, "nothing was written"
    assert job.holds(out).summary["rejected"] == 1
    (source / "a.mp4").write_bytes(good)
    reasons = {r["reason"] for r in job.reject_rows(out)}
    assert unihand(["retry", str(out), "--reason", *reasons]) == 0
    capsys.readouterr()
    assert job.run_here(source, out).code == 0
    held = job.holds(out)
    assert (held.summary["written"], held.summary["rejected"], held.rejects) == (1, 0, [])
    assert held.summary["episodes"] == 2

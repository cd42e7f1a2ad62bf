"""``make demo``: what is compared with the truth."""

from __future__ import annotations

from types import SimpleNamespace

from unihand_data.demo import run
from unihand_data.demo.truth import SHIPPED_VIDEO
from unihand_data.ids import hash_file, make_id


def test_rows_of_your_own_video_in_the_same_directory_are_not_compared_with_the_samples_truth(monkeypatch, tmp_path):
    sample = make_id("recording", hash_file(SHIPPED_VIDEO))
    rows = {
        name: SimpleNamespace(recording_id=recording, mirrored=mirrored, provenance={"t0": 0.0}, name=name)
        for name, recording, mirrored in (("a", sample, False), ("b", sample, True), ("c", "mine", False))
    }

    class Reader:
        episode_ids = tuple(rows)

        def __init__(self, directory):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def episode(self, name):
            return rows[name]

    monkeypatch.setattr(run, "ShardReader", Reader)
    monkeypatch.setattr(run, "compare", lambda truth, row, t_offset: row.name)
    monkeypatch.setattr(run, "format_table", str)
    assert run.accuracy(tmp_path) == "a"

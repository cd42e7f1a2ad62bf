"""The job with its default settings on a real egocentric clip that lies beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.samples import sample
from unihand_data.shards.validate import validate

TASKS = {"motion_generation", "motion_continuation", "motion_description"}


@pytest.mark.slow
def test_a_real_kitchen_clip_becomes_valid_rows_with_hands_twin_and_three_tasks(job, tmp_path):
    out: Path = tmp_path / "shards"
    ran = job.run_here(sample("hawor_video"), out, settings=[])
    assert ran.code == 0, ran.out + ran.err
    summary = job.holds(out).summary
    assert (summary["inputs"], summary["written"], summary["rejected"]) == (1, 1, 0)
    assert summary["hands"]["frames_with_hand_ratio"] >= 0.6
    assert {task for task, number in summary["samples"]["by_task"].items() if number} == TASKS
    assert validate(str(out)) == []

    rows = job.rows_of(out).values()
    originals = [row for row in rows if not row.mirrored]
    assert sum(row.frames for row in originals) == 121
    assert {row.parent_id for row in rows if row.mirrored} == {row.episode_id for row in originals}
    for row in originals:
        assert {text.text_source for text in row.language} == {"motion_rules"}
        assert np.isfinite(row.state[row.state_mask]).all()
    assert "data:image/jpeg" in (out / "report.html").read_text()

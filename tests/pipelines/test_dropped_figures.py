"""Clips that a filter drops keep the figures it dropped them for."""

from __future__ import annotations

import json


def test_rejects_hold_the_figures_of_dropped_clips_and_the_report_draws_them(job, one_recording, tmp_path):
    out = tmp_path / "out"
    # no wrist is this steady; nothing is written, which is exit code 3
    ran = job.run_here(one_recording, out, settings=[*job.FAST, "motion.max_jitter_pos_m=1.0e-9"])
    assert ran.code == 3, ran.err
    rows = job.reject_rows(out)
    clips = [json.loads(r["figures"]) for r in rows if r["level"] == "clip"]
    assert len(clips) == 2
    assert all(f["jitter_pos"] > 1e-9 and 0 < f["seen_ratio"] <= 1 and 0 < f["det_mean"] <= 1 for f in clips)
    assert {r["stage"] for r in rows if r["level"] == "clip"} == {"quality"}
    assert [r["figures"] for r in rows if r["level"] == "item"] == [""]
    html = (out / "report.html").read_text()
    assert "<b>wrist jitter</b><br>none kept" in html
    assert "2 dropped (median" in html

"""The whole job with HaWoR's hands: a stand-in checkout with a known motion (tests/unihand_data/hawor)."""

from __future__ import annotations

import json
import sys

import pytest

FRAMES = 40


@pytest.fixture(scope="module")
def hawor(job):
    """The module with the stand-in and its motion."""
    return job.load(job.ROOT / "tests" / "unihand_data" / "hawor" / "conftest.py", "hawor_stand_in")


@pytest.fixture
def source(hawor, tmp_path):
    """A recording the stand-in has an answer for, and one on which it fails."""
    folder = tmp_path / "in"
    folder.mkdir()
    width, height = hawor.SIZE
    lens = {"fx": hawor.FOCAL, "fy": hawor.FOCAL, "cx": (width - 1) / 2, "cy": (height - 1) / 2}
    for name, frames in (("good", FRAMES), ("fails", FRAMES + 1)):
        hawor.write_video(folder / f"{name}.mp4", frames)
        (folder / f"{name}.camera.json").write_text(json.dumps({**lens, "width": width, "height": height}))
    return folder


def test_hands_of_hawor_become_mano_rows_with_their_figures_and_a_failing_clip_a_reject(
    job, hawor, source, tmp_path, monkeypatch
):
    monkeypatch.delenv("UNIHAND_MANO_DIR", raising=False)
    stub = hawor.Stub(tmp_path)
    hawor.make_motion(FRAMES).write(stub.prepared / "window0")
    settings = [
        "hand_estimator=hawor",
        f"hawor.repo={stub.repo}",
        f"hawor.python={sys.executable}",
        "hawor.static_px=null",
        "video.segment.min_seconds=0.4",
    ]
    ran = job.run_here(source, tmp_path / "out", settings=settings)
    assert ran.code == 0, ran.out + ran.err
    rows = job.rows_of(tmp_path / "out").values()
    (row,) = [r for r in rows if not r.mirrored]
    assert {(hand.side, hand.hand_model) for hand in row.hands} == {("left", "mano"), ("right", "mano")}
    assert all(hand.estimator.startswith("hawor-") for hand in row.hands)
    assert row.quality["dba_px"] == pytest.approx(8 * 0.25 * 160 / 572)
    assert row.provenance["camera"] == "hawor"
    assert sorted(row.provenance["models"]) == ["hawor/MANO_LEFT.pkl", "hawor/MANO_RIGHT.pkl"]
    lost = [r for r in job.reject_rows(tmp_path / "out") if r["level"] == "clip"]
    assert [(r["stage"], r["reason"]) for r in lost] == [("hands", "crashed")]
    assert "41 pictures" in lost[0]["message"]
    assert job.holds(tmp_path / "out").summary["rejected"] == 1

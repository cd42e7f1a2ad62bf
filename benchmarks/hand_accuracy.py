"""How far the hand estimator lies from the truth of a generated clip.

    python benchmarks/hand_accuracy.py [--passes fast] [--video CLIP.mp4 --truth TRUTH.npz] [--json OUT.json]

Without arguments it measures the clip that the package ships. Figures: see ``unihand_data.demo.compare``; jitter is
given before and after smoothing. The estimate is made once without smoothing and smoothed here, so that both are of the
same landmarks. The last lines say how many statements of the motion describer about these hands are true by the truth's
own trajectory (``unihand_data.demo.sentences``; the camera is the true one), and how many would be if every hand were
taken for exact.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from unihand_data.curate.motion_quality import MotionSettings, clip_figures
from unihand_data.demo.compare import compare
from unihand_data.demo.sentences import format_score, found_motions, score_sentences
from unihand_data.demo.truth import SHIPPED_TRUTH, SHIPPED_VIDEO, load_truth
from unihand_data.hands import smooth
from unihand_data.hands.config import DetectSettings, HandsSettings, SmoothSettings
from unihand_data.hands.mediapipe_estimator import MediaPipeEstimator, posed, view_camera
from unihand_data.language.motion_trust import HandTrust
from unihand_data.values.camera import Intrinsics
from unihand_data.values.clip import ClipRef
from unihand_data.video.probe import probe

_OFF = SmoothSettings(window_s=0.0, max_gap_s=0.0, outlier_floor_m=1e9, outlier_floor_deg=180.0)
_SHOWN = (
    "detection_rate", "false_frames", "side_accuracy", "wrist_mm", "lateral_mm", "depth_mm", "wrist_deg", "bend_deg",
    "theta_deg", "keypoint_px", "jitter_before_mm", "jitter_mm", "jitter_true_mm",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SHIPPED_VIDEO)
    parser.add_argument("--truth", type=Path, default=SHIPPED_TRUTH)
    parser.add_argument("--passes", choices=("full", "fast"), default="full")
    parser.add_argument("--assumed-camera", action="store_true", help="do not tell the estimator the true intrinsics")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()

    truth, info = load_truth(options.truth), probe(str(options.video))
    fx, fy, cx, cy = map(float, truth.intrinsics)
    camera = Intrinsics(fx, fy, cx, cy, int(truth.size[0]), int(truth.size[1]))
    clip = ClipRef(
        str(options.video), info.pts, info.width, info.height, intrinsics=None if options.assumed_camera else camera
    )
    settings = HandsSettings(detect=DetectSettings(passes=options.passes), smooth=_OFF)
    estimator = MediaPipeEstimator(settings)
    start = time.perf_counter()
    before = estimator.estimate(clip)
    seconds = time.perf_counter() - start
    estimator.close()

    view = view_camera(clip, settings.assumed_hfov_deg)
    after = replace(
        before,
        left=posed(smooth.clean(before.left, clip.pts), view),
        right=posed(smooth.clean(before.right, clip.pts), view),
    )
    figures = compare(truth, after, timestamps=clip.pts, before=before)
    figures["ms_per_frame"] = 1e3 * seconds / len(clip.pts)
    figures["estimator"] = estimator.name
    out = sys.stdout.write
    out(f"{options.video.name}: {len(clip.pts)} frames, {estimator.name}, passes {options.passes}, ")
    out(f"{figures['ms_per_frame']:.0f} ms per frame (model start included)\n")
    out(f"{'':18s}" + "".join(f"{name:>10s}" for name in ("right", "left", "both")) + "\n")
    for key in _SHOWN:
        out(f"{key:18s}" + "".join(f"{figures[side][key]:10.3f}" for side in ("right", "left", "both")) + "\n")
    trusted = found_motions(truth, after, clip_figures(after, None, np.asarray(clip.pts, float), MotionSettings()))
    blind = {side: replace(hand, trust=HandTrust()) for side, hand in trusted.items()}
    for name, hands in (("sentences", trusted), ("sentences_if_exact", blind)):
        figures[name] = score_sentences(truth, clip.pts, hands)
        out(f"{name}: {format_score(figures[name])}\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``make demo``: the whole human-video job on the sample clip or a video of yours; recovered against true motion.

python -m unihand_data.demo.run --output demo_out [--video my.mp4]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from unihand_data.demo.compare import compare, format_table
from unihand_data.demo.truth import SHIPPED_VIDEO, load_truth
from unihand_data.hands.config import HandsSettings
from unihand_data.hands.mediapipe_estimator import MediaPipeEstimator
from unihand_data.ids import hash_file, make_id
from unihand_data.shards.reader import ShardReader
from unihand_data.values.clip import ClipRef
from unihand_data.video.probe import probe

HEADING = (
    "recovered against true motion of the generated clip (intrinsics given; scale, camera motion, hands estimated):"
)


def size_mb(folder: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="demo_out")
    parser.add_argument("--video", help="a video, or a folder of videos, of your own")
    parser.add_argument("--pipeline", default="pipelines/human_video.py")
    parser.add_argument("rest", nargs="*", help="arguments for the pipeline, after --")
    names = parser.parse_args(argv)
    video = Path(names.video).absolute() if names.video else SHIPPED_VIDEO
    output = Path(names.output).absolute()
    print(f"input   {video}")
    print(f"output  {output}", flush=True)
    started = time.monotonic()
    command = [sys.executable, names.pipeline, "--input", str(video), "--output", str(output), *names.rest]
    if names.video is None:
        command[4:4] = ["--dataset", "rendered_clips"]  # ours, and no filmed one
    code = subprocess.run(command, check=False).returncode
    if code:
        return code
    minutes = (time.monotonic() - started) / 60
    if names.video is None:
        print(f"\n{HEADING}")
        print(accuracy(output))
        print(without_intrinsics(), flush=True)
    print(f"\n{minutes:.1f} minutes, {size_mb(output):.0f} MB in {output}")
    print(f"open {output / 'report.html'}; then: .venv/bin/unihand inspect {names.output} --json")
    return 0


def accuracy(output: Path) -> str:
    """The comparison of the sample clip's rows with its truth, as text. A clip cut out of it is compared from its own
    start on; rows of other recordings in the same directory are left out."""
    truth, blocks = load_truth(), []
    sample = make_id("recording", hash_file(SHIPPED_VIDEO))
    with ShardReader(str(output)) as reader:
        for episode_id in reader.episode_ids:
            row = reader.episode(episode_id)
            if row.mirrored or row.recording_id != sample:
                continue
            figures = compare(truth, row, t_offset=float(row.provenance["t0"]))
            blocks += [format_table(figures), *smoothing(row.quality)]
    return "\n".join(blocks) or "no clip was kept; see the rejects in report.html"


def without_intrinsics(frames: int | None = None) -> str:
    """The hands of the sample clip estimated once more from the same bytes without ``ego_pick.camera.json``: what a
    clip gets whose camera nobody measured. The job's own rows are not touched. ``frames``: only so many first ones.

    Raises: Reject as the estimator does."""
    info = probe(str(SHIPPED_VIDEO))
    clip = ClipRef(str(SHIPPED_VIDEO), info.pts[:frames], info.width, info.height)
    settings = HandsSettings()
    estimator = MediaPipeEstimator(settings)
    try:
        both = compare(load_truth(), estimator.estimate(clip), timestamps=np.asarray(clip.pts, float))["both"]
    finally:
        estimator.close()
    return (
        f"\nwith assumed intrinsics ({settings.assumed_hfov_deg:g} degrees across the longer side, as a clip of yours "
        f"has them without a NAME.camera.json): wrist {both['wrist_mm']:.1f} mm (depth {both['depth_mm']:.1f}, across "
        f"the ray {both['lateral_mm']:.1f}), rotation {both['wrist_deg']:.1f} degrees, found in "
        f"{100 * both['detection_rate']:.1f} %"
    )


def smoothing(quality: dict[str, float]) -> list[str]:
    """What smoothing changed, by the row's own figures: a frame against the middle of its neighbours, motion included;
    nothing for hands that were not smoothed."""
    kinds = (("wrist", "pos", 1e3, "mm"), ("wrist rotation", "rot", 180.0 / np.pi, "deg"))
    return [
        f"{name} {side}, RMS against the middle of its neighbours: {quality[before] * factor:.2f} {unit} before "
        f"smoothing, {quality[after] * factor:.2f} {unit} after"
        for name, kind, factor, unit in kinds
        for side in ("right", "left")
        if (before := f"smooth_{kind}_before_{side}") in quality and (after := f"smooth_{kind}_after_{side}") in quality
    ]


if __name__ == "__main__":
    sys.exit(main())

"""See detect_track_video.py."""

from pathlib import Path

from lib.pipeline.behaviour import behave, option, place
from lib.pipeline.masked_droid_slam import run_slam


def Metric3D(path):
    return path


def est_scale_hybrid(slam_depth, pred_depth, **kwargs):
    return pred_depth / slam_depth


def hawor_slam(args, start_idx, end_idx):
    Metric3D("weights")
    behave("slam")
    folder = args.video_path.rsplit(".", 1)[0]
    run_slam(sorted(Path(folder, "extracted_images").glob("*.jpg")), masks=None)
    print("DBA errors:", option("dba_errors", [9.0, 0.25]))
    for metric in option("scales", [1.9, 2.0, 2.1]):
        est_scale_hybrid(1.0, metric)
    place(folder, "SLAM/*.npz")

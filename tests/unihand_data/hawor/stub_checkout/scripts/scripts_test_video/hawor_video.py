"""See detect_track_video.py."""

import glob
import json
from pathlib import Path

import joblib
from lib.pipeline.behaviour import behave, place


def load_hawor(checkpoint_path):
    with open("loads.txt", "a") as f:
        f.write(checkpoint_path + "\n")
    return checkpoint_path


def hawor_motion_estimation(args, start_idx, end_idx, seq_folder):
    load_hawor(args.checkpoint)
    behave("hands")
    Path("asked.json").write_text(json.dumps(vars(args)))
    place(seq_folder, "tracks_*/frame_chunks_all.npy")
    place(seq_folder, "cam_space/*/*.json")
    return joblib.load(glob.glob(f"{seq_folder}/tracks_*/frame_chunks_all.npy")[0]), args.img_focal


def hawor_infiller(args, start_idx, end_idx, frame_chunks_all):
    behave("infiller")
    place(args.video_path.rsplit(".", 1)[0], "world_space_res.pth")
    behave("end", folder=args.video_path.rsplit(".", 1)[0])

"""A stand-in with the names our driver calls. It puts prepared files in place, or fails as it is told."""

from pathlib import Path

from lib.pipeline.behaviour import behave, place


def detect_track(imgfiles, thresh=0.5):
    behave("detect")
    Path("threshold.txt").write_text(str(thresh))
    return [], {}


def detect_track_video(args):
    folder = args.video_path.rsplit(".", 1)[0]
    pictures = sorted(Path(folder, "extracted_images").glob("*.jpg"))
    detect_track(pictures, thresh=0.2)
    place(folder, "tracks_*/model_*.npy", frames=len(pictures))
    return 0, len(pictures), folder, [str(p) for p in pictures]

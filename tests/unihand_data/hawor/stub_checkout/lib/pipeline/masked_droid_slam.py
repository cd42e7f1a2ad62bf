"""See detect_track_video.py."""

from types import SimpleNamespace

from lib.pipeline.behaviour import option

args = SimpleNamespace(buffer=20)


def run_slam(imagedir, masks, calib=None):
    with open("buffer.txt", "w") as f:
        f.write(str(args.buffer))
    errors = option("dba_errors", [9.0, 0.25])
    backend = SimpleNamespace() if option("dba_only_printed", False) else SimpleNamespace(errors=errors)
    return SimpleNamespace(backend=backend), None

"""Runs inside the *user's* HaWoR environment (Python 3.8 or later): standard library and what HaWoR itself imports.

It calls the four functions of HaWoR's demo and keeps what the demo throws away: the errors of dense bundle adjustment
(only printed), the scale of every keyframe (only the median is saved), which frames were seen before the infiller ran.
They go to ``unihand_sidecar.json`` in the result folder. Names used are those of HaWoR 66c7d41.

One JSON object per line on stdin asks, one per line on stdout answers; everything HaWoR prints goes to stderr.

    {"repo", "keep_models"}                          -> {"ready": {...}}
    {"do": "hands", "args": {...}, "threshold"}      -> {"answer": {"start", "end", "folder", "detected"}}
    {"do": "camera", "args": {...}, "static": bool}  -> {"answer": {...}}
    either may answer                                   {"error": {"step", "type", "message", "place", "oom"}}
"""

# ruff: noqa: UP031
# mypy: ignore-errors

import argparse
import json
import os
import sys
import threading
import time
import traceback

SIDECAR = "unihand_sidecar.json"
#: frames the trajectory filler puts behind the keyframes, and some to spare
_BUFFER_MARGIN = 32


class Steps:
    """HaWoR's modules with the wrappers in place."""

    def __init__(self, keep_models):
        from scripts.scripts_test_video import detect_track_video, hawor_slam, hawor_video

        self.detect, self.video, self.slam = detect_track_video, hawor_video, hawor_slam
        self.missing = []
        self.threshold = 0.2
        self.seen = {}  # per SLAM run: errors, size, keyframes, scales
        self.chunks = {}
        self._wrap(self.detect, "detect_track", self._detect)
        self._wrap(self.slam, "run_slam", self._run_slam)
        self._wrap(self.slam, "est_scale_hybrid", self._est_scale)
        if keep_models:
            self._keep(self.video, "load_hawor")
            self._keep(self.slam, "Metric3D")

    def _wrap(self, module, name, wrapper):
        original = getattr(module, name, None)
        if original is None:
            self.missing.append(name)
            return
        setattr(module, name, lambda *args, **kwargs: wrapper(original, *args, **kwargs))

    def _keep(self, module, name):
        original, made = getattr(module, name, None), {}
        if original is None:
            self.missing.append(name)
            return

        def once(*args):
            if args not in made:
                made[args] = original(*args)
            return made[args]

        setattr(module, name, once)

    def _detect(self, original, *args, **kwargs):
        kwargs["thresh"] = self.threshold
        return original(*args, **kwargs)

    def _run_slam(self, original, images, *args, **kwargs):
        self._room_for(len(images))
        droid, traj = original(images, *args, **kwargs)
        backend = getattr(droid, "backend", None)
        self.seen["dba_errors"] = [float(e) for e in getattr(backend, "errors", [])]
        size = getattr(getattr(droid, "args", None), "image_size", None)
        if size is not None:
            self.seen["slam_size"] = [int(size[1]), int(size[0])]
        return droid, traj

    def _room_for(self, frames):
        """DROID holds 512 keyframes by default; more of them would be written behind its buffer's end."""
        module = sys.modules.get("lib.pipeline.masked_droid_slam")
        options = getattr(module, "args", None)
        if options is not None and getattr(options, "buffer", frames) < frames + _BUFFER_MARGIN:
            options.buffer = frames + _BUFFER_MARGIN

    def _est_scale(self, original, *args, **kwargs):
        scale = original(*args, **kwargs)
        if scale == scale:  # NaN is tried again with wider limits
            self.seen.setdefault("scales", []).append(float(scale))
        return scale

    def hands(self, request):
        args = argparse.Namespace(**request["args"])
        self.threshold = request["threshold"]
        start, end, folder, _ = self.detect.detect_track_video(args)
        chunks, focal = self.video.hawor_motion_estimation(args, start, end, folder)
        self.chunks = {args.video_path: (start, end, folder, chunks)}
        detected = _detected(chunks)
        return {"start": start, "end": end, "folder": folder, "focal": float(focal), "detected": detected}

    def camera(self, request):
        args = argparse.Namespace(**request["args"])
        if args.video_path not in self.chunks:  # the process was started anew in between; HaWoR finds its own files
            self.hands(request)
        start, end, folder, chunks = self.chunks.pop(args.video_path)
        self.seen = {}
        if request["static"]:
            _static_camera(folder, start, end, args.img_focal)
        else:
            try:
                self.slam.hawor_slam(args, start, end)
            except Exception as error:
                error.unihand_step = "slam"
                raise
        self.video.hawor_infiller(args, start, end, chunks)
        sidecar = dict(self.seen, schema=1, static=bool(request["static"]), detected=_detected(chunks))
        sidecar["missing"] = self.missing
        _write_json(os.path.join(folder, SIDECAR), sidecar)
        return sidecar


def _detected(chunks):
    """Frames of the left (0) and right (1) hand that came from a detection."""
    return {
        str(side): sorted({int(f) for chunk in chunks[side] for f in chunk}) if side in chunks else []
        for side in (0, 1)
    }


def _static_camera(folder, start, end, focal):
    """What SLAM would write for a camera that does not move (it fails on one)."""
    import numpy as np

    os.makedirs(os.path.join(folder, "SLAM"), exist_ok=True)
    traj = np.zeros((end - start, 7), np.float32)
    traj[:, 6] = 1.0
    np.savez(
        os.path.join(folder, "SLAM", "hawor_slam_w_scale_%d_%d.npz" % (start, end)),
        tstamp=np.arange(end - start), disps=np.ones((1, 1, 1), np.float32), traj=traj,
        img_focal=focal, img_center=np.zeros(2), scale=1.0,
    )  # fmt: skip


def _write_json(path, value):
    with open(path + ".tmp", "w") as f:
        json.dump(value, f)
    os.replace(path + ".tmp", path)


def _end_with(parent):
    """A step may run for many minutes; nobody waits for it when the parent is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _is_oom(error):
    text = "%s %s" % (type(error).__name__, error)
    return isinstance(error, MemoryError) or "OutOfMemory" in text or "out of memory" in text.lower()


def _failure(error):
    return {
        "step": getattr(error, "unihand_step", ""),
        "type": type(error).__name__,
        "message": str(error)[:1000],
        "place": " < ".join("%s:%d" % (os.path.basename(f.filename), f.lineno) for f in _frames(error)),
        "oom": _is_oom(error),
    }


def _frames(error):
    return list(reversed(traceback.extract_tb(error.__traceback__)))[:4]


def main():
    asks = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # programs HaWoR starts must not eat requests
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def say(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    start = json.loads(asks.readline())
    try:
        os.chdir(start["repo"])  # its weights are named relative to the checkout
        sys.path.insert(0, start["repo"])
        steps = Steps(start["keep_models"])
    except Exception as error:
        traceback.print_exc()
        say({"error": _failure(error)})
        return 1
    say({"ready": {"missing": steps.missing}})
    for line in iter(asks.readline, ""):
        request = json.loads(line)
        try:
            say({"answer": {"hands": steps.hands, "camera": steps.camera}[request["do"]](request)})
        except Exception as error:
            traceback.print_exc()
            say({"error": _failure(error)})
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

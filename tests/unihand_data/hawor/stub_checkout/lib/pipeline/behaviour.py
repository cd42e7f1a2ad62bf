"""What the stand-in does, from ``stub.json`` beside the checkout: {"<step>": "<failure>", ..., "prepared": folder}."""

import glob
import json
import os
import shutil
import signal
import sys
import time


def option(name, default=None):
    if not os.path.exists("stub.json"):
        return default
    with open("stub.json") as f:
        return json.load(f).get(name, default)


def behave(step, folder=None):
    what = option(step)
    if what == "hang":
        time.sleep(600)
    elif what == "exit":
        os._exit(3)
    elif what == "system_exit":
        sys.exit(4)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "oom":
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
    elif what == "oom_text_and_exit":
        print("torch.cuda.OutOfMemoryError: CUDA out of memory.", file=sys.stderr, flush=True)
        os._exit(1)
    elif what == "raise":
        raise ValueError("no keyframes")
    elif what and what.startswith("cut:"):
        path = os.path.join(folder, what[4:])
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) // 2)
    elif what and what.startswith("drop:"):
        path = os.path.join(folder, what[5:])
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def place(folder, pattern, frames=None):
    """Copy prepared files of the window (named as the folder) that match."""
    source = os.path.join(option("prepared"), os.path.basename(folder))
    if frames is not None and not os.path.isdir(os.path.join(source, f"tracks_0_{frames}")):
        raise RuntimeError(f"{frames} pictures for {os.listdir(source)}")
    for path in glob.glob(os.path.join(source, pattern)):
        target = os.path.join(folder, os.path.relpath(path, source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)

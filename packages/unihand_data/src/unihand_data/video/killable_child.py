"""The worker's side of :mod:`unihand_data.video.killable`: started as ``python -m unihand_data.video.killable_child``.

It never outlives its parent. Three independent ways, because each has a hole: the kernel's parent-death signal (Linux;
only asked for when the parent's main thread started us, since it fires when the starting *thread* ends), SIGIO on the
life pipe (its default action ends the process even while native code holds the interpreter's lock) and a thread that
waits for the pipe's end (everywhere else).
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from unihand_data.errors import Reject
from unihand_data.video.wire import Channel

_PR_SET_PDEATHSIG = 1
_channel: Channel | None = None
_last_beat = 0.0


def heartbeat() -> None:
    """Tell the parent that work goes on: its deadline starts anew. At most once a second; nothing outside a worker."""
    global _last_beat
    now = time.monotonic()
    if _channel is not None and now - _last_beat >= 1.0:
        _last_beat = now
        _channel.send({"beat": True})


def load(target: str) -> Callable[..., Any]:
    """``module:function`` to the function."""
    module, _, name = target.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    if not callable(value):
        raise TypeError(f"{target} is a {type(value).__name__}, not a function")
    return value


def _die_with_parent(life_fd: int, parent: int, use_pdeathsig: bool) -> None:
    if use_pdeathsig and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if hasattr(signal, "SIGIO") and hasattr(os, "O_ASYNC"):
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(life_fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life_fd, fcntl.F_SETFL, fcntl.fcntl(life_fd, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent:  # it died before the lines above were in place
        os._exit(1)

    def watch() -> None:
        while os.read(life_fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, Reject):
        return {
            "reject": {
                "reason": str(error.reason),
                "message": error.message,
                "level": error.level,
                "frames": error.frames,
                "frames_with_hand": error.frames_with_hand,
                "duration_s": float(error.duration_s),
            }
        }
    text = "".join(traceback.format_exception(error))[-6000:]
    return {"error": text, "kind": type(error).__name__, "errno": getattr(error, "errno", None)}


def main(argv: list[str]) -> int:
    global _channel
    sock_fd, life_fd, parent, use_pdeathsig = (int(a) for a in argv)
    _die_with_parent(life_fd, parent, bool(use_pdeathsig))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    channel = Channel(socket.socket(fileno=sock_fd))
    try:
        start = channel.receive()
        # Where the parent could import the target from, so can we (a Ray working_dir, a test's folder).
        sys.path.extend(p for p in start["sys_path"] if p not in sys.path)
        if start["memory_mb"]:
            import resource

            limit = int(start["memory_mb"]) << 20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        _channel = channel
        try:
            function = load(start["target"])(**start["kwargs"])
        except Exception as error:
            channel.send(_failure(error))
            return 1
        channel.send({"ready": os.getpid()})
        while True:
            request = channel.receive()
            try:
                answer = {"value": function(request["value"])}
                channel.send(answer)
            except EOFError:
                raise
            except Exception as error:  # reported to the parent, which raises it there
                channel.send(_failure(error))
    except EOFError:
        return 0


if __name__ == "__main__":
    # run as a script this file is ``__main__``; the heartbeat of whoever imports it must reach the same channel
    sys.exit(importlib.import_module("unihand_data.video.killable_child").main(sys.argv[1:]))

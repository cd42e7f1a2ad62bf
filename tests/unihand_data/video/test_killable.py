"""A worker that may hang, crash or lie, seen from the caller's side."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unihand_data.errors import Reason, Reject
from unihand_data.video.killable import KillableWorker, WorkerError
from unihand_data.video.wire import Channel, WireError

TARGETS = """
import ctypes, os, signal, socket, subprocess, sys, time
import numpy as np
from unihand_data.errors import Reason, Reject
from unihand_data.video.killable_child import heartbeat


def echo(**kwargs):
    return lambda request: {"request": request, "kwargs": kwargs, "pid": os.getpid()}


def moody():
    def call(request):
        mood = request.get("mood")
        if mood == "hang":
            time.sleep(1000)
        elif mood == "hang_holding_the_lock":
            ctypes.PyDLL(None).sleep(1000)
        elif mood == "segv":
            print("about to write to address 0", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        elif mood == "oom":
            os.kill(os.getpid(), signal.SIGKILL)
        elif mood == "exit":
            os._exit(7)
        elif mood == "reject":
            raise Reject(Reason.TRUNCATED, "film.mp4: 3 of 9 frames", level="item", frames=9, duration_s=0.3)
        elif mood == "bug":
            raise ZeroDivisionError("one over nothing")
        elif mood == "beat":
            for _ in range(5):
                time.sleep(0.7)
                heartbeat()
        elif mood == "object":
            return {"a": np.array([object()])}
        elif mood == "garbage":
            from unihand_data.video import killable_child
            killable_child._channel.sock.sendall(b"\\x05" + bytes(7) + b"\\xc1\\xc1\\xc1\\xc1\\xc1")
            time.sleep(1000)
        elif mood == "grandchild":
            return {"pid": subprocess.Popen(["sleep", "1000"]).pid}
        elif mood == "huge":
            return {"n": len(bytes(1 << 32))}
        return {"pid": os.getpid(), "mood": mood}

    return call


def slow_build():
    time.sleep(1000)


def broken_build():
    raise ImportError("no model file")
"""


@pytest.fixture
def targets(tmp_path, monkeypatch):
    """Prefix of the functions above, in a module that only this test's sys.path has."""
    name = f"killable_targets_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def moody(targets):
    with KillableWorker(f"{targets}:moody", timeout_s=20) as worker:
        yield worker


def gone(pid: int) -> bool:
    """Whether the process is dead (a zombie counts: nobody may be there to reap it)."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition) -> bool:
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_values_and_arrays_come_back_as_they_were_sent(targets):
    request = {"s": "é", "n": [1, 2.5, None, True], "m": {"b": b"\x00\xff"}, "t": (1, 2)}
    arrays = {"f": np.arange(6.0).reshape(2, 3), "u8": np.zeros((0, 4), np.uint8), "x": np.array(3, np.int16)}
    with KillableWorker(f"{targets}:echo", {"scale": 2, "w": np.eye(2)}, timeout_s=20) as worker:
        answer = worker.call({**request, **arrays})
        again = worker.call({})
    assert answer["request"] | arrays == request | {"t": [1, 2]} | arrays
    for key, a in arrays.items():
        got = answer["request"][key]
        assert got.dtype == a.dtype
        np.testing.assert_array_equal(got, a)
    np.testing.assert_array_equal(answer["kwargs"]["w"], np.eye(2))
    assert again["pid"] == answer["pid"], "one process serves many calls"
    assert gone(answer["pid"])


def test_a_hanging_call_is_a_timeout_that_names_the_file_and_the_next_call_works(moody):
    first = moody.call({})["pid"]
    with pytest.raises(Reject) as caught:
        moody.call({"mood": "hang"}, name="film.mp4", timeout_s=0.3)
    assert caught.value.reason is Reason.TIMEOUT
    assert caught.value.level == "clip"
    assert "film.mp4" in caught.value.message
    assert gone(first)
    assert moody.call({})["pid"] != first
    assert moody.starts == 2


@pytest.mark.parametrize(("mood", "word"), [("segv", "SIGSEGV"), ("oom", "out of memory"), ("exit", "exit code 7")])
def test_a_dying_call_is_a_crash_that_says_how(moody, mood, word):
    with pytest.raises(Reject) as caught:
        moody.call({"mood": mood}, name="film.mp4", level="item")
    assert caught.value.reason is Reason.CRASHED
    assert caught.value.level == "item"
    assert word in caught.value.message
    assert "film.mp4" in caught.value.message
    if mood == "segv":
        assert "about to write to address 0" in caught.value.message
    assert moody.call({"mood": "fine"})["mood"] == "fine"


def test_a_reject_from_inside_arrives_unchanged_and_does_not_cost_the_process(moody):
    pid = moody.call({})["pid"]
    with pytest.raises(Reject) as caught:
        moody.call({"mood": "reject"})
    assert (caught.value.reason, caught.value.level) == (Reason.TRUNCATED, "item")
    assert (caught.value.message, caught.value.frames) == ("film.mp4: 3 of 9 frames", 9)
    assert moody.call({})["pid"] == pid


def test_a_bug_inside_is_an_error_with_its_traceback_and_not_a_reject(moody):
    with pytest.raises(WorkerError, match="one over nothing"):
        moody.call({"mood": "bug"}, name="film.mp4")
    with pytest.raises(WorkerError, match="dtype object"):
        moody.call({"mood": "object"})
    assert moody.starts == 1


def test_an_answer_that_is_no_message_is_a_crash(moody):
    with pytest.raises(Reject) as caught:
        moody.call({"mood": "garbage"})
    assert caught.value.reason is Reason.CRASHED
    assert moody.call({"mood": "fine"})["mood"] == "fine"


def test_heartbeats_keep_a_long_call_alive_but_not_past_the_total_limit(targets):
    with KillableWorker(f"{targets}:moody", timeout_s=20) as worker:
        worker.call({})
        assert worker.call({"mood": "beat"}, timeout_s=2.5)["mood"] == "beat"
    with KillableWorker(f"{targets}:moody", timeout_s=20, total_timeout_s=1.5) as worker, pytest.raises(Reject):
        worker.call({"mood": "beat"})


def test_a_build_that_hangs_or_fails_is_reported(targets):
    with pytest.raises(Reject) as caught:
        KillableWorker(f"{targets}:slow_build", start_timeout_s=1).call({}, name="film.mp4")
    assert caught.value.reason is Reason.TIMEOUT
    with pytest.raises(WorkerError, match="no model file"):
        KillableWorker(f"{targets}:broken_build").call({})
    with pytest.raises(WorkerError, match="no_such_function"):
        KillableWorker(f"{targets}:no_such_function").call({})


def test_a_worker_killed_between_two_calls_is_replaced_silently(moody):
    pid = moody.call({})["pid"]
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: moody.pid is None)
    assert moody.call({})["pid"] != pid


def test_memory_limit_turns_a_greedy_call_into_an_error_instead_of_a_full_machine(targets):
    with KillableWorker(f"{targets}:moody", timeout_s=20, memory_mb=2048) as worker:
        with pytest.raises(WorkerError, match="MemoryError"):
            worker.call({"mood": "huge"})
        assert worker.call({"mood": "fine"})["mood"] == "fine"


def test_a_worker_is_recycled_after_the_given_number_of_calls(targets):
    with KillableWorker(f"{targets}:moody", timeout_s=20, recycle_after=2) as worker:
        pids = [worker.call({})["pid"] for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_the_workers_own_children_end_with_it(moody):
    child = moody.call({"mood": "grandchild"})["pid"]
    moody.close()
    assert wait_until(lambda: gone(child))


def test_a_worker_pickles_as_its_arguments(targets):
    with KillableWorker(f"{targets}:echo", {"a": 1}, timeout_s=3, recycle_after=9) as worker:
        pid = worker.call({})["pid"]
        copy = pickle.loads(pickle.dumps(worker))
        assert copy.recycle_after == 9
        assert copy.call({})["kwargs"] == {"a": 1}
        assert copy.pid != pid
        copy.close()


def test_functions_that_no_worker_can_import_are_refused():
    with pytest.raises(ValueError, match="top of a module"):
        KillableWorker(lambda: None)


@pytest.mark.parametrize("busy", ["idle", "hang", "hang_holding_the_lock"])
@pytest.mark.parametrize("thread", [False, True])
def test_no_worker_survives_its_parents_sigkill(targets, tmp_path, busy, thread):
    script = textwrap.dedent(f"""
        import sys, threading, time
        sys.path.insert(0, {str(tmp_path)!r})
        from unihand_data.video.killable import KillableWorker
        def go():
            worker = KillableWorker("{targets}:moody", timeout_s=1000)
            print(worker.call({{}})["pid"], flush=True)
            if {busy!r} != "idle":
                worker.call({{"mood": {busy!r}}})
            time.sleep(1000)
        if {thread}:
            t = threading.Thread(target=go); t.start(); t.join()
        go()
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert not gone(pid)
        parent.kill()
        parent.wait()
        assert wait_until(lambda: gone(pid)), "the worker outlived its parent"
    finally:
        for p in (parent.pid, locals().get("pid")):
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(p, signal.SIGKILL)
        parent.stdout.close()


def test_a_worker_outlives_the_thread_that_started_it(targets):
    pids = []
    with KillableWorker(f"{targets}:moody", timeout_s=20) as worker:
        for _ in range(2):
            thread = threading.Thread(target=lambda: pids.append(worker.call({})["pid"]))
            thread.start()
            thread.join()
    assert pids[0] == pids[1]


@given(hnp.arrays(st.sampled_from(["<f8", ">f4", "u1", "?", "<U3", "c8"]), hnp.array_shapes(min_dims=0, min_side=0)))
@settings(max_examples=40, deadline=None)
def test_any_plain_array_crosses_the_wire(array):
    import socket

    a, b = socket.socketpair()
    left, right = Channel(a), Channel(b)
    try:
        left.send({"x": array})
        got = right.receive(time.monotonic() + 20)["x"]
    finally:
        left.close()
        right.close()
    assert got.shape == array.shape
    np.testing.assert_array_equal(got, array)


def test_the_wire_refuses_objects_and_lies_about_sizes():
    import socket

    import msgpack

    a, b = socket.socketpair()
    left, right = Channel(a), Channel(b)
    with pytest.raises(TypeError, match="object"):
        left.send({"x": np.array([None])})
    for bad in (["|O", [1], 8], ["<f8", [10], 8], ["<f8", [1 << 40], 8 << 40], ["<f8", [-1], -8]):
        header = msgpack.packb({"x": msgpack.ExtType(1, msgpack.packb(bad))})
        a.sendall(len(header).to_bytes(8, "little") + header)
        with pytest.raises(WireError):
            right.receive(time.monotonic() + 20)
    left.close()
    right.close()

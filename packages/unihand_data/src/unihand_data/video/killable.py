"""A worker process that may hang or die without taking the job along.

Native decoders and landmark models fail in ways Python cannot catch: they deadlock, they write outside their memory,
the kernel ends them for want of memory. So they run in a process of their own. A call that is not answered in time, or
whose process ends, kills what is left of the worker, becomes ``Reject(TIMEOUT | CRASHED)`` with the file's name and the
tail of the worker's stderr, and the next call starts a new worker.

    worker = KillableWorker("unihand_data.video.worker:build", {}, timeout_s=60)
    answer = worker.call({"do": "scan", "path": path}, name=path)

Messages are those of :mod:`unihand_data.video.wire` (plain values and numpy arrays, no pickle).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from unihand_data.errors import Level, Reason, Reject
from unihand_data.video.wire import Channel, WireError

_STDERR_TAIL = 2000
_STDERR_KEEP = 1 << 20


class WorkerError(RuntimeError):
    """The function inside the worker raised something that is no Reject: a bug, with the worker's traceback.

    ``kind`` is the name of the error's type, ``errno`` its number where it has one.
    """

    def __init__(self, message: str, kind: str = "", errno: int | None = None):
        super().__init__(message)
        self.kind, self.errno = kind, errno


@dataclass
class _Process:
    """What belongs to one started worker; ended by :meth:`end`, at the latest when it is collected."""

    popen: subprocess.Popen
    channel: Channel
    life: int  # write end of the life pipe: closing it ends the child
    stderr: IO[bytes]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)  # its own session, so its children go too
        self.channel.close()
        with contextlib.suppress(OSError):
            os.close(self.life)
        # A process in uninterruptible sleep (a dead network disk) cannot be waited for; it dies when the disk answers.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(10)
        self.stderr.close()

    def tail(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self.stderr.fileno()).st_size
            text = os.pread(self.stderr.fileno(), _STDERR_TAIL, max(0, size - _STDERR_TAIL)).decode(errors="replace")
            return " ".join(text.split())[-600:]
        return ""


class KillableWorker:
    """Calls ``build(**kwargs)`` in a process of its own, then its result once per request.

    Args:
        target: ``"module:function"`` or a function defined at the top of an importable module. It returns a callable
            ``(request: dict) -> value``; request and value are plain values and numpy arrays.
        kwargs: arguments of ``build``, of the same kinds.
        timeout_s: seconds a call may go without an answer or a
            :func:`~unihand_data.video.killable_child.heartbeat`.
        start_timeout_s: seconds for starting, importing and building (models load there).
        level: level of the Rejects raised here; one call can override it.
        total_timeout_s: seconds for a whole call, heartbeats or not (None: no limit).
        recycle_after: start a fresh process after so many calls (bounds leaks of native libraries).
        memory_mb: address-space limit of the worker (None: none).
        python: interpreter of another environment; it needs numpy, msgpack and the worker's own imports.

    A worker is thread-safe (one call at a time), pickles as its arguments and is a context manager.
    """

    def __init__(
        self,
        target: str | Callable[..., Any],
        kwargs: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
        *,
        start_timeout_s: float = 120.0,
        level: Level = "clip",
        total_timeout_s: float | None = None,
        recycle_after: int | None = None,
        memory_mb: int | None = None,
        python: str | None = None,
    ):
        self.target = target if isinstance(target, str) else _name_of(target)
        self.kwargs = dict(kwargs or {})
        self.timeout_s, self.start_timeout_s, self.total_timeout_s = timeout_s, start_timeout_s, total_timeout_s
        self.level: Level = level
        self.recycle_after, self.memory_mb, self.python = recycle_after, memory_mb, python
        self.starts = 0  # processes started so far
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._owner = os.getpid()
        self._calls = 0
        self._finalizer: weakref.finalize | None = None

    def call(
        self, request: Mapping[str, Any], *, name: str = "", timeout_s: float | None = None, level: Level | None = None
    ) -> Any:
        """One request, one answer.

        Args:
            request: plain values and numpy arrays.
            name: the file this is about, for the message.
            timeout_s, level: instead of the worker's own.

        Raises:
            Reject: TIMEOUT or CRASHED from here; any Reject the function raised, as it raised it.
            WorkerError: the function raised anything else.
        """
        with self._lock:
            return self._call(request, name, timeout_s or self.timeout_s, level or self.level)

    __call__ = call

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, None when none runs."""
        return self._process.popen.pid if self._alive() and self._process else None

    def close(self) -> None:
        """End the worker. A later call starts a new one."""
        with self._lock:
            self._end()

    def __enter__(self) -> KillableWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self):
        options = {
            "start_timeout_s": self.start_timeout_s,
            "level": self.level,
            "total_timeout_s": self.total_timeout_s,
            "recycle_after": self.recycle_after,
            "memory_mb": self.memory_mb,
            "python": self.python,
        }
        return (_rebuild, (self.target, self.kwargs, self.timeout_s, options))

    # -- one call ------------------------------------------------------------------------------------------------

    def _call(self, request: Mapping[str, Any], name: str, timeout_s: float, level: Level) -> Any:
        if self._owner != os.getpid():  # we are a fork: the process belongs to our parent
            self._forget()
        if self.recycle_after and self._calls >= self.recycle_after:
            self._end()
        if not self._alive():
            self._end()
            self._start(name, level)
        assert self._process is not None
        self._calls += 1
        limit = time.monotonic() + self.total_timeout_s if self.total_timeout_s else float("inf")
        try:
            self._process.channel.send({"value": dict(request)}, min(limit, time.monotonic() + timeout_s))
        except (TimeoutError, EOFError) as error:
            self._fail(error, name, timeout_s, level)
        return self._answer(name, timeout_s, limit, level)

    def _answer(self, name: str, timeout_s: float, limit: float, level: Level) -> Any:
        process = self._process
        assert process is not None
        while True:
            try:
                message = process.channel.receive(min(limit, time.monotonic() + timeout_s))
            except (TimeoutError, EOFError, WireError) as error:
                self._fail(error, name, timeout_s, level)
            except BaseException:  # interrupted half-way through an answer: the channel is out of step
                self._end()
                raise
            if "beat" in message:
                continue
            self._trim_stderr(process)
            if "reject" in message:
                r = message["reject"]
                raise Reject(
                    Reason(r["reason"]),
                    r["message"],
                    level=r["level"],
                    frames=r["frames"],
                    frames_with_hand=r["frames_with_hand"],
                    duration_s=r["duration_s"],
                )
            if "error" in message:
                text = f"{self.target} on {name or 'a request'}: {message['error']}"
                raise WorkerError(text, message.get("kind", ""), message.get("errno"))
            return message.get("value", message.get("ready"))

    def _fail(self, error: Exception, name: str, timeout_s: float, level: Level) -> NoReturn:
        process = self._process
        assert process is not None
        what = name or self.target
        if isinstance(error, TimeoutError):
            reason = Reason.TIMEOUT
            text = f"{what}: no answer from {self.target} within {timeout_s:g} s; its process was ended"
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(5)
            reason = Reason.CRASHED
            text = f"{what}: the process of {self.target} ended ({_ending(process.popen.returncode)})"
            if isinstance(error, WireError):
                text = f"{what}: {self.target} answered {error}; its process was ended"
        tail = process.tail()
        self._end()
        raise Reject(reason, f"{text}; stderr: {tail or 'empty'}", level=level) from error

    # -- the process ---------------------------------------------------------------------------------------------

    def _alive(self) -> bool:
        return self._process is not None and self._process.popen.poll() is None

    def _start(self, name: str, level: Level) -> None:
        ours, theirs = socket.socketpair()
        life_read, life_write = os.pipe()
        log = tempfile.TemporaryFile(mode="a+b", buffering=0)  # noqa: SIM115 - lives as long as the process
        env = dict(os.environ)
        root = Path(__file__).resolve().parents[2]
        if root.name not in ("site-packages", "dist-packages"):  # those would shadow another interpreter's own
            env["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [env.get("PYTHONPATH")])])
        main_thread = threading.current_thread() is threading.main_thread()
        try:
            popen = subprocess.Popen(
                [
                    self.python or sys.executable, "-m", "unihand_data.video.killable_child",
                    str(theirs.fileno()), str(life_read), str(os.getpid()), str(int(main_thread)),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                pass_fds=(theirs.fileno(), life_read), start_new_session=True,
            )  # fmt: skip
        except OSError:
            ours.close()
            os.close(life_write)
            log.close()
            raise
        finally:
            theirs.close()
            os.close(life_read)
        process = _Process(popen, Channel(ours), life_write, log)
        self._process, self._calls, self._owner = process, 0, os.getpid()
        self._finalizer = weakref.finalize(self, process.end)
        self.starts += 1
        start = {
            "target": self.target,
            "kwargs": self.kwargs,
            "sys_path": [p for p in sys.path if p and not self.python],
            "memory_mb": self.memory_mb or 0,
        }
        limit = time.monotonic() + self.start_timeout_s
        try:
            process.channel.send(start, limit)
        except (TimeoutError, EOFError) as error:
            self._fail(error, name, self.start_timeout_s, level)
        try:
            self._answer(name, self.start_timeout_s, limit, level)
        except (Reject, WorkerError):
            self._end()
            raise

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()  # runs process.end exactly once
        self._finalizer = self._process = None

    def _forget(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = self._process = None
        self._owner = os.getpid()

    @staticmethod
    def _trim_stderr(process: _Process) -> None:
        """A chatty library must not fill the disk; the file is open for appending, so it may shrink under it."""
        if os.fstat(process.stderr.fileno()).st_size > _STDERR_KEEP:
            os.ftruncate(process.stderr.fileno(), 0)


def _ending(code: int | None) -> str:
    if code is None:
        return "it closed its channel"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, perhaps out of memory" if name == "SIGKILL" else name


def _name_of(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or module == "__main__" or "<" in name:
        raise ValueError(f"{name or function} cannot be imported by a worker: define it at the top of a module")
    return f"{module}:{name}"


def _rebuild(target, kwargs, timeout_s, options) -> KillableWorker:
    return KillableWorker(target, kwargs, timeout_s, **options)

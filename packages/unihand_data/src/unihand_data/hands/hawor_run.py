"""The user's HaWoR as a process of its own: asked line by line, killed when it hangs, its failures turned into Rejects.

The process runs ``hawor_driver.py`` with the interpreter of HaWoR's environment, keeps the models between requests, and
dies with us.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from unihand_data.config import SettingsError
from unihand_data.errors import Reason, Reject
from unihand_data.hands.hawor_config import HaworSettings

DRIVER = Path(__file__).with_name("hawor_driver.py")
#: what HaWoR's demo calls; a checkout without them is another program
_NEEDED = tuple(f"scripts/scripts_test_video/{name}.py" for name in ("detect_track_video", "hawor_video", "hawor_slam"))
_TAIL = 8192
_MAX_ANSWER = 64 << 20
_OOM = re.compile(r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
_DBA = re.compile(r"DBA errors: *\[([^\]\n]*)\]")


class SlamFailed(Exception):
    """SLAM failed on good hands; the caller decides whether the clip is lost."""


def checked_repo(settings: HaworSettings) -> Path:
    """The checkout, with its files and weights in place.

    Raises:
        SettingsError: no checkout is named, or something in it is missing; the message says what."""
    if not settings.repo:
        raise SettingsError("hawor.repo: name the folder of your HaWoR checkout (docs/hawor.md)")
    if shutil.which(settings.python) is None:
        raise SettingsError(f"hawor.python {settings.python}: no such program; name the interpreter HaWoR runs with")
    repo = Path(settings.repo).resolve()
    weights = [repo / p for p in (settings.checkpoint, settings.infiller_checkpoint)]
    missing = [str(p) for p in (*(repo / n for n in _NEEDED), *weights) if not p.is_file()]
    if missing:
        raise SettingsError(f"hawor.repo {repo}: missing {', '.join(missing)} (docs/hawor.md)")
    return repo


def version_of(repo: Path) -> str:
    """First seven digits of the checkout's commit, ``unknown`` where it is no git work tree."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), "rev-parse", "--short=7", "HEAD"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "unknown"


def printed_dba_errors(text: str) -> list[float]:
    """The last list HaWoR printed after ``DBA errors:``; empty where it printed none."""
    found = _DBA.findall(text)
    try:
        return [float(v) for v in found[-1].split(",") if v.strip()] if found else []
    except ValueError:
        return []


class HaworProcess:
    """One process; started by the first request, started anew after a failure or ``recycle_after`` requests."""

    def __init__(self, settings: HaworSettings):
        self.settings = settings
        self.repo = checked_repo(settings)
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._rest = b""
        self._calls = 0

    def hands(self, video: Path, focal: float, name: str) -> dict[str, Any]:
        """Detection, tracks and hands in the camera. Returns ``start, end, folder, detected``."""
        limit = self.settings.recycle_after
        if limit and self._calls >= limit:
            self.close()
        self._calls += 1
        request = {"do": "hands", "args": self._args(video, focal), "threshold": self.settings.detection_threshold}
        return self._ask(request, name)

    def camera(self, video: Path, focal: float, name: str, *, static: bool) -> dict[str, Any]:
        """SLAM (or the static camera), scale, infiller. Returns what the side-car file holds.

        Raises:
            SlamFailed: SLAM raised an error other than running out of memory."""
        request = {
            "do": "camera",
            "args": self._args(video, focal),
            "static": static,
            "threshold": self.settings.detection_threshold,
        }
        begin = self._log_size()
        answer = self._ask(request, name)
        if not static and not answer.get("dba_errors"):  # another HaWoR than the one the driver knows
            answer["dba_errors"] = printed_dba_errors(self._log_text(begin))
        return answer

    def close(self) -> None:
        """End the process and whatever it started."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.poll()
        process.wait(10)
        for stream in (process.stdin, process.stdout, self._log):
            if stream is not None:
                stream.close()
        self._log, self._rest, self._calls = None, b"", 0

    def _args(self, video: Path, focal: float) -> dict[str, Any]:
        s = self.settings
        return {
            "img_focal": focal,
            "video_path": str(video),
            "input_type": "file",
            "vis_mode": "world",
            "checkpoint": str(self.repo / s.checkpoint),
            "infiller_weight": str(self.repo / s.infiller_checkpoint),
            **s.extra_args,
        }

    def _ask(self, request: dict[str, Any], name: str) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start(name)
        return self._exchange(request, name, request["do"], self.settings.timeout_s)["answer"]

    def _start(self, name: str) -> None:
        s = self.settings
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **s.env}
        env.pop("PYTHONPATH", None)  # ours belongs to another environment
        if s.device is not None:
            env["CUDA_VISIBLE_DEVICES"] = s.device
        self._log = tempfile.TemporaryFile(prefix="unihand-hawor-")  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                [s.python, str(DRIVER)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=env, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            self._log = None
            raise SettingsError(f"hawor.python {s.python}: cannot be started ({error})") from error
        self.starts += 1
        hello = {"repo": str(self.repo), "keep_models": s.keep_models}
        self._exchange(hello, name, "start", s.start_timeout_s)

    def _exchange(self, request: dict[str, Any], name: str, step: str, timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(time.monotonic() + timeout_s)
            answer = json.loads(line)
            if not isinstance(answer, dict) or not {"ready", "answer", "error"} & answer.keys():
                raise ValueError("no answer")
        except TimeoutError as error:
            raise self._reject(
                Reason.TIMEOUT, name, f"HaWoR ({step}) did not answer within {timeout_s:g} s; it was ended"
            ) from error
        except (OSError, EOFError, ValueError) as error:
            raise self._reject(Reason.CRASHED, name, f"HaWoR ({step}) ended {self._ending()}") from error
        if "error" in answer:
            self._raise(answer["error"], name, step)
        return answer

    def _raise(self, error: dict[str, Any], name: str, step: str) -> None:
        what = f"{error.get('type')}: {error.get('message')} at {error.get('place')}"
        if step == "start":
            raise self._reject(Reason.CRASHED, name, f"HaWoR cannot be imported by hawor.python ({what})")
        if error.get("oom"):
            mend = "lower max_side_px or max_window_s, or give it a larger GPU (hawor.device)"
            raise self._reject(Reason.CRASHED, name, f"HaWoR ({step}) ran out of memory; {mend} ({what})")
        if error.get("step") == "slam":
            raise SlamFailed(what)
        raise self._reject(Reason.CRASHED, name, f"HaWoR ({step}) failed with {what}")

    def _reject(self, reason: Reason, name: str, text: str) -> Reject:
        """Ends the process: after a failure nobody knows what it still holds."""
        tail = self._log_text(max(0, self._log_size() - _TAIL))
        if reason is Reason.CRASHED and "memory" not in text and _OOM.search(tail):
            text += ", out of GPU memory: lower max_side_px or max_window_s"
        self.close()
        return Reject(
            reason, f"{name}: {text}; its last words: {' '.join(tail.split())[-500:] or 'none'}", level="clip"
        )

    def _line(self, limit: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if len(self._rest) > _MAX_ANSWER:
                    raise ValueError("an endless answer")
                if not selector.select(max(0.0, limit - time.monotonic())):
                    raise TimeoutError
                piece = os.read(out, 1 << 16)
                if not piece:
                    raise EOFError
                self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _ending(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "its answers"
        if code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else f"signal {-code}"
        return f"by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")

    def _log_size(self) -> int:
        return 0 if self._log is None else os.fstat(self._log.fileno()).st_size

    def _log_text(self, begin: int) -> str:
        if self._log is None:
            return ""
        data = os.pread(self._log.fileno(), 1 << 20, max(begin, self._log_size() - (1 << 20)))
        return data.decode(errors="replace")

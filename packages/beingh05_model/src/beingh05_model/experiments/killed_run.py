"""A training run in a process group of its own, which a study can kill with its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from unihand_data.config import SettingsError


def kill_after(process: subprocess.Popen[bytes], latest: Path, beyond_s: float = 20.0) -> str:
    """Kill a run and its workers some time after its first checkpoint; returns the name of the newest one.

    Raises:
        SettingsError: it ended by itself, before the checkpoint or before it was killed.
    """
    while not latest.is_file():
        if process.poll() is not None:
            raise SettingsError(f"training ended with {process.returncode} before its first checkpoint")
        time.sleep(1)
    time.sleep(beyond_s)
    _kill(process)
    if process.returncode != -signal.SIGKILL:
        raise SettingsError(
            f"training ended by itself with {process.returncode} before it could be killed, so nothing was shown of "
            "going on after a kill; use more --steps and another --output"
        )
    return latest.read_text().strip()


def beingh05(command: str, settings: Path) -> subprocess.Popen[bytes]:
    """``beingh05 COMMAND SETTINGS`` in a process group of its own."""
    words = [sys.executable, "-m", "beingh05_model.cli", command, str(settings)]
    return subprocess.Popen(words, start_new_session=True)


def finished(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run.

    Raises:
        SettingsError: it did not end well.
    """
    try:
        code = process.wait()
    except BaseException:
        _kill(process)
        raise
    if code:
        raise SettingsError(f"training ended with {code}; its last lines say why")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group at once: the run and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

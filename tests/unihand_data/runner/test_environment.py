"""Which errors are the machine's fault and not the unit's."""

from __future__ import annotations

import errno

import pytest

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused, EnvironmentFault
from unihand_data.runner.environment import fault_of
from unihand_data.video.killable import KillableWorker, WorkerError


def full_disk():
    def answer(request):
        raise OSError(errno.ENOSPC, "No space left on device", "/scratch/x.mp4")

    return answer


def missing_module():
    import no_such_module_of_anyone  # noqa: F401


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "full", "/data/a"), "/data/a: No space left on device"),
        (OSError(errno.EROFS, "read-only", "/data/a"), "/data/a: Read-only file system"),
        (PermissionError(errno.EACCES, "no", "/data/a"), "/data/a: Permission denied"),
        (SettingsError("hawor.repo /x: missing demo.py"), "hawor.repo /x: missing demo.py"),
        (DatasetRefused("host has other model files"), "host has other model files"),
        (EnvironmentFault("no models"), "no models"),
        (ModuleNotFoundError("No module named 'mediapipe'"), "No module named 'mediapipe'"),
    ],
)
def test_a_fault_of_the_machine_is_one_sentence(error, words):
    assert fault_of(error) == words


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("x"), FileNotFoundError(errno.ENOENT, "no such file", "a.mp4"), KeyError("x")]
)
def test_any_other_error_is_no_fault_of_the_machine(error):
    assert fault_of(error) is None


def test_a_fault_is_found_behind_the_error_it_caused():
    outer = RuntimeError("the task failed")
    outer.__cause__ = OSError(errno.EDQUOT, "quota", "/home/a")
    assert fault_of(outer) == "/home/a: Disk quota exceeded"


@pytest.mark.parametrize(("target", "words"), [("full_disk", "No space left"), ("missing_module", "No module named")])
def test_a_fault_met_in_a_helper_process_is_told_from_a_bug(target, words):
    with KillableWorker(f"{__name__}:{target}") as worker, pytest.raises(WorkerError) as caught:
        worker.call({})
    assert words in fault_of(caught.value)
    assert "\n" not in fault_of(caught.value)

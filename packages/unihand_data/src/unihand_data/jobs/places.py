"""Where a job writes is tried before it works for hours."""

from __future__ import annotations

import os
import uuid

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments
from unihand_data.runner import paths
from unihand_data.runner.environment import fault_of


def check_places(arguments: JobArguments) -> None:
    """Write and remove a small file in the output, the work folder and the folder of encoded clips.

    Raises:
        SettingsError: naming the option and the folder that cannot be written.
    """
    work = "--work" if arguments.work else "--output"
    places = {arguments.output: "--output", arguments.work_dir: work, arguments.media_dir: work}
    for place, option in places.items():
        probe = paths.join(place, f".write-test-{uuid.uuid4().hex[:8]}")
        try:
            paths.write_atomic(probe, b"unihand")
            paths.remove(probe)
        except Exception as error:
            fault = fault_of(error) or (error.strerror if isinstance(error, OSError) else None)
            if fault is None:
                raise
            raise SettingsError(f"{option} {place}: cannot be written ({fault})") from error


def need_folder(path: str | None, name: str) -> None:
    """Raises:
    SettingsError: a local ``path`` that is no folder; ``name`` is its setting."""
    if path and not paths.is_remote(path) and not os.path.isdir(path):
        raise SettingsError(f"{name} {path}: no such folder")

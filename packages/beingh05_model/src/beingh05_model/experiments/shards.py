"""Shards and recipe of a study, made by the pipelines as a user makes them. What is complete is not made again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unihand_data.config import SettingsError


def call(*command: Any) -> None:
    """Run a command of the project; its output passes through.

    Raises:
        SettingsError: it did not end well.
    """
    words = [str(word) for word in command]
    code = subprocess.run([sys.executable, *words], check=False).returncode
    if code:
        raise SettingsError(f"`{' '.join(words)}` ended with {code}; its last lines say why")


def pipeline(folder: Path, name: str) -> Path:
    """A script of the pipelines.

    Raises:
        SettingsError: the folder is not the project's.
    """
    script = folder / f"{name}.py"
    if not script.is_file():
        raise SettingsError(f"{script}: not found; run from the project's folder or give --pipelines")
    return script


def record(
    output: Path, size: int, episodes: int, workers: int, tasks: Sequence[str] = (), ranges: Sequence[str] = ()
) -> Path:
    """Demonstrations of the recorder (docs/metaworld.md): of the eight default tasks, stock and widened, unless others
    are named."""
    options: list[Any] = ["--output", output, "--size", size, "--episodes", episodes, "--workers", workers]
    options += ["--tasks", *tasks] if tasks else []
    options += ["--ranges", *ranges] if ranges else []
    call("-m", "unihand_data.record.metaworld", *options)
    return output


def ingest(pipelines: Path, script: str, source: Path, output: Path, *options: Any) -> Path:
    """One input through a pipeline; a second run of the same input writes nothing new."""
    call(pipeline(pipelines, script), "--input", source, "--output", output, "--engine", "local", *options)
    return output


def recipe(pipelines: Path, inputs: list[Path], output: Path, *changes: str) -> Path:
    """A recipe of shard directories; ``changes`` are KEY=VALUE."""
    options = [word for change in changes for word in ("--set", change)]
    call(pipeline(pipelines, "build_recipe"), "--input", *inputs, "--output", output, *options)
    return output

"""The three steps of a job's batches (docs/language.md), with the settings the job itself ran with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments
from unihand_data.language.config import LanguageSettings
from unihand_data.runner import paths

Step = Literal["submit", "poll", "collect"]
_SETTINGS = "language.json"


def remember(arguments: JobArguments, language: LanguageSettings) -> None:
    """Lay the settings beside the spooled questions, address and prices included. They name the variable that holds the
    key, never the key."""
    paths.write_atomic(paths.join(_folder(arguments), _SETTINGS), language.model_dump_json(indent=1).encode())


def run_step(step: Step, arguments: JobArguments) -> dict[str, Any]:
    """One step; may be killed and repeated.

    Returns:
        What it did, as counts.

    Raises:
        SettingsError: no job with ``language.batch`` ran here, or its key is not in the environment.
    """
    from unihand_data.language.batch_cli import step as run

    folder = Path(_folder(arguments))
    try:
        language = LanguageSettings.model_validate_json((folder / _SETTINGS).read_bytes())
    except FileNotFoundError:
        raise SettingsError(
            f"{folder}: no batches of a job lie here; run the job with language.batch=true, and name its --work"
        ) from None
    except ValidationError as error:
        raise SettingsError(f"{folder / _SETTINGS}: written by another version ({error}); run the job again") from error
    try:
        return run(step, language, folder)
    except ValueError as error:  # no key, no such backend
        raise SettingsError(str(error)) from error


def _folder(arguments: JobArguments) -> str:
    return os.path.join(arguments.work_dir, "batch")

"""Which tokenizer counts the words of a job's samples: the same on every machine and in every run of a directory.

Counts enter no id, so nothing else would notice that half of a directory was counted otherwise.
"""

from __future__ import annotations

import os

from unihand_data.config import Settings, SettingsError, runtime_field
from unihand_data.jobs.arguments import JobArguments
from unihand_data.runner import paths
from unihand_data.shards import manifest as mf
from unihand_data.shards.store import Store
from unihand_data.shards.tokens import TokenCounter, same_counter


class TokenSettings(Settings):
    """``tokenizer``: a ``tokenizer.json`` or its folder (Qwen3's, by the contract); None: ``UNIHAND_TOKENIZER``, and
    without that bytes / 4, marked as an estimate. ``counter``: what that came to, filled in by the job."""

    tokenizer: str | None = runtime_field(None)
    counter: str = runtime_field("")


def open_counter(settings: TokenSettings) -> TokenCounter:
    """The counter of a worker, or of the driver, which has no ``counter`` yet.

    Raises:
        SettingsError: the tokenizer cannot be read here, or is not the driver's.
    """
    try:
        found = TokenCounter(settings.tokenizer)
    except ModuleNotFoundError as error:
        raise SettingsError(
            "tokens.tokenizer: reading it needs the package `tokenizers`: pip install 'unihand-data[tokenizer]'"
        ) from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"tokens.tokenizer: {error}") from error
    if settings.counter and not same_counter(settings.counter, found.name):
        raise SettingsError(
            f"tokens.tokenizer: this machine counts with {found.name} and the job with {settings.counter}; show every "
            "machine the same file under the same path"
        )
    return found


def with_counter(settings: TokenSettings) -> TokenSettings:
    """The settings as workers get them: an absolute path and ``counter``.

    Raises:
        SettingsError: as :func:`open_counter`; ``counter`` was given by hand; a relative path inside a Ray job.
    """
    if settings.counter:
        raise SettingsError("tokens.counter: filled in by the job; name a file with tokens.tokenizer")
    path = settings.tokenizer or os.environ.get("UNIHAND_TOKENIZER")
    try:
        path = paths.job_path(path, "tokens.tokenizer") if path else None
    except ValueError as error:
        raise SettingsError(str(error)) from error
    settings = settings.model_copy(update={"tokenizer": path})
    return settings.model_copy(update={"counter": open_counter(settings).name})


def claim_counter(settings: TokenSettings, arguments: JobArguments) -> None:
    """Note in the output what counts, before the first sample is staged: a run that goes on must count alike. A plan
    only looks.

    Raises:
        SettingsError: what is staged or stored was counted otherwise. With ``--new-version`` both may lie in one
            directory, and an estimate makes all of it one.
    """
    before = _counter_of(arguments.output)
    if before and not same_counter(before, settings.counter) and not arguments.new_version:
        raise SettingsError(
            f"tokens.tokenizer: the samples of {arguments.output} were counted with {before}, and this run would count "
            f"with {settings.counter}: name the same one (or unset UNIHAND_TOKENIZER), choose another output, or "
            "--new-version"
        )
    if before != settings.counter and not arguments.plan:
        paths.write_atomic(_note(arguments.output), settings.counter.encode())


def _note(output: str) -> str:
    return paths.join(output, "_job", "tokenizer")


def _counter_of(output: str) -> str:
    """What counted the samples that are staged or stored; empty for a new directory."""
    if paths.exists(_note(output)):
        return paths.read_bytes(_note(output)).decode()
    manifest = mf.read(Store(output))
    return manifest.tokenizer if manifest is not None and manifest.samples else ""

"""Command line of a pipeline page: arguments, settings from YAML and ``--set``, exit codes.

Exit codes: 0 done, 1 a fault of ours, 2 refused with one sentence (bad input, settings or directory) or stopped by a
fault of the machine (the same command goes on), 3 more rejects than ``runner.max_reject_share`` allows, or nothing
written at all (what is good is committed).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from unihand_data import yaml_text
from unihand_data.config import Settings, SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.ids import make_id
from unihand_data.runner import paths
from unihand_data.runner.environment import fault_of
from unihand_data.shards.errors import CommitRefused, ShardError

T = TypeVar("T", bound=Settings)


@dataclass(frozen=True)
class JobArguments:
    """What every pipeline takes. Paths are absolute or URLs once parsed."""

    input: str
    output: str
    plan: bool = False
    new_version: bool = False
    work: str | None = None

    @property
    def work_dir(self) -> str:
        """Local folder of answer caches and the account of what was spent: ``--work``, else inside
        the output, else (a bucket) a folder of this machine that is the same in every run of this output."""
        if self.work or not paths.is_remote(self.output):
            return self.work or paths.join(self.output, "_job", "work")
        return os.path.join(tempfile.gettempdir(), "unihand_work", make_id("work", self.output)[:16])

    @property
    def media_dir(self) -> str:
        """Encoded clips until the commit, where every worker and the committer reach them: in the bucket when the
        output is one, unless ``--work`` names a folder (on a cluster a shared one). A folder of this output alone: what
        is left in it is removed after the commit, and ``--work`` may be shared by several jobs."""
        if self.work:
            return paths.join(self.work, "media", make_id("media", self.output)[:16])
        if not paths.is_remote(self.output):
            return paths.join(self.work_dir, "media")
        return paths.join(self.output, "_job", "work", "media")

    @property
    def joined_dir(self) -> str:
        """Videos joined from pictures, of this output alone. They are made again where they are missing, so machines
        need not share this folder."""
        own = [make_id("joined", self.output)[:16]] if self.work else []
        return os.path.join(self.work_dir, "joined", *own)

    @property
    def staging_dir(self) -> str:
        return paths.join(self.output, "_job", "staging")


def parse(argv: list[str], description: str) -> tuple[JobArguments, argparse.Namespace]:
    first, _, rest = description.partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", required=True, help="folder, video or archive; absolute or s3:// inside a Ray job")
    parser.add_argument("--output", required=True, help="shard directory, local or s3://")
    parser.add_argument("--config", help="YAML of settings; unknown keys are errors")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, dotted key")
    parser.add_argument("--dataset", help="data set name or YAML, where the folder does not show it by itself")
    parser.add_argument("--engine", choices=["ray", "local"], help="local is one plain loop in this process")
    parser.add_argument("--work", help="local folder (shared on a cluster) for encoded clips and answers")
    parser.add_argument("--plan", action="store_true", help="print stages, resources and cost; run nothing")
    parser.add_argument("--new-version", action="store_true", help="write other content settings into the directory")
    parser.add_argument("--verbose", action="store_true")
    names = parser.parse_args(argv)
    try:
        arguments = JobArguments(
            input=paths.job_path(names.input, "--input"),
            output=paths.job_path(names.output, "--output"),
            plan=names.plan,
            new_version=names.new_version,
            work=paths.job_path(names.work, "--work") if names.work else None,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    _check_apart(arguments)
    return arguments, names


def _check_apart(arguments: JobArguments) -> None:
    """What a job writes must not lie where it reads: the next run would list its own clips as input items.

    Raises:
        SettingsError: naming both places.
    """
    mend = "name a folder beside it"
    for option, place in (("--output", arguments.output), ("--work", arguments.work)):
        if place and _holds(arguments.input, place):
            raise SettingsError(
                f"{option} {place} lies in --input {arguments.input}, and would be read as input: {mend}"
            )
    if _holds(arguments.output, arguments.input):
        raise SettingsError(f"--input {arguments.input} lies in --output {arguments.output}: {mend} as --output")


def _holds(folder: str, place: str) -> bool:
    """Whether ``place`` is ``folder`` or lies below it, links followed."""
    if paths.is_remote(folder) != paths.is_remote(place):
        return False
    if not paths.is_remote(folder):
        folder, place = os.path.realpath(folder), os.path.realpath(place)
    return f"{place.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def settings_from(model: type[T], default: Path, names: argparse.Namespace) -> T:
    """The page's YAML, then ``--config``, then ``--set`` and the named options; later ones win key by key."""
    data = _mapping(default)
    where = {"": str(default)}
    if names.config:
        _merge(data, _mapping(Path(names.config)))
        where[""] = names.config
    for text in names.set:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise SettingsError(f"--set {text}: write KEY=VALUE, for example --set motion.max_gap_s=1.5")
        _merge(data, _nested(key.split("."), _value(text, value)))
        where[key] = f"--set {text}"
    for option, keys in (("dataset", ["dataset"]), ("engine", ["runner", "engine"])):
        if getattr(names, option):
            _merge(data, _nested(keys, getattr(names, option)))
            where[".".join(keys)] = f"--{option}"
    if names.new_version:
        _merge(data, _nested(["runner", "new_version"], True))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        said = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        raise SettingsError("; ".join(f"{_given_by(key, where)}: {key}: {text}" for key, text in said)) from error


def _given_by(key: str, where: dict[str, str]) -> str:
    """Who set the setting at fault: the option whose key is it, holds it or lies in it (the longest), else the file."""
    near = [k for k in where if k and (f"{key}.".startswith(f"{k}.") or f"{k}.".startswith(f"{key}."))]
    return where[max(near, key=len, default="")]


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = yaml_text.loads(path.read_text()) or {}
    except FileNotFoundError as error:
        raise SettingsError(f"--config {path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: cannot be read as text ({error})") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: the top level must be a mapping, not {type(data).__name__}")
    return data


def _value(text: str, value: str) -> Any:
    try:
        return yaml_text.loads(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {text}: the value is not valid YAML; put quotes around a plain text") from error


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def main_with(
    model: type[T],
    run: Callable[[JobArguments, T], int],
    *,
    default_config: str,
    description: str | None,
    argv: list[str] | None = None,
) -> int:
    """Parse, load, run; refusals become one sentence and exit code 2."""
    script = Path(sys.argv[0]).resolve()
    try:
        arguments, names = parse(sys.argv[1:] if argv is None else argv, description or "")
        logging.basicConfig(
            level=logging.INFO if names.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
        )
        settings = settings_from(model, script.parent / default_config, names)
        return run(arguments, settings)
    except (DatasetRefused, CommitRefused, ShardError, SettingsError, paths.OutputBusy) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if (fault := fault_of(error)) is None:
            raise
        print(f"refused: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130

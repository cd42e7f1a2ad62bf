"""``--set KEY=VALUE`` of commands that read a settings file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from unihand_data import yaml_text
from unihand_data.config import SettingsError


def add_config(parser: argparse.ArgumentParser) -> None:
    """The settings file and ``--set``."""
    parser.add_argument("config", type=Path)
    add_set(parser, "of the file")


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """``--set``, as often as wanted; ``what``: whose settings it changes."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"a.b.c=value, YAML; {what}")


def overrides(pairs: list[str], path: Path, preset: dict[str, Any] | None = None) -> dict[str, Any]:
    """Top-level keys that differ from the file: those with ``a.b.c=value`` put in, and all of ``preset`` where the file
    is laid over one."""
    try:
        data = yaml_text.loads(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    if preset is None or not isinstance(data, dict):
        return put_in(data, pairs)
    from beingh05_model.training.settings import over

    data = over(preset, data)
    return {**data, **put_in(data, pairs)}


def put_in(data: dict[str, Any], pairs: list[str]) -> dict[str, Any]:
    """The top-level keys of ``data`` that ``a.b.c=value`` change."""
    changed = {}
    for one in pairs:
        key, value = pair("--set", one)
        words = key.split(".")
        node = data
        for number, word in enumerate(words[:-1], 1):
            node = node.setdefault(word, {})
            if isinstance(node, str) and words[:number] == ["model"]:  # a preset's name, of which something differs
                node = data["model"] = {"preset": node}
            if not isinstance(node, dict):
                raise SettingsError(f"--set {one}: {'.'.join(words[:number])} is {node!r} and has no fields")
        try:
            node[words[-1]] = yaml_text.loads(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {one}: not valid YAML: {error}") from error
        changed[words[0]] = data[words[0]]
    return changed


def pair(option: str, text: str) -> tuple[str, str]:
    """``KEY=VALUE`` of an option.

    Raises:
        SettingsError: it is not of that form.
    """
    key, sign, value = text.partition("=")
    if not sign:
        raise SettingsError(f"{option} {text}: write KEY=VALUE")
    return key, value

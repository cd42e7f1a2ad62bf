"""Settings: pydantic models read from YAML, where an unknown key is an error, and what of them changes content.

Ids of clips and the version of a shard directory depend on settings that change what is written. Settings that only
change *how* the job runs (workers, retries, timeouts) are declared with :func:`runtime_field` and are left out of
:func:`content_hash`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unihand_data import yaml_text


class SettingsError(ValueError):
    """Settings or arguments that cannot be taken; the message names file and field. Commands exit with code 2."""


class Settings(BaseModel):
    """Base of every settings model: frozen, unknown keys refused, no number that is NaN or infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def runtime_field(*default: Any, **kwargs: Any) -> Any:
    """A field that changes how a job runs and never what it writes; arguments as for pydantic's ``Field``."""
    return Field(*default, json_schema_extra={"runtime": True}, **kwargs)


def content_dict(settings: BaseModel) -> dict[str, Any]:
    """The settings without their runtime fields, nested models included, JSON-able."""
    out: dict[str, Any] = {}
    for name, info in type(settings).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("runtime"):
            continue
        value = getattr(settings, name)
        out[name] = (
            content_dict(value)
            if isinstance(value, BaseModel)
            else json.loads(json.dumps(value, default=_plain, sort_keys=True))
        )
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return content_dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def content_hash(settings: BaseModel) -> str:
    """blake2b-128 hex of :func:`content_dict`; equal for equal content settings, whatever the worker count."""
    text = json.dumps(content_dict(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


T = TypeVar("T", bound=BaseModel)


def load_settings(model: type[T], path: str | Path, overrides: dict[str, Any] | None = None) -> T:
    """Read a YAML file into ``model``; errors name the file and the field."""
    text = Path(path).read_text()
    try:
        data = yaml_text.loads(text) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: the top level must be a mapping, not {type(data).__name__}")
    try:
        return model.model_validate({**data, **(overrides or {})})
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{path}: {lines}") from error

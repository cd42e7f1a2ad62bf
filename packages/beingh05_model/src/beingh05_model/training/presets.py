"""Runs by name: ``presets/NAME.yaml``, each a part of :class:`~beingh05_model.training.settings.TrainSettings`.

``extends: NAME`` in a preset names the one whose settings it changes. A run's own file is laid over its preset, mapping
by mapping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beingh05_model.training.settings import TrainSettings, over
from unihand_data import yaml_text
from unihand_data.config import SettingsError

FOLDER = Path(__file__).with_name("presets")
#: what every run's own file gives; stands in where a preset is looked at alone
OWN: dict[str, Any] = {"data": {"recipe": "RECIPE"}, "output": "OUTPUT", "start": "START"}


def names() -> list[str]:
    """All presets."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """A preset's settings, those that it extends put in.

    Raises:
        SettingsError: no such preset; the message lists them.
    """
    if name not in names():
        raise SettingsError(f"no training preset {name!r}; there are {', '.join(names())}")
    settings: dict[str, Any] = yaml_text.loads((FOLDER / f"{name}.yaml").read_text())
    base = settings.pop("extends", None)
    return settings if base is None else over(read(base), settings)


def alone(name: str) -> TrainSettings:
    """A preset as a whole run, with :data:`OWN` for what a run's file gives."""
    return TrainSettings.model_validate(over(OWN, read(name)))

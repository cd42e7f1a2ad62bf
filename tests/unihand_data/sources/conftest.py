"""Shared helpers: generated data sets, made once per session, and the samples folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from unihand_data.sources.base import SourceOptions
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.generate.scene import Scene
from unihand_data.sources.recording import HumanSource
from unihand_data.sources.registry import open_source
from unihand_data.values.recording import Recording, SourceItem


@dataclass
class Made:
    """A generated data set."""

    name: str
    folder: Path
    scenes: list[Scene]
    work: Path

    def options(self, folder: Path | None = None) -> SourceOptions:
        base = folder or self.folder
        mano = base / "mano_stand_in"
        return SourceOptions(
            video_root=str(base / "videos"), mano_dir=str(mano) if mano.exists() else None, work_dir=str(self.work)
        )

    def source(self, folder: Path | None = None, dataset: str | None = None) -> HumanSource:
        return open_source(str(folder or self.folder), dataset, self.options(folder))

    def opened(self) -> list[tuple[SourceItem, Recording]]:
        source = self.source()
        return [(item, source.open(item)) for item in source.items()]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """``made(name)``: two recordings (one lab, one wild) in the format of a data set."""
    cache: dict[str, Made] = {}
    work = tmp_path_factory.mktemp("joined")

    def get(name: str) -> Made:
        if name not in cache:
            folder = tmp_path_factory.mktemp(name)
            cache[name] = Made(name, folder, generate(name, folder, seed=0, recordings=2, frames=12), work)
        return cache[name]

    return get


def pytest_terminal_summary(terminalreporter):
    """How many damaged inputs were tried and how they ended."""
    import sys

    for module in list(sys.modules.values()):
        ends = getattr(module, "ENDS", None)
        if isinstance(ends, dict) and "not touched" in ends and sum(ends.values()):
            counted = ", ".join(f"{n} {what}" for what, n in ends.items())
            terminalreporter.write_line(f"damaged inputs over all readers: {sum(ends.values())} ({counted})")

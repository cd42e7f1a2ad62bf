"""The interface of every human-video reader; what it hands over is :mod:`unihand_data.values.recording`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from unihand_data.sources.spec import DatasetSpec
from unihand_data.values.recording import Recording, SourceItem


class HumanSource(Protocol):
    """A reader. ``items`` must be cheap (a listing); ``open`` does the work in a worker and may raise ``Reject``."""

    dataset: str
    spec: DatasetSpec

    def items(self) -> Iterator[SourceItem]: ...

    def ignored(self) -> int:
        """Files under the input that are no media and belong to no item; known after ``items`` is exhausted."""
        ...

    def open(self, item: SourceItem) -> Recording: ...

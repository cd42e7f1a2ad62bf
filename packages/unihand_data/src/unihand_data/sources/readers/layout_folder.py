"""Annotation in folders of small files beside a video or pictures (MANO pickles, text skeletons, landmark tables).

The YAML's ``layout`` names the module of ``sources/layouts`` that finds and reads the files.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from unihand_data.sources.annotated_sequence import AnnotatedSource, Sequence
from unihand_data.values.recording import SourceItem


class LayoutSource(AnnotatedSource):
    """Items: the data set's videos, or folders of pictures (one is one video)."""

    def _layout(self) -> Any:
        return importlib.import_module(f"unihand_data.sources.layouts.{self.spec.layout}")

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        yield from self._layout().list_items(self, files)

    def load(self, item: SourceItem) -> Sequence:
        return self._layout().load(self, item)

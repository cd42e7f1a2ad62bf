"""Videos with tables of text beside them (EPIC-KITCHENS, Ego4D, Ego-Exo4D, HD-EPIC, TASTE-Rob).

The YAML's ``video_key`` regex takes the id out of the video's path; ``paths.alias`` may name a json list that maps that
id to the one the tables use (Ego-Exo4D: take name to take uid).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.base import FolderSource
from unihand_data.sources.listing import is_video
from unihand_data.sources.narration_tables import load_table
from unihand_data.untrusted import tables
from unihand_data.values.recording import Recording, SourceItem


class VideoTableSource(FolderSource):
    """Items: the videos the YAML's globs name (all videos where it names none); where there is no video at all, those
    the tables name, each of them a missing file."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        found: dict[int, list[str]] = {}
        for i, table in enumerate(self.spec.tables):
            found[i] = self.select(files, [table.path])
            self.claim(*found[i])
        alias = self.select(files, [self.spec.paths["alias"]]) if "alias" in self.spec.paths else []
        self.claim(*alias)
        payload = {"tables": {str(i): paths for i, paths in found.items()}, "alias": alias}
        videos = self.select(files, self.spec.videos) if self.spec.videos else [f for f in files if is_video(f)]
        for name in videos:
            self.claim(name)
            yield self.item(name, self.path(name), video=name, join=self.video_key(name), **payload)
        if not videos:
            yield from self._without_videos(found, payload)

    def _without_videos(self, found: dict[int, list[str]], payload: dict[str, Any]) -> Iterator[SourceItem]:
        """The annotation alone: what it names. (Where some videos are here the others are no items: a part of a large
        data set is a usual input.)"""
        keys: set[str] = set()
        for i, table in enumerate(self.spec.tables):
            for name in found[i]:
                try:
                    keys |= set(load_table(self.path(name), table))
                except Reject as reject:
                    yield self.broken(name, reject)
        for key in sorted(keys):
            yield self.item(key, self.path(key), video=None, join=key, **payload)

    def _open(self, item: SourceItem) -> Recording:
        payload = item.payload
        paths = {int(i): p for i, p in payload["tables"].items()}
        for i, table in enumerate(self.spec.tables):
            if not paths.get(i) and not table.optional:
                raise Reject(Reason.MISSING_FILE, f"{self.root}: no {table.path} for {item.key}; fetch the annotations")
        if self.spec.tables and not any(paths.values()):
            raise Reject(Reason.MISSING_FILE, f"{self.root}: none of the {self.dataset} tables is here; fetch them")
        if "alias" in self.spec.paths and not payload["alias"]:
            raise Reject(Reason.MISSING_FILE, f"{self.root}: no {self.spec.paths['alias']} for {item.key}; fetch it")
        used = tuple(self.path(p) for group in paths.values() for p in group)
        video = payload["video"]
        recording = self.recording(item, self.path(video) if video else None, annotations=() if video else used[:1])
        counts: dict[str, int] = {}
        rejects: list[Reject] = []
        join = self._alias(payload["join"], payload["alias"])
        if join is None:
            join = ""
            message = f"{item.uri}: {payload['join']!r} is not in {payload['alias'][0]}; its words cannot be found"
            rejects.append(Reject(Reason.CONTRADICTION, message, level="row"))
        for i, table in enumerate(self.spec.tables):
            for path in paths.get(i, []):
                text = load_table(self.path(path), table).get(join)
                if text is None:
                    continue
                recording.narrations.extend(text.narrations)
                rejects.extend(text.rejects)
                for name, n in text.left_out.items():
                    counts[name] = counts.get(name, 0) + n
        recording.narrations.sort(key=lambda n: (n.t0, n.t1, n.text))
        recording.extra.update(join=join, narrations_left_out=counts, rejects=rejects)
        return recording

    def _alias(self, key: str, files: list[str]) -> str | None:
        """The id the tables use; None if the alias table does not know the video."""
        entry = self.alias_entry(key, files)
        if entry is not None:
            return str(tables.need(entry, self.spec.paths.get("alias_uid", ""), self.path(files[0])))
        return None if files else key

    def alias_entry(self, key: str, files: list[str]) -> dict[str, Any] | None:
        """What the alias table says about a video; None if it does not know it."""
        for name in files:
            entries = tables.shared_json(self.path(name))
            if not isinstance(entries, list):
                raise Reject(Reason.WRONG_TYPE, f"{self.path(name)}: {type(entries).__name__} where a list belongs")
            for entry in entries:
                if isinstance(entry, dict) and entry.get(self.spec.paths.get("alias_name", "")) == key:
                    return entry
        return None

"""UniHand_Preview: a LeRobot-v3-like tree of human video, as a folder or as the tar it is published in.

Read: the videos, ``meta/info.json``, the sentences with their spans from ``meta/tasks_instruction.jsonl`` and
``meta/episodes/instruction/...`` by file (one data file belongs to one video). The columns of the data tables are not
published; hands are found by the pipeline's own estimator.

Half of such a set speaks of the mirror image of the same videos (left and right exchanged). Rows whose ``mirrored`` is
true are left out and counted; a set that names a mirror transform without saying which rows it concerns gives no words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive, isolated
from unihand_data.sources.base import FolderSource
from unihand_data.sources.narration_tables import hand_in
from unihand_data.untrusted import tables
from unihand_data.untrusted.unpickle import read_bounded
from unihand_data.values.recording import Narration, Recording, SourceItem

_VIDEO = re.compile(r"^(?P<root>(?:.*/)?)videos/[^/]+/chunk-(?P<chunk>\d+)/file-(?P<file>\d+)\.mp4$")
_MAX_TABLE = 512 << 20
_FIRST = "chunk-000/file-000000.parquet"
#: pairs of columns that give a span, in seconds or in frames of the file
_SPANS = (("from_timestamp", "to_timestamp"), ("start_time", "end_time"))
_FRAME_SPANS = (("dataset_from_index", "dataset_to_index"), ("from_index", "to_index"), ("start_frame", "end_frame"))


class LeRobotHumanSource(FolderSource):
    """Items: the videos, in the folder or in its tars."""

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        roots = set()
        for name in files:
            found = _VIDEO.match(name)
            if found:
                roots.add(found.group("root"))
                self.claim(name)
                yield self._item(name, None, found)
        self.claim(*(f for f in files for r in roots if f.startswith((f"{r}meta/", f"{r}data/"))))
        for name in self.select(files, [self.spec.paths["tars"]]):
            self.claim(name)
            try:
                members = [m.name for m in archive.members(self.path(name))]
            except Reject as reject:
                yield self.broken(name, reject)
                continue
            for member in members:
                found = _VIDEO.match(member)
                if found:
                    yield self._item(member, name, found)

    def _item(self, video: str, tar: str | None, found: re.Match[str]) -> SourceItem:
        uri = f"{self.path(tar)}!{video}" if tar else self.path(video)
        key = f"{tar}!{video}" if tar else video
        place = f"chunk-{found.group('chunk')}/file-{found.group('file')}.parquet"
        return self.item(key, uri, kind="video", tar=tar, video=video, root=found.group("root"), place=place,
                         file=int(found.group("file")))  # fmt: skip

    def _open(self, item: SourceItem) -> Recording:
        p = item.payload
        read = self._reader(p["tar"])
        recording = self.recording(item, item.uri)
        where = f"{item.uri}: meta/info.json"
        info = tables.parse_json(tables.decode_text(read(f"{p['root']}meta/info.json"), where), where)
        fps = tables.number(tables.need(info, "fps", where), f"{where}, fps")
        if not 0 < fps < 1000:
            raise Reject(Reason.BAD_VALUE, f"{where}: fps {fps}")
        recording.fps_hint = fps
        recording.suite = str(info.get("base_dataset", self.dataset))
        recording.extra["layout"] = str(info.get("layout", ""))
        try:
            recording.narrations, left_out = self._text(read, p, fps, _is_mirrored(info), item.uri)
            if left_out:  # words of the flipped picture, which is not what this recording shows
                recording.extra["narrations_left_out"] = {"mirrored": left_out}
        except Reject as reject:
            if reject.reason not in (Reason.MISSING_FILE, Reason.NO_TEXT):
                raise
            recording.extra["no_text"] = reject.message
            recording.extra["rejects"] = [Reject(Reason.NO_TEXT, reject.message, level="row")]
        return recording

    def _reader(self, tar: str | None) -> Callable[[str], bytes]:
        if tar is None:
            return lambda name: read_bounded(self.path(name), _MAX_TABLE)
        return lambda name: archive.read_member(self.path(tar), name, _MAX_TABLE)

    def _text(
        self, read: Callable[[str], bytes], p: dict[str, Any], fps: float, mirrored: bool, uri: str
    ) -> tuple[list[Narration], int]:
        """Sentences about the picture as it is, and how many rows speak of its mirror image."""
        where = f"{uri}: meta/tasks_instruction.jsonl"
        words: dict[int, str] = {}
        for line in tables.decode_text(read(f"{p['root']}meta/tasks_instruction.jsonl"), where).splitlines():
            if line.strip():
                row = tables.parse_json(line, where)
                index = tables.number(tables.need(row, "task_index", where), where)
                words[int(index)] = tables.text_of(tables.need(row, "task", where), where)
        table, where = self._episodes(read, p, uri)
        pair = next(((a, b, 1.0) for a, b in _SPANS if a in table and b in table), None)
        pair = pair or next(((a, b, fps) for a, b in _FRAME_SPANS if a in table and b in table), None)
        if pair is None or "task_index" not in table:
            raise Reject(
                Reason.MISSING_FIELD, f"{where}: no span and task_index among {', '.join(sorted(table))[:200]}"
            )
        if mirrored and "mirrored" not in table:
            raise Reject(
                Reason.NO_TEXT,
                f"{where}: info.json names a mirrored half, but no column 'mirrored' says which rows speak of it",
            )
        rows = len(table["task_index"])
        out, left_out = [], 0
        flags, files = table.get("mirrored", [False] * rows), table.get("file_index", [p["file"]] * rows)
        for a, b, task, flipped, file in zip(table[pair[0]], table[pair[1]], table["task_index"], flags, files):
            if int(tables.number(file, f"{where}, file_index")) != p["file"]:
                continue  # of another video
            if not isinstance(flipped, bool):
                raise Reject(Reason.WRONG_TYPE, f"{where}, mirrored: {flipped!r} is neither true nor false")
            if flipped:
                left_out += 1
                continue
            t0, t1 = tables.number(a, where) / pair[2], tables.number(b, where) / pair[2]
            text = words.get(int(tables.number(task, where)))
            if text is None or not 0 <= t0 < t1:
                raise Reject(Reason.CONTRADICTION, f"{where}: task {task} or the span {t0} .. {t1} s does not exist")
            out.append(Narration(t0, t1, text, "instruction", hand_in(text)))
        return out, left_out

    def _episodes(self, read: Callable[[str], bytes], p: dict[str, Any], uri: str) -> tuple[dict[str, Any], str]:
        """The episode table of a video: a file of its own, else the first one, whose rows name their file."""
        where = f"{uri}: meta/episodes/instruction/{p['place']}"
        try:
            return isolated.parquet(read(f"{p['root']}meta/episodes/instruction/{p['place']}"), where), where
        except Reject as missing:
            if missing.reason != Reason.MISSING_FILE or p["place"] == _FIRST:
                raise
            where = f"{uri}: meta/episodes/instruction/{_FIRST}"
            table = isolated.parquet(read(f"{p['root']}meta/episodes/instruction/{_FIRST}"), where)
            if "file_index" not in table:  # then that table is the first video's own
                raise
            return table, where


def _is_mirrored(info: dict[str, Any]) -> bool:
    return "split-mirror" in str(info.get("layout", "")) or bool(info.get("mirror_video_transform"))

"""What all readers share: the listing of the folder, counting of files that belong to no item, content ids."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.ids import hash_file, make_id
from unihand_data.sources import archive
from unihand_data.sources.listing import is_remote, list_files, matching
from unihand_data.sources.sniff import check_head, check_video_file
from unihand_data.sources.spec import DatasetSpec
from unihand_data.values.recording import Recording, SourceItem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceOptions:
    """What the user may add to a data set.

    Attributes:
        video_root: folder of videos that the data set does not carry itself (VITRA-1M); None: beside the annotation.
        mano_dir: folder with the user's ``MANO_RIGHT.pkl`` and ``MANO_LEFT.pkl``.
        work_dir: folder for videos joined from pictures (FPHA, H2O, DexYCB ...), which opening the item makes again
            where they are missing. None: the machine's temporary folder.
        require_video: False returns a recording without video instead of a reject (inspection of annotations).
    """

    video_root: str | None = None
    mano_dir: str | None = None
    work_dir: str | None = None
    require_video: bool = True


class FolderSource:
    """Base of the readers; subclasses give ``_list`` and ``_open``. Small and picklable: it travels to workers.

    ``FIXED`` names the conventions a YAML cannot change for this reader, with the one value each has: a value that
    nobody would read is refused.

    Args:
        root: the data set's folder, or the folder of the single file in ``only``.
        only: the one file the user named, relative to ``root``.
    """

    FIXED: ClassVar[dict[str, Any]] = {"hands": None, "camera": None}

    def __init__(self, root: str, spec: DatasetSpec, options: SourceOptions | None = None, only: str | None = None):
        for key, value in self.FIXED.items():
            if (said := _said(spec, key)) != value:
                raise DatasetRefused(
                    f"{spec.name}: {key} is {'left out' if value is None else value} for reader {spec.reader}, "
                    f"which cannot take {said}."
                )
        self.root = root.rstrip("/") if is_remote(root) else str(Path(root).absolute())
        self.spec = spec
        self.dataset = spec.name
        self.options = options or SourceOptions()
        self.only = only
        self._ignored: Counter[str] = Counter()
        self._claimed: set[str] = set()

    # listing ------------------------------------------------------------------------------------------------------

    def files(self, unreadable: dict[str, str] | None = None) -> list[str]:
        """All files under the root, relative and sorted; ``unreadable`` takes up folders that cannot be listed."""
        return [self.only] if self.only else list_files(self.root, unreadable=unreadable)

    def items(self) -> Iterator[SourceItem]:
        """The items, in a stable order; a folder that cannot be read is one of them. Nothing is opened except archive
        headers.

        Raises:
            DatasetRefused: the root itself cannot be read.
        """
        unreadable: dict[str, str] = {}
        files = self.files(unreadable)
        need_root(self.root, unreadable)
        self._claimed = set()
        for folder, why in sorted(unreadable.items()):
            text = f"{self.path(folder)}: the folder cannot be read ({why}); allow it (chmod u+rx) and run again"
            yield self.broken(f"{folder}/", Reject(Reason.UNREADABLE, text))
        yield from self._list(files)
        self._ignored = Counter(Path(f).suffix.lower() or "(none)" for f in files if f not in self._claimed)

    def ignored(self) -> int:
        """Files that belong to no item; :meth:`ignored_by_suffix` says of which kinds."""
        return sum(self._ignored.values())

    def ignored_by_suffix(self) -> dict[str, int]:
        return dict(self._ignored)

    def claim(self, *files: str) -> None:
        """These files belong to an item (or to the data set as a whole, like a table of narrations)."""
        self._claimed.update(files)

    @property
    def claimed(self) -> set[str]:
        """Files that belong to something, while the items are listed."""
        return self._claimed

    def _list(self, files: list[str]) -> Iterator[SourceItem]:
        raise NotImplementedError

    def open(self, item: SourceItem) -> Recording:
        """Read one item. Raises ``Reject``."""
        if item.payload.get("kind") == "broken":
            raise Reject(Reason(item.payload["reason"]), item.payload["message"])
        return self._open(item)

    def _open(self, item: SourceItem) -> Recording:
        raise NotImplementedError

    # helpers ------------------------------------------------------------------------------------------------------

    def path(self, relative: str) -> str:
        return f"{self.root}/{relative}"

    def item(self, key: str, uri: str, **payload: Any) -> SourceItem:
        return SourceItem(key=key, uri=uri, dataset=self.dataset, payload=payload)

    def broken(self, name: str, reject: Reject) -> SourceItem:
        """An item known to be unreadable when it is listed; opening it raises the reject."""
        return self.item(name, self.path(name), kind="broken", reason=str(reject.reason), message=reject.message)

    def select(self, files: list[str], globs: list[str]) -> list[str]:
        return matching(files, globs)

    def video_key(self, relative: str) -> str:
        """The id that joins a video and the tables: the YAML's ``video_key`` regex, else the file's stem."""
        if self.spec.video_key:
            found = re.search(self.spec.video_key, relative)
            if found:
                return found.group("key")
        return Path(relative).stem

    def find_video(self, *candidates: str) -> str | None:
        """The first candidate that exists under ``video_root`` or the root."""
        for base in (self.options.video_root, self.root):
            for name in candidates:
                if base and Path(base, name).is_file():
                    return str(Path(base, name))
        return None

    def recording(
        self, item: SourceItem, video: str | None, content_id: str | None = None, annotations: tuple[str, ...] = ()
    ) -> Recording:
        """A recording with ids and the data set's constants; ``video`` is checked and hashed.

        ``annotations`` are local files whose content is recorded as ``extra['annotation_id']``, so that a corrected
        annotation can be told from the first one although the video is the same.
        """
        extra: dict[str, Any] = {}
        if content_id is None:
            if video is None:
                if self.options.require_video:
                    raise Reject(
                        Reason.MISSING_FILE,
                        f"{item.uri}: its video is not in this folder; fetch it and name its folder (--set videos=...)",
                    )
                content_id = hash_files(annotations)
            else:
                content_id, extra["bytes"] = content_id_of(video)
        if annotations:
            extra["annotation_id"] = hash_files(annotations)
        spec = self.spec
        return Recording(
            item=item,
            video=video,
            content_id=content_id,
            recording_id=make_id("recording", content_id),
            fps_hint=spec.fps,
            setting=spec.setting,
            origin=spec.origin,
            licence=spec.licence,
            shareable=spec.shareable,
            suite=spec.name,
            extra=extra,
        )


def _said(spec: DatasetSpec, key: str) -> Any:
    """What a YAML says under a dotted key; None where its section is left out."""
    value: Any = spec
    for name in key.split("."):
        value = None if value is None else getattr(value, name)
    return value


def need_root(root: str, unreadable: dict[str, str]) -> None:
    """Raises:
    DatasetRefused: the folder itself is among those that could not be listed."""
    if "" in unreadable:
        raise DatasetRefused(f"{root}: the folder cannot be read ({unreadable['']}); allow it (chmod u+rx)")


def content_id_of(video: str) -> tuple[str, int]:
    """blake2b-128 of a video's bytes and their number: a local file, a URL or an archive member; checked to be a
    container."""
    path, member = archive.split_member(video)
    if is_remote(video):
        return _hash_url(video)
    if member:
        with archive.open_member(path, member) as stream:
            return _hash_stream(stream, video)
    check_video_file(video)
    return hash_file(video), Path(video).stat().st_size


def _hash_url(url: str) -> tuple[str, int]:
    import fsspec

    try:
        with fsspec.open(url, "rb") as stream:
            return _hash_stream(stream, url)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{url}: no such object; check the path") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{url}: cannot be read ({error}); check access and try again") from error


def _hash_stream(stream: Any, name: str) -> tuple[str, int]:
    h, size, head = hashlib.blake2b(digest_size=16), 0, b""
    while piece := stream.read(1 << 22):
        head = head or piece[:512]
        h.update(piece)
        size += len(piece)
    check_head(head, size, name)
    return h.hexdigest(), size


def hash_files(paths: tuple[str, ...]) -> str:
    """One id of the content of annotation files. Raises ``Reject``: MISSING_FILE, UNREADABLE."""
    try:
        return make_id("files", *(hash_file(p) for p in paths))
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{error.filename}: no such file; fetch it") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{error.filename}: cannot be read ({error})") from error

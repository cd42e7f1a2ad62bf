"""Where a row's picture or video lies: a file under the corpus' roots, or a member of an archive beside it.

A path that leaves the folder is refused. Back-slashes are folders (RoboRefIt), and of paths that are absolute on the
owner's machines (ShareRobot) leading folders are taken away until a file is there, if the YAML says so. Members of zip
and plain tar files are found by an index; a compressed tar cannot be read at random and has to be unpacked.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from functools import lru_cache

from unihand_data.errors import Reason, Reject
from unihand_data.sources.archive import is_archive, members, safe_name
from unihand_data.sources.conversations.refer import coco_id
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import Film, Picture
from unihand_data.sources.listing import list_files, matching

MAX_PICTURE_BYTES = 256 << 20


class Finder:
    """Pictures and videos of one corpus."""

    def __init__(self, spec: CorpusSpec, root: str):
        self.spec, self.root = spec, root
        self._archives: dict[str, str] | None = None

    def picture(self, name: object, where: str) -> Picture:
        """The picture a row names.

        Raises:
            Reject: WRONG_TYPE (no text), UNSAFE_CONTENT (leaves the folder), MISSING_FILE.
        """
        path = self.find(name, where, "picture")
        return Picture(str(name), path, coco_id=coco_id(str(name)))

    def embedded(self, value: object, where: str) -> Picture:
        """A picture that came with the row: bytes, the ``{bytes, path}`` of Hugging Face, or a path.

        Raises:
            Reject: MISSING_FILE (neither bytes nor a path), WRONG_TYPE.
        """
        if isinstance(value, bytes):
            return Picture("", data=value)
        if isinstance(value, dict) and ("bytes" in value or "path" in value):
            name = value.get("path") or ""
            if value.get("bytes"):
                if not isinstance(value["bytes"], bytes):
                    raise Reject(Reason.WRONG_TYPE, f"{where}: image.bytes is {type(value['bytes']).__name__}")
                return Picture(str(name), data=value["bytes"], coco_id=coco_id(str(name)))
            if not name:
                raise Reject(Reason.MISSING_FILE, f"{where}: the image has neither bytes nor a path; fetch it again")
            return self.picture(name, where)
        if value is None:
            raise Reject(Reason.MISSING_FILE, f"{where}: the image is empty (null); fetch it again")
        return self.picture(value, where)

    def film(self, name: object, where: str) -> Film:
        """The video a row names; errors as :meth:`picture`."""
        return Film(str(name), self.find(name, where, "video"))

    def find(self, name: object, where: str, what: str) -> str:
        if not isinstance(name, str) or not name.strip():
            raise Reject(Reason.WRONG_TYPE, f"{where}: the {what}'s path is {name!r}, not text")
        clean = name.replace("\\", "/").strip()
        if "\x00" in clean:
            raise Reject(Reason.UNSAFE_CONTENT, f"{where}: the {what}'s path holds a zero byte")
        absolute = clean.startswith("/") or re.match(r"^[A-Za-z]:/", clean) is not None
        parts = [p for p in clean.split("/") if p not in ("", ".")]
        names = ["/".join(parts[skip:]) for skip in (range(len(parts)) if absolute else range(1))]
        names += [names[0].removeprefix(head) for head in self.spec.leading if names and names[0].startswith(head)]
        if ".." in parts or (absolute and not self.spec.cluster_paths):
            raise Reject(Reason.UNSAFE_CONTENT, f"{where}: {what} path {name!r} leaves the corpus' folder")
        for relative in names:
            for base in self.spec.image_roots:
                path = os.path.join(self.root, base, relative)
                if os.path.isfile(path) and self._inside(path):
                    return path
            member = self._members().get(relative)
            if member:
                return f"{member}!{relative}"
        raise Reject(
            Reason.MISSING_FILE,
            f"{where}: {what} {name!r} is not in {self.root} (looked in "
            f"{', '.join(repr(b or '.') for b in self.spec.image_roots)}); fetch it there" + self._hint(),
        )

    def _inside(self, path: str) -> bool:
        """Links may lead to another disk of the same owner, names may not climb: checked by name, not by link."""
        return os.path.normpath(path).startswith(os.path.normpath(self.root) + os.sep)

    def _members(self) -> dict[str, str]:
        if self._archives is None:
            self._archives = {}
            if self.spec.archives:
                for file in matching(list_files(self.root), self.spec.archives):
                    if is_archive(file) and not file.endswith((".gz", ".tgz")):
                        path = os.path.join(self.root, file)
                        for member in members(path):
                            self._archives.setdefault(member.name, path)
        return self._archives

    def _hint(self) -> str:
        if not self.spec.archives:
            return ""
        packed = [f for f in list_files(self.root) if re.search(r"\.(tar\.gz|tgz)$|\.part_?[a-z]+$", f)]
        return f", unpack {packed[0]} first (parts: cat them together)" if packed else ""


def read_picture(picture: Picture, where: str) -> bytes:
    """The encoded bytes. Raises ``Reject``: MISSING_FILE, UNREADABLE, EMPTY, TRUNCATED, UNSAFE_CONTENT."""
    if picture.data is not None:
        data = picture.data
    elif "!" in picture.path and is_archive(picture.path.split("!")[0]):
        archive, _, member = picture.path.partition("!")
        data = _member(archive, member)
    else:
        try:
            with open(picture.path, "rb") as stream:
                data = stream.read(MAX_PICTURE_BYTES + 1)
        except OSError as error:
            raise Reject(Reason.MISSING_FILE, f"{where}: {picture.path} cannot be read ({error.strerror})") from error
    if len(data) > MAX_PICTURE_BYTES:
        raise Reject(Reason.UNSAFE_CONTENT, f"{where}: picture {picture.name!r} is over {MAX_PICTURE_BYTES} bytes")
    if not data:
        raise Reject(Reason.EMPTY, f"{where}: picture {picture.name!r} has no bytes; fetch it again")
    return data


def _member(path: str, name: str) -> bytes:
    """A member at random: the archive stays open, its index is read once per worker."""
    try:
        handle = _open(path, os.stat(path).st_mtime_ns)
        if isinstance(handle, zipfile.ZipFile):
            info = handle.getinfo(next(n for n in handle.namelist() if safe_name(n, path) == name))
            if info.file_size > MAX_PICTURE_BYTES:
                raise Reject(Reason.UNSAFE_CONTENT, f"{path}!{name}: over {MAX_PICTURE_BYTES} bytes")
            return handle.read(info)
        entry = next(e for e in handle.getmembers() if safe_name(e.name, path) == name)
        stream = handle.extractfile(entry)
        return stream.read(MAX_PICTURE_BYTES + 1) if stream is not None else b""
    except Reject:
        raise
    except StopIteration as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no member {name!r}") from error
    except (
        OSError,
        zipfile.BadZipFile,
        tarfile.TarError,
        ValueError,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise Reject(
            Reason.UNREADABLE, f"{path}!{name}: cannot be read ({str(error)[:120]}); fetch it again"
        ) from error


@lru_cache(maxsize=8)
def _open(path: str, _stamp: int) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path, "r:")

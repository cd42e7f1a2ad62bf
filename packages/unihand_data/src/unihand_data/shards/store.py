"""Files of a shard or staging directory, local or on object storage, written whole or not at all.

A local file is written to a temporary name, flushed and renamed; an object store's single put is atomic by itself.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any


class Store:
    """One directory. ``url`` is a local path or anything fsspec opens (``s3://bucket/prefix``).

    ``storage_options`` go to fsspec; credentials and endpoints otherwise come from the environment.
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: dict[str, Any] | None = None):
        text = os.fspath(url)
        if text.startswith("file://"):
            text = text[len("file://") :]
        self.local = "://" not in text
        self.url = os.path.abspath(text) if self.local else text.rstrip("/")
        self.storage_options = storage_options or {}
        self._fs: Any = None
        self._root = self.url
        if not self.local:
            import fsspec

            self._fs, self._root = fsspec.core.url_to_fs(self.url, **self.storage_options)

    @property
    def filesystem(self) -> Any:
        """fsspec file system for pyarrow, None when local."""
        return self._fs

    def path(self, name: str = "") -> str:
        """What :attr:`filesystem` (or the operating system) calls ``name``."""
        return f"{self._root}/{name}" if name else self._root

    def uri(self, name: str) -> str:
        """What Lance calls ``name``."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        return os.path.exists(self.path(name)) if self.local else bool(self._fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """Raises ``FileNotFoundError``."""
        return Path(self.path(name)).read_bytes() if self.local else self._fs.cat_file(self.path(name))

    def write(self, name: str, data: bytes) -> None:
        """Atomic; an existing file is replaced."""
        if not self.local:
            self._fs.pipe_file(self.path(name), data)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.tmp-{uuid.uuid4().hex}")
        try:
            with open(temporary, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def names(self, folder: str, suffix: str) -> list[str]:
        """Sorted names (``folder/name``) that end in ``suffix``; temporary files are not seen."""
        if self.local:
            root = Path(self.path(folder))
            found = [p.name for p in root.iterdir()] if root.is_dir() else []
        else:
            self._fs.invalidate_cache()
            there = self._fs.exists(self.path(folder))
            found = [p.rsplit("/", 1)[-1] for p in self._fs.ls(self.path(folder), detail=False)] if there else []
        prefix = f"{folder}/" if folder else ""
        return sorted(f"{prefix}{n}" for n in found if n.endswith(suffix))

    def remove(self, name: str) -> None:
        """No error when it is gone already."""
        try:
            os.remove(self.path(name)) if self.local else self._fs.rm_file(self.path(name))
        except FileNotFoundError:
            return


def read_anywhere(path: str, storage_options: dict[str, Any] | None = None) -> bytes:
    """Bytes of a local path or URL. Raises ``FileNotFoundError``."""
    if "://" not in path:
        return Path(path).read_bytes()
    import fsspec

    fs, inner = fsspec.core.url_to_fs(path, **(storage_options or {}))
    return fs.cat_file(inner)

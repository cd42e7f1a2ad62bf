"""From ``Recording.video`` to a local file a decoder can open.

``Recording.video`` is a local path (used as it is), a URL or an archive member ``archive!member``. The last two become
a file in a folder of the caller's, named by content, so that a second call finds it; the caller removes it when done.
Decoders of this project read all three forms themselves; other programs (HaWoR) need the file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive
from unihand_data.sources.listing import is_remote
from unihand_data.sources.recording import Recording


def local_video(recording: Recording, work_dir: str | Path) -> tuple[Path, bool]:
    """The recording's video as a local file.

    Returns:
        ``(path, temporary)``; ``temporary`` files lie in ``work_dir`` and may be deleted after use.

    Raises:
        Reject: MISSING_FILE, UNREADABLE, TRUNCATED, UNSAFE_CONTENT.
    """
    video = recording.video
    if video is None:
        raise Reject(Reason.MISSING_FILE, f"{recording.item.uri}: the recording has no video; fetch it")
    path, member = archive.split_member(video)
    if not member and not is_remote(video):
        return Path(video.removeprefix("file://")), False
    work = Path(work_dir)
    work.mkdir(parents=True, exist_ok=True)
    out = work / f"{recording.content_id}{Path(member or video).suffix.lower()}"
    if out.exists():
        return out, True
    if member:
        return archive.extract_member(path, member, out), True
    return _download(video, out), True


def _download(url: str, out: Path) -> Path:
    import fsspec

    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with fsspec.open(url, "rb") as source, open(temporary, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 22)
        os.replace(temporary, out)
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{url}: no such object; check the path") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{url}: cannot be fetched ({error}); check access and try again") from error
    finally:
        temporary.unlink(missing_ok=True)
    return out

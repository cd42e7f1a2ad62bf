"""``unihand view``: one episode as a picture a person can judge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from unihand_data.commands import overlay
from unihand_data.commands.rerun_recording import write_rerun
from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow


def view(
    directory: Annotated[str, tyro.conf.Positional],
    episode: Annotated[str, tyro.conf.Positional] = "",
    *,
    out: Path | None = None,
    camera: str = "",
    rerun: bool = False,
) -> int:
    """Draw hands and wrist paths over an episode's video, or list the episodes.

    Args:
        directory: the shard directory.
        episode: episode id or the beginning of one; without it the episodes are listed.
        out: file to write; default EPISODE.mp4 (or .rrd) in the current folder.
        camera: view to draw on; default the first one.
        rerun: write a Rerun recording instead of an MP4 (needs the [view] extra).
    """
    with ShardReader(directory) as reader:
        if not episode:
            for name in reader.episode_ids:
                row = reader.episode(name)
                text = row.language[0].text if row.language else ""
                twin = " mirror" if row.mirrored else ""
                sys.stdout.write(f"{name}{twin}  {row.source}  {row.frames} frames  {row.source_uri}  {text}\n")
            return 0
        row = reader.episode(_one(reader, episode))
        chosen = _camera(row, camera)
        target = out or Path(f"{row.episode_id}.{'rrd' if rerun else 'mp4'}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if rerun:
            write_rerun(target, reader, row, chosen)
        else:
            overlay.write_mp4(target, row, overlay.drawn(reader, row, chosen))
        for said in row.language:
            sys.stdout.write(f"{said.t0:7.2f} {said.t1:7.2f}  {said.level:<12} [{said.text_source}] {said.text}\n")
        sys.stdout.write(f"{target}\n")
    return 0


def _one(reader: ShardReader, start: str) -> str:
    found = [i for i in reader.episode_ids if i.startswith(start)]
    if len(found) != 1:
        what = (
            f"{len(found)} episodes of {reader.store.url} begin"
            if found
            else f"no episode of {reader.store.url} begins"
        )
        raise ShardError(f"{what} with {start!r}")
    return found[0]


def _camera(row: EpisodeRow, name: str) -> CameraRow:
    for camera in row.cameras:
        if name in ("", camera.view):
            return camera
    views = ", ".join(c.view for c in row.cameras)
    raise ShardError(f"episode {row.episode_id} has no view {name!r}; it has {views or 'none'}")

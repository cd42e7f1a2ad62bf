"""``unihand export``: shards in the layouts others read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import tyro

from unihand_data.shards.errors import ShardError
from unihand_data.shards.export import lerobot3, official, preview
from unihand_data.shards.reader import ShardReader


def export(
    directory: Annotated[str, tyro.conf.Positional],
    out: Annotated[str, tyro.conf.Positional],
    *,
    layout: Literal["lerobot3", "unihand_preview", "official_motion", "official_text"] = "lerobot3",
    tag: str | None = None,
    embodiment: str | None = None,
    rate: float | None = None,
    mirrored: bool = False,
    keep_uneven: bool = False,
) -> int:
    """Write the shard directory in another layout.

    Args:
        directory: the shard directory.
        out: a new directory, local or URL.
        layout: LeRobot v3.0, its UniHand_Preview variant, or the rows of the released training code (LeRobot v2.1 for
            motion, JSONL conversations for text).
        tag: export what this tag pins.
        embodiment: only this one (a data set has one).
        rate: only episodes of this rate in Hz.
        mirrored: mirror twins too; their video is encoded anew, flipped (unihand_preview always refers to them).
        keep_uneven: lerobot3: write timestamps LeRobot's own check would refuse.
    """
    if "://" not in out and os.path.isdir(out) and os.listdir(out):
        raise ShardError(f"{out} is not empty; export into a new directory")
    options: dict[str, Any] = {"embodiment": embodiment, "rate_hz": rate}
    with ShardReader(directory, tag=tag) as reader:
        writers: dict[str, Callable[[], dict[str, int]]] = {
            "lerobot3": lambda: lerobot3.export(reader, out, **options, mirrored=mirrored, keep_uneven=keep_uneven),
            "unihand_preview": lambda: preview.export(reader, out, **options),
            "official_motion": lambda: official.export_motion(reader, out, **options, mirrored=mirrored),
            "official_text": lambda: official.export_text(reader, out),
        }
        sys.stdout.write(json.dumps(writers[layout]()) + "\n")
    return 0

"""Input items of the robot job: one per episode, with ids that follow content and what the data-set file says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

from unihand_data.errors import DatasetRefused
from unihand_data.ids import make_id
from unihand_data.jobs.items import fingerprint
from unihand_data.runner import paths
from unihand_data.runner.stage import Unit
from unihand_data.shards.errors import CommitRefused
from unihand_data.sources.robot.registry import RobotSource
from unihand_data.values.recording import SourceItem

#: files of one item that are looked at; of longer lists (an item of pictures) the first and the last
_MOST_FILES = 16
_KNOWN = ("_job", "robot_sets.json")


def list_episodes(source: RobotSource) -> Iterator[Unit]:
    """One unit per item. Its id holds the item's key, the data-set file's content, and size and both ends of every
    file the item names, so a replaced video and a corrected YAML both make it another item.

    Raises:
        DatasetRefused: there is none.
    """
    units = _units(source)
    first = next(units, None)
    if first is None:
        raise DatasetRefused(
            f"{source.root}: its data sets hold no episode; {source.ignored()} files belong to none of them."
        )
    return chain([first], units)


def _units(source: RobotSource) -> Iterator[Unit]:
    seen = lru_cache(maxsize=4096)(fingerprint)  # episodes of LeRobot v3.0 share their files
    for item in source.items():
        one = source.sets[item.payload["set"]]
        base = f"{source.root}/{one.found.root}".rstrip("/")
        spec = one.spec.content_hash if one.spec is not None else ""
        item_id = make_id("item", item.dataset, item.key, spec, *(seen(path) for path in files_of(item, base)))
        yield Unit(item_id, item_id, item.uri, item)


def files_of(item: SourceItem, base: str) -> list[str]:
    """The file of its URI, and every file below the data set's folder that its payload names at any depth."""
    place = item.uri if os.path.exists(item.uri) else item.uri.split("#")[0].split("!")[0]
    named = list(dict.fromkeys(_texts(item.payload)))
    half = _MOST_FILES // 2
    named = named if len(named) <= _MOST_FILES else named[:half] + named[-half:]
    found = [path for name in named if os.path.isfile(path := os.path.join(base, name))]
    return list(dict.fromkeys([place, *found]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def check_versions(source: RobotSource, output: str, new_version: bool) -> None:
    """Refuse a directory that holds episodes of these data sets as another version of their files described them.

    Raises:
        CommitRefused: naming the data-set file, without ``new_version``.
    """
    place = paths.join(output, *_KNOWN)
    known: dict[str, str] = json.loads(paths.read_bytes(place)) if paths.exists(place) else {}
    now = {one.spec.name: one.spec.content_hash for one in source.sets if one.spec is not None and not one.refused}
    changed = [name for name, digest in sorted(now.items()) if known.get(name, digest) != digest]
    if changed and not new_version:
        raise CommitRefused(
            f"{output} holds episodes of {', '.join(changed)} as an earlier version of that data-set file described "
            "them; write into another directory, or add --new-version to keep both"
        )
    if {**known, **now} != known:
        paths.write_atomic(place, json.dumps({**known, **now}, indent=1, sort_keys=True).encode())

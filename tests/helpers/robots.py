"""Generated robot sets opened and converted, and what every opening promises, whatever became of its file."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.curate.robot.checks import check_set, contradiction
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.robot.generate.catalogue import generate
from unihand_data.sources.robot.registry import open_robot


def opened_set(folder: Path) -> tuple[Any, list[tuple[Any, Any, Any]]]:
    """The source of a folder and its (spec, episode, motion) triples."""
    source = open_robot(str(folder))
    opened = [source.open(item) for item in source.items()]
    return source, [(spec, episode, convert(episode, spec)) for spec, episode in opened]


def opened(folder: Path, dataset: str | None = None, number: int = 0) -> Any:
    """One episode of a folder, raw."""
    source = open_robot(str(folder), dataset)
    return source.open(next(islice(source.items(), number, None)))[1]


def outcomes(folder: Path, dataset: str | None = None) -> list[Any]:
    """Of every item of a folder: its episode, or the reject in its place."""
    source = open_robot(str(folder), dataset)
    out: list[Any] = []
    for item in source.items():
        try:
            out.append(source.open(item)[1])
        except Reject as reject:
            out.append(reject)
    assert all(r.level == "item" for r in out if isinstance(r, Reject))
    return out


def edited(folder: Path, name: str, change: Any, **more: Any) -> Path:
    """A generated HDF5 set of one episode whose members ``change`` altered; its folder."""
    generate(name, folder, episodes=1, seed=1, edit=change, **more)
    return folder


def one_file(folder: Path) -> Path:
    """Its first HDF5 file."""
    return next(p for p in sorted(folder.rglob("*")) if p.suffix in (".h5", ".hdf5"))


def unaccounted(names: Any, spec: Any) -> list[str]:
    """Features or cameras that a data-set file neither takes nor ignores with a reason."""
    used = spec.features()
    return [n for n in names if n not in used and not any(re.fullmatch(p, n) for p in spec.ignore)]


def contradicted(triples: list[tuple[Any, Any, Any]]) -> dict[str, str]:
    """Data-set file -> what the data-driven checks hold against it."""
    by_spec: dict[str, tuple[Any, list[Any]]] = {}
    for spec, episode, motion in triples:
        by_spec.setdefault(spec.name, (spec, []))[1].append((episode, motion))
    found = {
        name: contradiction(spec, check_set(spec, pairs, CheckSettings())) for name, (spec, pairs) in by_spec.items()
    }
    return {name: why for name, why in found.items() if why}


def end_of(folder: Path, dataset: str | None = None, *, converts: bool = False) -> str:
    """How a folder ends: ``refused``, ``rejected`` (an item, or a loss inside one) or ``not touched``. Asserts that
    messages are one sentence each and that openings hold; any other exception is the caller's failure."""
    end = "not touched"
    try:
        source = open_robot(str(folder), dataset)
        for item in source.items():
            if "refused" in item.payload:
                end = "refused"
                continue
            try:
                spec, episode = source.open(item)
                _holds(episode)
                end = "rejected" if episode.losses else end
                if converts:
                    convert(episode, spec)
            except Reject as reject:
                end = "rejected"
                _is_a_sentence(reject.message)
        if source.ignored() and end == "not touched":
            end = "rejected"  # a file that was part of the set is none any more, and is counted
    except DatasetRefused as refused:
        _is_a_sentence(str(refused))
        return "refused"
    return end


def _is_a_sentence(message: str) -> None:
    assert len(message) > 10
    assert "\n" not in message


def _holds(e: Any) -> None:
    assert len(e.content_id) == 32
    assert e.timestamps is None or (np.diff(e.timestamps) > 0).all()
    assert {len(x) for x in e.columns.values()} <= {e.steps}
    assert all(x.ndim == 2 and x.dtype.kind in "fiu" for x in e.columns.values())
    assert all(loss.level == "row" for loss in e.losses)
    for loss in e.losses:
        _is_a_sentence(loss.message)
    assert all(t.text.strip() and 0 <= t.start < (t.stop or e.steps) <= e.steps for t in e.texts)
    for view in e.views.values():
        if view.pictures is None:
            assert 0 <= view.t0 < (view.t1 or np.inf)
        else:
            assert all(view.pictures)
            assert len(view.pictures) == (e.steps if view.times is None else len(view.times))
    json.dumps(e.facts)

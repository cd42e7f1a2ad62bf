"""BridgeData V1 and V2 as recorded: one folder per trajectory with two pickles, pictures and a sentence.

Commands of recordings before 23 July 2021 answer the observation one step later (the owner's conversion script), so
they are moved by a step. Legend: T steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Text, View
from unihand_data.sources.robot.readers.side_json import names_in
from unihand_data.sources.robot.readers.sidecar_part import Part, Views, column, numbered
from unihand_data.untrusted.unpickle import read_bounded, safe_load

_FOLDER = re.compile(
    r"(?P<above>(?:.*/)?)(?P<date>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})/raw/traj_group\d+/traj\d+/"
    r"(?:obs_dict|policy_out)\.pkl"
)
_CAMERA = re.compile(r".*/((?:depth_)?images\d+)/im_\d+\.(?:jpg|png)")
_DELAYED_BEFORE = "2021-07-23"
TRIES = 8


def roots(files: list[str]) -> dict[str, list[str]]:
    """Folder of a collection (``<scene>/<task>/<number>/<date>`` lie below it) -> folders of its trajectories."""
    out: dict[str, list[str]] = {}
    for name in files:
        at = _FOLDER.fullmatch(name)
        if at is not None:
            above = at["above"].rstrip("/").split("/") if at["above"] else []
            out.setdefault("/".join(above[:-3]), []).append(name.rpartition("/")[0])
    return {root: list(dict.fromkeys(folders)) for root, folders in out.items()}


def cameras(files: list[str], below: str) -> tuple[str, ...]:
    prefix = f"{below}/".lstrip("/")
    return tuple(sorted({m[1] for f in files if f.startswith(prefix) and (m := _CAMERA.fullmatch(f))}))


def features(root: str, folders: list[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Columns of the first trajectory that can be read; the sentence why, where none can."""
    why = ""
    for folder in folders[:TRIES]:
        try:
            columns = _columns(f"{root}/{folder}")[0]
        except Reject as reject:
            why = why or reject.message
            continue
        return {name: x.shape[1] for name, x in columns.items()}, ()
    return {}, (why,)


def read(folder: str) -> Part:
    """One trajectory. Raises ``Reject``: MISSING_FILE, MISSING_FIELD, WRONG_TYPE, CONTRADICTION, and of the pickles."""
    columns, facts = _columns(folder)
    steps = len(next(iter(columns.values())))
    texts, losses = _words(f"{folder}/lang.txt")
    at = re.search(r"/([^/]+)/([^/]+)/\d{4}-\d{2}-\d{2}_[^/]+/raw/", folder)

    def views(ignored: Callable[[str], bool], unit: float) -> Views:
        return _views(folder, steps, ignored, unit)

    return Part(columns, None, views, texts, losses, facts, at[1] if at else "")


def _columns(folder: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    said = safe_load(f"{folder}/obs_dict.pkl")
    if not isinstance(said, dict):
        raise Reject(Reason.WRONG_TYPE, f"{folder}/obs_dict.pkl: {type(said).__name__}, a dict is expected")
    state = said.get("full_state")
    if not isinstance(state, np.ndarray) or state.ndim != 2 or not len(state) or state.dtype.kind not in "fiu":
        raise Reject(Reason.MISSING_FIELD, f"{folder}/obs_dict.pkl: no array full_state (T, 7); fetch it again")
    steps = len(state)
    columns = {f"obs/{k}": c for k, v in sorted(said.items(), key=lambda kv: str(kv[0]))
               if isinstance(k, str) and k != "time_stamp" and (c := column(v, steps)) is not None}  # fmt: skip
    facts: dict[str, Any] = {}
    stamps = column(said.get("time_stamp"), steps)
    if stamps is not None and steps > 1 and stamps.shape[1] == 1:
        gap = float(np.median(np.diff(stamps[:, 0])))
        facts = {"fps_clock": round(1 / gap, 3)} if np.isfinite(gap) and gap > 0 else {}
    columns["policy/actions"] = _commands(folder, steps)
    if _delayed(folder):
        columns["policy/actions"] = np.roll(columns["policy/actions"], 1, axis=0)
        facts["commands_moved_by"] = 1
    return columns, facts


def _commands(folder: str, steps: int) -> np.ndarray:
    """(T, n), NaN at the last step. The file is a list of dicts with ``actions``, or of arrays."""
    path = f"{folder}/policy_out.pkl"
    said = safe_load(path)
    rows: list[Any] = [r.get("actions") if isinstance(r, dict) else r for r in said] if isinstance(said, list) else []
    if not rows or not all(isinstance(r, np.ndarray) and r.ndim == 1 and r.dtype.kind in "fiu" for r in rows):
        raise Reject(Reason.WRONG_TYPE, f"{path}: a list of commands is expected")
    if len({len(r) for r in rows}) != 1:
        raise Reject(Reason.CONTRADICTION, f"{path}: commands of {sorted({len(r) for r in rows})} numbers")
    if len(rows) not in (steps, steps - 1):
        reason = Reason.TRUNCATED if len(rows) < steps else Reason.CONTRADICTION
        raise Reject(reason, f"{path}: {len(rows)} commands for {steps} observations", frames=steps)
    out = np.full((steps, len(rows[0])), np.nan)
    out[: len(rows)] = np.stack(rows)
    return out


def _delayed(folder: str) -> bool:
    at = re.search(r"/(\d{4}-\d{2}-\d{2})_\d{2}-\d{2}-\d{2}/raw/", folder)
    return at is not None and at[1] < _DELAYED_BEFORE


def _words(path: str) -> tuple[list[Text], list[Reject]]:
    """Sentences of ``lang.txt``: one a line, and a line ``confidence: x`` that says how sure the annotator was."""
    try:
        lines = read_bounded(path, 1 << 20).decode("utf-8", "replace").splitlines()
    except Reject as reject:
        reason = Reason.NO_TEXT if reject.reason in (Reason.MISSING_FILE, Reason.EMPTY) else reject.reason
        return [], [Reject(reason, reject.message, level="row")]
    kept = (" ".join(line.split()) for line in lines)
    said = [t for t in kept if t and not re.match(r"(?i)confidence\s*:", t)]
    texts = [Text(t) for t in dict.fromkeys(said)]
    return texts, [] if texts else [Reject(Reason.NO_TEXT, f"{path}: no sentence in it", level="row")]


def _views(folder: str, steps: int, ignored: Callable[[str], bool], unit: float) -> Views:
    views: dict[str, View] = {}
    losses: list[Reject] = []
    for key in names_in(folder):
        if not re.fullmatch(r"(depth_)?images\d+", key) or ignored(key):
            continue
        try:
            pictures = numbered(f"{folder}/{key}", r"im_(\d{1,9})\.(?:jpg|png)", steps)
        except Reject as reject:
            losses.append(Reject(reject.reason, reject.message, level="row", frames=steps))
            continue
        views[key] = View(key, pictures=pictures, depth=key.startswith("depth"), depth_unit_m=unit)
    return views, losses

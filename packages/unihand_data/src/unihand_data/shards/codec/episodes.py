"""Rows of ``episodes.lance``.

Legend: T frames, S active slots.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from unihand_data.shards import rows as R
from unihand_data.shards.codec.checks import (
    array,
    check_matrix,
    check_number,
    check_row_slots,
    check_string,
    check_vector,
    check_word,
    flat,
    json_text,
)
from unihand_data.shards.errors import RowError

VIEW = re.compile(r"ego|third_[1-9][0-9]*|wrist_left|wrist_right|top|high")
_DTYPE = re.compile(r"[<>|][biufSU][0-9]+")


def episode_to_record(row: R.EpisodeRow) -> dict[str, Any]:
    """One row of ``episodes.lance``.

    Raises:
        RowError: a field has the wrong shape, type or word; the message names episode and field.
    """
    who = f"episode {row.episode_id}"
    T = len(row.timestamps)
    times = check_vector(who, "timestamps", row.timestamps, np.float64)
    if T == 0 or not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise RowError(f"{who}: timestamps must be finite and strictly increasing, at least one")
    if abs(times[0]) > 1e-9:
        raise RowError(f"{who}: timestamps must start at 0 on the row's own clock, not at {times[0]}")
    if not (math.isfinite(row.rate_hz) and row.rate_hz > 0):
        raise RowError(f"{who}: rate_hz must be positive, not {row.rate_hz}")
    for name in ("domain", "origin", "setting", "split", "world"):
        check_word(who, name, getattr(row, name))
    record = {f.name: getattr(row, f.name) for f in fields(row)}
    record |= {"frames": T, "duration_s": row.duration_s, "timestamps": times}
    record["raw_to_world"] = check_matrix(who, "raw_to_world", row.raw_to_world, (4, 4), np.float64)
    for kind in ("state", "action"):
        slots = check_row_slots(who, f"{kind}_slots", getattr(row, f"{kind}_slots"))
        record[f"{kind}_slots"] = slots
        record[kind] = check_matrix(who, kind, getattr(row, kind), (T, len(slots)), np.float32)
        mask = check_matrix(who, f"{kind}_mask", getattr(row, f"{kind}_mask"), (T, len(slots)), np.bool_)
        record[f"{kind}_mask"] = mask
        if not np.all(np.isfinite(record[kind][mask])):
            raise RowError(f"{who}: {kind} is not finite where {kind}_mask is set")
    record["action_source"] = [
        {"slot_group": check_string(who, "action_source.slot_group", a["slot_group"]), "kind": a["kind"]}
        for a in row.action_source
    ]
    record["raw_extra"] = [_array_out(who, name, row.raw_extra[name]) for name in sorted(row.raw_extra)]
    record["cameras"] = [_camera_out(who, c, T) for c in row.cameras]
    record["hands"] = [_hand_out(who, h, T) for h in row.hands]
    record["language"] = [_language_out(who, i, line) for i, line in enumerate(row.language)]
    record["events"] = [flat(e) for e in row.events]
    record["quality"] = [
        {"name": k, "value": check_number(who, f"quality[{k}]", row.quality[k])} for k in sorted(row.quality)
    ]
    record["provenance"] = json_text(who, "provenance", row.provenance)
    return record


def episode_from_record(rec: Mapping[str, Any]) -> R.EpisodeRow:
    """The inverse of :func:`episode_to_record`; ``rec`` may come from :func:`records` or from ``to_pylist``."""
    T = int(rec["frames"])
    plain = {
        f.name: rec[f.name]
        for f in fields(R.EpisodeRow)
        if f.name in rec and not isinstance(rec[f.name], (list, np.ndarray))
    }
    state_slots, action_slots = array(rec["state_slots"], np.int16), array(rec["action_slots"], np.int16)
    return R.EpisodeRow(
        **plain
        | {
            "timestamps": array(rec["timestamps"], np.float64),
            "raw_to_world": array(rec["raw_to_world"], np.float64).reshape(4, 4),
            "state_slots": state_slots,
            "action_slots": action_slots,
            "state": array(rec["state"], np.float32).reshape(T, len(state_slots)),
            "action": array(rec["action"], np.float32).reshape(T, len(action_slots)),
            "state_mask": array(rec["state_mask"], np.bool_).reshape(T, len(state_slots)),
            "action_mask": array(rec["action_mask"], np.bool_).reshape(T, len(action_slots)),
            "action_source": [dict(a) for a in rec["action_source"]],
            "raw_extra": {x["name"]: _array_in(x) for x in rec["raw_extra"]},
            "cameras": [_camera_in(c) for c in rec["cameras"]],
            "hands": [_hand_in(h) for h in rec["hands"]],
            "language": [R.LanguageRow(**line) for line in rec["language"]],
            "events": [R.EventRow(**e) for e in rec["events"]],
            "quality": {q["name"]: float(q["value"]) for q in rec["quality"]},
            "provenance": json.loads(rec["provenance"]),
        }
    )


def _camera_out(who: str, c: R.CameraRow, T: int) -> dict[str, Any]:
    at = f"{who}, camera {c.view}"
    if not VIEW.fullmatch(c.view):
        raise RowError(f"{who}: view {c.view!r} is not one of ego, third_1.., wrist_right, wrist_left, top, high")
    if not c.media_id:
        raise RowError(f"{at}: media_id is empty")
    out = flat(c)
    for name, dtype in (("pts", np.float64), ("distortion", np.float64)):
        if getattr(c, name) is not None:
            out[name] = check_vector(at, name, getattr(c, name), dtype)
    if c.intrinsics is not None:
        out["intrinsics"] = check_matrix(at, "intrinsics", c.intrinsics, (4,), np.float64)
    if c.poses is not None:
        out["poses"] = check_matrix(at, "poses", c.poses, (T, 4, 4), np.float32).ravel()
    if c.pose_valid is not None:
        out["pose_valid"] = check_matrix(at, "pose_valid", c.pose_valid, (T,), np.bool_)
    return out


def _camera_in(c: Mapping[str, Any]) -> R.CameraRow:
    arrays = {"pts": np.float64, "intrinsics": np.float64, "distortion": np.float64, "poses": np.float32}
    out = dict(c) | {k: None if c[k] is None else array(c[k], t) for k, t in arrays.items()}
    out["pose_valid"] = None if c["pose_valid"] is None else array(c["pose_valid"], np.bool_)
    if out["poses"] is not None:
        out["poses"] = out["poses"].reshape(-1, 4, 4)
    return R.CameraRow(**out)


def _hand_out(who: str, h: R.HandRow, T: int) -> dict[str, Any]:
    at = f"{who}, {h.side} hand"
    check_word(at, "side", h.side)
    check_word(at, "hand_model", h.hand_model)
    return flat(h) | {
        "confidence": check_matrix(at, "confidence", h.confidence, (T,), np.float32),
        "valid": check_matrix(at, "valid", h.valid, (T,), np.bool_),
        "interpolated": check_matrix(at, "interpolated", h.interpolated, (T,), np.bool_),
    }


def _hand_in(h: Mapping[str, Any]) -> R.HandRow:
    arrays = {
        "confidence": array(h["confidence"], np.float32),
        "valid": array(h["valid"], np.bool_),
        "interpolated": array(h["interpolated"], np.bool_),
    }
    return R.HandRow(**dict(h) | arrays)


def _language_out(who: str, i: int, line: R.LanguageRow) -> dict[str, Any]:
    at = f"{who}, language[{i}]"
    check_word(at, "text_source", line.text_source)
    check_string(at, "text", line.text)
    if not line.t0 <= line.t1:
        raise RowError(f"{at}: t0 {line.t0} is after t1 {line.t1}")
    return flat(line)


def _array_out(who: str, name: str, value: np.ndarray) -> dict[str, Any]:
    value = np.asarray(value)
    if not _DTYPE.fullmatch(value.dtype.str):
        raise RowError(f"{who}: raw_extra[{name}] has dtype {value.dtype}; numbers, booleans and strings are kept")
    return {
        "name": check_string(who, "raw_extra name", name),
        "dtype": value.dtype.str,
        "shape": list(value.shape),
        "data": np.ascontiguousarray(value).tobytes(),
    }


def _array_in(x: Mapping[str, Any]) -> np.ndarray:
    if not _DTYPE.fullmatch(x["dtype"]):
        raise RowError(f"raw_extra[{x['name']}] has dtype {x['dtype']!r}, which this reader does not construct")
    return np.frombuffer(x["data"], dtype=np.dtype(x["dtype"])).reshape([int(n) for n in x["shape"]]).copy()

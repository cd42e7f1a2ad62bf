"""Rows to Arrow records and back, without loss: NaN, empty lists and None keep what they mean.

Legend: T frames, S active slots. A record is a dict whose keys are the columns of a schema in ``schema.py``.
Every check names the row and the field: a malformed row is found in the worker that made it, not at the commit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from unihand_data.errors import Reason
from unihand_data.shards import rows as R
from unihand_data.shards import schema
from unihand_data.shards.errors import RowError
from unihand_data.space.slots import check_slots

WORDS: dict[str, frozenset[str]] = {
    "domain": frozenset({"human", "robot"}),
    "origin": frozenset({"real", "sim"}),
    "setting": frozenset({"lab", "wild"}),
    "split": frozenset({"train", "val", "test"}),
    "world": frozenset({"gravity", "table", "base", "camera"}),
    "text_source": frozenset({"dataset", "narration", "gemini", "openai_compatible", "motion_rules", "human"}),
    "side": frozenset({"left", "right"}),
    "hand_model": frozenset({"mano", "generic_v1"}),
    "media kind": frozenset({"video", "depth", "image"}),
    "task": frozenset({"motion_generation", "motion_continuation", "motion_description", "vision_text"}),
    "pillar": frozenset({"general", "grounding", "planning"}),
    "level": frozenset({"item", "clip", "row"}),
}
VIEW = re.compile(r"ego|third_[1-9][0-9]*|wrist_left|wrist_right|top|high")
_DTYPE = re.compile(r"[<>|][biufSU][0-9]+")


def episode_to_record(row: R.EpisodeRow) -> dict[str, Any]:
    """One row of ``episodes.lance``.

    Raises:
        RowError: a field has the wrong shape, type or word; the message names episode and field.
    """
    who = f"episode {row.episode_id}"
    T = len(row.timestamps)
    times = _vector(who, "timestamps", row.timestamps, np.float64)
    if T == 0 or not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise RowError(f"{who}: timestamps must be finite and strictly increasing, at least one")
    if abs(times[0]) > 1e-9:
        raise RowError(f"{who}: timestamps must start at 0 on the row's own clock, not at {times[0]}")
    if not (math.isfinite(row.rate_hz) and row.rate_hz > 0):
        raise RowError(f"{who}: rate_hz must be positive, not {row.rate_hz}")
    for name in ("domain", "origin", "setting", "split", "world"):
        _word(who, name, getattr(row, name))
    record = {f.name: getattr(row, f.name) for f in fields(row)}
    record |= {"frames": T, "duration_s": row.duration_s, "timestamps": times}
    record["raw_to_world"] = _matrix(who, "raw_to_world", row.raw_to_world, (4, 4), np.float64)
    for kind in ("state", "action"):
        slots = _slots(who, f"{kind}_slots", getattr(row, f"{kind}_slots"))
        record[f"{kind}_slots"] = slots
        record[kind] = _matrix(who, kind, getattr(row, kind), (T, len(slots)), np.float32)
        mask = _matrix(who, f"{kind}_mask", getattr(row, f"{kind}_mask"), (T, len(slots)), np.bool_)
        record[f"{kind}_mask"] = mask
        if not np.all(np.isfinite(record[kind][mask])):
            raise RowError(f"{who}: {kind} is not finite where {kind}_mask is set")
    record["action_source"] = [
        {"slot_group": _string(who, "action_source.slot_group", a["slot_group"]), "kind": a["kind"]}
        for a in row.action_source
    ]
    record["raw_extra"] = [_array_out(who, name, row.raw_extra[name]) for name in sorted(row.raw_extra)]
    record["cameras"] = [_camera_out(who, c, T) for c in row.cameras]
    record["hands"] = [_hand_out(who, h, T) for h in row.hands]
    record["language"] = [_language_out(who, i, line) for i, line in enumerate(row.language)]
    record["events"] = [_flat(e) for e in row.events]
    record["quality"] = [
        {"name": k, "value": _number(who, f"quality[{k}]", row.quality[k])} for k in sorted(row.quality)
    ]
    record["provenance"] = _json(who, "provenance", row.provenance)
    return record


def episode_from_record(rec: Mapping[str, Any]) -> R.EpisodeRow:
    """The inverse of :func:`episode_to_record`; ``rec`` may come from :func:`records` or from ``to_pylist``."""
    T = int(rec["frames"])
    plain = {
        f.name: rec[f.name]
        for f in fields(R.EpisodeRow)
        if f.name in rec and not isinstance(rec[f.name], (list, np.ndarray))
    }
    state_slots, action_slots = _as(rec["state_slots"], np.int16), _as(rec["action_slots"], np.int16)
    return R.EpisodeRow(
        **plain
        | {
            "timestamps": _as(rec["timestamps"], np.float64),
            "raw_to_world": _as(rec["raw_to_world"], np.float64).reshape(4, 4),
            "state_slots": state_slots,
            "action_slots": action_slots,
            "state": _as(rec["state"], np.float32).reshape(T, len(state_slots)),
            "action": _as(rec["action"], np.float32).reshape(T, len(action_slots)),
            "state_mask": _as(rec["state_mask"], np.bool_).reshape(T, len(state_slots)),
            "action_mask": _as(rec["action_mask"], np.bool_).reshape(T, len(action_slots)),
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


def media_to_record(row: R.MediaRow) -> dict[str, Any]:
    """Everything of a media row but its bytes and path (``MEDIA_INFO``)."""
    who = f"media {row.media_id}"
    _word(who, "media kind", row.kind)
    if not row.media_id:
        raise RowError("media: media_id is empty; it is the content hash of the bytes")
    record = _flat(row)
    record.pop("data"), record.pop("path")
    if row.pts is not None:
        record["pts"] = _vector(who, "pts", row.pts, np.float64)
        if len(row.pts) != row.frames or np.any(np.diff(record["pts"]) <= 0):
            raise RowError(f"{who}: pts must be {row.frames} strictly increasing times, one per stored frame")
    elif row.kind != "image":
        raise RowError(f"{who}: pts is missing; a {row.kind} carries the presentation time of every stored frame")
    return record


def media_from_record(rec: Mapping[str, Any]) -> R.MediaRow:
    """The row without bytes."""
    pts = rec["pts"]
    return R.MediaRow(
        **{k: rec[k] for k in schema.MEDIA_INFO.names if k != "pts"},
        pts=None if pts is None else _as(pts, np.float64),
    )


def sample_to_record(row: R.SampleRow) -> dict[str, Any]:
    who = f"sample {row.sample_id}"
    _word(who, "task", row.task)
    _word(who, "split", row.split)
    if bool(row.episode_id) == bool(row.conversation_id):
        raise RowError(f"{who}: exactly one of episode_id and conversation_id must be given")
    return _flat(row)


def reject_to_record(row: R.RejectRow) -> dict[str, Any]:
    who = f"reject of {row.item}"
    _word(who, "level", row.level)
    if str(row.reason) not in {str(r) for r in Reason}:
        raise RowError(f"{who}: reason {row.reason!r} is not one of unihand_data.errors.Reason")
    return _flat(row) | {"reason": str(row.reason)}


def conversation_to_record(row: R.ConversationRow) -> dict[str, Any]:
    who = f"conversation {row.conversation_id}"
    _word(who, "pillar", row.pillar)
    _word(who, "split", row.split)
    record = _flat(row)
    record["media"] = [{"media_id": m["media_id"], "times": [float(t) for t in m.get("times", [])]} for m in row.media]
    record["turns"] = [{"role": t["role"], "text": _string(who, "turns.text", t["text"])} for t in row.turns]
    record["geometry"] = [
        {
            "kind": g["kind"],
            "points": _vector(who, "geometry.points", np.ravel(g["points"]), np.float64),
            "label": g.get("label", ""),
            "turn": int(g.get("turn", 0)),
        }
        for g in row.geometry
    ]
    return record


def conversation_from_record(rec: Mapping[str, Any]) -> R.ConversationRow:
    """``geometry.points`` come back flat (x0 y0 x1 y1 ...), ``media.times`` as lists."""
    media = [{"media_id": m["media_id"], "times": [float(t) for t in m["times"]]} for m in rec["media"]]
    geometry = [dict(g) | {"points": [float(p) for p in g["points"]]} for g in rec["geometry"]]
    plain = {k: rec[k] for k in schema.CONVERSATIONS.names if k in rec and k not in ("media", "geometry", "turns")}
    return R.ConversationRow(
        **plain,
        media=media,
        geometry=geometry,
        turns=[dict(t) for t in rec["turns"]],
    )


def sample_from_record(rec: Mapping[str, Any]) -> R.SampleRow:
    return R.SampleRow(**{k: rec[k] for k in schema.SAMPLES.names})


def reject_from_record(rec: Mapping[str, Any]) -> R.RejectRow:
    return R.RejectRow(**{k: rec[k] for k in schema.REJECTS.names if k in rec})


def table(records: Sequence[Mapping[str, Any]], of: pa.Schema) -> pa.Table:
    """Records to an Arrow table of exactly the schema ``of``; an error names the column."""
    columns = []
    for field in of:
        try:
            columns.append(pa.array([r[field.name] for r in records], type=field.type))
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            UnicodeEncodeError,
            OverflowError,
        ) as e:
            raise RowError(f"column {field.name}: a value does not fit {field.type}: {e}") from e
    return pa.Table.from_arrays(columns, schema=of)


def records(data: pa.Table | pa.RecordBatch) -> Iterable[dict[str, Any]]:
    """Rows as dicts; lists of numbers come as numpy arrays (views where possible), lists of structs as dicts."""
    columns = [(name, data.column(name)) for name in data.schema.names]
    for i in range(data.num_rows):
        yield {name: _value(column[i]) for name, column in columns}


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        if pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner):
            return scalar.values.to_numpy(zero_copy_only=False)
        return [_value(v) for v in scalar.values]
    if pa.types.is_struct(kind):
        return {name: _value(scalar[name]) for name in scalar}
    return scalar.as_py()


def _camera_out(who: str, c: R.CameraRow, T: int) -> dict[str, Any]:
    at = f"{who}, camera {c.view}"
    if not VIEW.fullmatch(c.view):
        raise RowError(f"{who}: view {c.view!r} is not one of ego, third_1.., wrist_right, wrist_left, top, high")
    if not c.media_id:
        raise RowError(f"{at}: media_id is empty")
    out = _flat(c)
    for name, dtype in (("pts", np.float64), ("distortion", np.float64)):
        if getattr(c, name) is not None:
            out[name] = _vector(at, name, getattr(c, name), dtype)
    if c.intrinsics is not None:
        out["intrinsics"] = _matrix(at, "intrinsics", c.intrinsics, (4,), np.float64)
    if c.poses is not None:
        out["poses"] = _matrix(at, "poses", c.poses, (T, 4, 4), np.float32).ravel()
    if c.pose_valid is not None:
        out["pose_valid"] = _matrix(at, "pose_valid", c.pose_valid, (T,), np.bool_)
    return out


def _camera_in(c: Mapping[str, Any]) -> R.CameraRow:
    arrays = {"pts": np.float64, "intrinsics": np.float64, "distortion": np.float64, "poses": np.float32}
    out = dict(c) | {k: None if c[k] is None else _as(c[k], t) for k, t in arrays.items()}
    out["pose_valid"] = None if c["pose_valid"] is None else _as(c["pose_valid"], np.bool_)
    if out["poses"] is not None:
        out["poses"] = out["poses"].reshape(-1, 4, 4)
    return R.CameraRow(**out)


def _hand_out(who: str, h: R.HandRow, T: int) -> dict[str, Any]:
    at = f"{who}, {h.side} hand"
    _word(at, "side", h.side)
    _word(at, "hand_model", h.hand_model)
    return _flat(h) | {
        "confidence": _matrix(at, "confidence", h.confidence, (T,), np.float32),
        "valid": _matrix(at, "valid", h.valid, (T,), np.bool_),
        "interpolated": _matrix(at, "interpolated", h.interpolated, (T,), np.bool_),
    }


def _hand_in(h: Mapping[str, Any]) -> R.HandRow:
    arrays = {
        "confidence": _as(h["confidence"], np.float32),
        "valid": _as(h["valid"], np.bool_),
        "interpolated": _as(h["interpolated"], np.bool_),
    }
    return R.HandRow(**dict(h) | arrays)


def _language_out(who: str, i: int, line: R.LanguageRow) -> dict[str, Any]:
    at = f"{who}, language[{i}]"
    _word(at, "text_source", line.text_source)
    _string(at, "text", line.text)
    if not line.t0 <= line.t1:
        raise RowError(f"{at}: t0 {line.t0} is after t1 {line.t1}")
    return _flat(line)


def _array_out(who: str, name: str, value: np.ndarray) -> dict[str, Any]:
    value = np.asarray(value)
    if not _DTYPE.fullmatch(value.dtype.str):
        raise RowError(f"{who}: raw_extra[{name}] has dtype {value.dtype}; numbers, booleans and strings are kept")
    return {
        "name": _string(who, "raw_extra name", name),
        "dtype": value.dtype.str,
        "shape": list(value.shape),
        "data": np.ascontiguousarray(value).tobytes(),
    }


def _array_in(x: Mapping[str, Any]) -> np.ndarray:
    if not _DTYPE.fullmatch(x["dtype"]):
        raise RowError(f"raw_extra[{x['name']}] has dtype {x['dtype']!r}, which this reader does not construct")
    return np.frombuffer(x["data"], dtype=np.dtype(x["dtype"])).reshape([int(n) for n in x["shape"]]).copy()


def _flat(row: Any) -> dict[str, Any]:
    return {f.name: getattr(row, f.name) for f in fields(row)}


def _as(values: Any, dtype: Any) -> np.ndarray:
    return np.array(values, dtype=dtype)  # a copy: rows own their arrays, Arrow's views are read-only


def _word(who: str, name: str, value: str) -> None:
    if value not in WORDS[name]:
        raise RowError(f"{who}: {name} is {value!r}, not one of {', '.join(sorted(WORDS[name]))}")


def _string(who: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RowError(f"{who}: {name} must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{who}: {name} is not valid Unicode: {error}") from error
    return value


def _number(who: str, name: str, value: Any) -> float:
    if not isinstance(value, (int, float, np.floating, np.integer, np.bool_)):
        raise RowError(f"{who}: {name} must be a number, not {type(value).__name__}")
    return float(value)


def _vector(who: str, name: str, value: Any, dtype: Any) -> np.ndarray:
    try:
        out = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise RowError(f"{who}: {name} cannot be read as {np.dtype(dtype)}: {error}") from error
    if out.ndim != 1:
        raise RowError(f"{who}: {name} must have one axis, its shape is {out.shape}")
    return out


def _matrix(who: str, name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Checked and flattened row-major."""
    raw = np.asarray(value)
    if raw.shape != shape:
        raise RowError(f"{who}: {name} must have shape {shape}, its shape is {raw.shape}")
    if dtype is np.bool_ and raw.dtype != np.bool_:
        raise RowError(f"{who}: {name} must be boolean, not {raw.dtype}")
    if dtype is not np.bool_ and raw.dtype.kind not in "fiu":
        raise RowError(f"{who}: {name} must be numeric, not {raw.dtype}")
    return np.ascontiguousarray(raw, dtype=dtype).ravel()


def _slots(who: str, name: str, value: Any) -> np.ndarray:
    try:
        return check_slots(_vector(who, name, value, np.int16)).astype(np.int16)
    except ValueError as error:
        raise RowError(f"{who}: {name}: {error}") from error


def _json(who: str, name: str, value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RowError(f"{who}: {name} must be plain JSON values: {error}") from error

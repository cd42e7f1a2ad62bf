"""Arrow schemas of a shard directory, version 1 (contract, section 3).

Legend: T frames of the row, S active slots of the row. A matrix is stored row-major and flat; its shape follows from
``frames`` and the slot lists. ``None`` is an Arrow null, which differs from an empty list.

A blob inside a list cannot be read back by itself, so encoded video lives in ``media`` as a top-level Lance blob
column, shared by clips of one file and by mirror twins.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 1
#: Lance file format that has blob v2 and nulls inside nested lists.
LANCE_STORAGE: Literal["2.2"] = "2.2"
BLOB_COLUMN = "bytes"

_str = pa.string()
_f64s = pa.list_(pa.float64())
_f32s = pa.list_(pa.float32())
_bools = pa.list_(pa.bool_())
_i16s = pa.list_(pa.int16())

CAMERA = pa.struct(
    [
        ("view", _str),
        ("media_id", _str),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float64()),
        ("t_offset", pa.float64()),  # row time = media time + t_offset
        ("pts", _f64s),  # media times of this view's frames; null: all of the media's
        ("intrinsics", _f64s),  # fx fy cx cy, pixels of the stored video
        ("distortion", _f64s),
        ("poses", _f32s),  # (T, 4, 4) camera-to-world
        ("pose_valid", _bools),
        ("depth_media_id", _str),
        ("mirrored", pa.bool_()),
    ]
)
HAND = pa.struct(
    [
        ("side", _str),
        ("hand_model", _str),
        ("estimator", _str),
        ("confidence", _f32s),
        ("valid", _bools),
        ("interpolated", _bools),
        ("hand_scale", pa.float64()),
    ]
)
LANGUAGE = pa.struct(
    [
        ("level", _str),
        ("t0", pa.float64()),
        ("t1", pa.float64()),
        ("text", _str),
        ("hand", _str),
        ("text_source", _str),
        ("model", _str),
        ("template_id", _str),
        ("paraphrase_id", pa.int32()),
    ]
)
EVENT = pa.struct([("t0", pa.float64()), ("t1", pa.float64()), ("kind", _str), ("source", _str)])
ACTION_SOURCE = pa.struct([("slot_group", _str), ("kind", _str)])
EXTRA = pa.struct(
    [("name", _str), ("dtype", _str), ("shape", pa.list_(pa.int64())), ("data", pa.large_binary())]
)  # an array without pickle: numpy dtype string, shape, raw bytes
FIGURE = pa.struct([("name", _str), ("value", pa.float64())])

EPISODES = pa.schema(
    [
        ("episode_id", _str),
        ("parent_id", _str),  # of a mirror twin; empty for an original
        ("recording_id", _str),
        ("source", _str),
        ("source_uri", _str),
        ("suite", _str),
        ("task_id", _str),
        ("success", pa.bool_()),
        ("seed", pa.int64()),
        ("licence", _str),
        ("shareable", pa.bool_()),
        ("embodiment", _str),
        ("embodiment_hash", _str),
        ("domain", _str),
        ("origin", _str),
        ("setting", _str),
        ("split", _str),
        ("rate_hz", pa.float64()),
        ("frames", pa.int32()),
        ("duration_s", pa.float64()),
        ("world", _str),
        ("raw_to_world", _f64s),  # (4, 4)
        ("action_source", pa.list_(ACTION_SOURCE)),
        ("state_slots", _i16s),
        ("action_slots", _i16s),
        ("state", _f32s),  # (T, S)
        ("action", _f32s),
        ("state_mask", _bools),
        ("action_mask", _bools),
        ("timestamps", _f64s),  # (T,) s, the row's clock
        ("raw_extra", pa.list_(EXTRA)),
        ("cameras", pa.list_(CAMERA)),
        ("hands", pa.list_(HAND)),
        ("language", pa.list_(LANGUAGE)),
        ("events", pa.list_(EVENT)),
        ("quality", pa.list_(FIGURE)),
        ("provenance", _str),  # JSON
    ]
)

_MEDIA_HEAD = [("media_id", _str), ("kind", _str)]
_MEDIA_TAIL = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("frames", pa.int32()),
    ("codec", _str),
    ("gop", pa.int32()),
    ("pts_start", pa.float64()),
    ("licence", _str),
    ("pts", _f64s),  # presentation times of the stored frames, pre-roll negative; null where there is only one
]


def media_schema() -> pa.Schema:
    """Schema of ``media.lance``. A function, since the blob type comes from Lance, which loads lazily."""
    import lance

    return pa.schema([*_MEDIA_HEAD, lance.blob_field(BLOB_COLUMN), *_MEDIA_TAIL])


#: ``media`` without its bytes: what is read into memory, and what staging keeps (with the path of the encoded file)
MEDIA_INFO = pa.schema([*_MEDIA_HEAD, *_MEDIA_TAIL])

CONVERSATIONS = pa.schema(
    [
        ("conversation_id", _str),
        ("source", _str),
        ("pillar", _str),
        ("media", pa.list_(pa.struct([("media_id", _str), ("times", _f64s)]))),
        ("turns", pa.list_(pa.struct([("role", _str), ("text", _str)]))),
        (
            "geometry",
            pa.list_(pa.struct([("kind", _str), ("points", _f64s), ("label", _str), ("turn", pa.int32())])),
        ),  # points: x0 y0 x1 y1 ... in 0..1 of the original frame
        ("licence", _str),
        ("split", _str),
        ("tokens_text", pa.int32()),
        ("tokens_answer", pa.int32()),
        ("shareable", pa.bool_()),  # may the row leave the machine; null: written before this column was
    ]
)
#: columns that a directory written before them lacks: their values there are null
LATER_COLUMNS = {"conversations": ("shareable",), "rejects": ("figures",)}

SAMPLES = pa.schema(
    [
        ("sample_id", _str),
        ("task", _str),
        ("episode_id", _str),
        ("conversation_id", _str),
        ("start_frame", pa.int32()),
        ("frames_available", pa.int32()),
        ("history_available", pa.int32()),
        ("language_ref", pa.int32()),
        ("question_template_id", _str),
        ("tokens_text", pa.int32()),
        ("tokens_answer", pa.int32()),
        ("images_per_time", pa.int32()),
        ("weight", pa.float64()),
        ("split", _str),
    ]
)

REJECTS = pa.schema(
    [
        ("item", _str),
        ("level", _str),
        ("stage", _str),
        ("reason", _str),
        ("message", _str),
        ("source_uri", _str),
        ("attempt", pa.int32()),
        ("frames", pa.int64()),
        ("frames_with_hand", pa.int64()),
        ("duration_s", pa.float64()),
        ("figures", _str),  # JSON, of clips that a filter dropped; null: written before this column was
    ]
)


def __getattr__(name: str) -> pa.Schema:
    if name == "MEDIA":
        return media_schema()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

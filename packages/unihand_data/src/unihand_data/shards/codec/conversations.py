"""Rows of ``conversations.lance``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unihand_data.shards import rows as R
from unihand_data.shards import schema
from unihand_data.shards.codec.checks import check_string, check_vector, check_word, flat


def conversation_to_record(row: R.ConversationRow) -> dict[str, Any]:
    """A conversation; ``media`` with frame times in s, ``geometry`` with points flattened to x0 y0 x1 y1 ... in 0..1.

    Raises:
        RowError: an unknown pillar or split, a turn that is no text, points that are no numbers.
    """
    who = f"conversation {row.conversation_id}"
    check_word(who, "pillar", row.pillar)
    check_word(who, "split", row.split)
    record = flat(row)
    record["media"] = [{"media_id": m["media_id"], "times": [float(t) for t in m.get("times", [])]} for m in row.media]
    record["turns"] = [{"role": t["role"], "text": check_string(who, "turns.text", t["text"])} for t in row.turns]
    record["geometry"] = [
        {
            "kind": g["kind"],
            "points": check_vector(who, "geometry.points", np.ravel(g["points"]), np.float64),
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

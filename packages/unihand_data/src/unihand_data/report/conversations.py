"""A few conversations for the report: their pictures with the stored geometry drawn in, and their words.

Geometry is read from the row, not from the text: a box that does not lie on its thing shows a wrong convention at once.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from unihand_data.ids import make_id
from unihand_data.shards import tables
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import ConversationRow

COLOURS = ((255, 140, 30), (40, 160, 255), (90, 200, 80), (220, 60, 160), (250, 220, 60))  # RGB
#: pixels of the longer side; small pictures are enlarged so that lines can be seen
SHOWN_SIDE = 420
MOST_PICTURES = 6
MOST_TURNS = 8
_LONGEST_TEXT = 400


def choose(reader: ShardReader, count: int) -> list[str]:
    """Ids to show: of every corpus the rows whose id hashes smallest, corpora in turn, rows with geometry first."""
    dataset = tables.open_table(reader.store, "conversations", version=None)
    best: dict[str, list[tuple[bool, str, str]]] = {}
    for batch in tables.batches(dataset, ["conversation_id", "source", "geometry"]):
        shapes = batch["geometry"].value_lengths().to_pylist()
        for name, source, number in zip(batch["conversation_id"].to_pylist(), batch["source"].to_pylist(), shapes):
            mine = best.setdefault(source, [])
            mine.append((not number, make_id("show", name), name))
            if len(mine) > 4 * count:
                mine.sort()
                del mine[count:]
    for mine in best.values():
        mine.sort()
    chosen: list[str] = []
    for turn in range(count):
        chosen += [best[s][turn][2] for s in sorted(best) if turn < len(best[s])]
    return chosen[:count]


def sections(reader: ShardReader, count: int = 24) -> list[dict[str, Any]]:
    """What ``report.html`` shows: title, meta, images (base64 JPEG) and texts of each."""
    return [_section(reader, reader.conversation(i)) for i in choose(reader, count)]


def _section(reader: ShardReader, row: ConversationRow) -> dict[str, Any]:
    from unihand_data.report.build import _jpeg

    images = []
    for number, picture, caption in _pictures(reader, row):
        # geometry names no picture: it is of the first one
        shown = draw(picture, row.geometry if number == 0 else [])
        images.append({"data": _jpeg(shown), "caption": caption})
    texts = [
        {"span": turn["role"], "text": _short(turn["text"]), "source": f"turn {i}"}
        for i, turn in enumerate(row.turns[:MOST_TURNS])
    ]
    return {
        "title": row.conversation_id[:12],
        "meta": f"{row.source}, {row.pillar}, {row.split}, {row.licence}; {len(row.geometry)} shapes, "
        f"{row.tokens_text} + {row.tokens_answer} tokens of text",
        "images": images,
        "texts": texts,
        "charts": [],
    }


def _pictures(reader: ShardReader, row: ConversationRow) -> list[tuple[int, np.ndarray, str]]:
    out: list[tuple[int, np.ndarray, str]] = []
    for number, ref in enumerate(row.media[:MOST_PICTURES]):
        media = reader.media(ref["media_id"])
        if media.kind == "image":
            out.append((number, reader.frames(media.media_id, [0])[0], f"{media.width}x{media.height} {media.codec}"))
            continue
        frames = np.unique(np.linspace(0, media.frames - 1, MOST_PICTURES).round().astype(int)).tolist()
        found = reader.frames(media.media_id, frames)
        out += [(1, found[f], f"t = {ref['times'][f]:.2f} s") for f in frames]
    return out


def draw(picture: np.ndarray, geometry: list[dict[str, Any]]) -> np.ndarray:
    """A copy of an RGB picture, its longer side ``SHOWN_SIDE``, with shapes of 0..1 drawn in."""
    import cv2

    height, width = picture.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    for number, shape in enumerate(geometry):
        colour = COLOURS[number % len(COLOURS)]
        points = np.asarray(shape["points"], float).reshape(-1, 2) * size
        xy = [(round(float(x) * 8), round(float(y) * 8)) for x, y in points]
        if shape["kind"] == "box":
            cv2.rectangle(out, xy[0], xy[1], colour, 2, cv2.LINE_AA, 3)
        else:
            for a, b in pairwise(xy) if shape["kind"] != "point" else ():
                cv2.line(out, a, b, colour, 2, cv2.LINE_AA, 3)
            for a in xy:
                cv2.circle(out, a, 4 * 8, colour, -1, cv2.LINE_AA, 3)
                cv2.circle(out, a, 4 * 8, (0, 0, 0), 1, cv2.LINE_AA, 3)
        if shape["label"]:
            at = (max(0, xy[0][0] // 8), max(11, xy[0][1] // 8 - 4))
            text = shape["label"].encode("ascii", "replace").decode()[:40]
            cv2.putText(out, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(out, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    return np.ascontiguousarray(out)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."


def notes(reader: ShardReader, name: str = "vision_text.json") -> list[str]:
    """What of benchmarks was held out, by every run that wrote here, and whether boxes have the order that their
    corpus' YAML says, as the jobs left it."""
    if not reader.store.exists(name):
        return []
    said = json.loads(reader.store.read(name))
    found = said.get("held_out_by_version", {})
    held = [f"Held out: {use['sentence']}" for _, uses in sorted(found.items()) for use in uses]
    return list(dict.fromkeys([*held, *(f"Box order: {v['sentence']}" for v in said.get("box_order", []))]))


def source_rows(reader: ShardReader, name: str = "vision_text.json") -> list[dict[str, Any]]:
    """Per corpus: rows, tokens at 224 and 448 px, fixes, as the job left them; empty where it left none."""
    if not reader.store.exists(name):
        return []
    found = json.loads(reader.store.read(name))
    return [
        {
            "source": source,
            "rows": part["rows"],
            "images": part["images"],
            "text": part["tokens_text"],
            "supervised": part["tokens_supervised"],
            "visual_224": part["tokens_visual"]["224"],
            "visual_448": part["tokens_visual"]["448"],
            "fixes": ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in sorted(part["fixes"].items())) or "-",
        }
        for source, part in sorted(found["by_source"].items())
    ]

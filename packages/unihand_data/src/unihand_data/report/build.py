"""Build ``report.html`` from a shard directory alone: whatever a person sees in it is what training will read.

The page is one file without script or network; pictures are small JPEGs decoded from the stored video, so that a wrong
time stamp, intrinsic or mirror shows itself.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.report import charts, conversations, motion, overlay
from unihand_data.report.figures import FIGURES, STAGES, Shown
from unihand_data.report.tally import Tally, reject_table, tally
from unihand_data.shards.catalogue import check_lines, inspect
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import EpisodeRow

THUMB_HEIGHT = 215


def _jpeg(image: np.ndarray) -> str:
    import cv2

    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not ok:
        raise ValueError("a contact-sheet picture could not be encoded")
    return base64.b64encode(data.tobytes()).decode()


def _pictures(reader: ShardReader, row: EpisodeRow, frames: np.ndarray) -> list[np.ndarray]:
    """The first view at these frames of the row, found by time and flipped for a twin, as training reads them."""
    camera = row.cameras[0]
    stored = reader.media(camera.media_id).pts
    times = row.timestamps[frames] + camera.t_offset if camera.pts is None else camera.pts[frames]
    numbers = [int(np.argmin(np.abs(stored - t))) for t in times] if stored is not None else frames.tolist()
    found = reader.frames(camera.media_id, numbers)
    return [np.ascontiguousarray(found[n][:, ::-1] if camera.mirrored else found[n]) for n in numbers]


def _clip_section(reader: ShardReader, row: EpisodeRow, pictures: int) -> dict[str, Any]:
    frames = np.unique(np.linspace(0, row.frames - 1, pictures + 2).round().astype(int)[1:-1])
    human = row.domain == "human"
    pixels = {side: overlay.keypoints_pixels(row, side) for side in overlay.COLOURS} if human else {}
    images = []
    for index, picture in zip(frames.tolist(), _pictures(reader, row, frames) if row.cameras else []):
        if human:
            overlay.draw_row(row, index, picture, pixels)
        images.append({"data": _jpeg(picture), "caption": f"t = {row.timestamps[index]:.2f} s"})
    texts = [
        {
            "span": f"{text.t0:.1f}-{text.t1:.1f} s {text.level}",
            "text": text.text,
            "source": text.text_source + (f", {text.model}" if text.model else ""),
        }
        for text in row.language
        if text.paraphrase_id == 0
    ]
    known = not human or row.state_mask[:, :6].any() or row.state_mask[:, 6:12].any()
    moving = "" if known else ", camera motion unknown: EEF masked"
    return {
        "title": row.episode_id[:12] + (" (mirror twin)" if row.mirrored else ""),
        "meta": f"{row.source}, {row.embodiment}, {row.duration_s:.1f} s at {row.rate_hz:.3g} Hz, "
        f"world {row.world}{moving}, {row.split}, {Path(row.source_uri).name}",
        "images": images,
        "texts": texts[:14],
        "charts": _wrist_charts(row) if human else [motion.action_tracks(row, frames)],
    }


def _wrist_charts(row: EpisodeRow) -> list[str]:
    tops: dict[str, np.ndarray] = {}
    fronts: dict[str, np.ndarray] = {}
    for side in overlay.COLOURS:
        points, valid = overlay.keypoints_world(row, side)
        wrist = np.where(valid[:, None], points[:, 0], np.nan)
        tops[side], fronts[side] = wrist[:, [1, 0]] * [-1, 1], wrist[:, [1, 2]] * [-1, 1]
    colours = {str(side): f"rgb{rgb}" for side, rgb in overlay.COLOURS.items()}
    return [
        charts.paths(tops, colours, "wrists from above", ("right", "forward")),
        charts.paths(fronts, colours, "wrists from behind", ("right", "up")),
    ]


def write_report(directory: str, *, clips: int = 24, pictures: int = 6, reader: ShardReader | None = None) -> str:
    """Write ``report.html`` into the shard directory and return its path.

    Args:
        clips: how many clips to show with pictures.
        pictures: pictures per clip.
    """
    import jinja2

    reader = reader or ShardReader(directory)
    summary = inspect(directory)
    manifest = asdict(reader.manifest)
    found = tally(reader, FIGURES, clips)
    sections = [_clip_section(reader, reader.episode(i), pictures) for i in found.clips]
    histograms = [
        {"stage": stage, "charts": _histograms(found, shown, manifest.get("config") or {})}
        for stage, shown in STAGES.items()
    ]
    source_hours = summary["by_source"]
    tokens = summary["tokens"]
    page = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "report.html.j2").read_text())
    html = page.render(
        title=manifest.get("name") or Path(directory).name,
        subtitle=f"schema {summary['schema_version']}, content settings {manifest.get('content_hash', '')[:12]}",
        tiles=[
            ("input items", summary["inputs"]),
            ("written", summary["written"]),
            ("rejected", summary["rejected"]),
            ("ignored files", summary["ignored"]),
            ("episodes", summary["episodes"]),
            (
                "mirror twins",
                summary["mirrored"]["episodes"] if isinstance(summary["mirrored"], dict) else summary["mirrored"],
            ),
            ("hours", f"{summary['hours']:.4g}"),
            ("frames", summary["frames"]),
            ("frames with a hand", _percent(summary["hands"]["frames_with_hand_ratio"])),
            ("samples", summary["samples"]["total"]),
        ],
        notes=[*check_lines(summary.get("data_checks", {})), *conversations.notes(reader)],
        clips=sections,
        talks=conversations.sections(reader, clips) if summary["conversations"] else [],
        corpora=conversations.source_rows(reader),
        skeletons=any("wrists" in chart for section in sections for chart in section["charts"]),
        thumb_height=THUMB_HEIGHT,
        histograms=[group for group in histograms if group["charts"]],
        rejects=reject_table(reader),
        tasks=sorted(summary["samples"]["by_task"].items()),
        tokens=f"text {tokens['text']:,}, supervised text {tokens['supervised']:,}, visual {tokens['visual']:,}"
        + (" (text counted as bytes / 4: no tokenizer present)" if tokens["estimate"] else ""),
        language=[
            {"source": name, "count": texts.total, "distinct": f"{'' if texts.exact else 'about '}{texts.count}"}
            for name, texts in sorted(found.sentences.items())
        ],
        cost=_cost_sentence(manifest.get("language_cost")),
        licences=[
            {
                "source": source,
                "licence": licence,
                "shareable": shareable,
                "episodes": count,
                "hours": f"{source_hours.get(source, {}).get('hours', 0.0):.4g}"
                if isinstance(source_hours.get(source), dict)
                else source_hours.get(source, ""),
            }
            for (source, licence, shareable), count in sorted(found.by_source.items())
        ],
        content_hash=manifest.get("content_hash", ""),
        config=json.dumps(manifest.get("config"), indent=2, sort_keys=True),
    )
    reader.store.write("report.html", html.encode())
    return reader.store.path("report.html") if reader.store.local else reader.store.uri("report.html")


def _histograms(found: Tally, figures: dict[str, Shown], config: dict[str, Any]) -> list[str]:
    """One chart for each figure that some row has."""
    return [
        charts.histogram(
            found.figures[name].values * shown.factor,
            shown.title,
            unit=shown.unit,
            limits=shown.limits(config),
            setting=shown.limit if isinstance(shown.limit, str) else "",
            low=found.figures[name].low * shown.factor,
            count=found.figures[name].count,
            dropped=found.dropped[name].values * shown.factor if name in found.dropped else None,
            dropped_count=found.dropped[name].count if name in found.dropped else 0,
        )
        for name, shown in figures.items()
        if name in found.figures or name in found.dropped
    ]


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _cost_sentence(cost: dict[str, Any] | None) -> str:
    if not cost or not cost.get("calls"):
        return "No language model was called; nothing was spent."
    endings = ", ".join(f"{count} {status}" for status, count in sorted(cost["by_status"].items()))
    text = (
        f"{cost['calls']} calls to {', '.join(sorted(cost['by_model']))} ({endings}): {cost['input_tokens']:,} input "
        f"and {cost['output_tokens'] + cost['thinking_tokens']:,} output tokens, {cost['money']:.4f} "
        f"{cost['currency']} at the prices of {cost['prices_as_of']}"
    )
    if cost["unpriced_calls"]:
        text += f"; {cost['unpriced_calls']} calls to a model without a listed price are not in the sum"
    if cost["reserved"]:
        text += f"; up to {cost['reserved']:.4f} more for calls that were begun and whose end is not known"
    return text + "."

"""The action of a robot episode as curves over time, one track per slot group, marked where the pictures beside it are.

Legend: T steps, k slots of a group.
"""

from __future__ import annotations

from html import escape

import numpy as np

from unihand_data.shards.rows import EpisodeRow
from unihand_data.space.slots import GROUPS, SLOTS

WIDTH, LEFT, TRACK, GAP, HEAD = 720, 150, 54, 8, 34
COLOURS = ("#c33", "#2a8", "#36c", "#b80", "#849", "#088", "#555")
_MOST_POINTS = 400


def action_tracks(row: EpisodeRow, frames: np.ndarray) -> str:
    """An inline SVG: masked steps are gaps, idle spans shaded, sub-task sentences above, ``frames`` dashed lines."""
    groups = [name for name, g in GROUPS.items() if np.isin(row.action_slots, g.slots).any()]
    end = max(float(row.timestamps[-1]), 1e-6)

    def x(t: float) -> float:
        return LEFT + t / end * (WIDTH - LEFT - 8)

    height = HEAD + len(groups) * (TRACK + GAP) + 18
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-size="10">']
    for event in row.events:
        if event.kind == "idle":
            out.append(
                f'<rect x="{x(event.t0):.1f}" y="{HEAD}" width="{max(1.0, x(min(event.t1, end)) - x(event.t0)):.1f}" '
                f'height="{height - HEAD - 18}" fill="#8893a8" opacity="0.18"/>'
            )
    spans = [text for text in row.language if text.level != "task"][:12]
    for n, text in enumerate(spans):
        out.append(
            f'<line x1="{x(text.t0):.1f}" x2="{x(min(text.t1, end)):.1f}" y1="{26 - n % 2 * 13}" '
            f'y2="{26 - n % 2 * 13}" stroke="#7a869c" stroke-width="2"/>'
            f'<text x="{x(text.t0) + 1:.1f}" y="{24 - n % 2 * 13}" font-size="9">{escape(text.text[:34])}</text>'
        )
    for i, name in enumerate(groups):
        out += _track(row, name, HEAD + i * (TRACK + GAP), x)
    for frame in frames.tolist():
        t = float(row.timestamps[frame])
        out.append(
            f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{HEAD}" y2="{height - 16}" stroke="#222" '
            'stroke-dasharray="2 3" opacity="0.5"/>'
        )
    ticks = np.linspace(0, end, 6)
    out += [f'<text x="{x(t):.1f}" y="{height - 4}" text-anchor="middle">{t:.1f} s</text>' for t in ticks]
    return (
        f"<figure>{''.join(out)}</svg><figcaption>action by slot group over time; gaps are masked steps, grey is idle, "
        "dashed lines are the pictures</figcaption></figure>"
    )


def _track(row: EpisodeRow, name: str, top: float, x) -> list[str]:
    group = GROUPS[name]
    at = np.flatnonzero(np.isin(row.action_slots, group.slots))
    values = np.where(row.action_mask[:, at], row.action[:, at], np.nan)
    known = values[np.isfinite(values)]
    kind = next((a["kind"] for a in row.action_source if a["slot_group"] == name), "")
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    if group.kind == "gripper":
        low, high = min(low, 0.0), max(high, 1.0)
    span = high - low or 1.0
    per_step = " per step" if "_eef_" in name else ""
    out = [
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 8}" height="{TRACK}" fill="none" stroke="#ccd3df"/>',
        f'<text x="4" y="{top + 14}" font-weight="600">{escape(name)}</text>',
        f'<text x="4" y="{top + 27}" fill="#5a6579">{escape(group.unit)}{per_step}, {escape(kind)}</text>',
        f'<text x="4" y="{top + 40}" fill="#5a6579">{low:.3g} .. {high:.3g}</text>',
    ]
    stride = max(1, len(values) // _MOST_POINTS)
    for column in range(values.shape[1]):
        colour = COLOURS[column % len(COLOURS)]
        title = SLOTS[int(row.action_slots[at[column]])].name
        run: list[str] = []
        for step in range(0, len(values), stride):
            value = values[step, column]
            if np.isfinite(value):
                y = top + TRACK - 3 - (float(value) - low) / span * (TRACK - 6)
                run.append(f"{x(float(row.timestamps[step])):.1f},{y:.1f}")
                continue
            out += _line(run, colour, title)
            run = []
        out += _line(run, colour, title)
    return out


def _line(points: list[str], colour: str, title: str) -> list[str]:
    if len(points) < 2:
        return []
    return [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.2">'
        f"<title>{escape(title)}</title></polyline>"
    ]

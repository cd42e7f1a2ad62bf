"""Small inline SVG charts; no script, no external file, readable when printed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

_W, _H = 260, 110


def histogram(
    values: np.ndarray,
    title: str,
    *,
    limits: Sequence[float] = (),
    setting: str = "",
    unit: str = "",
    bins: int = 24,
    low: float | None = None,
    count: int | None = None,
    dropped: np.ndarray | None = None,
    dropped_count: int = 0,
) -> str:
    """Histogram of the finite values with the median and the filter's thresholds marked; what was dropped on top of
    what was kept.

    Args:
        limits: thresholds, in ``unit``. setting: name of the setting they come from, for the caption.
        low, count: smallest value and number of all values, where ``values`` are a draw from more.
        dropped, dropped_count: the same figure of what filters dropped, and how many these are in all.
    """
    kept = values[np.isfinite(values)]
    lost = np.zeros(0) if dropped is None else dropped[np.isfinite(dropped)]
    finite = np.concatenate([kept, lost])
    if not len(finite):
        return f"<figure><figcaption>{escape(title)}: no value</figcaption></figure>"
    low = min([float(finite.min()), *([low] if low is not None and np.isfinite(low) else []), *limits])
    high = max([*(float(np.percentile(part, 99.5)) for part in (kept, lost) if len(part)), *limits])
    if high <= low:
        high = low + max(abs(low) * 0.1, 1e-6)
    total, lost_total = count or len(kept), max(dropped_count, len(lost))
    heights = [
        np.histogram(np.clip(part, low, high), bins=bins, range=(low, high))[0] * (of / max(1, len(part)))
        for part, of in ((kept, total), (lost, lost_total))
    ]
    top = max(1.0, float((heights[0] + heights[1]).max()))

    def x(value: float) -> float:
        return 8 + (value - low) / (high - low) * (_W - 16)

    edges = np.linspace(low, high, bins + 1)
    bars = "".join(
        f'<rect x="{x(edges[i]):.1f}" y="{90 - 74 * (under + c) / top:.1f}" width="{(_W - 16) / bins - 1:.1f}" '
        f'height="{74 * c / top:.1f}" fill="{colour}"/>'
        for colour, each, below in (("#5b8def", heights[0], 0 * heights[0]), ("#e8924a", heights[1], heights[0]))
        for i, (c, under) in enumerate(zip(each, below))
        if c or colour == "#5b8def"
    )
    marks, note = "", "none kept"
    if len(kept):
        median = float(np.median(kept))
        marks = (
            f'<line x1="{x(median):.1f}" x2="{x(median):.1f}" y1="12" y2="90" stroke="#222" stroke-dasharray="3 2"/>'
        )
        note = f"median {median:.3g}{unit}"
    for limit in limits:
        marks += f'<line x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="8" y2="90" stroke="#d33" stroke-width="2"/>'
    drawn = f", drawn from {len(kept)} of them" if total > len(kept) else ""
    if limits:
        note += (
            ", limit " + " to ".join(f"{limit:.3g}{unit}" for limit in limits) + (f" ({setting})" if setting else "")
        )
    also = f", {lost_total} dropped (median {float(np.median(lost)):.3g}{unit})" if len(lost) else ""
    return (
        f'<figure><svg viewBox="0 0 {_W} {_H}" width="{_W}" height="{_H}">{bars}{marks}'
        f'<text x="8" y="104" font-size="9">{low:.3g}</text>'
        f'<text x="{_W - 8}" y="104" font-size="9" text-anchor="end">{high:.3g}</text></svg>'
        f"<figcaption><b>{escape(title)}</b><br>{escape(note)}, n={total}{drawn}{escape(also)}</figcaption></figure>"
    )


def paths(series: dict[str, np.ndarray], colours: dict[str, str], title: str, labels: tuple[str, str]) -> str:
    """Plane curves with equal axes: {name: (N, 2)}; NaN breaks a line, a dot marks the start."""
    points = np.concatenate([s for s in series.values() if len(s)] or [np.zeros((1, 2))])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return f"<figure><figcaption>{escape(title)}: nothing seen</figcaption></figure>"
    low, high = points.min(axis=0), points.max(axis=0)
    span = max(float((high - low).max()), 0.05)
    middle = (low + high) / 2
    size, margin = 150, 12

    def xy(p: np.ndarray) -> tuple[float, float]:
        u = (p - middle) / span * (size - 2 * margin)
        return size / 2 + float(u[0]), size / 2 - float(u[1])

    out = []
    for name, curve in series.items():
        run: list[str] = []
        start = True
        for p in curve:
            if not np.isfinite(p).all():
                if len(run) > 1:
                    out.append(
                        f'<polyline points="{" ".join(run)}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>'
                    )
                run = []
                continue
            u, v = xy(p)
            if start:
                out.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="3" fill="{colours[name]}"/>')
                start = False
            run.append(f"{u:.1f},{v:.1f}")
        if len(run) > 1:
            out.append(f'<polyline points="{" ".join(run)}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>')
    bar = 0.1 / span * (size - 2 * margin)
    out.append(f'<line x1="8" x2="{8 + bar:.1f}" y1="{size - 5}" y2="{size - 5}" stroke="#222" stroke-width="2"/>')
    return (
        f'<figure><svg viewBox="0 0 {size} {size}" width="{size}" height="{size}">{"".join(out)}</svg>'
        f"<figcaption>{escape(title)} (across: {escape(labels[0])}, upwards: {escape(labels[1])}; "
        "bar 10 cm)</figcaption></figure>"
    )

"""Table 1, Figure 3 and Figure 4 of the paper, as they are for a recipe, beside the paper's numbers.

The numbers first (:func:`table1_rows`, :func:`domains`, :func:`shares`), then small inline SVG without script, like
:mod:`unihand_data.report.charts`. Two builds that differ in size by more than ``SHARED_SCALE`` are drawn to scales of
their own, and the caption says so: a bar of nothing shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from typing import Any

from unihand_data.space import tables

COLOURS = {"human": "#e07b39", "robot": "#3b7dd8", "vision_text": "#6aa84f"}
NAMES = {"human": "human video", "robot": "robot data", "vision_text": "vision-text"}
PIECES = ("#c94f4f", "#8e6bbf", "#d9a441", "#7fb3a8", "#5b8def")
OTHER = "#9aa7b8"
SHARED_SCALE = 20.0


@dataclass(frozen=True)
class Build:
    """One side of a comparison. ``hours`` (vision-text: equivalent) and ``tokens`` per domain."""

    name: str
    hours: dict[str, float]
    tokens: dict[str, float]
    embodiments: int


def paper() -> Build:
    """The totals the paper states."""
    total = {d: tables.total(d) for d in ("human", "robot", "vision_text")}  # type: ignore[arg-type]
    return Build(
        "UniHand-2.0 (paper)",
        {d: t.hours for d, t in total.items()},
        {d: t.tokens + (t.text_tokens or 0) for d, t in total.items()},
        len(tables.table1()),
    )


def domains(recipe: dict[str, Any], resolution: int) -> Build:
    """What the recipe's inputs hold: hours before frames are selected, tokens of the samples that are taken."""
    by = recipe["by_domain"]
    hours = {d: by[d]["found"].get("equivalent_hours", by[d]["found"]["hours"]) if d in by else 0.0 for d in COLOURS}
    tokens = {
        d: sum(by[d]["taken"]["tokens"][k] for k in ("text", "supervised", f"visual_{resolution}")) if d in by else 0.0
        for d in COLOURS
    }
    counted = sum(e["counts"] for e in recipe["by_embodiment"].values() if e["domain"] == "robot")
    return Build("this recipe", hours, tokens, counted)


def table1_rows(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The paper's 30 rows with our hours beside them, then robots that the paper's table does not have."""
    have = {name: e for name, e in recipe["by_embodiment"].items() if e["domain"] == "robot"}
    out = []
    for row in tables.table1():
        ours = have.pop(row.embodiment, None)
        eef = "/".join({"gripper": "Grp", "dexterous": "Dex"}[e] for e in row.eef)
        source = "/".join(s.capitalize() for s in row.source)
        out.append(_row(row.group, row.robot, row.printed_views, eef, source, row.hours, ours))
    for name, ours in have.items():
        out.append(_row("not in the paper's table", name, "", "", "", None, ours))
    return out


def _row(
    group: str, robot: str, views: str, eef: str, source: str, hours: float | None, ours: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "group": group, "robot": robot, "views": views, "eef": eef, "source": source, "hours": hours,
        "our_views": ", ".join(ours["views"]) if ours else "", "our_eef": "/".join(ours["effectors"]) if ours else "",
        "our_source": "/".join(o.capitalize() for o in ours["origins"]) if ours else "",
        "our_hours": ours["hours"] if ours else 0.0, "counts": bool(ours and ours["counts"]),
    }  # fmt: skip


def shares(recipe: dict[str, Any]) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Figure 4, left: shares of human and robot hours, the paper's and ours by weight: simulated, the collections'
    real part, the rest."""
    theirs = [
        ("simulated", tables.share("simulation")),
        ("Open X-Embodiment", tables.share("oxe")),
        ("AgiBot World", tables.share("agibot_world")),
    ]
    motion = [s for s in recipe["strata"] if s["domain"] != "vision_text"]
    whole = sum(s["weighted_hours"] for s in motion) or 1.0
    ours = [("simulated", sum(s["weighted_hours"] for s in motion if s["origin"] == "sim") / whole)]
    rest = [s for s in motion if s["origin"] != "sim"]
    for name, patterns in recipe["settings"]["collections"].items():
        mine = [s for s in rest if any(fnmatchcase(s["source"], p) for p in patterns)]
        rest = [s for s in rest if s not in mine]
        if mine:
            ours.append((name, sum(s["weighted_hours"] for s in mine) / whole))
    for side in (theirs, ours):
        side.append(("other real", 1 - sum(v for _, v in side) if whole != 1.0 or side is theirs else 0.0))
    return theirs, ours


def figure3(builds: Sequence[Build]) -> str:
    """Stacked hours and, hatched, the number of embodiments, a panel per build."""
    tops = [sum(b.hours.values()) for b in builds]
    shared = max(tops) <= SHARED_SCALE * max(min(tops), 1e-12)
    most = max(max(b.embodiments for b in builds), 1)
    width, height, base, tall = 330, 250, 215, 170
    out = []
    for number, (build, top) in enumerate(zip(builds, tops)):
        x, y = number * width, float(base)
        scale = max(tops) if shared else max(top, 1e-12)
        out.append(f'<text x="{x + 10}" y="18" font-size="13" font-weight="600">{escape(build.name)}</text>')
        for place, (domain, hours) in enumerate(build.hours.items()):
            part = tall * hours / scale
            y -= part
            out.append(_box(x + 10, y, 70, part, COLOURS[domain]))
            line = 60 + 34 * (2 - place)
            out.append(_box(x + 175, line - 9, 10, 10, COLOURS[domain]))
            hours_are = " equiv. h" if domain == "vision_text" else " h"
            out.append(f'<text x="{x + 190}" y="{line}" font-size="11">{NAMES[domain]}</text>')
            out.append(
                f'<text x="{x + 190}" y="{line + 13}" font-size="11" fill="#5a6579">{amount(hours)}{hours_are}</text>'
            )
        robots = tall * build.embodiments / most
        out.append(_box(x + 100, base - robots, 40, robots, "url(#hatch)"))
        out.append(
            f'<text x="{x + 120}" y="{base - robots - 4}" font-size="11" text-anchor="middle">'
            f"{build.embodiments}</text>"
        )
        out.append(f'<line x1="{x + 4}" x2="{x + 150}" y1="{base}" y2="{base}" stroke="#333"/>')
        out.append(f'<text x="{x + 45}" y="{base + 14}" font-size="11" text-anchor="middle">{amount(top)} h</text>')
        out.append(f'<text x="{x + 120}" y="{base + 14}" font-size="11" text-anchor="middle">embodiments</text>')
    note = "" if shared else " The panels' hour bars have scales of their own."
    return _figure(
        out, width * len(builds), height,
        f"Hours (stacked) and embodiments of at least {tables.embodiment_from_hours():g} hours (hatched).{note}",
    )  # fmt: skip


def figure4_shares(sides: Sequence[tuple[str, list[tuple[str, float]]]]) -> str:
    """A bar of 100 % per build."""
    names = list(dict.fromkeys(name for _, side in sides for name, _ in side))
    colour = {n: OTHER if n == "other real" else PIECES[i % len(PIECES)] for i, n in enumerate(names)}
    out, width = [], 560
    for row, (title, side) in enumerate(sides):
        x, y = 8.0, 24 + 62 * row
        out.append(f'<text x="8" y="{y - 6}" font-size="12" font-weight="600">{escape(title)}</text>')
        for name, value in side:
            out.append(_box(x, y, (width - 16) * value, 26, colour[name]))
            if value > 0.06:
                out.append(f'<text x="{x + 5:.1f}" y="{y + 17}" font-size="11" fill="#fff">{value:.1%}</text>')
            x += (width - 16) * value
    bottom = 24 + 62 * len(sides) - 10
    for i, name in enumerate(names):
        values = ", ".join(f"{dict(side)[name]:.1%}" if name in dict(side) else "none" for _, side in sides)
        column, line = i % 2, i // 2
        out.append(_box(8 + 280 * column, bottom + 18 * line, 10, 10, colour[name]))
        out.append(
            f'<text x="{23 + 280 * column}" y="{bottom + 9 + 18 * line}" font-size="11">{escape(name)}: {values}</text>'
        )
    tall = bottom + 18 * ((len(names) + 1) // 2) + 6
    return _figure(
        out, width, tall, "Simulated and real hours of human and robot data: the paper's, and this recipe's by weight."
    )


def figure4_scale(builds: Sequence[Build]) -> str:
    """Tokens per domain as bars, with hours, a group per build."""
    tops = [max(b.tokens.values()) for b in builds]
    shared = max(tops) <= SHARED_SCALE * max(min(tops), 1e-12)
    out, width, y = [], 620, 0
    for build, top in zip(builds, tops):
        y += 22
        out.append(f'<text x="8" y="{y - 6}" font-size="12" font-weight="600">{escape(build.name)}</text>')
        for domain, tokens in build.tokens.items():
            long = 330 * tokens / ((max(tops) if shared else top) or 1.0)
            out.append(f'<text x="8" y="{y + 12}" font-size="11">{NAMES[domain]}</text>')
            out.append(_box(85, y, long, 16, COLOURS[domain]))
            hours = f"{amount(build.hours[domain])} {'equiv. ' if domain == 'vision_text' else ''}h"
            out.append(f'<text x="{90 + long:.1f}" y="{y + 12}" font-size="11">{amount(tokens)} tokens, {hours}</text>')
            y += 20
        y += 8
    note = "" if shared else " Each build has its own scale."
    return _figure(out, width, y, f"Tokens and hours per kind of data.{note}")


def amount(value: float) -> str:
    """A number a person reads: 25.6 B, 16,000, 0.0011."""
    for size, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" fill="{fill}"/>'


def _figure(parts: Sequence[str], width: int, height: int, caption: str) -> str:
    hatch = (
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="6" height="6" fill="#d7dee9"/><line x1="0" x2="0" y1="0" y2="6" stroke="#3c4a5e" '
        'stroke-width="3"/></pattern></defs>'
    )
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui,sans-serif">{hatch}{"".join(parts)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )

"""``recipe.html`` with its figures, and the figures as files: ``table1.csv``, ``figure3.svg``, ``figure4*.svg``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.recipe import figures
from unihand_data.recipe.figures import amount
from unihand_data.recipe.recipe_file import write_text
from unihand_data.report import charts


def write_page(folder: Path, recipe: dict[str, Any], plan: dict[str, Any] | None = None) -> Path:
    """Write ``recipe.html`` (``plan.html`` for a plan) and the figures beside it; returns the page's path."""
    import jinja2

    resolution = recipe["settings"]["resolution"]
    builds = [figures.paper(), figures.domains(recipe, resolution)]
    theirs, ours = figures.shares(recipe)
    table = figures.table1_rows(recipe)
    svg = {
        "figure3": figures.figure3(builds),
        "figure4_shares": figures.figure4_shares([(b.name, s) for b, s in zip(builds, (theirs, ours))]),
        "figure4_scale": figures.figure4_scale(builds),
    }
    for name, figure in svg.items():
        write_text(folder / f"{name}.svg", figure[figure.index("<svg") : figure.index("</svg>") + 6])
    write_text(folder / "table1.csv", _csv(table))
    total, weighted = recipe["totals"], recipe["totals"]["weighted"]
    visits = np.array([s["visits"] for s in recipe["strata"]])
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = template.from_string((Path(__file__).parent / "recipe.html.j2").read_text()).render(
        recipe=recipe, plan=plan, amount=amount, svg=svg, table=table, resolution=resolution,
        tiles=_tiles(recipe, builds[1]), simulated=weighted["simulated_over"], frames=total["robot_frames"],
        visits=charts.histogram(visits, "visits per sample and pass, by stratum") if np.ptp(visits) > 0.01 else "",
        ratio=_ratio, percent=_percent, some=_blank, groups=list(dict.fromkeys(r["group"] for r in table)),
    )  # fmt: skip
    path = folder / ("plan.html" if plan else "recipe.html")
    write_text(path, page)
    return path


def _tiles(recipe: dict[str, Any], build: figures.Build) -> list[tuple[str, str]]:
    found, taken = recipe["totals"]["found"], recipe["totals"]["taken"]
    resolution = recipe["settings"]["resolution"]
    words = taken["tokens"]["text"] + taken["tokens"]["supervised"]
    return [
        (amount(sum(build.hours.values())), "hours, equivalent ones included"),
        (amount(found["episodes"]), "episodes"),
        (amount(found["conversations"]), "conversations"),
        (amount(found["samples"]), "samples found"),
        (amount(taken["samples"]), "samples taken"),
        (amount(words), "text tokens taken"),
        (amount(taken["tokens"][f"visual_{resolution}"]), f"visual tokens taken at {resolution} px"),
        (_ratio(taken["text_to_visual"][f"stored_{resolution}"]), "text to visual, each once"),
        (str(build.embodiments), "robot embodiments that count"),
    ]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"1 : {amount(value)}"


def _percent(value: float | None) -> str:
    return (
        "-" if value is None else f"{value:.1%}" if value >= 0.01 or not value else f"{value:.2g}".replace("e-0", "e-")
    )


def _blank(value: float) -> str:
    return amount(value) if value else ""


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()

"""The recipe as data: shares of every stratum, and sums by domain, source and embodiment (what recipe.yaml holds)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unihand_data.config import SettingsError, content_dict
from unihand_data.recipe import recipe_file
from unihand_data.recipe.account import Account, Tally
from unihand_data.recipe.frames import Selection
from unihand_data.recipe.index import RECORD
from unihand_data.recipe.order import draws_per_cycle
from unihand_data.recipe.rows import Kind
from unihand_data.recipe.select import Stratum
from unihand_data.recipe.settings import TOKENS_PER_EQUIVALENT_HOUR, RecipeSettings
from unihand_data.recipe.weights import Mass, Weights, weigh


def masses(strata: Sequence[Stratum], account: Account, settings: RecipeSettings) -> list[Mass]:
    """What weighting takes into account. The hours of a kind belong to its tasks by their samples."""
    out = []
    for s in strata:
        kind, tally = account.taken[s.kind], account.by_task[s.kind, s.task]
        tokens = tally.tokens(settings.resolution)
        hours = tokens / TOKENS_PER_EQUIVALENT_HOUR
        if s.kind.domain != "vision_text":
            hours = kind.hours * tally.samples / max(kind.samples, 1)
        fields = (s.name, s.kind.source, s.kind.domain, s.kind.pillar, s.kind.origin == "sim", s.task)
        out.append(Mass(*fields, tally.samples, hours, tokens))
    return out


def compose(
    settings: RecipeSettings,
    selection: Selection,
    account: Account,
    strata: Sequence[Stratum],
    *,
    directories: Sequence[dict[str, Any]],
    digests: Mapping[str, str],
    templates: Sequence[str],
    eligible: int,
    estimated: bool,
    notes: Sequence[str] = (),
    hints: Mapping[str, float] | None = None,
    idle: int = 0,
) -> dict[str, Any]:
    """The recipe without its hash.

    Args:
        directories: path and identity of each. digests: of each stratum's records. eligible: robot frames that the
            selection of frames chose from, ``idle`` of them such at which nothing happens. estimated: whether text
            tokens are an estimate. notes: what reading the inputs found. hints: source -> ``max_weight`` of its
            data-set file.
    """
    found = {k.source for k in account.found}
    mass = masses(strata, account, settings)
    weights = weigh(mass, settings, found, hints)
    try:
        shares = [float(f"{p:.12g}") for p in weights.share]  # as they are written
        draws = draws_per_cycle(shares, settings.cycle)
    except ValueError as error:
        raise SettingsError(f"cycle: {error}") from error
    listed = [
        {
            "name": s.name, "domain": s.kind.domain, "source": s.kind.source, "origin": s.kind.origin,
            "embodiment": s.kind.embodiment, "pillar": s.kind.pillar, "task": s.task, "samples": s.samples,
            "hours": round(m.hours, 6), "weighted_hours": round(float(w), 6), "visits": round(float(v), 9),
            "share": p, "draws": int(n), "digest": digests[s.name],
        }
        for s, m, w, v, p, n in zip(
            strata, mass, weights.weighted_hours, weights.visits, shares, draws, strict=True
        )
    ]  # fmt: skip
    robot = account.total("robot")
    pinned = {**content_dict(settings), "inputs": []}
    return {
        "format": recipe_file.FORMAT,
        "version": recipe_file.VERSION,
        "recipe": "",
        "settings": pinned,
        "directories": list(directories),
        "record_bytes": RECORD.itemsize,
        "templates": list(templates),
        "strata": listed,
        "totals": {
            "found": account.total(found=True).to_json(settings.resolution),
            "taken": account.total().to_json(settings.resolution),
            "weighted": _weighted(mass, weights),
            "bounds": [{**b, "is": round(float(b["is"]), 6)} for b in weights.bounds],
            "robot_frames": {
                "wanted_share": selection.wanted,
                "kept_share": round(robot.frames / eligible, 6) if eligible else None,
                "rate_hz": None if selection.rate_hz == float("inf") else round(selection.rate_hz, 6),
                "floor_hz": selection.floor_hz,
                "floor_share": round(selection.floor_share, 6),
                "floor_wins": selection.floor_wins,
                "idle_share": round(idle / eligible, 6) if eligible else None,
            },
            "tokens_estimated": estimated,
        },
        "by_domain": _groups(account, settings, lambda k: k.domain),
        "by_source": _groups(account, settings, lambda k: k.source),
        "by_embodiment": _embodiments(account, settings),
        "left_out": {
            "rows": dict(sorted(account.rows_left_out.items())),
            "samples": dict(sorted(account.samples_left_out.items())),
        },
        "notes": [*notes, *_notes(weights, selection, listed, settings)],
        "by_licence": {k: {"hours_taken": round(v, 6)} for k, v in account.licences.items()},
    }


def _weighted(mass: Sequence[Mass], weights: Weights) -> dict[str, Any]:
    """Shares by weighted hours, the simulated one over each of the contract's three denominators."""
    hours = dict.fromkeys(("human", "robot", "vision_text"), 0.0)
    simulated = 0.0
    for m, w in zip(mass, weights.weighted_hours):
        hours[m.domain] += float(w)
        simulated += float(w) if m.simulated and m.domain != "vision_text" else 0.0
    motion = hours["human"] + hours["robot"]
    over = {"human_and_robot": motion, "robot": hours["robot"], "all_with_equivalent_hours": sum(hours.values())}
    return {
        "hours": {k: round(v, 6) for k, v in hours.items()},
        "simulated_hours": round(simulated, 6),
        "simulated_over": {k: round(simulated / v, 6) if v else None for k, v in over.items()},
    }


def _groups(account: Account, settings: RecipeSettings, key: Callable[[Kind], str]) -> dict[str, Any]:
    found: dict[str, Tally] = {}
    taken: dict[str, Tally] = {}
    for into, which in ((found, account.found), (taken, account.taken)):
        for kind, tally in which.items():
            into.setdefault(key(kind), Tally()).add(tally)
    text = {key(k) for k in account.found if k.domain == "vision_text"}
    return {
        name: {
            "found": found[name].to_json(settings.resolution, equivalent=name in text),
            "taken": taken.get(name, Tally()).to_json(settings.resolution, equivalent=name in text),
        }
        for name in sorted(found)
    }


def _embodiments(account: Account, settings: RecipeSettings) -> dict[str, Any]:
    """Robots (and hands) with hours found and taken, real and simulated; ``counts`` from the least hours up."""
    out: dict[str, dict[str, Any]] = {}
    for kind, tally in account.found.items():
        if kind.domain == "vision_text":
            continue
        entry = out.setdefault(
            kind.embodiment,
            {"domain": kind.domain, "origins": [], "hours": 0.0, "hours_taken": 0.0, "episodes": 0, "sources": []},
        )
        entry["hours"] += tally.hours
        entry["hours_taken"] += account.taken.get(kind, Tally()).hours
        entry["episodes"] += tally.episodes
        entry["origins"] = sorted({*entry["origins"], kind.origin})
        entry["sources"] = sorted({*entry["sources"], kind.source})
    for name, entry in out.items():
        entry["views"] = account.views.get(name, [])
        entry["effectors"] = account.effectors.get(name, [])
        entry["counts"] = entry["hours"] >= settings.embodiment_min_hours
        entry["hours"], entry["hours_taken"] = round(entry["hours"], 6), round(entry["hours_taken"], 6)
    return dict(sorted(out.items()))


def _notes(
    weights: Weights, selection: Selection, strata: Sequence[dict[str, Any]], settings: RecipeSettings
) -> list[str]:
    """What a person should know before training on it."""
    notes = []
    if selection.floor_wins:
        notes.append(
            f"the floor of {selection.floor_hz:g} Hz alone keeps {selection.floor_share:.1%} of the robot frames, more "
            f"than the {selection.wanted:.0%} asked for; the floor wins"
        )
    coarse = [
        s["name"]
        for s, share in zip(strata, weights.share)
        if s["draws"] and abs(s["draws"] / settings.cycle - share) > 0.25 * share
    ]
    if coarse:
        notes.append(
            f"{len(coarse)} strata (as {coarse[0]}) have so small a share that whole draws of a cycle of "
            f"{settings.cycle} miss it by more than a quarter; a longer `cycle` comes closer"
        )
    often = [s for s in strata if s["visits"] > 10]
    if often:
        most = max(often, key=lambda s: float(s["visits"]))
        notes.append(
            f"samples of {len(often)} strata are drawn more than ten times a pass, those of {most['name']} "
            f"{most['visits']:.0f} times"
        )
    return notes

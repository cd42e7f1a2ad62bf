"""How often each stratum is drawn: natural size, temperature, weights, then caps and floors (docs/recipe.md).

A stratum's *visits* v say how often each of its samples is drawn per pass; its *weighted hours* are v times its hours
(for vision-text equivalent hours, tokens / 10.04 M). Every cap and floor bounds the weighted hours of a group over
those of a larger one. A group that breaks one is scaled until it holds exactly, in turn, until all hold: nothing is
dropped, and strata outside the group keep their weights against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from unihand_data.config import SettingsError
from unihand_data.recipe.settings import RecipeSettings

SWEEPS = 2000
CLOSE = 1e-9


@dataclass(frozen=True)
class Mass:
    """What weighting knows of a stratum. ``hours`` are its part of the unmirrored hours of its rows."""

    name: str
    source: str
    domain: str  # human | robot | vision_text
    pillar: str
    simulated: bool
    task: str
    samples: int
    hours: float
    tokens: int


@dataclass(frozen=True)
class Bound:
    """A cap or floor: weighted hours of ``group`` over those of ``whole`` (both (S,) bool)."""

    name: str
    group: np.ndarray
    whole: np.ndarray
    value: float
    cap: bool

    def realised(self, weighted: np.ndarray) -> float:
        whole = weighted[self.whole].sum()
        return float(weighted[self.group].sum() / whole) if whole else 0.0

    def broken(self, weighted: np.ndarray) -> bool:
        off = self.realised(weighted) - self.value
        return bool(weighted[self.whole].sum() > 0 and (off if self.cap else -off) > CLOSE)


@dataclass(frozen=True)
class Weights:
    """``share`` (S,) of the draws, sums to 1; ``visits`` (S,), 1 on average over samples; ``bounds`` as realised."""

    share: np.ndarray
    visits: np.ndarray
    weighted_hours: np.ndarray
    bounds: list[dict[str, Any]]


def weigh(
    strata: Sequence[Mass],
    settings: RecipeSettings,
    sources: Collection[str] | None = None,
    hints: Mapping[str, float] | None = None,
) -> Weights:
    """Shares of the draws. ``sources`` are all that the inputs have, those that were left out whole too; ``hints`` caps
    of sources that hold unless ``caps.sources`` names the source (or a pattern that it matches), with a cap or null.

    Raises:
        SettingsError: caps and floors that cannot all hold with these strata, a name that no stratum has, or nothing to
            draw at all.
    """
    samples = np.array([s.samples for s in strata], np.float64)
    hours = np.array([s.hours for s in strata], np.float64)
    _known_names({s.source for s in strata} if sources is None else set(sources), settings)
    visits = _natural(strata, settings)
    if not (visits * samples).sum() > 0:
        raise SettingsError("nothing to draw: every stratum is empty or has weight 0")
    bounds = [*_bounds(strata, settings), *_hinted(strata, settings, hints or {})]
    for bound in bounds:
        _possible(bound, visits * hours)
    for _ in range(SWEEPS):
        broken = [b for b in bounds if b.broken(visits * hours)]
        if not broken:
            break
        for bound in broken:
            weighted = visits * hours
            group = weighted[bound.group].sum()
            rest = weighted[bound.whole].sum() - group
            visits[bound.group] *= bound.value * rest / ((1 - bound.value) * group)
        visits /= visits.max()
    else:
        names = ", ".join(f"{b.name} {b.value:g} (is {b.realised(visits * hours):.4f})" for b in broken)
        raise SettingsError(f"these bounds cannot all hold with this data: {names}; loosen one of them")
    draws = visits * samples
    visits = visits * samples.sum() / draws.sum()
    said: list[dict[str, Any]] = [
        {"name": b.name, "kind": "cap" if b.cap else "floor", "bound": b.value, "is": b.realised(visits * hours)}
        for b in bounds
    ]
    return Weights(draws / draws.sum(), visits, visits * hours, said)


def _natural(strata: Sequence[Mass], settings: RecipeSettings) -> np.ndarray:
    """(S,) visits before any bound: by basis, source temperature within its domain, source and task weight."""
    temperature = {str(name): power for name, power in settings.temperature.items()}
    tasks = {str(name): weight for name, weight in settings.tasks.items()}
    samples = np.array([max(s.samples, 1) for s in strata], np.float64)
    size = np.array([float(getattr(s, settings.basis)) for s in strata])
    tempered = np.zeros(len(strata))
    of_domain: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, s in enumerate(strata):
        of_domain[s.domain][s.source].append(i)
    for domain, sources in of_domain.items():
        power = temperature.get(domain, 1.0)
        mass = {name: size[at].sum() for name, at in sources.items()}
        new = {name: m**power if m > 0 else 0.0 for name, m in mass.items()}
        total, total_new = sum(mass.values()), sum(new.values())
        for name, at in sources.items():
            if mass[name] > 0:
                tempered[at] = size[at] / mass[name] * new[name] / total_new * total
    chosen = np.array([settings.source(s.source).weight * tasks.get(s.task, 1.0) for s in strata])
    return np.where([s.samples > 0 for s in strata], tempered / samples * chosen, 0.0)


def _bounds(strata: Sequence[Mass], settings: RecipeSettings) -> list[Bound]:
    domain = np.array([s.domain for s in strata])
    pillar, simulated = np.array([s.pillar for s in strata]), np.array([s.simulated for s in strata], bool)
    everything, text = np.ones(len(strata), bool), domain == "vision_text"
    out: list[Bound] = []
    if settings.caps.simulated is not None:
        out.append(Bound("caps.simulated", simulated & ~text, ~text, settings.caps.simulated, True))
    for cap, kind, given in ((True, "caps", settings.caps), (False, "floors", settings.floors)):
        for part, value in given.domains.items():
            out.append(Bound(f"{kind}.domains.{part}", domain == part, everything, value, cap))
        for name, share in given.sources.items():
            group = np.array([fnmatchcase(s.source, name) for s in strata], bool)
            if share is not None and (group.any() or "*" not in name):
                out.append(Bound(f"{kind}.sources.{name}", group, np.isin(domain, domain[group]), share, cap))
        for third, value in given.pillars.items():
            out.append(Bound(f"{kind}.pillars.{third}", text & (pillar == third), text, value, cap))
    return out


def _hinted(strata: Sequence[Mass], settings: RecipeSettings, hints: Mapping[str, float]) -> list[Bound]:
    domain, source = np.array([s.domain for s in strata]), np.array([s.source for s in strata])
    out = []
    for name, share in sorted(hints.items()):
        named = any(fnmatchcase(name, pattern) for pattern in settings.caps.sources)
        if share < 1 and not named and (source == name).any():
            group = source == name
            out.append(Bound(f"max_weight of {name}", group, np.isin(domain, domain[group]), share, True))
    return out


def _possible(bound: Bound, weighted: np.ndarray) -> None:
    """No scaling helps where a capped group stands alone, or one with a floor is empty."""
    group, whole = weighted[bound.group].sum(), weighted[bound.whole].sum()
    if bound.cap and group > 0 and whole - group <= 0:
        raise SettingsError(
            f"{bound.name} {bound.value:g} cannot hold: there is nothing else beside it in these directories; add data "
            f"or take the cap out"
        )
    if not bound.cap and group <= 0:
        raise SettingsError(f"{bound.name} {bound.value:g} cannot hold: there is no such data with a weight above 0")


def _known_names(have: set[str], settings: RecipeSettings) -> None:
    """A source that is named and is not there is a slip of the pen, not a wish."""
    for key, names in (
        ("sources", settings.sources),
        ("caps.sources", settings.caps.sources),
        ("floors.sources", settings.floors.sources),
    ):
        for name in names:
            if name not in have and not ("*" in name and key != "sources"):
                raise SettingsError(f"{key}.{name}: no directory has this source; there are {', '.join(sorted(have))}")

"""``--simulate``: the recipe of a 35,000-hour build, and what making it takes, from published figures.

No shard is read. Amounts and rates are ``paper.yaml``; each rate says whether it was measured and where. The recipe
goes through the same code as a real one (selection of frames, weights, shares), so it shows what the settings do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from unihand_data.config import Settings, load_settings
from unihand_data.recipe import recipe_file
from unihand_data.recipe.account import Account, Tally
from unihand_data.recipe.compose import compose
from unihand_data.recipe.frames import solve
from unihand_data.recipe.rows import Kind
from unihand_data.recipe.select import Stratum
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards.tokens import IMAGE_TIMES
from unihand_data.space import tables

FILE = Path(__file__).with_name("paper.yaml")
PER_FRAME = ("motion_generation", "motion_continuation")


class PublishedSource(Settings):
    source: str
    domain: Literal["human"]
    hours: float = Field(gt=0)
    rate_hz: float = Field(gt=0)


class StageRate(Settings):
    """What one unit of a stage takes. ``optional`` stages are listed and not summed: they replace another."""

    domain: Literal["human", "robot", "vision_text", "all"]
    stage: str
    per: Literal["frame", "image", "hour", "sample", "taken sample", "conversation"]
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    bytes: float = 0.0
    measured: bool
    optional: bool = False
    basis: str


class Published(Settings):
    """``paper.yaml``; see its comments."""

    sources: list[PublishedSource]
    robot_rate_hz: float
    images_of_vision_text: float
    text_of_vision_text: float
    conversations: float
    episode_s: dict[str, float]
    samples_per_start_frame: int
    descriptions_per_s: float
    said_tokens_per_s: dict[str, float]
    text_tokens: dict[str, float]
    answer_tokens: dict[str, float]
    robot_views: float
    language: dict[str, Any]
    cluster: dict[str, int]
    stages: list[StageRate]


def published() -> Published:
    return load_settings(Published, FILE)


def simulate(
    settings: RecipeSettings, amounts: Published, annotation: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recipe without rows, and a plan.

    Args:
        annotation: money, currency and sentence of labelling the human hours (``unihand_data.language.cost``).

    Raises:
        SettingsError: settings that these amounts cannot meet.
    """
    account, strata = Account(), []
    robots = _robot_kinds()
    frames = {amounts.robot_rate_hz: round(sum(robots.values()) * 3600 * amounts.robot_rate_hz)}
    selection = solve(frames, settings.robot_frame_share, settings.floor_hz)
    for s in amounts.sources:
        share = min(1.0, (settings.human_rate_hz or s.rate_hz) / s.rate_hz)
        kind = Kind("human", s.source, "real", "human_hands", "")
        twice = 2 if settings.mirrored else 1
        strata += _motion(account, kind, s.hours, s.rate_hz, share, 1.0, twice, amounts)
    for kind, hours in robots.items():
        share = float(selection.kept(amounts.robot_rate_hz))
        strata += _motion(account, kind, hours, amounts.robot_rate_hz, share, amounts.robot_views, 1, amounts)
    for row in tables.table1():
        account.views[row.embodiment] = list(row.views)
        account.effectors[row.embodiment] = [{"gripper": "Grp", "dexterous": "Dex"}[e] for e in row.eef]
    talk = Kind("vision_text", "16 corpora", "", "", "general")
    tally = Tally(
        conversations=round(amounts.conversations), samples=round(amounts.conversations),
        text=round(amounts.text_of_vision_text), images=round(amounts.images_of_vision_text),
        said=round(amounts.text_of_vision_text), shown=round(amounts.images_of_vision_text),
    )  # fmt: skip
    account.found[talk], account.taken[talk] = Tally().add(tally), Tally().add(tally)
    account.by_task[talk, "vision_text"] = tally
    strata.append(Stratum(talk, "vision_text", tally.samples))
    recipe = compose(
        settings, selection, account, strata, directories=[], digests={s.name: "" for s in strata}, templates=[],
        eligible=sum(frames.values()), estimated=True,
    )  # fmt: skip
    recipe["format"] = "unihand-plan"
    recipe["recipe"] = recipe_file.content_hash(recipe)
    return recipe, _plan(account, amounts, annotation)


def _robot_kinds() -> dict[Kind, float]:
    """Table 1 as kinds. How much of a ``Real/Sim`` row is simulated is not published: the share that makes simulated
    data 26 % of human and robot hours, as the paper's Figure 4 says of the whole."""
    rows = tables.table1()
    wanted = tables.share("simulation") * (tables.total("human").hours + sum(r.hours for r in rows))
    mixed = sum(r.hours for r in rows if len(r.source) == 2)
    part = (wanted - sum(r.hours for r in rows if r.source == ("sim",))) / mixed
    out = {}
    for row in rows:
        for origin in row.source:
            share = 1.0 if len(row.source) == 1 else part if origin == "sim" else 1 - part
            out[Kind("robot", f"{row.robot} ({origin})", origin, row.embodiment, "")] = row.hours * share
    return out


def _motion(
    account: Account, kind: Kind, hours: float, rate: float, share: float, views: float, twins: int, a: Published
) -> list[Stratum]:
    """Tallies and strata of motion data of one kind."""
    frames = hours * 3600 * rate
    episodes = round(hours * 3600 / a.episode_s[kind.domain])
    said = round(hours * 3600 * a.said_tokens_per_s[kind.domain])
    account.found[kind] = Tally(episodes, 0, round(frames), hours, said=said, shown=round(frames * views))
    account.taken[kind] = Tally(
        episodes, 0, round(frames * share), hours, said=said, shown=round(frames * share * views)
    )
    strata = []
    for task in (*PER_FRAME, "motion_description"):
        each = a.samples_per_start_frame / 2 * frames if task in PER_FRAME else hours * 3600 * a.descriptions_per_s
        for kept, into in ((1.0, account.found[kind]), (share if task in PER_FRAME else 1.0, account.taken[kind])):
            n = each * kept * twins
            tally = Tally(
                samples=round(n), text=round(n * a.text_tokens[task]), images=round(n * views * IMAGE_TIMES[task]),
                supervised=round(n * a.answer_tokens.get(task, 0)),
            )  # fmt: skip
            into.add(tally)
        account.by_task[kind, task] = tally
        strata.append(Stratum(kind, task, tally.samples))
    return strata


def _plan(account: Account, a: Published, annotation: Mapping[str, Any]) -> dict[str, Any]:
    stages: list[dict[str, Any]] = []
    total = dict.fromkeys(("cpu_hours", "gpu_hours", "terabytes", "money"), 0.0)
    for s in a.stages:
        domain = None if s.domain == "all" else s.domain
        found, taken = account.total(domain, found=True), account.total(domain)
        views = a.robot_views if s.domain == "robot" else 1.0
        amount = {
            "frame": found.frames,
            "image": found.images if s.domain == "vision_text" else found.frames * views,
            "hour": found.hours,
            "sample": found.samples,
            "taken sample": taken.samples,
            "conversation": found.conversations,
        }[s.per]
        line: dict[str, Any] = {
            "domain": s.domain, "stage": s.stage, "per": s.per, "amount": float(amount), "optional": s.optional,
            "cpu_hours": amount * s.cpu_s / 3600, "gpu_hours": amount * s.gpu_s / 3600,
            "terabytes": amount * s.bytes / 1e12, "measured": s.measured, "basis": s.basis,
            "money": float(annotation["money"] or 0.0) if s.stage == "annotate" else 0.0,
        }  # fmt: skip
        stages.append(line)
        if not s.optional:
            for name in total:
                total[name] += float(line[name])
    days = total["cpu_hours"] / a.cluster["cpus"] / 24
    gpu_days = sum(x["gpu_hours"] for x in stages) / a.cluster["gpus"] / 24
    samples = account.total().samples
    return {
        "stages": stages,
        "total": total,
        "currency": annotation["currency"],
        "wall": f"{days:.0f} days on {a.cluster['cpus']:,} CPUs; with HaWoR {gpu_days:.0f} more on {a.cluster['gpus']} "
        "GPUs",
        "note": f"Annotation: {annotation['sentence']}. CPU hours are those of one core of the machine that the docs "
        f"name; disk is what is stored. {samples / 1e9:.3g} B samples are taken, a sample at every start frame, twin "
        "and task; the paper has 0.4 B, which `human_rate_hz` below 1 and a smaller `robot_frame_share` come near.",
    }


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """The plan as text."""
    head = f"{'kind':<12}{'stage':<26}{'amount':>20}{'CPU h':>12}{'GPU h':>10}{'TB':>9}{plan['currency']:>9}  figure"
    lines = [head]
    for s in plan["stages"]:
        amount = f"{s['amount']:,.0f} {s['per']}s"
        lines.append(
            f"{s['domain']:<12}{s['stage']:<26}{amount:>20}{_n(s['cpu_hours']):>12}{_n(s['gpu_hours']):>10}"
            f"{_n(s['terabytes']):>9}{_n(s['money']):>9}  {'measured' if s['measured'] else 'assumed'}"
            + (" (instead of the line above, not in the sum)" if s["optional"] else "")
        )
    t = plan["total"]
    lines.append(
        f"{'total':<12}{'':<26}{'':>20}{_n(t['cpu_hours']):>12}{_n(t['gpu_hours']):>10}{_n(t['terabytes']):>9}"
        f"{_n(t['money']):>9}  {plan['wall']}"
    )
    return [*lines, "", str(plan["note"])]


def _n(value: float) -> str:
    return "" if not value else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

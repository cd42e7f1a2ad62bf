"""Settings of a recipe (``pipelines/build_recipe.yaml``). All of them change what is trained on, none only how fast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from unihand_data.config import Settings

Share = Annotated[float, Field(gt=0, lt=1)]
Domain = Literal["human", "robot", "vision_text"]
Pillar = Literal["general", "grounding", "planning"]
Task = Literal["motion_generation", "motion_continuation", "motion_description", "vision_text"]
#: tokens of vision-text that count as an hour: 50.2 B / 5,000 h of the paper's Figure 4; a definition of ours
TOKENS_PER_EQUIVALENT_HOUR = 10.04e6


class SourceSettings(Settings):
    """One source (``source`` of the rows)."""

    weight: float = Field(
        default=1.0, ge=0, description="how often its samples are drawn against others; 0 leaves it out"
    )
    fraction: float = Field(
        default=1.0, gt=0, le=1, description="part of its recordings or conversations taken, by hash"
    )


class Caps(Settings):
    """Upper bounds on weighted hours (equivalent hours for vision-text). They lower weights and drop nothing."""

    simulated: Share | None = Field(default=0.26, description="simulated over human + robot (paper 3.2: 26 %)")
    domains: dict[Domain, Share] = Field(default={}, description="domain over everything")
    sources: dict[str, Share | None] = Field(
        default={"oxe_auge*": 0.05},
        description="source over its domain; a name with * is all that match together; null switches one off. A source "
        "that no name here matches has the `max_weight` of its data-set file, where its shards carry one. The "
        "default: one recording re-drawn as eight robots is no eight recordings",
    )
    pillars: dict[Pillar, Share] = Field(default={}, description="pillar over vision-text")


class Floors(Settings):
    """Lower bounds on weighted hours, with the denominators of :class:`Caps`."""

    domains: dict[Domain, Share] = Field(default={})
    sources: dict[str, Share | None] = Field(default={})
    pillars: dict[Pillar, Share] = Field(default={})


class Duplicates(Settings):
    """What counts as the same thing twice. The first in the order of the inputs stays; what is a copy of a held-out
    row leaves training whatever the order, and whatever ``recordings`` and ``conversations`` say."""

    recordings: bool = Field(
        default=True,
        description="one recording in two sources, directories or containers (the same numbers), or twice in one",
    )
    near_distance: float | None = Field(
        default=0.02,
        ge=0,
        description="near duplicates: distance of motion paths over the way they move; null switches it off",
    )
    near_duration: float = Field(default=0.05, ge=0, description="relative difference of duration allowed for them")
    conversations: bool = Field(
        default=True, description="every question of a conversation was asked about the same images"
    )


class Idle(Settings):
    """Start frames whose action chunk lies whole inside an idle span (events of kind ``idle``) of their row, but for
    the span that a row ends with. The contract selects by rate alone, so by default all are kept."""

    rule: Literal["skip", "downweight", "keep"] = Field(
        default="keep", description="keep: all; skip: none is drawn; downweight: `weight` of those that would be"
    )
    weight: float = Field(default=0.25, gt=0, lt=1, description="part that `downweight` draws, by hash")
    chunk_s: float = Field(default=1.0, gt=0, description="seconds of action that a start frame is judged by")

    @property
    def share(self) -> float:
        """Part of the idle start frames that stays."""
        return {"skip": 0.0, "downweight": self.weight, "keep": 1.0}[self.rule]


class RecipeSettings(Settings):
    """See each field. ``inputs`` are shard directories; those of the command line come after them."""

    inputs: list[str] = Field(default=[])
    seed: int = 0
    resolution: Literal[224, 448] = Field(default=224, description="image side, for tokens and equivalent hours")
    robot_frame_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.30,
        description="start frames of robot sources that are kept, over all (paper 3.2); null keeps every one",
    )
    floor_hz: float = Field(default=3.0, gt=0, description="no source is thinned below this rate")
    human_rate_hz: float | None = Field(
        default=None, gt=0, description="start frames per second of human rows that are drawn; null: every one"
    )
    idle: Idle = Idle()
    basis: Literal["samples", "hours", "tokens"] = Field(
        default="samples", description="what a source's natural share of the draws is proportional to"
    )
    temperature: dict[Domain, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={},
        description="share of a source within its domain ~ size ** t; 1 (the default) is in proportion, 0 all alike",
    )
    sources: dict[str, SourceSettings] = Field(default={})
    tasks: dict[Task, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="weight of a task's samples; default 1"
    )
    caps: Caps = Caps()
    floors: Floors = Floors()
    duplicates: Duplicates = Duplicates()
    mirrored: bool = Field(default=True, description="mirror twins are trained on too")
    only_shareable: bool = Field(
        default=False, description="leave out rows whose licence forbids that they leave the machine"
    )
    exclude_licences: list[str] = Field(default=[])
    embodiment_min_hours: float = Field(default=10.0, ge=0, description="an embodiment counts from here up (paper 3.2)")
    collections: dict[str, list[str]] = Field(
        default={
            "OXE-AugE": ["oxe_auge*"],
            "Open X-Embodiment": ["oxe_*", "bridge*", "droid*"],
            "AgiBot World": ["agibot_world*"],
        },
        description="sources (with *) that the figures show as one, the first that fits; not a weight",
    )
    cycle: int = Field(default=65536, ge=16, le=1 << 22, description="draws after which the proportions are exact")

    @model_validator(mode="after")
    def _bounds_agree(self) -> RecipeSettings:
        for kind in ("domains", "sources", "pillars"):
            caps, floors = getattr(self.caps, kind), getattr(self.floors, kind)
            for name in set(caps) & set(floors):
                if floors[name] and caps[name] and floors[name] > caps[name]:
                    raise ValueError(f"floors.{kind}.{name} {floors[name]} is above its cap {caps[name]}")
            if kind != "sources" and sum(floors.values()) > 1:
                raise ValueError(f"floors.{kind} sum to more than 1")
        return self

    def source(self, name: str) -> SourceSettings:
        return self.sources.get(name, SourceSettings())

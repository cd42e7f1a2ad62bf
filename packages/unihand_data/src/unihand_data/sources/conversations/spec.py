"""What a corpus YAML may say. One file per corpus, or configuration of it, in ``corpora/``; unknown keys are errors.

Containers are read by ``containers.py``, rows by the form a YAML names; neither holds a corpus' name.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from unihand_data.config import Settings
from unihand_data.sources.conversations.talk import CoordUnit, Frame
from unihand_data.sources.spec import Provenance

Container = Literal["json", "jsonl", "parquet", "tfrecord", "refer_pickle", "json_files", "csv"]
FormName = Literal[
    "llava",
    "finevision",
    "refer",
    "pixel_box",
    "affordance",
    "trajectory",
    "robovqa",
    "molmoact",
    "waypoints",
    "points",
    "eo",
    "instruction",
    "steps",
]
#: how geometry stands inside the texts (``geometry_text.py``)
TextGeometry = Literal["none", "unit_box", "tuples", "ref_box", "pixel_json", "traces"]
#: four numbers of a box: two corners, first corner and sides, or centre and sides; ``detect``: what the row's boxes fit
BoxOrder = Literal["xyxy", "xywh", "cxcywh", "detect"]


class GeometrySpec(Settings):
    """Conventions of the numbers. ``size`` is the picture they are about, where one size holds for the corpus. ``of``:
    which picture positions are of in a row with several; ``only`` refuses such rows."""

    text: TextGeometry = "none"
    unit: CoordUnit | Literal["detect_percent"] = "unit"
    frame: Frame = "original"
    box: BoxOrder = "xyxy"
    of: Literal["only", "first"] = "only"
    size: tuple[int, int] | None = None


class CorpusSpec(Settings):
    """One corpus, or one configuration of it.

    ``columns``: keys that the first row has; together with ``fingerprint`` they tell what a folder is. ``group``:
    configurations of one group may be read together from one folder. ``rank``: of two rows that are the same, the one
    of the smaller rank stays.
    """

    name: str
    title: str
    paper_name: str = Field(description="the name in section 3.3 of the paper; empty for what it does not list")
    pillar: Literal["general", "grounding", "planning"]
    container: Container
    form: FormName
    licence: str = Field(description="the owner's licence, never the tag of a copy")
    licence_class: Literal["permissive", "non_commercial", "no_redistribution", "unknown"]
    shareable: bool
    fingerprint: list[list[str]] = Field(min_length=1, description="groups of globs; every glob of one group must hit")
    absent: list[str] = Field(default_factory=list, description="globs that must not hit")
    columns: list[str] = Field(default_factory=list)
    group: str = ""
    files: list[str] = Field(min_length=1, description="globs of the files that hold rows")
    beside: dict[str, str] = Field(default_factory=dict, description="further files the container needs, by its names")
    image_roots: list[str] = Field(default_factory=lambda: [""], description="folders a picture's path starts from")
    cluster_paths: bool = Field(False, description="paths are absolute on the owner's machines: leading folders go")
    leading: list[str] = Field(
        default_factory=list, description="folders at the head of paths that may be missing here"
    )
    archives: list[str] = Field(default_factory=list, description="globs of archives that may hold the pictures")
    geometry: GeometrySpec = GeometrySpec()
    geometry_also: list[GeometrySpec] = Field(
        default_factory=list, description="further forms in the texts, of rows that come from another corpus"
    )
    coco: bool = Field(True, description="may hold pictures of COCO's training set; true where it is not known")
    strip: list[str] = Field(default_factory=list, description="regexes of format instructions that leave the question")
    columns_of: dict[str, str] = Field(default_factory=dict, description="column names, by the form's names")
    question: str = Field("", description="question template where the corpus has none; {label} is the phrase")
    min_rating: dict[str, int] = Field(default_factory=dict, description="per rating column the least that stays")
    published_rows: int | None = None
    rank: int = 50
    quirks: list[str] = Field(default_factory=list)
    tried: Provenance = Provenance()

    @model_validator(mode="after")
    def _share_only_what_may_be_shared(self) -> CorpusSpec:
        if self.shareable and self.licence_class != "permissive":
            raise ValueError(f"shareable needs a permissive licence, not {self.licence_class}")
        return self

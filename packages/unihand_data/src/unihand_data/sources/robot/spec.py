"""What a robot data-set YAML may say: one file per (data set, embodiment) in ``datasets/``; unknown keys are errors.

The blocks of ``state`` and ``action`` are those of an embodiment file (docs/space.md) with two more keys that say where
a block's raw columns come from: ``from`` (a feature, or a list of features laid side by side) and ``take`` (``[first,
stop]`` or ``{columns: [i, ...]}``; left out: all). Everything that differs between publishers of the same robot lives
there: units, signs, gripper range separately for state and action, quaternion order, Euler convention, command scale,
absolute or delta, trusted or not. Facts about the robot itself (limits, latency, mirror signs) stay in its embodiment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import Field, model_validator

from unihand_data import yaml_text
from unihand_data.config import Settings, SettingsError
from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.sources.spec import Provenance
from unihand_data.space.embodiment import Embodiment, VectorKind, load_embodiment
from unihand_data.space.embodiment_yaml import parse
from unihand_data.space.slots import GROUPS
from unihand_data.space.yaml_at import At, EmbodimentError

_SAYS_NOTHING_OF_ROWS = {"title", "match", "checks", "max_weight", "quirks", "tried"}
FOLDER = Path(__file__).parent / "datasets"
Container = Literal["lerobot", "rlds", "hdf5", "rosbag", "webdataset", "video_sidecar"]


class Match(Settings):
    """A fingerprint: every given condition must hold for a :class:`~unihand_data.sources.robot.episode.Found`."""

    names: list[str] = Field(default_factory=list, description="regexes; one must match the container's data-set name")
    robot_types: list[str] = Field(default_factory=list, description="regexes; one must match the robot type")
    layouts: list[str] = Field(default_factory=list, description="folder trees of the reader")
    features: dict[str, int | None] = Field(default_factory=dict, description="feature -> width, null: any width")
    absent: list[str] = Field(default_factory=list, description="features that must not be there")
    columns: dict[str, str] = Field(default_factory=dict, description="feature -> regex its column names all match")
    fps: float | None = None


class ViewSpec(Settings):
    """One raw camera, or several by regex. ``view`` is the contract's word; ``third_*`` takes the next free number."""

    key: str = Field(description="regex over the raw camera name")
    view: str
    turn: Literal["none", "rotate_180", "flip_vertical"] = "none"
    channels: Literal["rgb", "bgr"] = "rgb"
    present: str = Field("", description="feature that is 0 where the camera was not recorded (Bridge's has_image_1)")


class Derive(Settings):
    """A column made from others before blocks are taken; the originals stay in ``raw_extra``.

    ``sticky``: a relative command -1 / 0 / +1 (0: hold) becomes the absolute one in the same sign: every 0 takes the
    last decided value, and steps before the first decision take its opposite. ``decides``: from this size on a value
    between 0 and 1 decides too, smaller ones hold; null: only -1, 0 and 1 are known.
    ``next_state``: what the data set says was copied from the state is shifted, ``action[t] = state[t + 1]``.
    """

    column: str
    how: Literal["sticky", "next_state"]
    source: str
    decides: float | None = Field(None, gt=0, lt=1)


class Checks(Settings):
    """Which data-driven checks may run; a reason is needed to switch one off.

    ``starts_open``: who documents that episodes begin with an open gripper; independent evidence of its absolute sign.
    """

    off: dict[str, str] = Field(default_factory=dict, description="check name -> why it says nothing about this set")
    starts_open: str = Field(default="", description="source of that convention; empty: nobody says so")


class RobotSpec(Settings):
    """One data set on one embodiment."""

    name: str
    dataset: str = Field("", description="the rows' source; default: name. Variants of one data set share it")
    title: str
    embodiment: str = Field(description="name of an embodiment file")
    container: Container
    match: Match = Match()
    licence: str = Field(description="the owner's licence, never the card of a copy")
    licence_class: Literal["permissive", "non_commercial", "no_redistribution", "unknown"]
    shareable: bool = False
    setting: Literal["lab", "wild"] = "lab"
    origin: Literal["real", "sim"]
    rate_hz: float | None = Field(None, gt=0, description="true rate; null: the container's own stamp")
    layout: str = Field("", description="which of its reader's folder layouts")
    paths: dict[str, str] = Field(default_factory=dict, description="further settings of the reader, by its own names")
    world: Literal["gravity", "base", "camera"] = "base"
    base_to_world: list[list[float]] | None = Field(None, description="3x3 rotation raw -> world; null: identity")
    eef_point: Literal["wrist_joint", "flange", "grip_site", "tool", "fingertip", "unknown"] | None = Field(
        None,
        description="point of the robot that its poses are of; must be said where a block fills one, and only there",
    )
    derive: list[Derive] = Field(default_factory=list)
    state: list[dict[str, Any]]
    action: list[dict[str, Any]] = Field(default_factory=list)
    ignore: dict[str, str] = Field(default_factory=dict, description="regex of features nobody needs -> why")
    mask_first_actions: int = Field(0, ge=0, description="leading actions the data set itself calls void")
    mask_last_actions: int = Field(0, ge=0)
    views: list[ViewSpec] = Field(default_factory=list)
    language: dict[str, Any] = Field(default_factory=dict, description="where words lie, by the reader's own names")
    checks: Checks = Checks()
    max_weight: float | None = Field(None, gt=0, description="hint to the recipe: cap on this source's weight")
    quirks: list[str] = Field(default_factory=list)
    tried: Provenance = Provenance()

    @model_validator(mode="after")
    def _complete(self) -> RobotSpec:
        if self.shareable and self.licence_class != "permissive":
            raise ValueError(f"shareable needs a permissive licence, not {self.licence_class}")
        if self.base_to_world is not None:
            r = np.array(self.base_to_world, float)
            if r.shape != (3, 3) or not np.allclose(r @ r.T, np.eye(3), atol=1e-6) or np.linalg.det(r) < 0:
                raise ValueError("base_to_world is a 3x3 rotation")
        layout = self.layout_of_rows  # errors of the blocks show when the file is read
        slots = {s for kind in _KINDS for s in layout.slots(kind).tolist()}
        if self.eef_point is None and slots & _POSE:
            named = [b.name for kind in _KINDS for b in layout.blocks(kind) if set(b.slots) & _POSE]
            raise ValueError(
                f"eef_point: block {named[0]} is a pose (or a displacement) of an end effector, so say of which point: "
                "wrist_joint, flange, grip_site, tool, fingertip, or unknown where its owner does not say"
            )
        return self

    @property
    def source(self) -> str:
        return self.dataset or self.name

    @cached_property
    def content_hash(self) -> str:
        """Of everything that decides what rows hold: not of titles, notes, fingerprints, checks and hints."""
        said = self.model_dump(mode="json", exclude=_SAYS_NOTHING_OF_ROWS)
        return make_id("robot data-set file", json.dumps(said, sort_keys=True), self.robot.hash)

    @cached_property
    def robot(self) -> Embodiment:
        """The robot itself: limits, latency budget, mirror signs."""
        return load_embodiment(self.embodiment)

    @cached_property
    def layout_of_rows(self) -> Embodiment:
        """Phi_e of this publisher's rows: the embodiment file's blocks replaced by those of this YAML.

        Raises:
            EmbodimentError: a block does not fit, or fills a slot that the robot does not have.
        """
        at = At(Path(f"{self.name}.yaml"))
        robot = self.robot
        layout = parse(
            {
                "schema": 1,
                "name": self.embodiment,
                "title": self.title,
                "domain": "robot",
                "origin": self.origin,
                "world": self.world,
                "eef_point": None if self.eef_point == "unknown" else self.eef_point,
                "control_rate_hz": self.rate_hz,
                "latency_budget_ms": robot.latency_budget_ms,
                "cameras": [],
                "state": [_block(b) for b in self.state],
                "action": [_block(b) for b in self.action or [{"name": "none", "unmapped": _NO_ACTION}]],
                "mirror": None,
            },
            at,
        )
        for kind in _KINDS:
            known = {*robot.slots("state").tolist(), *robot.slots("action").tolist(), *range(0, 20), *range(44, 46)}
            if foreign := sorted(set(layout.slots(kind).tolist()) - known):
                raise (at / kind).fail(f"slots {foreign} do not belong to the embodiment {self.embodiment}")
        return layout

    def takes(self, kind: VectorKind) -> list[Take]:
        """Where each block's raw columns come from."""
        at = At(Path(f"{self.name}.yaml")) / kind
        return [_take(at / str(b.get("name")), b) for b in (self.state if kind == "state" else self.action)]

    def features(self) -> set[str]:
        """Every raw feature that blocks or derived columns read."""
        derived = {d.column for d in self.derive}
        used = {f for kind in _KINDS for take in self.takes(kind) for f in take.features}
        return (used - derived) | {d.source for d in self.derive}


_KINDS: tuple[VectorKind, VectorKind] = ("state", "action")
_POSE = {
    s for side in ("right", "left") for part in ("position", "rotation") for s in GROUPS[f"{side}_eef_{part}"].slots
}
_NO_ACTION = {"columns": 1, "reason": "the data set has no commands", "constant": 0}


@dataclass(frozen=True)
class Take:
    """A block's columns: features side by side, then ``columns`` of them (None: all)."""

    block: str
    features: tuple[str, ...]
    columns: tuple[int, ...] | None
    optional: bool

    def read(self, raw: dict[str, np.ndarray], where: str) -> np.ndarray | None:
        """(T, n) or None for an absent optional block.

        Raises:
            Reject: MISSING_FIELD, CONTRADICTION (fewer columns than the YAML takes)."""
        absent = [f for f in self.features if f not in raw]
        if absent:
            if self.optional:
                return None
            raise Reject(
                Reason.MISSING_FIELD,
                f"{where}: no feature {absent[0]!r}, which block {self.block} is taken from; features: "
                f"{', '.join(sorted(raw))[:300]}",
            )
        parts = [raw[f].reshape(len(raw[f]), -1) for f in self.features]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.columns is None:
            return joined
        if max(self.columns) >= joined.shape[1]:
            raise Reject(
                Reason.CONTRADICTION,
                f"{where}: {'+'.join(self.features)} has {joined.shape[1]} columns, block {self.block} takes column "
                f"{max(self.columns)}",
            )
        return joined[:, list(self.columns)]


def _block(raw: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in raw.items() if k not in ("from", "take")}


def _take(at: At, raw: dict[str, Any]) -> Take:
    source = raw.get("from")
    names = [source] if isinstance(source, str) else source
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise (at / "from").fail("the feature (or list of features) its columns come from is expected")
    take = raw.get("take")
    if take is None:
        columns = None
    elif isinstance(take, list) and len(take) == 2 and 0 <= take[0] < take[1]:
        columns = tuple(range(take[0], take[1]))
    elif isinstance(take, dict) and set(take) == {"columns"} and take["columns"]:
        columns = tuple(int(i) for i in take["columns"])
    else:
        raise (at / "take").fail("[first, stop] or {columns: [i, ...]}")
    return Take(str(raw["name"]), tuple(names), columns, bool(raw.get("optional", False)))


def load_spec(name_or_path: str | Path) -> RobotSpec:
    """A shipped data set by name, or a YAML file by path. ``extends: NAME`` takes every key that the file does not give
    from ``datasets/templates/NAME.yaml``.

    Raises:
        SettingsError: the file does not fit; names file and field.
        FileNotFoundError: no such name.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"no robot data set is called {name_or_path!r}")
    data = _read(path)
    try:
        spec = RobotSpec.model_validate(data)
    except EmbodimentError as error:
        raise SettingsError(f"{path}: {error}") from error
    except ValueError as error:
        text = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in getattr(error, "errors", list)())
        raise SettingsError(f"{path}: {text or error}") from error
    if spec.name != path.stem:
        raise SettingsError(f"{path}: name: {spec.name!r} must equal the file's name {path.stem!r}")
    return spec


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml_text.loads(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: the top level must be a mapping")
    base = data.pop("extends", None)
    return data if base is None else {**_read(FOLDER / "templates" / f"{base}.yaml"), **data}


def spec_names() -> list[str]:
    """Names of the shipped robot data sets."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))

"""Reads an embodiment file and refuses everything that does not fit, naming file and field.

The format is described in ``docs/space.md``. Nothing is guessed here: an unknown key, a unit that is not the slot's, a
slot of the wrong side, a slot used twice, a gripper without its closed and open value are errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from unihand_data import yaml_text
from unihand_data.space.blocks import ROTATION_WIDTH, UNITS, Block
from unihand_data.space.embodiment import Camera, Embodiment
from unihand_data.space.mirror import MirrorRule
from unihand_data.space.slots import GROUPS, SLOTS, slot_index
from unihand_data.space.yaml_at import At

_TOP = {
    "schema", "name", "title", "notes", "domain", "origin", "hand_model", "layout", "world", "eef_point",
    "control_rate_hz", "latency_budget_ms", "cameras", "state", "action", "mirror",
}  # fmt: skip
_REQUIRED = {"schema", "name", "title", "domain", "origin", "world", "control_rate_hz", "latency_budget_ms", "cameras",
             "state", "action", "mirror"}  # fmt: skip
_BLOCK = {
    "name", "columns", "slots", "form", "unit", "command_scale", "sign", "offset", "limits", "range", "raw_range",
    "hand_range", "euler", "action", "source", "side", "optional", "unmapped",
}  # fmt: skip
_VIEW = re.compile(r"ego|third_[1-9]\d*|wrist_right|wrist_left|top|high")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "domain": ("human", "robot"),
    "origin": ("real", "sim", None),
    "hand_model": ("mano", "generic_v1", None),
    "layout": ("unified", "released"),
    "world": ("gravity", "table", "base", "camera"),
    "eef_point": ("wrist_joint", "flange", "grip_site", "tool", "fingertip", None),
}
_FORMS = ("value", "gripper", "hand_range", *ROTATION_WIDTH)


def read(path: Path) -> Embodiment:
    """Parse and check one file. Raises :class:`~unihand_data.space.yaml_at.EmbodimentError`, ``FileNotFoundError``."""
    at = At(path)
    try:
        data = yaml_text.loads(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise at.fail(f"not valid YAML: {error}") from error
    embodiment = parse(data, at)
    if embodiment.name != path.stem:
        raise (at / "name").fail(f"{embodiment.name!r} must equal the file's name {path.stem!r}")
    return embodiment


def parse(data: Any, at: At) -> Embodiment:
    """Check the content of an embodiment file; ``at`` names the place that errors point to. A data set's own row layout
    (``sources/robot``) is the same content with other blocks."""
    data = at.keys(data, _TOP, _REQUIRED)
    (at / "schema").choice(data["schema"], (1,))
    chosen = {k: (at / k).choice(data.get(k, "unified" if k == "layout" else None), v) for k, v in _CHOICES.items()}
    if chosen["domain"] == "human" and chosen["hand_model"] is None:
        raise (at / "hand_model").fail("a human embodiment says mano or generic_v1")
    positive: dict[str, float | None] = {}
    for key in ("control_rate_hz", "latency_budget_ms"):
        positive[key] = None if data[key] is None else (at / key).number(data[key])
        if (positive[key] or 1.0) <= 0:
            raise (at / key).fail("must be positive, or null where unknown")
    state = _blocks(at / "state", data["state"], "state", chosen)
    action = _blocks(at / "action", data["action"], "action", chosen)
    content = {k: v for k, v in data.items() if k not in ("title", "notes")}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return Embodiment(
        name=data["name"],
        title=str(data["title"]),
        **chosen,
        control_rate_hz=positive["control_rate_hz"],
        latency_budget_ms=positive["latency_budget_ms"],
        cameras=tuple(_camera(at / "cameras" / i, c) for i, c in enumerate(data["cameras"])),
        state=state,
        action=action,
        mirror=_mirror(at / "mirror", data["mirror"], chosen["domain"]),
        hash=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        notes=str(data.get("notes", "")),
    )


def _blocks(at: At, data: Any, kind: str, top: dict[str, Any]) -> tuple[Block, ...]:
    if not isinstance(data, list) or not data:
        raise at.fail("a list of blocks is expected")
    blocks: list[Block] = []
    names: set[str] = set()
    columns: set[str] = set()
    used: dict[int, str] = {}
    for i, item in enumerate(data):
        where = at / (item["name"] if isinstance(item, dict) and "name" in item else i)
        block = _block(where, item, kind, top)
        if block.name in names:
            raise where.fail("the name is used twice")
        names.add(block.name)
        if twice := sorted(columns & set(block.columns)) or len(set(block.columns)) != block.width:
            raise where.fail(f"column names are used twice: {twice or block.columns}")
        columns |= set(block.columns)
        for slot in block.slots:
            if slot in used:
                raise where.fail(f"slot {SLOTS[slot].name} is already filled by {used[slot]}")
            used[slot] = block.name
        blocks.append(block)
    return tuple(blocks)


def _block(at: At, item: Any, kind: str, top: dict[str, Any]) -> Block:
    item = at.keys(item, _BLOCK, {"name"})
    if "unmapped" in item:
        at.keys(item, {"name", "unmapped"}, {"name"})
        return _unmapped(at / "unmapped", item["name"], item["unmapped"])
    at.keys(item, _BLOCK, {"name", "columns", "slots"})
    form = (at / "form").choice(item.get("form", "value"), _FORMS)
    columns = _columns(at / "columns", item["columns"], item["name"])
    n_slots = 3 if form in ROTATION_WIDTH else len(columns)
    if len(columns) != ROTATION_WIDTH.get(form, len(columns)):
        raise (at / "columns").fail(f"form {form} has {ROTATION_WIDTH[form]} columns, not {len(columns)}")
    slots = _slots(at / "slots", item["slots"], n_slots, kind, top["layout"])
    _check_side(at, item, columns, slots)
    _check_form(at, form, slots, item, kind)
    scale, shift, limits = _linear(at, item, form, slots, len(columns), top["layout"])
    if "limits" in item and item["limits"] is not None:
        if form in ("gripper", "hand_range"):
            raise (at / "limits").fail(f"form {form} already gives them")
        if not isinstance(item["limits"], list) or len(item["limits"]) != len(slots):
            raise (at / "limits").fail(f"{len(slots)} entries are expected, each [lower, upper] or null")
        limits = tuple(None if v is None else (at / "limits" / i).pair(v) for i, v in enumerate(item["limits"]))
    default_source = "realised" if top["domain"] == "human" else "commanded"
    euler = ("xyz", "extrinsic")
    if form == "euler":
        spec = (at / "euler").keys(item.get("euler"), {"sequence", "frame"}, {"sequence", "frame"})
        if not re.fullmatch(r"[xyz]{3}", str(spec["sequence"])):
            raise (at / "euler.sequence").fail(f"three of x, y, z, not {spec['sequence']!r}")
        euler = (spec["sequence"], (at / "euler.frame").choice(spec["frame"], ("intrinsic", "extrinsic")))
    elif "euler" in item:
        raise (at / "euler").fail(f"form {form} has no Euler angles")
    return Block(
        name=str(item["name"]),
        columns=columns,
        slots=slots,
        form=form,
        unit=str(item.get("unit", "-")),
        scale=scale,
        shift=shift,
        limits=limits,
        action=(at / "action").choice(item.get("action", "absolute"), ("absolute", "displacement", "velocity")),
        source=(at / "source").choice(item.get("source", default_source), ("commanded", "realised")),
        optional=bool((at / "optional").choice(item.get("optional", False), (True, False))),
        range_scaled=form == "hand_range",
        euler=euler,  # type: ignore[arg-type]
    )


def _unmapped(at: At, name: str, data: Any) -> Block:
    data = at.keys(data, {"columns", "reason", "constant"}, {"columns", "reason"})
    columns = _columns(at / "columns", data["columns"], name)
    if not isinstance(data["reason"], str) or not data["reason"].strip():
        raise (at / "reason").fail("say why the columns have no slot")
    constant = data.get("constant")
    return Block(
        name=str(name),
        columns=columns,
        reason=data["reason"],
        constant=None if constant is None else (at / "constant").numbers(constant, len(columns)),
    )


def _columns(at: At, value: Any, name: str) -> tuple[str, ...]:
    """A list of names, or a count that numbers them ``<block>_0`` ..."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return tuple(f"{name}_{i}" for i in range(value))
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise at.fail(f"a list of column names or a count is expected, not {value!r}")


def _slots(at: At, value: Any, n: int, kind: str, layout: str) -> tuple[int, ...]:
    """The first n slots of a named group, or a list of slot names (numbers in the released layout)."""
    if isinstance(value, str):
        if value not in GROUPS:
            raise at.fail(f"no slot group is called {value!r}; groups: {', '.join(GROUPS)}")
        if n > len(GROUPS[value]):
            raise at.fail(f"{value} has {len(GROUPS[value])} slots, the block needs {n}")
        slots = GROUPS[value].slots[:n]
    elif isinstance(value, list) and len(value) == n:
        try:
            slots = tuple(v if isinstance(v, int) and layout == "released" else slot_index(v) for v in value)
        except KeyError as error:
            raise at.fail(str(error.args[0])) from error
        if bad := [s for s in slots if not 0 <= s < len(SLOTS)]:
            raise at.fail(f"slots {bad} do not exist")
    else:
        raise at.fail(f"a group name or a list of {n} slot names is expected, not {value!r}")
    for s in slots:
        if layout == "unified" and SLOTS[s].kind == "reserved":
            raise at.fail(f"{SLOTS[s].name} is reserved; only layout: released may use it")
        if layout == "unified" and kind == "action" and SLOTS[s].state_only:
            raise at.fail(f"{SLOTS[s].name} exists in the state only")
    return tuple(slots)


def _check_side(at: At, item: dict[str, Any], columns: tuple[str, ...], slots: tuple[int, ...]) -> None:
    """Names that say left or right, and the ``side`` key, must agree with the slots' side."""
    sides = {SLOTS[s].side for s in slots} - {"none"}
    if len(sides) > 1:
        raise (at / "slots").fail("one block fills slots of both sides")
    said = set()
    if "side" in item:
        said.add((at / "side").choice(item["side"], ("right", "left", "none")))
    for text in (str(item["name"]), *columns):
        # "LeftArm", "left_arm", "L_index" and "arm_l" all say left; "lift" and "roll" do not
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", text)
        said |= {"left" for w in words if w.lower() in ("left", "l")} | {
            "right" for w in words if w.lower() in ("right", "r")
        }
    wrong = (said - {"none"}) - sides if sides else set()
    if wrong or ("none" in said and sides):
        raise (at / "slots").fail(f"the block is called {'/'.join(sorted(said))}, its slots are {'/'.join(sides)}")


def _check_form(at: At, form: str, slots: tuple[int, ...], item: dict[str, Any], kind: str) -> None:
    kinds, groups = {SLOTS[s].kind for s in slots}, {SLOTS[s].group for s in slots}
    eef_rotation = any(g.endswith("_eef_rotation") for g in groups)
    if (form in ROTATION_WIDTH or eef_rotation) and (
        len(groups) > 1 or slots != tuple(range(slots[0], slots[0] + 3)) or form not in ROTATION_WIDTH
    ):
        raise (at / "form").fail("a rotation fills the three slots of one *_eef_rotation group, in order")
    if form in ROTATION_WIDTH and not eef_rotation and kinds != {"reserved"}:
        raise (at / "form").fail(f"form {form} belongs to *_eef_rotation slots, not {'/'.join(sorted(groups))}")
    if ("gripper" in kinds) != (form == "gripper"):
        raise (at / "form").fail("gripper slots and form: gripper go together; the raw closed and open value is given")
    if form == "hand_range" and kinds != {"finger"}:
        raise (at / "form").fail("form hand_range belongs to the drives of a hand")
    eef = any(g.endswith(("_eef_position", "_eef_rotation")) for g in groups)
    if kind == "action" and eef and "action" not in item:
        raise (at / "action").fail("an end effector's action says displacement or absolute")
    if kind == "state" and ("action" in item or "source" in item):
        raise (at / "action").fail("action and source belong to action blocks")
    if kind == "action" and not eef and item.get("action", "absolute") == "displacement":
        raise (at / "action").fail("joints, hands and grippers are absolute targets")


def _linear(
    at: At, item: dict[str, Any], form: str, slots: tuple[int, ...], n: int, layout: str
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[tuple[float, float] | None, ...]]:
    """Scale and shift of ``slot = scale * raw + shift``, and the limits that the form itself implies."""
    own = {"gripper": {"range"}, "hand_range": {"raw_range", "hand_range"}}.get(form, set())
    plain = {"unit", "command_scale", "sign", "offset"} if not own else set()
    for key in ({"range", "raw_range", "hand_range", "unit", "command_scale", "sign", "offset"} - own - plain) & set(
        item
    ):
        raise (at / key).fail(f"form {form} does not use it")
    if form == "gripper":
        ends = (at / "range").keys(item.get("range"), {"closed", "open"}, {"closed", "open"})
        closed, opened = (at / "range" / "closed").number(ends["closed"]), (at / "range" / "open").number(ends["open"])
        if closed == opened:
            raise (at / "range").fail("closed and open are the same number")
        opening = 1.0 / (opened - closed)
        return (opening,) * n, (-closed * opening,) * n, ((0.0, 1.0),) * n
    if form == "hand_range":
        ends = (at / "raw_range").keys(item.get("raw_range"), {"closed", "open"}, {"closed", "open"})
        closed, opened = ((at / "raw_range" / k).number(ends[k]) for k in ("closed", "open"))
        spans = item.get("hand_range")
        if closed == opened or not isinstance(spans, list) or len(spans) != n:
            raise (at / "hand_range").fail(
                f"{n} pairs [rad at open, rad at closed] and two different raw ends are needed"
            )
        pairs = [(at / "hand_range" / i).pair(v) for i, v in enumerate(spans)]
        scales = tuple((high - low) / (closed - opened) for low, high in pairs)
        return scales, tuple(low - opened * s for s, (low, _) in zip(scales, pairs)), tuple(pairs)
    if form in ("quaternion_wxyz", "quaternion_xyzw", "rot6d", "matrix"):
        for key in plain & set(item):
            raise (at / key).fail(f"form {form} has no unit")
        return (1.0,) * n, (0.0,) * n, (None,) * len(slots)
    given = item.get("unit")
    units = given if isinstance(given, list) else [given] * n
    if len(units) != n:
        raise (at / "unit").fail(f"one unit or {n}")
    factors = [_unit(at / "unit", u, SLOTS[s].unit, layout) for u, s in zip(units, slots)]
    if ("command" in units) != ("command_scale" in item):
        raise (at / "command_scale").fail("unit: command and command_scale (slot units per raw unit) go together")
    commands = (at / "command_scale").numbers(item.get("command_scale", 1.0), n)
    signs = (at / "sign").numbers(item.get("sign", 1), n)
    offsets = (at / "offset").numbers(item.get("offset", 0.0), n)
    if set(signs) - {1.0, -1.0} or 0.0 in commands:
        raise (at / "sign").fail("signs are 1 or -1, command scales not 0")
    if form in ROTATION_WIDTH and (len(set(signs)) > 1 or len(set(factors)) > 1 or any(offsets)):
        raise (at / "sign").fail("a rotation has one unit, no offset and no sign per component")
    scales = tuple(f * c * s for f, c, s in zip(factors, commands, signs))
    return scales, tuple(-s * o + 0.0 for s, o in zip(scales, offsets)), (None,) * len(slots)


def _unit(at: At, unit: Any, slot_unit: str, layout: str) -> float:
    if unit == "command":
        return 1.0
    if unit == "released" and layout == "released":
        return 1.0
    if unit not in UNITS:
        raise at.fail(f"{unit!r} is not a unit; known: {[*UNITS, 'command']}")
    target, factor = UNITS[unit]
    if target != slot_unit and not (layout == "released" and slot_unit == "-"):
        raise at.fail(f"{unit} does not give the slot's unit {slot_unit}")
    return factor


def _camera(at: At, data: Any) -> Camera:
    data = at.keys(data, {"key", "view", "width", "height", "fps", "turn"}, {"key", "view"})
    if not _VIEW.fullmatch(str(data["view"])):
        raise (at / "view").fail(f"{data['view']!r} is not ego, third_N, wrist_right, wrist_left, top or high")
    (at / "turn").choice(data.get("turn", "none"), ("none", "rotate_180", "flip_vertical"))
    return Camera(**data)


def _mirror(at: At, data: Any, domain: str) -> MirrorRule | None:
    """``{eef_axis, signs: {arm: [...], torso: [...]}}``; the signs of ``arm`` hold for both sides."""
    if data is None:
        return None
    data = at.keys(data, {"eef_axis", "signs"}, {"eef_axis"})
    axis = (at / "eef_axis").choice(data["eef_axis"], ("x", "y", "z", None))
    signs: dict[int, int] = {}
    for name, values in (data.get("signs") or {}).items():
        groups = {"arm": ("right_arm", "left_arm"), "torso": ("torso",)}.get(name)
        if (
            groups is None
            or not isinstance(values, list)
            or set(values) - {1, -1}
            or len(values) > len(GROUPS[groups[0]])
        ):
            raise (at / "signs" / name).fail("known are arm (up to 7) and torso (up to 2), each a list of 1 and -1")
        for group in groups:
            signs.update(zip(GROUPS[group].slots, values))
    return MirrorRule(eef_axis=axis, signs=signs, one_sided=domain == "human")

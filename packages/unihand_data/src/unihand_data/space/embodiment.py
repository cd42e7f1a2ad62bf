"""An embodiment: how one robot's (or hand's) raw rows become slots, and back (Phi_e of paper 5.1).

``load_embodiment("fr3_inspire")`` reads a shipped file, ``load_embodiment("my/robot.yaml")`` one of your own. The file
format is described in ``docs/space.md``; :mod:`unihand_data.space.embodiment_yaml` refuses what does not fit.

Exactness: ``from_unified(*to_unified(raw, kind), kind=kind)`` equals ``raw`` for every declared column after a cast to
float32 (rtol 1e-6). Where a representation is lost (the sign of a quaternion, an Euler branch) or a varying column has
no slot, the raw block travels in ``raw_extra``.

Legend: ``...`` leading axes, usually T frames; N raw columns; S active slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.space.blocks import Block
from unihand_data.space.chain import chain, unchainable
from unihand_data.space.mirror import MirrorRule
from unihand_data.space.slots import SLOTS, check_slots

VectorKind = Literal["state", "action"]
FOLDER = Path(__file__).parent / "embodiments"


class Unified(NamedTuple):
    """``values`` (..., S) float64 in physical units, 0 where masked; ``slots`` (S,) int16, strictly increasing;
    ``mask`` (..., S) bool; ``raw_extra`` what the slots cannot hold, keyed ``state.<block>`` or ``action.<block>``."""

    values: np.ndarray
    slots: np.ndarray
    mask: np.ndarray
    raw_extra: dict[str, np.ndarray]


@dataclass(frozen=True)
class Camera:
    """A camera of the embodiment. ``key`` is the raw name, ``view`` the contract's word, ``turn`` what makes the raw
    picture upright: none, rotate_180, flip_vertical."""

    key: str
    view: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    turn: str = "none"


@dataclass(frozen=True)
class Embodiment:
    """See the module. ``layout`` is ``unified`` (physical units) or ``released`` (raw units of released checkpoints).

    ``hash`` is a content hash of the file without title and notes. ``world`` is the frame that raw poses are given in.
    ``mirror`` is None where rows are not mirrored. Null in the file (a rate, a limit) is None here, never a guess.
    """

    name: str
    title: str
    domain: Literal["human", "robot"]
    origin: Literal["real", "sim"] | None
    hand_model: str | None
    layout: Literal["unified", "released"]
    world: Literal["gravity", "table", "base", "camera"]
    eef_point: str | None
    control_rate_hz: float | None
    latency_budget_ms: float | None
    cameras: tuple[Camera, ...]
    state: tuple[Block, ...]
    action: tuple[Block, ...]
    mirror: MirrorRule | None
    hash: str
    notes: str = ""

    def blocks(self, kind: VectorKind) -> tuple[Block, ...]:
        if kind not in ("state", "action"):
            raise ValueError(f"kind is state or action, not {kind!r}")
        return self.state if kind == "state" else self.action

    def columns(self, kind: VectorKind) -> tuple[str, ...]:
        """Names of the N raw columns in raw order (joint names where they are joints)."""
        return tuple(c for b in self.blocks(kind) for c in b.columns)

    def slots(self, kind: VectorKind) -> np.ndarray:
        """All slots the file declares, int16, strictly increasing."""
        return np.array(sorted(s for b in self.blocks(kind) for s in b.slots), dtype=np.int16)

    def limits(self, kind: VectorKind) -> dict[int, tuple[float, float] | None]:
        """Per slot (lower, upper) in slot units, or None where unknown."""
        return {s: limit for b in self.blocks(kind) for s, limit in zip(b.slots, b.limits)}

    def unmapped(self, kind: VectorKind) -> dict[str, str]:
        """Block name to the reason why its columns have no slot."""
        return {b.name: b.reason for b in self.blocks(kind) if not b.mapped}

    def unknown_limits(self) -> list[str]:
        """``state.<slot name>`` and ``action.<slot name>`` of every bounded quantity whose limits nobody published.

        Rotations, MANO joints and shape have no limits of their own and are not listed.
        """
        out = []
        for kind in ("state", "action"):
            for slot, limit in self.limits(kind).items():
                free = SLOTS[slot].kind in ("rotation", "shape", "reserved") or SLOTS[slot].group.endswith("_theta")
                if limit is None and not free and self.domain == "robot":
                    out.append(f"{kind}.{SLOTS[slot].name}")
        return sorted(out)

    def out_of_limits(
        self, values: np.ndarray, slots: Sequence[int] | np.ndarray, kind: VectorKind, slack: float = 0.0
    ) -> np.ndarray:
        """Bool (..., S): outside its known limits by more than ``slack`` (slot units). Changes no value."""
        known = self.limits(kind)
        bounds = [known.get(int(s)) or (-np.inf, np.inf) for s in slots]
        low, high = np.array(bounds, float).reshape(-1, 2).T
        return (np.asarray(values) < low - slack) | (np.asarray(values) > high + slack)

    def action_sources(self) -> list[dict[str, str]]:
        """``[{slot_group, kind}]`` for a row's ``action_source``, by the declared trust."""
        found = {SLOTS[s].group: b.source for b in self.action for s in b.slots}
        return [{"slot_group": group, "kind": source} for group, source in found.items()]

    def to_unified(
        self, raw: Mapping[str, Any] | np.ndarray, kind: VectorKind, *, start: Mapping[str, np.ndarray] | None = None
    ) -> Unified:
        """Raw rows to slots.

        Args:
            raw: array (..., N) in the file's column order, or a mapping from block name to (..., n); optional blocks
                may be missing from a mapping, and their slots are then not active. NaN means missing: masked out.
            start: for absolute Cartesian commands only: side to the realised first pose (6,) (position, rotvec). NaN
                where it is not known: the first displacement of that position or rotation is masked.

        Raises:
            Reject: ``wrong_type`` (shape), ``missing_field``, ``contradiction`` (unknown block), ``bad_value`` (an
                infinite value, no rotation).
        """
        parts = self._split(raw, kind)
        lead = next(iter(parts.values())).shape[:-1]
        columns: dict[int, np.ndarray] = {}
        extra: dict[str, np.ndarray] = {}
        for block in self.blocks(kind):
            if block.name not in parts:
                continue
            x = parts[block.name]
            if not block.mapped:
                if block.constant is None or not np.array_equal(np.asarray(x, float), self._constant(block, lead)):
                    extra[f"{kind}.{block.name}"] = x
                continue
            values = self._forward(block, x, kind)
            if block.loses(x, values) or (kind == "action" and block.chained and unchainable(block, values, start)):
                extra[f"{kind}.{block.name}"] = x
            columns.update({s: values[..., i] for i, s in enumerate(block.slots)})
        if kind == "action":
            chain(columns, self.action, start, inverse=False, who=self.name)
        slots = np.array(sorted(columns), dtype=np.int16)
        stacked = np.stack([columns[int(s)] for s in slots], axis=-1) if len(slots) else np.zeros((*lead, 0))
        mask = np.isfinite(stacked)
        return Unified(np.where(mask, stacked, 0.0), slots, mask, extra)

    def from_unified(
        self,
        values: np.ndarray,
        slots: Sequence[int] | np.ndarray,
        mask: np.ndarray | None = None,
        raw_extra: Mapping[str, np.ndarray] | None = None,
        *,
        kind: VectorKind,
        start: Mapping[str, np.ndarray] | None = None,
        as_dict: bool = False,
    ) -> Any:
        """Slots back to raw: array (..., N) float64, or a dict of blocks.

        ``slots`` may hold more than this embodiment's (the full vector's ``range(200)``). Masked values come back as
        NaN. A block in ``raw_extra`` is taken from there; an unmapped block is otherwise its declared constant. Drop
        ``raw_extra`` after changing values (mirroring, a policy's output).

        Raises:
            Reject: ``missing_field`` for a slot or an unmapped column that nothing gives.
        """
        v, index = np.asarray(values, np.float64), check_slots(slots)
        if v.shape[-1] != len(index):
            raise Reject(Reason.WRONG_TYPE, f"{self.name}: values have {v.shape[-1]} columns for {len(index)} slots")
        if mask is not None:
            v = np.where(np.broadcast_to(np.asarray(mask, bool), v.shape), v, np.nan)
        columns = {int(s): v[..., i] for i, s in enumerate(index)}
        if kind == "action":
            chain(columns, self.action, start, inverse=True, who=self.name)
        lead, extra, out = v.shape[:-1], raw_extra or {}, {}
        for block in self.blocks(kind):
            key = f"{kind}.{block.name}"
            if key in extra:
                out[block.name] = np.array(np.broadcast_to(np.asarray(extra[key], float), (*lead, block.width)))
            elif not block.mapped:
                if block.constant is None:
                    raise Reject(
                        Reason.MISSING_FIELD,
                        f"{self.name}: {key} has no slot ({block.reason}); give it in raw_extra or declare a constant",
                    )
                out[block.name] = self._constant(block, lead)
            elif all(s in columns for s in block.slots):
                out[block.name] = block.inverse(np.stack([columns[s] for s in block.slots], axis=-1))
            elif block.optional:
                if not as_dict:
                    out[block.name] = np.full((*lead, block.width), np.nan)
            else:
                missing = [SLOTS[s].name for s in block.slots if s not in columns]
                raise Reject(Reason.MISSING_FIELD, f"{self.name}: {key} needs slots {missing}, which the row has not")
        return out if as_dict else np.concatenate([out[b.name] for b in self.blocks(kind)], axis=-1)

    def _constant(self, block: Block, lead: tuple[int, ...]) -> np.ndarray:
        return np.array(np.broadcast_to(np.array(block.constant, float), (*lead, block.width)))

    def _forward(self, block: Block, x: np.ndarray, kind: str) -> np.ndarray:
        try:
            return block.forward(x)
        except Reject as error:
            raise Reject(error.reason, f"{self.name}: {kind}.{block.name}: {error.message}") from error

    def _split(self, raw: Mapping[str, Any] | np.ndarray, kind: VectorKind) -> dict[str, np.ndarray]:
        """Raw rows as one array per block, shapes and values checked."""
        blocks = self.blocks(kind)
        if isinstance(raw, Mapping):
            unknown = sorted(set(raw) - {b.name for b in blocks})
            if unknown:
                known = [b.name for b in blocks]
                raise Reject(Reason.CONTRADICTION, f"{self.name}: {kind} has no blocks {unknown}; it has {known}")
            absent = [b.name for b in blocks if b.name not in raw and not b.optional and b.constant is None]
            if absent:
                raise Reject(Reason.MISSING_FIELD, f"{self.name}: {kind} row lacks the blocks {absent}")
            parts = {b.name: np.asarray(raw[b.name]) for b in blocks if b.name in raw}
        else:
            array, widths = np.asarray(raw), [b.width for b in blocks]
            if array.ndim < 1 or array.shape[-1] != sum(widths):
                raise Reject(
                    Reason.WRONG_TYPE, f"{self.name}: a {kind} row has {sum(widths)} columns, not shape {array.shape}"
                )
            parts = dict(zip([b.name for b in blocks], np.split(array, np.cumsum(widths)[:-1], axis=-1)))
        if not parts:
            raise Reject(Reason.MISSING_FIELD, f"{self.name}: an empty {kind} row")
        lead = next(iter(parts.values())).shape[:-1]
        for block in blocks:
            x = parts.get(block.name)
            if x is None:
                continue
            if x.dtype.kind not in "fiub" or x.ndim < 1 or x.shape != (*lead, block.width):
                raise Reject(
                    Reason.WRONG_TYPE,
                    f"{self.name}: {kind}.{block.name} is {x.dtype} of shape {x.shape}, expected numbers of shape "
                    f"{(*lead, block.width)}",
                )
            if x.dtype.kind == "f" and bool(np.isinf(x).any()):
                raise Reject(Reason.BAD_VALUE, f"{self.name}: {kind}.{block.name} holds an infinite value")
        return parts


def load_embodiment(name_or_path: str | Path) -> Embodiment:
    """Read a shipped embodiment by name, or a YAML file by path.

    Raises:
        EmbodimentError: the file does not fit; the message names file and field.
        FileNotFoundError: no such name or file.
    """
    from unihand_data.space.embodiment_yaml import read

    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"no embodiment is called {name_or_path!r}; shipped: {', '.join(available())}")
    return read(path)


def available() -> tuple[str, ...]:
    """Names of the shipped embodiments."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.yaml")))

"""``dataset_info.json`` and ``features.json`` of a TFDS folder: splits and their counts, features of steps and episode.

Formats (tensorflow_datasets/core, version 4): ``splits`` is a list of ``{name, shardLengths, numBytes,
filepathTemplate}`` with numbers written as strings; ``features.json`` is a tree of ``{pythonClassName, <kind>: ...}``.
The features of one step lie below ``steps`` (a ``Dataset``), those of the episode beside it.

Legend: T steps of an episode, n columns of a feature.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Kind = Literal["number", "text", "image", "other"]

#: of a meta file: the largest in public sets is some hundred kB
MAX_META_BYTES = 64 << 20
STEPS = "steps"
#: more numbers per step than this are a map, a cloud or an embedding, not columns
MAX_COLUMNS = 256
_NUMBERS = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16",
            "float32", "float64"}  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """One leaf of the tree.

    Attributes:
        path: below ``steps`` or below the record, parts joined by ``/``.
        width: numbers per step; None where the shape leaves it open.
        shape: as published; None for an open side.
        encoding: ``none``, or how a step's values are packed into one string (``bytes``, ``zlib``).
    """

    path: str
    kind: Kind
    dtype: str
    shape: tuple[int | None, ...] = ()
    encoding: str = "none"

    @property
    def width(self) -> int | None:
        return None if None in self.shape else math.prod(s for s in self.shape if s is not None)


@dataclass
class Info:
    """What the two meta files say.

    Attributes:
        steps, episode: features by path.
        lengths: split -> records per shard; ``bytes``: split -> all its records' bytes, without their frames.
        problems: sentences that forbid reading.
    """

    name: str = ""
    version: str = ""
    steps: dict[str, Feature] = field(default_factory=dict)
    episode: dict[str, Feature] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    bytes: dict[str, int | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_info(folder: str | Path) -> Info:
    """The meta files of a version folder. Never raises for their content: what is wrong is in ``problems``."""
    base, out = Path(folder), Info()
    info = _json(base / "dataset_info.json", out)
    tree = _json(base / "features.json", out)
    out.name = str(info.get("name") or base.parent.name)
    out.version = str(info.get("version") or base.name)
    for split in _listed(info.get("splits"), "dataset_info.json: splits", out):
        lengths = [_whole(n) for n in _listed(split.get("shardLengths"), "dataset_info.json: shardLengths", out)]
        if any(n is None for n in lengths):
            out.problems.append(f"dataset_info.json: shardLengths of split {split.get('name')!r} are not whole numbers")
            continue
        name = str(split.get("name"))
        out.lengths[name] = [n for n in lengths if n is not None]
        out.bytes[name] = _whole(split.get("numBytes"))
    if not tree:
        return out
    children = _children(tree)
    if STEPS not in children:
        out.problems.append("features.json: no feature 'steps'; this is no RLDS data set")
        return out
    for name, node in children.items():
        into = out.steps if name == STEPS else out.episode
        _walk(node, "" if name == STEPS else name, into, out)
    if not out.steps:
        out.problems.append("features.json: 'steps' has no features")
    return out


def _json(path: Path, out: Info) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_META_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        out.problems.append(f"{path.name} is missing; fetch it")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        out.problems.append(f"{path.name} cannot be read ({str(error)[:120]}); fetch it again")
        return {}
    if not isinstance(data, dict):
        out.problems.append(f"{path.name} holds no object; fetch it again")
        return {}
    return data


def _listed(value: Any, where: str, out: Info) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or (where.endswith("splits") and not all(isinstance(v, dict) for v in value)):
        out.problems.append(f"{where} is no list as TFDS writes it")
        return []
    return value


def _whole(value: Any) -> int | None:
    """Numbers come as strings, since 64-bit integers of protocol buffers do."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _children(node: Any) -> dict[str, Any]:
    """Named features below a ``FeaturesDict``, through a ``Dataset`` or ``Sequence`` around it."""
    for _ in range(4):
        if not isinstance(node, dict):
            return {}
        inner = node.get("featuresDict")
        if isinstance(inner, dict):
            found = inner.get("features")
            return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}
        sequence = node.get("sequence")
        node = sequence.get("feature") if isinstance(sequence, dict) else None
    return {}


def _walk(node: Any, path: str, into: dict[str, Feature], out: Info, depth: int = 0) -> None:
    if depth > 16:
        out.problems.append(f"features.json: {path[:80]} is nested too deeply")
        return
    children = _children(node)
    if children:
        for name, child in children.items():
            _walk(child, f"{path}/{name}".lstrip("/"), into, out, depth + 1)
        return
    into[path] = _leaf(path, node if isinstance(node, dict) else {})


def _leaf(path: str, node: dict[str, Any]) -> Feature:
    lead: tuple[int | None, ...] = ()
    sequence = node.get("sequence")
    if isinstance(sequence, dict):  # a list of scalars or vectors per step
        length = _whole(sequence.get("length"))
        lead = (length or None,)
        inner = sequence.get("feature")
        node = inner if isinstance(inner, dict) else {}
    if "image" in node:
        image = node["image"] if isinstance(node["image"], dict) else {}
        return Feature(path, "image", str(image.get("dtype", "uint8")), lead + _shape(image))
    if "text" in node:
        return Feature(path, "text", "string", lead)
    tensor = node.get("tensor") or node.get("scalar") or node.get("classLabel") or {}
    tensor = tensor if isinstance(tensor, dict) else {}
    dtype = "int64" if "classLabel" in node else str(tensor.get("dtype", ""))
    if dtype in ("string", "object"):
        return Feature(path, "text", "string", lead + _shape(tensor))
    found = Feature(path, "number", dtype, lead + _shape(tensor), str(tensor.get("encoding", "none")).lower())
    if dtype not in _NUMBERS or (found.width or 0) > MAX_COLUMNS:
        return replace(found, kind="other")
    return found


def _shape(node: dict[str, Any]) -> tuple[int | None, ...]:
    """``{"dimensions": ["7"]}``; -1 or nothing readable is an open side."""
    shape = node.get("shape")
    dims = shape.get("dimensions", []) if isinstance(shape, dict) else []
    return tuple(_whole(d) for d in dims) if isinstance(dims, list) else (None,)

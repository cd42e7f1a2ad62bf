"""Message types of a bag from the definitions it carries, and what numbers a message of a type holds.

The rosbags library compiles message definitions to Python code. Names that come from a foreign file would become part
of that code, so every name is checked against the grammar of ROS before a definition is handed over.

A message is taken apart into features. A message (or a part of one) whose fields are all numbers is one feature with
its field names as column names (``geometry_msgs/Point``: x, y, z); an array of numbers is one feature; a number among
other things is a feature of width 1. Headers, times, text and lists of messages are no features. Byte strings are
neither: pictures are read apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

from unihand_data.errors import Reason, Reject

HEADER = "std_msgs/msg/Header"
TF = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,100}(/[A-Za-z][A-Za-z0-9_]{0,100}){1,2}")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,200}")
_TIMES = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
_TEXT = ("string", "wstring")
MAX_DEFINITION = 1 << 20
MAX_DEPTH = 12


@dataclass(frozen=True)
class Leaf:
    """One feature of a message type: attribute path (empty: the message itself) and the names of its columns.

    ``names`` is empty for arrays, whose length only a message knows; ``labels`` is then the path of a list of strings
    beside it that may name the columns (``sensor_msgs/JointState.name``)."""

    path: str
    names: tuple[str, ...] = ()
    labels: str = ""

    def read(self, message: Any) -> np.ndarray:
        """(n,) float64."""
        part = attrgetter(self.path)(message) if self.path else message
        if self.names:
            return np.array([getattr(part, normalize_fieldname(n)) for n in self.names], np.float64)
        return np.atleast_1d(np.asarray(part, np.float64))


class Decoder:
    """Decodes the messages of one connection.

    Args:
        store: its types. ros1: how its bytes are to be read.
    """

    def __init__(self, store: Typestore, name: str, ros1: bool):
        self.store, self.name, self.ros1 = store, name, ros1
        self.leaves = tuple(_leaves(store, name)) if name not in (*PICTURES, *TF, CAMERA_INFO) else ()
        self.stamped = any(f == "header" and d == (Nodetype.NAME, HEADER) for f, d in store.fielddefs[name][1])

    def __call__(self, data: bytes) -> Any:
        read = self.store.deserialize_ros1 if self.ros1 else self.store.deserialize_cdr
        return read(data, self.name)


def decoder(connection: Connection, ros1: bool, definitions: str) -> Decoder | None:
    """None where neither the bag nor the named set of definitions knows the type.

    Args:
        definitions: set of standard types for bags without embedded definitions (``ros2_humble``).

    Raises:
        Reject: UNSAFE_CONTENT, UNREADABLE, CONTRADICTION (the definition is not the one the bag was written with).
    """
    form, text = connection.msgdef.format, connection.msgdef.data
    if not _TYPE.fullmatch(connection.msgtype) or len(text) > MAX_DEFINITION:
        raise Reject(Reason.UNSAFE_CONTENT, f"topic {connection.topic!r}: {connection.msgtype[:60]!r} is no ROS type")
    if form == MessageDefinitionFormat.NONE:
        store = _standard(definitions)
        return Decoder(store, connection.msgtype, ros1) if connection.msgtype in store.fielddefs else None
    store = _store(form, text, connection.msgtype)
    if connection.msgtype not in store.fielddefs:
        raise Reject(Reason.CONTRADICTION, f"topic {connection.topic!r}: its definition does not define its type")
    if (
        ros1
        and connection.digest not in ("", "*")
        and store.generate_msgdef(connection.msgtype)[1] != connection.digest
    ):
        raise Reject(Reason.CONTRADICTION, f"topic {connection.topic!r}: its definition has another checksum")
    return Decoder(store, connection.msgtype, ros1)


@lru_cache(maxsize=4)
def _standard(definitions: str) -> Typestore:
    try:
        return get_typestore(Stores(definitions))
    except ValueError as error:
        known = ", ".join(s.value for s in Stores)
        raise Reject(Reason.UNSUPPORTED, f"no set of definitions is called {definitions!r}; known: {known}") from error


@lru_cache(maxsize=256)
def _store(form: MessageDefinitionFormat, text: str, name: str) -> Typestore:
    """One store per definition: two topics of a bag may carry different versions of one type."""
    if form == MessageDefinitionFormat.MSG:
        types = dict(get_types_from_msg(text, name))
    else:
        types = {}
        line = "=" * 80 + "\n"
        parts = text.split(line)[1:] if text.startswith(f"{line}IDL: ") else [f"\n{text}"]
        for part in parts:
            types |= get_types_from_idl(part.partition("\n")[2])
    for type_name, (constants, fields) in types.items():
        refs = [d[1] if d[0] == Nodetype.NAME else d[1][0][1] for _, d in fields if d[0] != Nodetype.BASE]
        inner = [r for r in refs if isinstance(r, str)]
        words = [c[0] for c in constants] + [f[0] for f in fields]
        if not all(map(_TYPE.fullmatch, [type_name, *inner])) or not all(map(_FIELD.fullmatch, words)):
            raise Reject(Reason.UNSAFE_CONTENT, f"the definition of {name} holds names that ROS does not allow")
    store = get_typestore(Stores.EMPTY)
    known = get_typestore(Stores.ROS1_NOETIC).fielddefs
    times = {t: known[t] for t in _TIMES if t not in types}  # ROS 1 has them built in
    store.register({**times, **types})
    return store


def _leaves(store: Typestore, name: str, prefix: str = "", depth: int = 0) -> list[Leaf]:
    if depth > MAX_DEPTH:
        raise Reject(Reason.UNSAFE_CONTENT, f"{name}: messages are nested more than {MAX_DEPTH} deep")
    fields = store.fielddefs[name][1]
    numbers = [f for f, d in fields if d[0] == Nodetype.BASE and d[1][0] not in _TEXT]
    if len(numbers) == len(fields) and fields[0][0] != "structure_needs_at_least_one_member":
        return [Leaf(prefix, tuple(numbers))]
    labels = next((f for f, d in fields if f == "name" and d[0] == Nodetype.SEQUENCE and d[1][0][1][0] in _TEXT), "")
    out = []
    for field, desc in fields:
        path = f"{prefix}.{normalize_fieldname(field)}".lstrip(".")
        if desc[0] == Nodetype.BASE:
            out += [Leaf(path)] if desc[1][0] not in _TEXT else []
        elif desc[0] == Nodetype.NAME:
            if desc[1] not in (HEADER, *_TIMES):
                out += _leaves(store, desc[1], path, depth + 1)
        elif desc[1][0][0] == Nodetype.BASE and desc[1][0][1][0] not in _TEXT:
            out.append(Leaf(path, (), f"{prefix}.{labels}".lstrip(".") if labels else ""))
    return out

"""Reads bags inside a process that may be killed: what topics there are, their numbers, their pictures.

Compressed chunks, SQLite pages and message definitions are foreign input, and the library that parses them raises
whatever the damage leads to; here all of it becomes ``Reject``. Numbers go back as arrays, pictures as one byte string
with their ends.

Legend: N messages of a topic, n columns of a feature.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.readers import rosbag_pictures as pictures
from unihand_data.sources.robot.readers.rosbag_types import CAMERA_INFO, PICTURES, TF, Decoder, Leaf, decoder

MAX_BLOB = 256  # a longer array of numbers is a scan, a cloud or a file, no feature
MAX_PICTURE_BYTES = 3 << 30  # of one camera of one episode
_TF_SAMPLES = 200  # messages of a tf topic that the summary looks at
_TF_NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")


def build() -> Callable[[dict[str, Any]], Any]:
    """What runs inside the worker."""
    return _serve


def _serve(request: dict[str, Any]) -> Any:
    path = request["path"]
    with _errors(path), _Bag(path, request["definitions"]) as bag:
        if request["do"] == "summary":
            return _summary(bag)
        if request["do"] == "numbers":
            return _numbers(bag, set(request["topics"]))
        return _pictures(bag, request["topic"])


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except Reject as reject:
        raise Reject(reject.reason, f"{path}: {reject.message}".replace(f"{path}: {path}", path)) from reject
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: {error.strerror or error}; fetch it again") from error
    except Exception as error:  # any type: see the module
        said = " ".join(str(error).split())[:200] or type(error).__name__
        reason, mend = Reason.UNREADABLE, "fetch it again"
        if "not indexed" in said:
            reason, mend = Reason.TRUNCATED, "it was not closed when it was recorded: `rosbag reindex` it, or drop it"
        elif any(w in said for w in ("end magic", "Truncated", "Got only", "index looks damaged", "could not be read")):
            reason = Reason.TRUNCATED
        elif any(w in said for w in ("not supported", "Unsupported", "Profile is not")):
            reason, mend = Reason.UNSUPPORTED, "convert it"
        raise Reject(reason, f"{path}: not readable as a bag ({said}); {mend}") from error


class _Bag:
    """A bag of any kind, open. ``kind`` is ros1, db3 or mcap."""

    def __init__(self, path: str, definitions: str):
        from rosbags.rosbag1 import Reader as Reader1
        from rosbags.rosbag2 import Reader as Reader2

        self.path = path
        self.ros1 = path.endswith(".bag")
        names = sorted(p.name for p in Path(path).iterdir()) if os.path.isdir(path) else [Path(path).name]
        self.kind = (
            "ros1" if self.ros1 else "mcap" if any(n.endswith((".mcap", ".mcap.zstd")) for n in names) else "db3"
        )
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        for wal in [f"{folder}/{n}-wal" for n in names if n.endswith(".db3")]:
            if os.path.exists(wal) and os.path.getsize(wal):
                text = f"{wal} holds messages that were not written into the bag; open and close it with sqlite3 once"
                raise Reject(Reason.TRUNCATED, text)
        self.reader: Any = Reader1(path) if self.ros1 else Reader2(path)
        self.definitions = definitions
        self.embedded = False

    def __enter__(self) -> _Bag:
        self.reader.open()
        self.embedded = any(c.msgdef.data for c in self.reader.connections)
        return self

    def __exit__(self, *_: object) -> None:
        if self.reader.bio if self.ros1 else self.reader.is_open:
            self.reader.close()

    def by_topic(self) -> dict[str, list[Any]]:
        out: dict[str, list[Any]] = {}
        for c in self.reader.connections:
            out.setdefault(c.topic, []).append(c)
        return dict(sorted(out.items()))

    def decoder(self, connection: Any) -> Decoder | None:
        return decoder(connection, self.ros1, self.definitions)

    def messages(self, connections: list[Any], most: int | None = None) -> Iterator[tuple[int, Any, Any]]:
        """``(bag stamp ns, connection, message)``."""
        decoders = {c.id: self.decoder(c) for c in connections}
        count = 0
        for c, stamp, data in self.reader.messages(connections=connections):
            if (read := decoders[c.id]) is None:
                continue
            yield stamp, c, read(data)
            count += 1
            if most is not None and count >= most:
                return


def _summary(bag: _Bag) -> dict[str, Any]:
    """Topics with type, count, and the features of their first message."""
    topics: dict[str, Any] = {}
    for name, connections in bag.by_topic().items():
        kind = connections[0].msgtype
        count = sum(c.msgcount for c in connections)
        entry: dict[str, Any] = {"type": kind, "count": count, "features": {}, "names": {}}
        topics[name] = entry
        if any(c.msgtype != kind for c in connections):
            raise Reject(Reason.CONTRADICTION, f"topic {name!r} has messages of two types")
        read = bag.decoder(connections[0])
        entry["known"] = read is not None
        if read is None or not count or kind in (*PICTURES, CAMERA_INFO):
            continue
        if kind in TF:
            found = {f"{name}:{e}" for _, _, m in bag.messages(connections, _TF_SAMPLES) for e, _, _ in _edges(m)}
            entry["features"] = dict.fromkeys(sorted(found), 7)
            continue
        message = next(bag.messages(connections, 1))[2]
        for leaf in read.leaves:
            width = len(leaf.read(message))
            if 0 < width <= MAX_BLOB:
                entry["features"][_feature(name, leaf)] = width
                entry["names"][_feature(name, leaf)] = _labels(leaf, message, width)
    return {
        "kind": bag.kind,
        "topics": topics,
        "start": int(bag.reader.start_time),
        "end": int(bag.reader.end_time),
        "embedded": bag.embedded,
    }


def _numbers(bag: _Bag, wanted: set[str]) -> dict[str, Any]:
    """Topic -> stamps and features of all its messages; transforms are one topic per edge; camera infos their first."""
    out: dict[str, Any] = {}
    cameras: dict[str, Any] = {}
    for topic, connections in bag.by_topic().items():
        kind = connections[0].msgtype
        if kind == CAMERA_INFO:
            for _, _, m in bag.messages(connections, 1):
                k = np.asarray(getattr(m, "K" if bag.ros1 else "k"), np.float64)
                d = np.asarray(getattr(m, "D" if bag.ros1 else "d"), np.float64)
                cameras[topic] = {"k": k, "d": d, "size": [int(m.width), int(m.height)]}
        if topic not in wanted or kind in (*PICTURES, CAMERA_INFO):
            continue
        if kind in TF:
            out |= _transforms(bag, topic, connections)
        elif (read := bag.decoder(connections[0])) is not None:
            out[topic] = _topic(bag, topic, connections, read)
    return {"topics": out, "cameras": cameras, "start": int(bag.reader.start_time), "end": int(bag.reader.end_time)}


def _topic(bag: _Bag, topic: str, connections: list[Any], read: Decoder) -> dict[str, Any]:
    series, labels = _Series(), _Labels()
    for stamp, _, m in bag.messages(connections):
        values = {}
        for leaf in read.leaves:
            x = leaf.read(m)
            if len(x) <= MAX_BLOB:
                values[_feature(topic, leaf)] = labels.ordered(leaf, m, x)
        series.add(stamp, _stamp(m.header) if read.stamped else 0, values)
    names = {_feature(topic, leaf): list(leaf.names) or labels.first.get(leaf.path, []) for leaf in read.leaves}
    return {**series.packed(names), "stamped": read.stamped}


def _transforms(bag: _Bag, topic: str, connections: list[Any]) -> dict[str, Any]:
    """One topic per edge: each transform has a stamp of its own."""
    edges: dict[str, _Series] = {}
    for stamp, _, m in bag.messages(connections):
        for edge, header, values in _edges(m):
            name = f"{topic}:{edge}"
            edges.setdefault(name, _Series()).add(stamp, header, {name: values})
    return {name: {**one.packed({name: list(_TF_NAMES)}), "stamped": True} for name, one in edges.items()}


def _pictures(bag: _Bag, topic: str) -> dict[str, Any]:
    """All pictures of a camera as JPEG or PNG, or the reason why not."""
    connections = bag.by_topic().get(topic, [])
    data, ends, bag_stamps, headers = bytearray(), list[int](), list[int](), list[int]()
    depth = False
    for stamp, c, m in bag.messages(connections):
        picture, deep = pictures.encoded(m, c.msgtype, topic)
        depth |= deep
        data += picture
        if len(data) > MAX_PICTURE_BYTES:
            raise Reject(
                Reason.UNSUPPORTED, f"{topic}: more than {MAX_PICTURE_BYTES >> 30} GiB in one episode; split it"
            )
        ends.append(len(data))
        bag_stamps.append(stamp)
        headers.append(_stamp(m.header))
    return {
        "bytes": np.frombuffer(bytes(data), np.uint8),
        "ends": np.array(ends, np.int64),
        "bag": np.array(bag_stamps, np.int64),
        "header": np.array(headers, np.int64),
        "depth": depth,
    }


class _Series:
    """Messages of one topic, collected."""

    def __init__(self) -> None:
        self.bag: list[int] = []
        self.header: list[int] = []
        self.values: dict[str, list[np.ndarray]] = {}

    def add(self, stamp: int, header: int, values: dict[str, np.ndarray]) -> None:
        self.bag.append(stamp)
        self.header.append(header)
        for feature, x in values.items():
            self.values.setdefault(feature, []).append(x)

    def packed(self, names: dict[str, list[str]]) -> dict[str, Any]:
        """``uneven`` lists features whose length changes from message to message; empty ones say nothing."""
        columns, uneven = {}, []
        for feature, rows in self.values.items():
            widths = {len(r) for r in rows}
            if widths == {0}:
                continue
            if len(widths) > 1 or len(rows) != len(self.bag):
                uneven.append(feature)
                continue
            columns[feature] = np.stack(rows)
        return {
            "bag": np.array(self.bag, np.int64),
            "header": np.array(self.header, np.int64),
            "columns": columns,
            "names": {n: v for n, v in names.items() if n in columns},
            "uneven": uneven,
        }


class _Labels:
    """Columns that messages name themselves (joint names): in the first message's order throughout."""

    def __init__(self) -> None:
        self.first: dict[str, list[str]] = {}

    def ordered(self, leaf: Leaf, message: Any, values: np.ndarray) -> np.ndarray:
        labels = _labels(leaf, message, len(values)) if leaf.labels else []
        if not labels:
            return values
        first = self.first.setdefault(leaf.path, labels)
        if labels == first:
            return values
        if sorted(labels) != sorted(first) or len(set(labels)) != len(labels):
            raise Reject(
                Reason.CONTRADICTION, f"{leaf.path} names other columns than in the first message: {labels[:4]}"
            )
        return values[[labels.index(n) for n in first]]


def _labels(leaf: Leaf, message: Any, width: int) -> list[str]:
    if leaf.names:
        return list(leaf.names)
    if not leaf.labels:
        return []
    from operator import attrgetter

    labels = [str(n)[:100] for n in attrgetter(leaf.labels)(message)]
    return labels if len(labels) == width and all(labels) else []


def _edges(message: Any) -> Iterator[tuple[str, int, np.ndarray]]:
    """``parent>child``, header stamp ns, (7,) xyz and xyzw."""
    for t in message.transforms:
        p, q = t.transform.translation, t.transform.rotation
        edge = f"{t.header.frame_id.lstrip('/')[:100]}>{t.child_frame_id.lstrip('/')[:100]}"
        yield edge, _stamp(t.header), np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])


def _stamp(header: Any) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def _feature(topic: str, leaf: Leaf) -> str:
    return f"{topic}:{leaf.path}" if leaf.path else topic

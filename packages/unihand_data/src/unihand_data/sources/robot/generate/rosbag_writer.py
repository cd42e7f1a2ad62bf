"""Writes bags as recorders do: topics with rates and delays of their own, definitions inside, a stamp of the sensor and
one of the recorder.

Legend: N samples of a topic.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from unihand_data.errors import Reason, Reject

Kind = Literal["ros1", "db3", "mcap"]
#: of the owner's public interface description; the types that its bags carry
KUAVO_MSGS = {
    "kuavo_msgs/msg/jointData": "float64[] joint_q\nfloat64[] joint_v\nfloat64[] joint_vd\nfloat64[] joint_torque\n",
    "kuavo_msgs/msg/endEffectorData": "string[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n",
    "kuavo_msgs/msg/imuData": "geometry_msgs/Vector3 gyro\ngeometry_msgs/Vector3 acc\ngeometry_msgs/Vector3 free_acc\n"
    "geometry_msgs/Quaternion quat\n",
    "kuavo_msgs/msg/sensorsData": "std_msgs/Header header\ntime sensor_time\nkuavo_msgs/jointData joint_data\n"
    "kuavo_msgs/imuData imu_data\nkuavo_msgs/endEffectorData end_effector_data\n",
    "kuavo_msgs/msg/jointCmd": "std_msgs/Header header\nfloat64[] joint_q\nfloat64[] joint_v\nfloat64[] tau\n"
    "float64[] tau_max\nfloat64[] tau_ratio\nfloat64[] joint_kp\nfloat64[] joint_kd\nint32[] control_modes\n",
    "kuavo_msgs/msg/lejuClawState": "std_msgs/Header header\nint8[] state\nkuavo_msgs/endEffectorData data\n",
    "kuavo_msgs/msg/lejuClawCommand": "std_msgs/Header header\nkuavo_msgs/endEffectorData data\n",
    "kuavo_msgs/msg/robotHandPosition": "std_msgs/Header header\nuint8[] left_hand_position\n"
    "uint8[] right_hand_position\n",
}


@dataclass
class Topic:
    """Samples of one topic: values of ``fill`` at sensor times. ``delay_s``: how much later the recorder stamps."""

    name: str
    type: str
    times: np.ndarray
    values: list[dict[str, Any]]
    delay_s: float | np.ndarray = 0.004


@dataclass
class Bag:
    """One episode. ``labels``: JSON beside the bag."""

    topics: list[Topic] = field(default_factory=list)
    labels: dict[str, Any] | None = None
    start_s: float = 1_753_147_118.0
    compression: str = ""
    edit: Callable[[list[Topic]], None] = lambda topics: None


@lru_cache(maxsize=2)
def types(ros1: bool) -> Typestore:
    """Standard types, and those of the Kuavo for ROS 1."""
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    if ros1:
        out: dict[str, Any] = {}
        for name, text in KUAVO_MSGS.items():
            out |= get_types_from_msg(text, name)
        store.register(out)
    return store


def write_bag(path: Path, kind: Kind, bag: Bag) -> None:
    """``path``: the ``.bag`` file, or the folder of a ROS 2 bag."""
    bag.edit(bag.topics)
    path.parent.mkdir(parents=True, exist_ok=True)
    store = types(kind == "ros1")
    writer: Any
    if kind == "ros1":
        writer = Writer1(path)
        if bag.compression:
            writer.set_compression(Writer1.CompressionFormat[bag.compression.upper()])
    else:
        writer = Writer2(
            path, version=8, storage_plugin=StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
        )
        if bag.compression:
            mode = CompressionMode[bag.compression.upper()]
            writer.set_compression(mode, CompressionFormat.ZSTD)
    start = round(bag.start_s * 1e9)
    with writer:
        queue = []
        for number, topic in enumerate(bag.topics):
            connection = writer.add_connection(topic.name, topic.type, typestore=store)
            delays = np.broadcast_to(topic.delay_s, topic.times.shape)
            for i, (t, values) in enumerate(zip(topic.times, topic.values)):
                stamp = start + round(float(t) * 1e9)
                data = _serialized(store, topic.type, values, stamp, i, kind)
                queue.append((stamp + round(float(delays[i]) * 1e9), number, i, connection, data))
        for stamp, _, _, connection, data in sorted(queue, key=lambda q: q[:3]):
            writer.write(connection, stamp, data)
    if bag.labels is not None:
        path.with_suffix(".json").write_text(json.dumps(bag.labels, ensure_ascii=False, indent=1), encoding="utf-8")


def _serialized(store: Typestore, name: str, values: dict[str, Any], stamp: int, number: int, kind: Kind) -> bytes:
    message = _message(store, name, values, stamp, number)
    return bytes(store.serialize_ros1(message, name) if kind == "ros1" else store.serialize_cdr(message, name))


def _message(store: Typestore, name: str, values: dict[str, Any], stamp: int, number: int) -> Any:
    """A message with the given fields; the others are zero or empty, the header carries the stamp."""
    out: dict[str, Any] = {}
    fields: Any = store.fielddefs[name][1]
    for field_name, desc in fields:
        given = values.get(field_name)
        kind = int(desc[0])
        if kind == 1:  # a number or text
            out[field_name] = given if given is not None else "" if desc[1][0] == "string" else 0
        elif kind == 2:
            inner: Any = dict(given or {})
            if desc[1] == "builtin_interfaces/msg/Time" and given is None:
                inner = {"sec": stamp // 10**9, "nanosec": stamp % 10**9}
            if field_name == "header":
                inner = {"seq": number, **inner}
            out[field_name] = _message(store, desc[1], inner, stamp, number)
        elif desc[1][0][0] == 2:
            out[field_name] = [_message(store, desc[1][0][1], v, stamp, number) for v in given or []]
        elif desc[1][0][1][0] == "string":
            out[field_name] = list(given or [])
        else:
            dtype = {"bool": "bool_", "char": "uint8", "byte": "uint8", "octet": "uint8"}.get(desc[1][0][1][0])
            size = desc[1][1] if kind == 3 else 0
            given = np.zeros(size) if given is None else given
            out[field_name] = np.ascontiguousarray(given, dtype or desc[1][0][1][0])
    return store.types[name](**out)


def damaged(path: Path, how: Literal["unindexed"]) -> None:
    """A ROS 1 bag whose recorder was killed: no index, and a header that says so."""
    if how != "unindexed":
        raise Reject(Reason.UNSUPPORTED, f"no damage is called {how!r}")
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    end = int.from_bytes(data[at : at + 8], "little")
    data[at : at + 8] = bytes(8)
    path.write_bytes(data[:end])

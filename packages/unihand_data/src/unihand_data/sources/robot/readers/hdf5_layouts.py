"""Which of the known HDF5 layouts a file is, by what it holds: its columns, cameras and length, without any meaning.

Legend: T steps of an episode.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from unihand_data.errors import Reason, Reject


@dataclass(frozen=True)
class Layout:
    """One way to lay an episode out in HDF5 (paths below the episode's group).

    Attributes:
        marks: members that say it, all of them.
        length: members of which the first that is there has T entries.
        pictures: regex of members that hold a picture per step.
        skip: regex of members that are no columns: clocks, states of a simulator, facts about cameras.
        indices: regex of members that list the steps at which the members beside them hold (never columns).
        clock: member of times, and how many of its units are a second.
    """

    name: str
    marks: tuple[str, ...]
    length: tuple[str, ...]
    pictures: str = r"(?!)"
    skip: str = r"(?!)"
    indices: str = ""
    clock: tuple[str, float] | None = None


LAYOUTS = (
    Layout(
        "robomind2",
        ("camera_observations/color_images", "puppet"),
        ("puppet/arm_right_position_align/data", "puppet/arm_left_position_align/data"),
        r"camera_observations/(color|depth)_images/.+",
        r"camera_.*|.*/(timestamp|is_intervene)|metadata.*",
    ),
    Layout(
        "robomind",
        ("observations/rgb_images", "puppet"),
        ("puppet/joint_position", "puppet/joint_position_right", "puppet/joint_position_left"),
        r"observations/(rgb|depth)_images/.+",
        "observations/.*",
    ),
    Layout(
        "agibot",
        ("state/joint", "timestamp"),
        ("timestamp",),
        skip="timestamp",
        indices="action/.+/index",
        clock=("timestamp", 1e9),
    ),
    Layout(
        "droid_raw",
        ("observation/robot_state", "action"),
        ("observation/robot_state/joint_positions",),
        skip=r"observation/(timestamp|camera_.*|controller_info|image)/.*|.*prev_controller_latency_ms",
        clock=("observation/timestamp/control/step_start", 1e3),
    ),
    Layout("act", ("observations/qpos", "action"), ("action",), r"observations/images/.+", "compress_len"),
    Layout(
        "robomimic",
        ("actions", "obs"),
        ("actions",),
        r"obs/.+_(image|rgb|depth)",
        r"states|rewards|dones|next_obs/.*|obs/object.*|obs/obj_.*|datagen_info/.*|.*_segmentation.*",
    ),
)
BY_NAME = {layout.name: layout for layout in LAYOUTS}


@dataclass(frozen=True)
class Contents:
    """What a file's listing says about one episode.

    Attributes:
        columns: member -> width, those of T entries.
        pictures: member -> shape, as the file announces it; padded: whether rows of bytes are padded to one length.
        absent: member -> entries, of those that have none, another number than T, or list steps (``indices``).
    """

    layout: Layout
    steps: int
    columns: dict[str, int]
    pictures: dict[str, tuple[int, ...]]
    padded: bool
    absent: dict[str, int]
    attrs: dict[str, dict[str, str]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The layout's name for a fingerprint; pictures packed by ALOHA's own encoder differ in channel order."""
        return f"{self.layout.name}_packed" if self.padded else self.layout.name

    @property
    def signature(self) -> tuple[Any, ...]:
        return (self.variant, tuple(sorted(self.columns.items())))


def layout_of(members: dict[str, list[Any]]) -> Layout | None:
    """The layout whose marks are all there, in the order of :data:`LAYOUTS`."""
    there = {"/".join(name.split("/")[:i]) for name in members for i in range(1, name.count("/") + 2)}
    return next((one for one in LAYOUTS if all(mark in there for mark in one.marks)), None)


def contents_of(listing: dict[str, Any], where: str, layout: Layout | None = None) -> Contents:
    """Columns, cameras and length of one episode.

    Args:
        listing: of :func:`~unihand_data.sources.isolated.hdf5_list`, from the episode's group.
        layout: what the file was recognised as; None: by what it holds.

    Raises:
        Reject: UNSUPPORTED (no known layout), MISSING_FIELD (nothing says the length), EMPTY.
    """
    members = listing["members"]
    layout = layout or layout_of(members)
    if layout is None:
        some = ", ".join(sorted(members)[:8])
        raise Reject(Reason.UNSUPPORTED, f"{where}: no HDF5 layout that is known here; it holds {some or 'nothing'}")
    said = next((name for name in layout.length if name in members and members[name][1]), None)
    if said is None:
        raise Reject(Reason.MISSING_FIELD, f"{where}: none of {', '.join(layout.length)} is in it; fetch it again")
    steps = int(members[said][1][0])
    if steps < 1:
        raise Reject(Reason.EMPTY, f"{where}: {said} has no entries")
    columns, absent, pictures, padded = {}, {}, {}, False
    for name, (kind, shape) in members.items():
        if re.fullmatch(layout.pictures, name):
            if kind in ("pixels", "bytes", "u") and shape:
                pictures[name] = tuple(int(n) for n in shape)
                padded |= kind == "pixels" and len(shape) == 2
        elif kind in "fiub" and not re.fullmatch(layout.skip, name):
            listed = layout.indices and re.fullmatch(layout.indices, name)
            if shape and int(shape[0]) == steps and math.prod(shape[1:]) > 0 and not listed:
                columns[name] = math.prod(shape[1:])
            else:
                absent[name] = int(shape[0]) if shape else 0
    return Contents(layout, steps, columns, pictures, padded, absent, listing["attrs"], listing["texts"])

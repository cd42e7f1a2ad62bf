"""One row clock for topics that each have their own: which sample of a topic belongs to which row.

Every topic is sampled at its own rate. The data-set file names the topic whose samples are the rows, or a rate, and how
the others are joined: the nearest sample or the one before, never further away than the tolerance and never made up.

Legend: T rows, N samples of a topic; stamps in ns since the epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject


class BagSettings(Settings):
    """What ``paths:`` of a bag's data-set file may say."""

    rows: str = Field(description="topic whose samples are the rows, or ``rate``: rows every 1 / rate_hz s")
    stamp: Literal["header", "bag"] = Field("header", description="stamp of the sensor, or of the recorder")
    bag_stamped: str = Field("", description="regex of topics that take the recorder's stamp all the same")
    join: Literal["nearest", "previous"] = "nearest"
    tolerance_s: float = Field(0.05, gt=0, description="a sample further from its row is not taken")
    gaps: Literal["mask", "reject"] = Field("mask", description="rows without a sample: masked and told, or the end")
    max_gap_share: float = Field(0.5, ge=0, le=1, description="more rows without a sample than that reject the episode")
    depth_unit_m: float = Field(0.001, gt=0)
    definitions: str = Field("ros2_humble", description="standard types for ROS 2 bags without embedded definitions")


@dataclass(frozen=True)
class Track:
    """Samples of one topic in the order of their stamps.

    Attributes:
        stamps: (N,) ns by the chosen stamp, strictly increasing.
        order: (N,) which message each is.
        offset_s: median of bag stamp minus header stamp; None without header.
        drift_s: how much that difference changes from the first to the last tenth.
        unordered, repeated: messages that came late, and that have a stamp again (the first is kept).
    """

    topic: str
    stamps: np.ndarray
    order: np.ndarray
    offset_s: float | None
    drift_s: float
    unordered: int
    repeated: int


def track(topic: str, bag: np.ndarray, header: np.ndarray, stamped: bool, spec: BagSettings, where: str) -> Track:
    """Raises ``Reject``: MISSING_FIELD (no header stamp), BAD_VALUE (a clock that was set back)."""
    own = spec.stamp == "header" and not (spec.bag_stamped and re.fullmatch(spec.bag_stamped, topic))
    if own and (not stamped or (header <= 0).any()):
        what = "has no header" if not stamped else f"has {int((header <= 0).sum())} messages without a header stamp"
        raise Reject(
            Reason.MISSING_FIELD,
            f"{where}: {topic} {what}; name it in paths: {{bag_stamped: ...}}, or say stamp: bag",
        )
    stamps = header if own else bag
    back = np.maximum.accumulate(stamps) - stamps
    if len(back) and back.max() > spec.tolerance_s * 1e9:
        at = int(np.argmax(back))
        raise Reject(
            Reason.BAD_VALUE,
            f"{where}: the clock of {topic} goes back by {back[at] / 1e9:.3f} s at message {at}; split the bag there",
        )
    order = np.argsort(stamps, kind="stable")
    keep = np.concatenate([[True], np.diff(stamps[order]) > 0]) if len(order) else np.zeros(0, bool)
    offset, drift = None, 0.0
    if stamped and len(header) and (header > 0).all():
        late = (bag - header) / 1e9
        tenth = max(1, len(late) // 10)
        offset, drift = float(np.median(late)), float(np.median(late[-tenth:]) - np.median(late[:tenth]))
    return Track(topic, stamps[order][keep], order[keep], offset, drift, int((back > 0).sum()), int((~keep).sum()))


def row_clock(
    tracks: dict[str, Track], needed: set[str], spec: BagSettings, rate: float | None, where: str
) -> np.ndarray:
    """(T,) ns, strictly increasing.

    Raises:
        Reject: MISSING_FIELD (no such topic, no rate), EMPTY (the needed topics share no time)."""
    if spec.rows != "rate":
        if spec.rows not in tracks or not len(tracks[spec.rows].stamps):
            raise Reject(Reason.MISSING_FIELD, f"{where}: no messages of {spec.rows}, whose samples are the rows")
        return tracks[spec.rows].stamps
    if rate is None:
        raise Reject(Reason.MISSING_FIELD, f"{where}: rows: rate needs rate_hz")
    own = [tracks[t] for t in sorted(needed) if t in tracks and len(tracks[t].stamps)]
    first, last = (max(t.stamps[0] for t in own), min(t.stamps[-1] for t in own)) if own else (1, 0)
    if last < first:
        raise Reject(Reason.EMPTY, f"{where}: its topics share no time; is their stamp the same clock?")
    return first + np.round(np.arange(int((last - first) / 1e9 * rate) + 1) * 1e9 / rate).astype(np.int64)


def join(one: Track, rows: np.ndarray, spec: BagSettings) -> tuple[np.ndarray, np.ndarray]:
    """(T,) message of each row, -1 for none, and (T,) s from row to sample (NaN for none)."""
    if not len(one.stamps):
        return np.full(len(rows), -1), np.full(len(rows), np.nan)
    after = np.searchsorted(one.stamps, rows, side="right")
    before = np.clip(after - 1, 0, len(one.stamps) - 1)
    pick = before
    if spec.join == "nearest":
        later = np.clip(after, 0, len(one.stamps) - 1)
        pick = np.where(np.abs(one.stamps[later] - rows) < np.abs(one.stamps[before] - rows), later, before)
    away = (one.stamps[pick] - rows) / 1e9
    taken = np.abs(away) <= spec.tolerance_s
    if spec.join == "previous":
        taken &= away <= 0
    return np.where(taken, one.order[pick], -1), np.where(taken, away, np.nan)


def runaway(one: Track, spec: BagSettings, where: str) -> Reject | None:
    """A loss of level ``row`` where the sensor's clock drifts against the recorder's by more than the tolerance: what
    was joined at the start and at the end of the episode is not equally old."""
    if spec.stamp == "bag" or len(one.stamps) < 20 or abs(one.drift_s) <= spec.tolerance_s:
        return None
    return Reject(
        Reason.BAD_VALUE,
        f"{where}: the clock of {one.topic} moves by {one.drift_s:.3f} s against the recorder's over the bag; say "
        "stamp: bag if it is not kept in step",
        level="row",
    )


def figures(one: Track, away: np.ndarray) -> dict[str, Any]:
    """What is kept in provenance about a topic."""
    gaps = np.diff(one.stamps) / 1e9
    out: dict[str, Any] = {"samples": len(one.stamps)}
    if len(gaps):
        out |= {"rate_hz": round(float(1 / np.median(gaps)), 3), "longest_gap_s": round(float(gaps.max()), 4)}
    if np.isfinite(away).any():
        out["furthest_s"] = round(float(np.nanmax(np.abs(away))), 4)
    out |= {"rows_without": int(np.isnan(away).sum())} if np.isnan(away).any() else {}
    out |= {"unordered": one.unordered} if one.unordered else {}
    out |= {"repeated": one.repeated} if one.repeated else {}
    if one.offset_s is not None:
        out |= {"bag_minus_header_s": round(one.offset_s, 4), "drift_s": round(one.drift_s, 4)}
    return out

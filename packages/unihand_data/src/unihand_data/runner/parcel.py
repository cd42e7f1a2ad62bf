"""What the runner moves between stages: one parcel per unit of work, so that everything a unit became stays together.

All outputs and losses of a parcel reach the sink in one row and enter one staging part. That makes "done" a single
fact per id, whatever the fan-out of the stages was, and lets a unit that left nothing behind count as done too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from unihand_data.errors import Level, Reason, Reject
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import RejectRow, figures_json

#: Verdicts about good data. Every other reason means that something was wrong.
FILTER_REASONS = frozenset(
    {
        Reason.DUPLICATE,
        Reason.TOO_SHORT,
        Reason.NO_HANDS,
        Reason.LOW_CONFIDENCE,
        Reason.HAND_GAPS,
        Reason.JITTER,
        Reason.DISCONTINUITY,
        Reason.DBA_ERROR,
        Reason.OUT_OF_RANGE_DEPTH,
        Reason.STATIC_HANDS,
        Reason.CAMERA_LOST,
        Reason.NOT_MANIPULATION,
        Reason.NO_TEXT,
        Reason.IMAGE_TOO_SMALL,
        Reason.IMAGE_ASPECT,
        Reason.REPETITION,
        Reason.OVERLENGTH,
        Reason.DUPLICATE_NEAR,
        Reason.BENCHMARK_LEAK,
        Reason.NSFW_FLAG,
        Reason.LICENCE_EXCLUDED,
        Reason.LOW_RATING,
    }
)
FAILURE_REASONS = frozenset({Reason.INTERNAL, Reason.CRASHED, Reason.TIMEOUT})
DEFERRED_REASONS = frozenset({Reason.BUDGET, Reason.ENVIRONMENT})

WRITTEN, FILTERED, REJECTED, FAILED, DEFERRED, SPLIT = (
    "written",
    "filtered",
    "rejected",
    "failed",
    "deferred",
    "split",
)
#: A unit in one of these is not looked at again. ``deferred`` is for a later run, ``split`` depends on its children.
DONE = (WRITTEN, FILTERED, REJECTED, FAILED)


def status_of(reason: Reason) -> str:
    """Ledger status of a unit that ended with this reason."""
    if reason in FILTER_REASONS:
        return FILTERED
    if reason in FAILURE_REASONS:
        return FAILED
    return DEFERRED if reason in DEFERRED_REASONS else REJECTED


@dataclass
class Parcel:
    """One unit of work on its way.

    Attributes:
        key: ledger id: the listed unit's, or after the splitting stage its own.
        parent: the listed unit's id (equal to ``key`` before the split).
        item, uri: of the input item; ``uri`` follows the unit where it has a better one.
        units: what it became so far.
        losses: reject rows met on the way.
        measures: figures the stages noted on the units, summed, failed attempts included.
        packed: the unit, encoded, when it was restored from the ledger and not opened yet.
        done_children: ids the splitting stage need not hand on (they are in the ledger already).
        children: filled by the splitting stage on the record of the split: (id, encoded unit) of every child.
        ended: reason that ended it, or None.
    """

    key: str
    parent: str
    item: str
    uri: str
    units: list[Unit] = field(default_factory=list)
    losses: list[RejectRow] = field(default_factory=list)
    measures: Counter[str] = field(default_factory=Counter)
    packed: bytes = b""
    done_children: list[str] = field(default_factory=list)
    children: list[tuple[str, bytes]] | None = None
    ended: Reason | None = None
    attempt: int = 1

    @property
    def is_child(self) -> bool:
        return self.key != self.parent

    @property
    def open(self) -> bool:
        """Whether stages still apply to it."""
        return self.ended is None and self.children is None

    @property
    def status(self) -> str:
        if self.children is not None:
            return SPLIT
        return WRITTEN if self.ended is None else status_of(self.ended)

    @property
    def level(self) -> Level:
        return "clip" if self.is_child else "item"

    def lose(self, reject: Reject, stage: str, attempt: int, uri: str = "", item: str = "") -> None:
        """Note a loss; it does not end the parcel by itself. ``item``: where a unit is an input item of its own (a row
        of a block of rows), which the parcel's is not."""
        row = RejectRow(
            item=item or self.item,
            level="clip" if self.is_child and reject.level == "item" else reject.level,
            stage=stage,
            reason=str(reject.reason),
            message=reject.message,
            source_uri=uri or self.uri,
            attempt=attempt,
            frames=reject.frames,
            frames_with_hand=reject.frames_with_hand,
            duration_s=reject.duration_s,
            figures=figures_json(reject.figures),
        )
        self.losses.append(row)
        self.attempt = max(self.attempt, attempt)

    def end(self, reject: Reject, stage: str, attempt: int, uri: str = "") -> None:
        """Note a loss that leaves nothing of this parcel."""
        self.lose(reject, stage, attempt, uri)
        self.units = []
        self.packed = b""
        self.ended = reject.reason

    @staticmethod
    def of(unit: Unit, done_children: list[str] | None = None) -> Parcel:
        """The parcel of a listed unit."""
        return Parcel(unit.id, unit.id, unit.item, unit.uri, [unit], done_children=done_children or [])


def loss_dicts(parcel: Parcel) -> list[dict]:
    """The parcel's reject rows as plain values, for the ledger."""
    return [asdict(row) for row in parcel.losses]

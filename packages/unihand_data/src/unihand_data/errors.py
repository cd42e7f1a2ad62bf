"""The one vocabulary for everything that does not make it into a shard.

A stage raises :class:`Reject`; the runner turns it into a row of ``rejects/*.parquet``. The reason is an enum so that a
report can count it; the message names the file, the field and the mend.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Level = Literal["item", "clip", "row"]


class Reason(StrEnum):
    """Why an item, clip or row is not in the shard. Extend here, never with free text."""

    # input files
    UNREADABLE = "unreadable"  # cannot be opened or parsed at all
    TRUNCATED = "truncated"  # fewer bytes, rows or frames than the file itself announces
    CORRUPT = "corrupt"  # decodes, but with damaged content
    MISSING_FILE = "missing_file"  # a file the source refers to is not there
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"  # a field has another type or shape than the format says
    BAD_VALUE = "bad_value"  # NaN, infinite, out of range, not a rotation ...
    UNSAFE_CONTENT = "unsafe_content"  # a pickle outside the allow-list, an archive that leaves its folder, a bomb
    UNSUPPORTED = "unsupported"  # a format, codec or version this reader does not know
    TIMEOUT = "timeout"  # the decoder or an external stage did not answer in time
    CRASHED = "crashed"  # the decoder or an external stage died
    DUPLICATE = "duplicate"  # same content as another item of this run
    TOO_SHORT = "too_short"
    EMPTY = "empty"
    UNKNOWN_DATASET = "unknown_dataset"
    CONTRADICTION = "contradiction"  # the data contradicts what its dataset YAML declares
    # hands, camera and motion
    NO_HANDS = "no_hands"
    LOW_CONFIDENCE = "low_confidence"
    HAND_GAPS = "hand_gaps"
    JITTER = "jitter"
    DISCONTINUITY = "discontinuity"
    DBA_ERROR = "dba_error"
    OUT_OF_RANGE_DEPTH = "out_of_range_depth"
    STATIC_HANDS = "static_hands"
    CAMERA_LOST = "camera_lost"
    # language and relevance
    NOT_MANIPULATION = "not_manipulation"
    BLOCKED = "blocked"  # the language backend refused; says nothing about the clip
    NO_TEXT = "no_text"
    BAD_ANSWER = "bad_answer"  # the language backend answered, but not in the asked form
    BUDGET = "budget"  # left for a later run: the budget ended
    # conversations: rows of vision-text corpora (what the reasons above do not say)
    ROLE_UNKNOWN = "role_unknown"
    ROLE_ORDER = "role_order"  # not question, answer, question, answer
    TURN_EMPTY_TEXT = "turn_empty_text"
    PLACEHOLDER_MISSING = "placeholder_missing"  # fewer <image> or <video> than pictures
    PLACEHOLDER_EXTRA = "placeholder_extra"
    PLACEHOLDER_IN_ANSWER = "placeholder_in_answer"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_ASPECT = "image_aspect"
    IMAGE_BOMB = "image_bomb"  # announces more pixels than any honest picture
    VIDEO_FRAMES_SHORT = "video_frames_short"
    COORD_OUT_OF_RANGE = "coord_out_of_range"
    BOX_INVERTED = "box_inverted"
    BOX_DEGENERATE = "box_degenerate"
    COORD_FRAME_AMBIGUOUS = "coord_frame_ambiguous"  # unit or frame of the numbers cannot be told
    POINT_COUNT_MISMATCH = "point_count_mismatch"
    REPETITION = "repetition"
    OVERLENGTH = "overlength"
    ENCODING = "encoding"  # control characters, mojibake, a chat template's own tokens inside the text
    DUPLICATE_NEAR = "duplicate_near"
    BENCHMARK_LEAK = "benchmark_leak"  # a picture of a held-out benchmark
    SPLIT_CONFLICT = "split_conflict"  # its pictures are in training rows and in held-out rows that are stored
    NSFW_FLAG = "nsfw_flag"
    LICENCE_EXCLUDED = "licence_excluded"
    LOW_RATING = "low_rating"
    # the job itself
    INTERNAL = "internal"  # a bug of ours; the message carries the type and the place
    ENVIRONMENT = "environment"  # a fault of the machine (full disk, missing weights); left for a later run


class Reject(Exception):
    """Raised by a stage: this item, clip or row cannot go on.

    Args:
        reason: one of :class:`Reason`.
        message: one sentence that names the file, the field and the mend.
        level: what is lost: a whole input ``item``, a ``clip`` of it, or a ``row``.
        frames, frames_with_hand, duration_s: what the loss covers, where known (they feed the report's ratios).
        figures: what a filter measured, by name, so that its threshold can be chosen anew from what it dropped.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        level: Level = "item",
        frames: int = 0,
        frames_with_hand: int = 0,
        duration_s: float = 0.0,
        figures: dict[str, float] | None = None,
    ):
        super().__init__(f"{reason}: {message}")
        self.reason = Reason(reason)
        self.message = message
        self.level: Level = level
        self.frames = frames
        self.frames_with_hand = frames_with_hand
        self.duration_s = duration_s
        self.figures = figures or {}

    def __reduce__(self):  # exceptions with keyword arguments do not pickle by themselves; Ray workers need it
        covers = (self.frames, self.frames_with_hand, self.duration_s, self.figures)
        return (_rebuild, (self.reason, self.message, self.level, *covers))


def _rebuild(reason, message, level, frames, frames_with_hand, duration_s, figures) -> Reject:
    return Reject(
        reason, message, level=level, frames=frames, frames_with_hand=frames_with_hand, duration_s=duration_s,
        figures=figures,
    )  # fmt: skip


class EnvironmentFault(Exception):
    """Something every unit needs is not there or does not work on this machine. The runner stops the job with this
    sentence and leaves its units for a later run."""


class DatasetRefused(Exception):
    """A whole data set cannot be taken. The command prints the one sentence and exits with code 2."""

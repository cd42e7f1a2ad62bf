"""What was found and what is taken, summed per kind of row: the numbers behind the recipe's tables and figures.

Hours, episodes and frames are unmirrored (docs/contract.md, section 4); samples and tokens count twins too, since they
are trained on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unihand_data.recipe.rows import Kind, Rows
from unihand_data.recipe.settings import TOKENS_PER_EQUIVALENT_HOUR
from unihand_data.shards.tokens import VISUAL_TOKENS


@dataclass
class Tally:
    """Sums over some rows. ``images`` are those a model sees, over all samples; ``frames`` of ``taken`` robot rows are
    the start frames that are kept. ``said`` and ``shown`` count each sentence and each picture of a start frame once
    (unmirrored), as the paper does when it compares text with vision."""

    episodes: int = 0
    conversations: int = 0
    frames: int = 0
    hours: float = 0.0
    samples: int = 0
    text: int = 0
    supervised: int = 0
    images: int = 0
    said: int = 0
    shown: int = 0

    def add(self, other: Tally) -> Tally:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def visual(self, resolution: int) -> int:
        return self.images * VISUAL_TOKENS[resolution]

    def tokens(self, resolution: int) -> int:
        return self.text + self.supervised + self.visual(resolution)

    def to_json(self, resolution: int, *, equivalent: bool = False) -> dict[str, Any]:
        """``text_to_visual`` is the n of 1 : n; None where there is no text or no image. ``trained`` is over all tokens
        of the samples, which repeat a sentence at every start frame; ``stored`` counts sentences and pictures once."""
        words = self.text + self.supervised
        out: dict[str, Any] = {
            "episodes": self.episodes,
            "conversations": self.conversations,
            "frames": self.frames,
            "hours": round(self.hours, 6),
            "samples": self.samples,
            "tokens": {
                "text": self.text,
                "supervised": self.supervised,
                **{f"visual_{side}": self.visual(side) for side in VISUAL_TOKENS},
            },
            "text_to_visual": {
                f"{how}_{side}": round(pictures * VISUAL_TOKENS[side] / text, 3) if text and pictures else None
                for how, text, pictures in (("trained", words, self.images), ("stored", self.said, self.shown))
                for side in VISUAL_TOKENS
            },
        }
        if equivalent:
            out["equivalent_hours"] = round(self.tokens(resolution) / TOKENS_PER_EQUIVALENT_HOUR, 6)
        return out


@dataclass
class Account:
    """``found`` and ``taken`` per kind, ``taken_by_task`` per (kind, task), ``left_out`` rows and samples per reason,
    ``seen`` of each embodiment: views and end effectors, read from a few of its rows."""

    found: dict[Kind, Tally] = field(default_factory=dict)
    taken: dict[Kind, Tally] = field(default_factory=dict)
    by_task: dict[tuple[Kind, str], Tally] = field(default_factory=dict)
    rows_left_out: Counter[str] = field(default_factory=Counter)
    samples_left_out: Counter[str] = field(default_factory=Counter)
    licences: dict[str, float] = field(default_factory=dict)
    views: dict[str, list[str]] = field(default_factory=dict)
    effectors: dict[str, list[str]] = field(default_factory=dict)

    def count_rows(self, rows: Rows, kept_frames: np.ndarray) -> None:
        """Episodes, conversations, frames, hours. ``kept_frames`` (R,) are start frames taken."""
        text = rows.column("domain") == "vision_text"
        n = len(rows.kinds)
        for target, which, frames in (
            (self.found, ~rows.twin, rows.frames),
            (self.taken, ~rows.twin & (rows.left_out == ""), kept_frames),
        ):
            kind = rows.kind[which]
            count = np.bincount(kind, minlength=n)
            total = np.bincount(kind, weights=frames[which], minlength=n)
            hours = np.bincount(kind, weights=rows.hours[which], minlength=n)
            talk = np.bincount(kind, weights=text[which], minlength=n)
            said = np.bincount(kind, weights=rows.said[which], minlength=n)
            for i, k in enumerate(rows.kinds):
                target[k] = Tally(
                    int(count[i] - talk[i]), int(talk[i]), round(total[i]), float(hours[i]), said=round(said[i])
                )
        self.rows_left_out.update(str(r) for r in rows.left_out[rows.left_out != ""])
        taken = (rows.left_out == "") & ~rows.twin
        for licence in sorted(set(rows.licence[taken])):
            self.licences[str(licence)] = float(rows.hours[taken & (rows.licence == licence)].sum())

    def count_samples(self, kind: Kind, task: str, found: Tally, taken: Tally) -> None:
        self.found[kind].add(found)
        self.taken[kind].add(taken)
        self.by_task.setdefault((kind, task), Tally()).add(taken)

    def total(self, domain: str | None = None, *, found: bool = False) -> Tally:
        out = Tally()
        for kind, tally in (self.found if found else self.taken).items():
            if domain in (None, kind.domain):
                out.add(tally)
        return out

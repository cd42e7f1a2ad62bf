"""The training index of a human row: motion generation, continuation and description (paper 5.2.2, contract section 3).

Every start frame is listed; chunk length, stride and history are training settings, so a sample only says how many
frames it has before and after it.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.ids import make_id
from unihand_data.language.templates import pick_template, render, without_placeholders
from unihand_data.shards.rows import EpisodeRow, SampleRow
from unihand_data.shards.tokens import TokenCounter


class TaskSettings(Settings):
    """Which start frames make a sample; seconds, so that they mean the same at every frame rate."""

    min_future_s: float = Field(default=0.0, ge=0, le=10)  # frames after the start that a chunk needs; 0: every start
    min_history_s: float = Field(default=0.3, ge=0, le=10)  # frames before the start that a continuation needs
    description: bool = True
    continuation: bool = True


class _Counts:
    """Tokens of the questions and answers of a row as they are rendered for training; equal ones are counted once."""

    def __init__(self, row: EpisodeRow, counter: TokenCounter):
        self.row, self.counter = row, counter
        self._known: dict[tuple[str, int], tuple[int, int]] = {}

    def of(self, template_id: str, ref: int) -> tuple[int, int]:
        """(given, predicted) words; placeholders of pictures, states and actions are no text (contract, section 4)."""
        if (template_id, ref) not in self._known:
            text, hand = (self.row.language[ref].text, self.row.language[ref].hand) if ref >= 0 else ("", "both")
            question, answer = (without_placeholders(part) for part in render(template_id, text, hand=hand))
            self._known[template_id, ref] = self.counter.count(question), self.counter.count(answer)
        return self._known[template_id, ref]


def _language_at(row: EpisodeRow, t: float, key: str) -> int:
    """Index of a sentence that covers ``t``; which of several is decided by the hash of the sample, -1 when none."""
    covering = [i for i, text in enumerate(row.language) if text.t0 <= t < text.t1 and text.level != "task"]
    covering = covering or [i for i, text in enumerate(row.language) if text.level == "task"]
    if not covering:
        return -1
    return covering[int(key[:8], 16) % len(covering)]


def build_samples(row: EpisodeRow, settings: TaskSettings, counter: TokenCounter) -> list[SampleRow]:
    """All samples of a row, in the order of their start frames.

    A start frame counts when it has an active action step; ids depend on the episode, task and start alone (for a
    description on its span), never on the text. ``counter`` counts the rendered words of question and answer.
    """
    samples: list[SampleRow] = []
    counts = _Counts(row, counter)
    frames = row.frames
    views = max(1, len(row.cameras))
    future = max(1, round(settings.min_future_s * row.rate_hz))
    history = max(1, round(settings.min_history_s * row.rate_hz))
    active = np.asarray(row.action_mask.any(axis=1))
    known_state = np.asarray(row.state_mask.any(axis=1))

    def add(task: str, key: tuple, start: int, length: int, past: int, ref: int) -> None:
        sample_id = make_id("sample", row.episode_id, task, *key)
        if ref < -1:  # decided by hash of the id
            ref = _language_at(row, float(row.timestamps[start]), sample_id)
        text = row.language[ref].text if ref >= 0 else ""
        template = pick_template(task, sample_id, has_text=bool(text))
        given, predicted = counts.of(template.template_id, ref)
        samples.append(
            SampleRow(
                sample_id=sample_id,
                task=task,
                episode_id=row.episode_id,
                start_frame=start,
                frames_available=length,
                history_available=past,
                language_ref=ref,
                question_template_id=template.template_id,
                tokens_text=given,
                tokens_answer=predicted,
                images_per_time=views,
                split=row.split,
            )
        )

    hashed = -2
    for start in np.flatnonzero(active & known_state).tolist():
        length = frames - start
        if length < future:
            continue
        add("motion_generation", (start,), start, length, start, hashed)
        if settings.continuation and start >= history and active[start - history : start].all():
            add("motion_continuation", (start,), start, length, start, hashed)
    if settings.description:
        spans: dict[tuple, int] = {}
        for index, text in enumerate(row.language):
            i0 = int(np.searchsorted(row.timestamps, text.t0 - 1e-9))
            i1 = int(np.searchsorted(row.timestamps, text.t1 - 1e-9))
            if i1 - i0 < 2 or not active[i0 : i1 - 1].any() or not text.text:
                continue
            span = (text.level, round(text.t0 * 1e6), round(text.t1 * 1e6), text.paraphrase_id)
            spans[span] = spans.get(span, -1) + 1  # two narrations of one span are two descriptions
            key = (*span, spans[span])
            add("motion_description", key, i0, i1 - i0, i0, index)
    return samples

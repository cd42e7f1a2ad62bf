"""Windows of shards and conversations to examples, in question-answer form (paper 5.2.1 and 5.2.2).

The question is pictures, words, state and, for a continuation, the clean steps before; the answer is action steps
(and motion tokens of the same steps) or text. In questions that are answered by actions the state and the clean
steps come last, after the words: they and the answer are then one suffix of the action expert, and what comes before
can be cached. A description keeps the order of its template, because its answer is text.

With ``compat.bare_actions`` a sample has the released order: pictures, the state between two text tokens, words, action
steps without tokens around them. The release closes it with <|im_end|>, which nothing sees and nothing scores; it is
left out.

Whatever is random about a sample (crop, noise, flow time, delay, masked tokens) is drawn here, from its own generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from beingh05_model.network.config import FlowConfig, ReleaseCompat
from beingh05_model.network.flow import times_from_beta
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.chunks import Chunk
from beingh05_model.sequence.delay import NO_DELAY, DelayDistribution
from beingh05_model.sequence.segments import Action, Example, Motion, Segment, State, Text, Vision, context_steps

SYSTEM = "You are an embodied assistant: you look, you answer in words or in motion."
#: placeholders of pictures, state and actions in rendered questions
PLACEHOLDERS = ("<vision>", "<state>", "<action>")

#: quantises a chunk to motion tokens, negative at places without one; None for chunks that have none at all
Quantiser = Callable[[Chunk], np.ndarray | None]


@dataclass
class Serialiser:
    """Builds examples with one tokenizer and one network's settings.

    Attributes:
        tokens_per_view: Tokens a picture becomes.
        quantise: Motion tokens of a target chunk (eq. 8), for training with the hybrid objective.
        one_pair: One pair of picture tokens around all views: how released checkpoints are run, not trained.
    """

    tokenizer: tk.TextTokenizer
    flow: FlowConfig
    tokens_per_view: int
    compat: ReleaseCompat = field(default_factory=ReleaseCompat)
    quantise: Quantiser | None = None
    system: str = SYSTEM
    one_pair: bool = False

    def __post_init__(self) -> None:
        missing = [name for name in tk.STATE if name not in self.tokenizer.ids]
        if self.compat.bare_actions and missing:
            raise ValueError(
                f"the released order of a sample (compat.bare_actions) needs {' and '.join(missing)}, which the "
                "tokenizer lacks; is it Being-H0.5's? InternVL3.5's gets them by add(STATE)"
            )

    def control(self, *names: str) -> list[int]:
        return [self.tokenizer.ids[name] for name in names]

    def _turn(self, role: str, text: str = "") -> list[int]:
        """``<|im_start|>role newline text``; each piece is encoded alone."""
        return self.control(tk.BEGIN) + self.tokenizer.encode(f"{role}\n{text}")

    def _close(self) -> list[int]:
        return self.control(tk.END) + self.tokenizer.encode("\n")

    def opening(self) -> Text:
        """System turn and the start of the user's."""
        return Text(self._turn("system", self.system) + self._close() + self._turn("user"))

    def header(self) -> Text:
        """End of the user's turn and the start of the assistant's."""
        return Text(self._close() + self._turn("assistant"))

    def vision(self, pictures: Sequence[Tensor]) -> list[Segment]:
        """Each picture between its two tokens; the release acts with one pair around all of them (``one_pair``)."""
        start, end = Text(self.control(tk.IMAGE_START)), Text(self.control(tk.IMAGE_END))
        seen: list[Segment] = [Vision(picture, self.tokens_per_view) for picture in pictures]
        if self.one_pair and seen:
            return [start, *seen, end]
        return [part for one in seen for part in (start, one, end)]

    def state(self, values: np.ndarray, slots: np.ndarray) -> list[Segment]:
        """The state; as released between two tokens of the text, else the action expert has its own (collate)."""
        if not self.compat.bare_actions:
            return [State(values, slots)]
        return [Text(self.control(tk.STATE_START)), State(values, slots), Text(self.control(tk.STATE_END))]

    def words(self, question: str) -> str:
        """The words of a rendered question."""
        for name in PLACEHOLDERS:
            question = question.replace(name, "")
        return question.strip()

    def acting(
        self,
        pictures: Sequence[Tensor],
        question: str,
        state: tuple[np.ndarray, np.ndarray],
        target: Action | Sequence[Action],
        history: Chunk | None = None,
        motion: Motion | None = None,
        name: str = "",
        embodiment: str = "",
    ) -> Example:
        """Motion generation and continuation: pictures, words, state (values, slots), clean steps; then the answer.

        Several targets are the same steps at other flow times with other noise; no one sees another (eq. 9)."""
        targets = [target] if isinstance(target, Action) else list(target)
        words = Text(self.tokenizer.encode(self.words(question)), instruction=True)
        given: list[Segment] = [self.opening(), *self.vision(pictures)]
        if self.compat.bare_actions:  # as released: the state stands before the words
            segments = [*given, *self.state(*state), words, self.header()]
        else:
            segments = [*given, words, self.header(), *self.state(*state)]
        if history is not None:
            segments.append(context_steps(history.values, targets[0].slots, history.known))
        segments += targets
        if motion is not None:
            segments.append(motion)
        return Example(segments, name, embodiment)

    def describing(
        self,
        pictures: Sequence[Tensor],
        question: str,
        answer: str,
        state: tuple[np.ndarray, np.ndarray],
        trace: Chunk,
        slots: np.ndarray,
        name: str = "",
        embodiment: str = "",
    ) -> Example:
        """Motion description: pictures at both ends, state and clean steps, words; then a sentence."""
        steps = context_steps(trace.values, slots, trace.known)
        segments: list[Segment] = [self.opening(), *self.vision(pictures), *self.state(*state), steps]
        return Example([*segments, *self._answer(question, answer)], name, embodiment)

    def talking(self, turns: Sequence[tuple[str, str]], pictures: Sequence[Tensor], name: str = "") -> Example:
        """Vision and text: turns (``user`` or ``assistant``, text) with ``<image>`` where a picture stands.

        Raises:
            ValueError: other roles, or not as many places as pictures.
        """
        segments: list[Segment] = [Text(self._turn("system", self.system) + self._close())]
        left = list(pictures)
        for role, text in turns:
            if role == "assistant":
                segments += [*self._said(text), Text(self.tokenizer.encode("\n"))]
                continue
            if role != "user":
                raise ValueError(f"a turn is of user or assistant, not {role!r}")
            segments.append(Text(self._turn("user")))
            pieces = text.split("<image>")
            for number, piece in enumerate(pieces):
                if piece.strip():
                    segments.append(Text(self.tokenizer.encode(piece.strip("\n"))))
                if number + 1 < len(pieces):
                    if not left:
                        raise ValueError(f"{name}: more <image> places than pictures")
                    segments += self.vision([left.pop(0)])
            segments.append(Text(self._close()))
        if left:
            raise ValueError(f"{name}: {len(left)} pictures have no <image> place")
        return Example(segments, name)

    def _said(self, text: str) -> list[Segment]:
        """The assistant's header and its answer. The release supervises the words of the header too."""
        said = self.tokenizer.encode(text) + self.control(tk.END)
        begin, *role = self._turn("assistant")
        if self.compat.role_header_supervised:
            return [Text([begin]), Text(role + said, answer=True)]
        return [Text([begin, *role]), Text(said, answer=True)]

    def _answer(self, question: str, answer: str) -> list[Segment]:
        ask = self.tokenizer.encode(self.words(question)) + self._close()
        return [Text(ask, instruction=True), *self._said(answer)]

    # ---- what is random about a target ------------------------------------------------------------------------------

    def target(
        self,
        chunk: Chunk,
        slots: np.ndarray,
        random: np.random.Generator,
        delay: DelayDistribution = NO_DELAY,
    ) -> Action:
        """Action steps to be predicted: noise, flow time and committed prefix drawn (eqs. 7, 17, 18).

        Args:
            slots: [S] bool, slots of the embodiment. Steps without any known cell are past the end of the episode.
        """
        steps = len(chunk.values)
        committed = delay.draw(random)
        s = random.beta(self.flow.beta_alpha, self.flow.beta_beta)
        time = np.full(steps, times_from_beta(s, self.compat.time_below_zero), np.float32)
        time[:committed] = 1.0
        noise = random.standard_normal(chunk.values.shape).astype(np.float32)
        cells = chunk.mask & slots
        if self.compat.no_time_mask:
            cells = np.repeat(slots[None], steps, 0)
        cells = cells.copy()
        cells[:committed] = False
        return Action(chunk.values, slots, cells, chunk.known, True, noise, time)

    def unknown(self, steps: int, slots: np.ndarray) -> Action:
        """The place of a chunk at inference."""
        values = np.zeros((steps, len(slots)), np.float32)
        none = np.zeros(values.shape, bool)
        return Action(values, slots, none, np.ones(steps, bool), True, values, np.zeros(steps, np.float32))

    def motion(self, chunk: Chunk, random: np.random.Generator) -> Motion | None:
        """Quantised steps of the same chunk, some of them masked."""
        ids = None if self.quantise is None else self.quantise(chunk)
        if ids is None:
            return None
        places = np.flatnonzero(ids >= 0)
        return Motion(ids[places], mask_tokens(len(places), random), places)


def mask_tokens(count: int, random: np.random.Generator) -> np.ndarray:
    """Which of ``count`` tokens are masked: MaskGIT's ratio cos(pi u / 2), u uniform (mean 2 / pi), at least one."""
    ratio = math.cos(math.pi / 2 * random.uniform())
    masked = np.zeros(count, bool)
    masked[random.permutation(count)[: max(1, round(ratio * count))]] = True
    return masked

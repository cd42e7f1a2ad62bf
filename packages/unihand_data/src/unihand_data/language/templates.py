"""Question templates of the three motion tasks, in the paper's query-answer form [S_Q; S_A] (5.2.1, 5.2.2).

A sample names a template id; the question is rendered when the sample is loaded, from the template and the sentence its
``language_ref`` points to, so neither ids nor shards change when a sentence does. Modality segments are written as the
placeholders ``<vision>``, ``<state>`` and ``<action>``; the model's serialiser replaces them by its own tokens. What is
given and what is predicted follows docs/contract.md, section 3.

A published template never changes its words: a new wording gets a new id, an old one stays here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

MotionTask = Literal["motion_generation", "motion_continuation", "motion_description"]
TEMPLATES_VERSION = "qa-v1"
_PLACEHOLDER = re.compile("<(?:vision|state|action)>")


@dataclass(frozen=True)
class Template:
    """The question may hold ``{instruction}`` (the sentence) and ``{hands}``; answer: ``<action>`` or ``{text}``."""

    template_id: str
    task: MotionTask
    question: str
    answer: str

    @property
    def needs_text(self) -> bool:
        """Whether the question cannot be asked without a sentence."""
        return "{instruction}" in self.question


_GENERATION = (
    "<vision><state>Instruction: {instruction} What motion of the {hands} carries it out?",
    "<vision><state>You see the scene and know the present pose of the {hands}. {instruction} Give the next motion.",
    "<vision><state>The task is: {instruction} Predict how the {hands} will move from here.",
    "<vision><state>How should the {hands} move to do the following? {instruction}",
    "<vision><state>{instruction} Which actions come next?",
    "<vision><state>Starting from this view, produce the motion for: {instruction}",
    "<vision><state>Goal: {instruction} Continue from the current state with a fitting motion of the {hands}.",
    "<vision><state>Plan the coming movement of the {hands} so that this is done: {instruction}",
)
_CONTINUATION = (
    "<vision><state><action>This is how the {hands} moved so far. Task: {instruction} How does the motion go on?",
    "<vision><state><action>{instruction} The motion up to now is given. Continue it.",
    "<vision><state><action>Given the recent motion and the task '{instruction}', predict the motion that follows.",
    "<vision><state><action>While doing this: {instruction} the {hands} moved as shown. What comes next?",
    "<vision><state><action>Extend the motion of the {hands} consistently with: {instruction}",
    "<vision><state><action>The task in progress is: {instruction} Complete the movement from where it stopped.",
)
_CONTINUATION_BARE = (
    "<vision><state><action>This is how the {hands} moved so far. How does the motion go on?",
    "<vision><state><action>Continue the motion shown.",
    "<vision><state><action>Given the recent views and motion, predict what the {hands} do next.",
)
_GENERATION_BARE = (
    "<vision><state>What will the {hands} do next?",
    "<vision><state>Predict the coming motion of the {hands} from this view and state.",
)
_DESCRIPTION = (
    "<vision><state><action>Describe what the {hands} do in this motion.",
    "<vision><state><action>What is being done here? Answer with a short instruction.",
    "<vision><state><action>Put the motion between these two views into words.",
    "<vision><state><action>Which instruction would lead to this motion?",
    "<vision><state><action>Summarise the action carried out by the {hands}.",
    "<vision><state><action>State in one sentence what happens during this motion.",
    "<vision><state><action>Given the views and the motion of the {hands}, say what was done.",
)


def _build() -> dict[str, Template]:
    families: tuple[tuple[MotionTask, str, tuple[str, ...], str], ...] = (
        ("motion_generation", "gen", _GENERATION, "<action>"),
        ("motion_generation", "genbare", _GENERATION_BARE, "<action>"),
        ("motion_continuation", "con", _CONTINUATION, "<action>"),
        ("motion_continuation", "conbare", _CONTINUATION_BARE, "<action>"),
        ("motion_description", "des", _DESCRIPTION, "{text}"),
    )
    out = {}
    for task, short, questions, answer in families:
        for number, question in enumerate(questions):
            template = Template(f"{TEMPLATES_VERSION}/{short}-{number:02d}", task, question, answer)
            out[template.template_id] = template
    return out


TEMPLATES: dict[str, Template] = _build()


def templates_of(task: str, *, has_text: bool = True) -> list[Template]:
    """The templates of a task in a fixed order; without a sentence only those that need none."""
    return [t for t in TEMPLATES.values() if t.task == task and t.needs_text == (has_text and _can_ask(task))]


def _can_ask(task: str) -> bool:
    return task != "motion_description"


def pick_template(task: str, key: str, *, has_text: bool = True) -> Template:
    """The template of a sample, by hash of its id. Raises ``KeyError`` for a task without templates."""
    choices = templates_of(task, has_text=has_text)
    if not choices:
        raise KeyError(f"no question templates for task {task!r}")
    digest = hashlib.blake2b(f"{TEMPLATES_VERSION}:{task}:{key}".encode(), digest_size=8).digest()
    return choices[int.from_bytes(digest, "little") % len(choices)]


def render(template_id: str, text: str = "", *, hand: str = "both") -> tuple[str, str]:
    """(question, answer) of a sample.

    Args:
        template_id: as stored in the sample. Unknown ids raise ``KeyError`` with the id.
        text: the sentence of ``language_ref``; empty only where the template needs none.
        hand: ``left`` | ``right`` | ``both`` | ``none`` of that sentence.
    """
    if template_id not in TEMPLATES:
        raise KeyError(f"unknown question template {template_id!r}; this release knows {TEMPLATES_VERSION}")
    template = TEMPLATES[template_id]
    if not text and (template.needs_text or "{text}" in template.answer):
        raise ValueError(f"template {template_id} needs a sentence and the sample has none (language_ref is -1)")
    values = {
        "instruction": _sentence(text),
        "text": text,
        "hands": {"left": "left hand", "right": "right hand"}.get(hand, "hands"),
    }
    return _fill(template.question, values), _fill(template.answer, values)


def without_placeholders(rendered: str) -> str:
    """The words of a question or an answer: what is counted as text. Pictures, states and actions are not."""
    return _PLACEHOLDER.sub("", rendered)


def _sentence(text: str) -> str:
    """The sentence with a full stop, so that a template can go on after it."""
    text = text.strip()
    return text if not text or text[-1] in ".!?。！？" else f"{text}."


def _fill(pattern: str, values: dict[str, str]) -> str:
    # not str.format: the sentence itself may hold braces
    for key in values:
        pattern = pattern.replace("{" + key + "}", f"\0{key}\0")
    for key, value in values.items():
        pattern = pattern.replace(f"\0{key}\0", value)
    return pattern

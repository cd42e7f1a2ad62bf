"""Language augmentation (paper 3.1, stage 1): several wordings of each sentence, each checked to keep its meaning.

With a model, unique strings are sent in groups and every proposal must pass :func:`paraphrase_check.refused`. Without
one, a template grammar frames the sentence and exchanges verbs that mean the same; its rows say
``model="template_grammar"`` and the id of the frame. Cost grows with the vocabulary, not with the samples: a string is
paraphrased once per cache. Run it after the filters and before mirroring.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from unihand_data.ids import make_id
from unihand_data.language.answer_schema import BadAnswer, parse_json_object
from unihand_data.language.backends import Query, RawAnswer
from unihand_data.language.cache import AnswerCache
from unihand_data.language.config import LanguageSettings, ParaphraseSettings
from unihand_data.language.grammar import GRAMMAR_VERSION, variants
from unihand_data.language.paraphrase_check import normalised, refused
from unihand_data.shards.rows import LanguageRow

log = logging.getLogger(__name__)

TEMPLATE_GRAMMAR = "template_grammar"
GROUP = 20  # strings per call

INSTRUCTIONS = """\
You reword instructions that describe what a person's hands do. For every numbered sentence give different wordings that
mean exactly the same. Keep every object's name, every hand (left, right, both), every direction, clockwise or
counterclockwise, every number and unit. Change word order, verbs and phrasing. Add nothing. Return one JSON object that
maps each number to a list of wordings.
"""


@dataclass(frozen=True)
class Paraphrase:
    """``template_id``: the grammar's frame or the prompt's version. ``prompt_hash``: what a model was asked with."""

    text: str
    model: str
    template_id: str
    prompt_hash: str = ""


class Asker(Protocol):
    """What a model paraphraser needs: :meth:`unihand_data.language.annotator.Annotator.ask`."""

    def ask(self, query: Query, call_key: str, duration_s: float = 0.0) -> tuple[RawAnswer, float | None]: ...


def asks_for_paraphrases(settings: LanguageSettings) -> bool:
    """Whether wordings come from the model: what ``paraphrase.use_model`` means with these settings."""
    wanted = settings.paraphrase.enabled and settings.paraphrase.use_model and settings.paraphrase.per_text > 0
    return wanted and settings.backend != "none"


class Paraphraser:
    """Wordings by unique string.

    Args:
        asker: the annotator whose client, budget and account are used; None for the template grammar alone.

    ``refused_count`` counts proposals by the protected class they broke; of a clip the sum is the row's figure
    ``paraphrases_refused``.
    """

    def __init__(self, settings: LanguageSettings, asker: Asker | None = None, cache: AnswerCache | None = None):
        self._settings: ParaphraseSettings = settings.paraphrase
        self._model = settings.model
        self._asker = asker if asks_for_paraphrases(settings) else None
        self._cache = cache if cache is not None else AnswerCache(settings.cache_dir)
        self.refused_count: Counter[str] = Counter()

    def paraphrase(self, texts: Iterable[str]) -> dict[str, list[Paraphrase]]:
        """Up to ``per_text`` wordings for each distinct text; fewer, also none, where no more pass the check."""
        unique = sorted(set(texts))
        from_model = self._from_model(unique) if self._asker is not None else {}
        out = {}
        for text in unique:
            found = from_model.get(text, [])
            if len(found) < self._settings.per_text:
                found = [*found, *self._from_grammar(text, [text, *(p.text for p in found)])]
            out[text] = found[: self._settings.per_text]
        return out

    def _from_grammar(self, text: str, taken: Sequence[str]) -> list[Paraphrase]:
        seen = {normalised(t) for t in taken}
        out = []
        for template_id, wording in variants(text):
            if normalised(wording) in seen or not self._allowed(text, wording):
                continue
            seen.add(normalised(wording))
            out.append(Paraphrase(wording, TEMPLATE_GRAMMAR, template_id))
        return out

    def _from_model(self, texts: Sequence[str]) -> dict[str, list[Paraphrase]]:
        prompt = hashlib.blake2b(INSTRUCTIONS.encode(), digest_size=8).hexdigest()
        keys = {t: make_id("paraphrase", self._settings.prompt_version, prompt, self._model, self._settings.per_text, t)
                for t in texts}  # fmt: skip
        proposals: dict[str, list[str] | None] = {t: self._cache.get(keys[t]) for t in texts}
        missing = [t for t in texts if proposals[t] is None]
        for start in range(0, len(missing), GROUP):
            group = missing[start : start + GROUP]
            answers = self._ask(group)
            if answers is None:
                # Nothing is cached, so the next clip that says the same asks again. This one gets the grammar's
                # wordings for good, and its rows say so: what is written is not asked about by a later run.
                continue
            for text, answered in zip(group, answers):
                self._cache.put(keys[text], answered)
                proposals[text] = answered
        out = {}
        for text, wordings in proposals.items():
            seen, kept = {normalised(text)}, []
            for proposal in wordings or []:
                wording = proposal.strip()
                if normalised(wording) in seen or not self._allowed(text, wording):
                    continue
                seen.add(normalised(wording))
                kept.append(Paraphrase(wording, self._model, self._settings.prompt_version, prompt))
            out[text] = kept
        return out

    def _ask(self, group: Sequence[str]) -> list[list[str]] | None:
        """The model's proposals for a group, or None when the call brought nothing."""
        assert self._asker is not None
        count = self._settings.per_text + 1  # one to spare for the check
        lines = [f"Give {count} wordings of each:", *(f"{i}: {json.dumps(t)}" for i, t in enumerate(group))]
        schema = {
            "type": "object",
            "properties": {str(i): {"type": "array", "items": {"type": "string"}} for i in range(len(group))},
            "required": [str(i) for i in range(len(group))],
        }
        raw, _ = self._asker.ask(Query(INSTRUCTIONS, "\n".join(lines), schema), make_id("paraphrase", *group))
        if raw.status != "ok":
            log.warning("no paraphrases for %d sentences: %s %s", len(group), raw.status, raw.message)
            return None
        try:
            answer = parse_json_object(raw.text)
        except BadAnswer as error:
            log.warning("no paraphrases for %d sentences: %s", len(group), error)
            return None
        values = [answer.get(str(i)) for i in range(len(group))]
        return [[w for w in v if isinstance(w, str)] if isinstance(v, list) else [] for v in values]

    def _allowed(self, text: str, wording: str) -> bool:
        why = refused(text, wording)
        if why is not None:
            name = why.split(":")[0]
            self.refused_count[name] += 1
            log.debug("paraphrase of %r refused (%s): %r", text, why, wording)
        return why is None


def augment_rows(rows: Sequence[LanguageRow], wordings: dict[str, list[Paraphrase]]) -> list[LanguageRow]:
    """The rows and, after each, its paraphrases (``paraphrase_id`` 1, 2 ...; the original keeps 0).

    A paraphrase keeps level, span, hand and ``text_source`` of its original; ``model`` and ``template_id`` say who
    worded it.
    """
    out: list[LanguageRow] = []
    for row in rows:
        out.append(row)
        if row.paraphrase_id:
            continue
        for number, p in enumerate(wordings.get(row.text, []), start=1):
            template = p.template_id if not p.prompt_hash else f"{p.template_id}/{p.prompt_hash}"
            out.append(replace(row, text=p.text, model=p.model, template_id=template, paraphrase_id=number))
    return out


__all__ = ["GRAMMAR_VERSION", "TEMPLATE_GRAMMAR", "Paraphrase", "Paraphraser", "augment_rows"]

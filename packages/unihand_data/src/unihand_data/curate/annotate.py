"""Words of a clip from the best source there is: a language model, the data set's narrations, else the measured
motion; then paraphrases (3.1, step 1).

A model's answer carries its verdict on manipulation too (3.1, step 3). A clip that the model refused to look at is
``blocked``, never "irrelevant": it keeps its narrations or its motion description.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.curate.clip_state import ClipState
from unihand_data.curate.human_rows import wrist_motion
from unihand_data.errors import Reason, Reject
from unihand_data.language import motion_rules
from unihand_data.language.annotator import Annotator, build_backend
from unihand_data.language.backends import ClipAnswer, ClipRequest, Usage, answer_reject, answer_rows
from unihand_data.language.cache import AnswerCache
from unihand_data.language.config import LanguageSettings, RelevanceSettings
from unihand_data.language.motion_trust import trust_of
from unihand_data.language.narrations import narration_rows
from unihand_data.language.paraphrase import Paraphraser, augment_rows
from unihand_data.language.prompts import clip_request
from unihand_data.language.relevance import combine, screen_motion
from unihand_data.shards.rows import LanguageRow

log = logging.getLogger(__name__)


@dataclass
class Words:
    """Rows of a clip and what a model thought of it. ``reject`` ends the clip."""

    rows: list[LanguageRow]
    figures: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    reject: Reject | None = None


class ClipAnnotator:
    """Built once per worker. ``work_dir`` holds the answer cache and the account of what was spent, shared by all."""

    def __init__(self, language: LanguageSettings, relevance: RelevanceSettings, work_dir: str):
        folder = Path(work_dir)
        if language.cache_dir is None:
            language = language.model_copy(update={"cache_dir": str(folder / "answers")})
        self.language, self.relevance = language, relevance
        self.backend = build_backend(language, work_dir=folder)
        asker = self.backend if isinstance(self.backend, Annotator) else None  # a batch answers clips alone
        self.paraphraser = (
            Paraphraser(language, asker, AnswerCache(language.cache_dir)) if language.paraphrase.enabled else None
        )

    def annotate(self, clip: ClipState) -> Words:
        words = self._ask(clip) if self.backend is not None else Words([])
        if words.reject is not None:
            return words
        if not words.rows and clip.narrations:
            said = narration_rows(clip.narrations, clip.duration_s)
            words.rows = said.rows
            for row in words.rows:
                if row.level == "task":  # a label of the data set, nobody's running commentary
                    row.text_source = "dataset"
            words.figures |= {"narrations_of_others": float(said.other_person), "narrations_empty": float(said.empty)}
        if not words.rows and self.language.motion_rules:
            # the describer says only what the track supports, which may be nothing: such a clip has motion and no words
            words.rows = self._describe(clip)
        elif not words.rows:
            words.reject = Reject(Reason.NO_TEXT, "no narration, no model, and language.motion_rules is off")
            return words
        words.figures["sentences"] = float(len(words.rows))
        if self.paraphraser is not None:
            before = self.paraphraser.refused_count.total()
            words.rows = augment_rows(words.rows, self.paraphraser.paraphrase(sorted({r.text for r in words.rows})))
            words.figures["paraphrases"] = len(words.rows) - words.figures["sentences"]
            words.figures["paraphrases_refused"] = float(self.paraphraser.refused_count.total() - before)
        return words

    def _ask(self, clip: ClipState) -> Words:
        """The model's rows and verdict. A refusal or an unreadable answer leaves the words to the other sources; an
        ended budget, a server that is down and a key or model it does not know leave the whole clip to a later run."""
        assert self.backend is not None
        assert clip.media is not None
        request = request_of(clip, self.language)
        answer = self.backend.annotate([request])[0]
        words = Words([], provenance={"language_status": answer.status, "language_model": answer.model_version})
        reject = answer_reject(answer)
        if reject is not None and (reject.reason == Reason.BUDGET or answer.transient or _not_about_the_clip(answer)):
            words.reject = Reject(Reason.BUDGET, reject.message)
            return words
        assert clip.hands is not None
        times = np.asarray(clip.clip.pts, float) - clip.clip.t0
        verdict = combine(screen_motion(clip.hands, clip.camera, times, self.relevance), answer, self.relevance)
        words.figures["relevance_model_score"] = verdict.score
        if answer.status == "ok":
            words.provenance["has_readable_text"] = bool(answer.has_readable_text)
        if self.relevance.enabled and not verdict.is_manipulation:
            words.reject = verdict.reject()
            return words
        words.rows = answer_rows(answer, request, self.backend.name)
        return words

    def _describe(self, clip: ClipState) -> list[LanguageRow]:
        times = np.asarray(clip.clip.pts, float) - clip.clip.t0
        assert clip.hands is not None
        tracks = {"left": clip.hands.left, "right": clip.hands.right}
        motions = {
            side: motion_rules.HandMotion(
                pos, valid, closure=closure, rot=rot, trust=trust_of(tracks[side], clip.figures)
            )
            for side, (pos, rot, valid, closure) in wrist_motion(clip).items()
        }
        return motion_rules.describe_clip(
            times,
            motions["left"],
            motions["right"],
            key=clip.clip_id,
            settings=self.language.motion,
            max_chunk_s=self.language.max_chunk_s,
        )

    def take_spent(self) -> tuple[Usage, float]:
        """Tokens and money of the calls since this was last asked; a batch is paid for outside of a job."""
        return self.backend.take_spent() if isinstance(self.backend, Annotator) else (Usage(), 0.0)

    def close(self) -> None:
        if self.backend is not None:
            self.backend.close()


def _not_about_the_clip(answer: ClipAnswer) -> bool:
    """A wrong key, a missing right or an unknown model: words of another source would hide it on every clip."""
    refused = answer.message.startswith(("HTTP 401", "HTTP 403", "HTTP 404")) or (
        answer.message.startswith("HTTP 400") and "api key" in answer.message.lower()  # how Gemini says 401
    )
    return answer.status == "error" and refused


def request_of(clip: ClipState, settings: LanguageSettings) -> ClipRequest:
    """What a model is asked about a clip: its encoded video, or still pictures of it (``language.send``)."""
    if clip.media is None:
        raise ValueError("a model is asked after the clip is encoded")
    request = clip_request(
        clip.clip_id,
        clip.media.media_id,
        clip.duration_s,
        video=clip.media.path,
        context=[n.text for n in clip.narrations],
    )
    if settings.send == "frames":
        times, pictures = _still_pictures(clip, settings.fps)
        request = replace(request, video=None, frames=pictures, frame_times=times)
    return request


def _still_pictures(clip: ClipState, fps: float) -> tuple[tuple[float, ...], tuple[bytes, ...]]:
    """JPEG pictures of the encoded clip at ``fps``, at its own time stamps."""
    import cv2

    from unihand_data.video.decode import open_reader

    assert clip.media is not None
    pts = np.asarray(clip.clip.pts, float) - clip.clip.t0
    wanted = np.unique([int(np.argmin(np.abs(pts - t))) for t in np.arange(0.0, pts[-1] + 1e-9, 1.0 / fps)])
    reader = open_reader(clip.media.path)
    try:
        pictures = [
            cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes() for _, _, picture in reader.frames(pts[wanted])
        ]
    finally:
        reader.close()
    return tuple(pts[wanted].tolist()), tuple(pictures)

"""The stages of ``pipelines/human_video.py``: plain callables on :class:`Unit`, no Ray, no decoded frame between them.

    open and split -> hands -> quality -> camera -> screen -> encode -> annotate -> rows

The paper lists language augmentation first (3.1); all four filters work per clip, so their order changes the cost
and not the result. What the hands alone decide comes before the camera's motion is sought, geometry before a language
model sees a clip; words are paraphrased for kept clips only, mirroring is last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unihand_data.curate.annotate import Words
from unihand_data.curate.clip_state import ClipState
from unihand_data.curate.hand_models import one_hand_model
from unihand_data.curate.human_rows import human_episode
from unihand_data.curate.mirror_row import mirror_episode, unmirrored_sentences
from unihand_data.curate.motion_quality import JUDGED_FIGURES, camera_verdict, clip_figures, verdict
from unihand_data.curate.tasks import build_samples
from unihand_data.errors import Reason, Reject
from unihand_data.jobs.deferred import Deferred
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.human_split import HumanStage
from unihand_data.jobs.human_split import OpenAndSplit as OpenAndSplit  # the pages name all stages through this module
from unihand_data.jobs.human_versions import record
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.jobs.model_files import check_worker
from unihand_data.jobs.tokenizer import open_counter
from unihand_data.language.relevance import screen_motion
from unihand_data.runner import paths
from unihand_data.runner.parcel import FILTER_REASONS
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import EpisodeRow, StagedRows
from unihand_data.values.estimator import HandEstimator, HandResult


def _clip_reject(clip: ClipState, reason: Reason, message: str, figures: Mapping[str, float] | None = None) -> Reject:
    """Of a clip that a filter dropped the row keeps the figures that limits are held against: the clip's, unless
    ``figures`` are given."""
    measured = clip.figures if figures is None else figures
    return Reject(
        reason,
        f"{clip.origin.uri}#t={clip.clip.t0:.3f},{clip.clip.t1:.3f}: {message}",
        level="clip",
        frames=clip.frames,
        frames_with_hand=clip.frames_with_hand,
        duration_s=clip.duration_s,
        figures={n: measured[n] for n in JUDGED_FIGURES if n in measured} if reason in FILTER_REASONS else None,
    )


class ReconstructHands(HumanStage):
    """Wrist pose, theta and keypoints per frame and hand (paper: MANO by HaWoR; here the estimator is a setting)."""

    def __init__(self, settings: HumanVideoSettings, work_dir: str, joined: JoinedVideos):
        super().__init__(settings)
        check_worker(settings)
        self.joined = joined
        self.estimator = _hand_estimator(settings)
        self.deferred = Deferred(work_dir) if settings.language.backend != "none" else None

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        if self.deferred is not None and (kept := self.deferred.load(clip.clip_id)) is not None:
            unit.body = kept  # it is encoded already; the stages up to the annotation let it pass
            if clip.joined is not None:
                self.joined.release(clip.clip.path, clip.clip_id)
            return [unit]
        own = clip.annotated if self.settings.prefer_annotated and clip.own_hands else None
        with self.joined.of(clip, reads=own is None):
            clip.hands, left_out = one_hand_model(own or self._estimated(clip))
            if clip.frames_with_hand == 0:
                raise _clip_reject(
                    clip, Reason.NO_HANDS, "no hand was seen in any frame", {"seen_ratio": 0.0, "visible_ratio": 0.0}
                )
        if left_out:
            unit.rejects.append(Reject(Reason.CONTRADICTION, f"{unit.uri}: {left_out}", level="row"))
        record(clip.provenance, "hands", clip.hands.right.estimator)
        return [unit]

    def _estimated(self, clip: ClipState) -> HandResult:
        hands = self.estimator.estimate(clip.clip)
        if clip.annotated is not None and clip.annotated.camera is not None:
            hands.camera = clip.annotated.camera  # measured by the data set's own rig
        return hands

    def close(self) -> None:
        self.estimator.close()


def _hand_estimator(settings: HumanVideoSettings) -> HandEstimator:
    if settings.hand_estimator == "hawor":
        from unihand_data.hands.hawor import HaworEstimator

        hawor = settings.hawor
        if hawor.read.mano_dir is None:
            hawor = hawor.model_copy(update={"read": hawor.read.model_copy(update={"mano_dir": settings.mano_dir})})
        return HaworEstimator(hawor)
    from unihand_data.hands.mediapipe_estimator import MediaPipeEstimator

    return MediaPipeEstimator(settings.hands)


class _Judge(HumanStage):
    """A stage that looks at the numbers of a clip that is not written yet, and may reject it."""

    def __init__(self, settings: HumanVideoSettings, joined: JoinedVideos):
        super().__init__(settings)
        self.joined = joined

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        if clip.media is None:
            with self.joined.of(clip, reads=False):
                self.judge(clip)
        return [unit]

    def judge(self, clip: ClipState) -> None:
        """Raises ``Reject`` for a clip that is over a limit."""
        raise NotImplementedError


class JudgeHands(_Judge):
    """The limits of motion quality (3.1, step 2) that need no camera motion, before the seconds it costs to find it."""

    def judge(self, clip: ClipState) -> None:
        assert clip.hands is not None
        given = clip.hands.camera  # of the data set or of the hand estimator
        figures = clip_figures(clip.hands, given, clip.clip.pts - clip.clip.t0, self.settings.motion)
        reasons = verdict(figures, self.settings.motion, camera_known=given is not None)
        if reasons:
            if given is None:
                del figures["travel"]  # in the camera frame, which is not what its limit is about
            raise _clip_reject(clip, reasons[0][0], "; ".join(text for _, text in reasons), figures)


class EstimateCamera(HumanStage):
    """Camera-to-world poses: the data set's, the hand estimator's, or the CPU default with hands masked out."""

    def __init__(self, settings: HumanVideoSettings, joined: JoinedVideos):
        super().__init__(settings)
        self.joined = joined
        from unihand_data.geometry.camera_motion import build_camera_estimator

        self.estimator = build_camera_estimator(settings.camera)

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        if clip.media is not None:
            return [unit]
        assert clip.hands is not None
        with self.joined.of(clip, reads=clip.hands.camera is None):
            clip.camera = clip.hands.camera or self.estimator.estimate(clip.clip, clip.hands)
        record(clip.provenance, "camera", clip.camera.method)
        return [unit]

    def close(self) -> None:
        self.estimator.close()


class ScreenClip(_Judge):
    """The rest of the motion-quality filter, which needs the camera, then the CPU's answer to 'is this manipulation at
    all' (3.1, steps 2 and 3)."""

    def judge(self, clip: ClipState) -> None:
        assert clip.hands is not None
        times = clip.clip.pts - clip.clip.t0
        clip.figures = clip_figures(clip.hands, clip.camera, times, self.settings.motion)
        reasons = verdict(clip.figures, self.settings.motion)
        if reasons:
            raise _clip_reject(clip, reasons[0][0], "; ".join(text for _, text in reasons))
        if why := camera_verdict(clip.figures, self.settings.motion):
            clip.camera = None
            clip.figures["camera_refused"] = 1.0
            clip.provenance["camera"] = f"none: {why}"  # ``stages.camera`` still says who looked
        if self.settings.relevance.enabled:
            relevance = screen_motion(clip.hands, clip.camera, times, self.settings.relevance)
            clip.figures.update({k: float(v) for k, v in relevance.figures.items()})
            if (reject := relevance.reject()) is not None:
                raise _clip_reject(clip, reject.reason, reject.message)


class EncodeClip(HumanStage):
    """The short-GOP file the shard will store; its bytes enter the media table at the commit. ``media_dir`` is a
    folder or URL that the committer reaches too."""

    def __init__(self, settings: HumanVideoSettings, media_dir: str, joined: JoinedVideos):
        super().__init__(settings)
        self.joined = joined
        from unihand_data.video.worker import VideoWorker

        self.video = VideoWorker(settings.video.worker)
        self.folder = media_dir

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        if clip.media is not None:
            return [unit]
        path = paths.join(self.folder, f"{clip.clip_id}.mp4")
        with self.joined.of(clip, last=True):
            clip.media = self.video.encode(clip.clip, path, self.settings.video.encode, licence=clip.origin.licence)
        record(clip.provenance, "video")
        return [unit]

    def close(self) -> None:
        self.video.close()


class AnnotateClip(HumanStage):
    """Dual-level words (per second, per chunk) and a language model's verdict on relevance (3.1, steps 1 and 3)."""

    def __init__(self, settings: HumanVideoSettings, work_dir: str):
        super().__init__(settings)
        from unihand_data.curate.annotate import ClipAnnotator

        self.annotator = ClipAnnotator(settings.language, settings.relevance, work_dir)
        self.deferred = Deferred(work_dir) if settings.language.backend != "none" else None
        # of clips that were encoded into a bucket
        self.copies = (
            paths.LocalCopies(str(Path(work_dir) / "fetched")) if settings.language.backend != "none" else None
        )

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        try:
            words = self._words(clip)
        finally:
            unit.measures |= self._spent()
        if words.reject is not None:
            if self.deferred is not None and words.reject.reason == Reason.BUDGET:
                self.deferred.save(clip)
            measured = clip.figures | words.figures
            raise _clip_reject(clip, words.reject.reason, words.reject.message, measured)
        if self.deferred is not None:
            self.deferred.drop(clip.clip_id)
        clip.language = words.rows
        if not words.rows:
            why = f"{unit.uri}: kept without words: its hands are too doubtful for any sentence (language.motion)"
            unit.rejects.append(Reject(Reason.NO_TEXT, why, level="row"))
        clip.figures.update(words.figures)
        clip.provenance.update(words.provenance)
        return [unit]

    def _spent(self) -> dict[str, float]:
        """What the calls for this clip took, as figures of the runner; cached input is no part of ``tokens_input``."""
        usage, money = self.annotator.take_spent()
        language = self.settings.language
        tokens = {
            "input": usage.input - usage.cached_input,
            "cached_input": usage.cached_input,
            "output": usage.output,
            "thinking": usage.thinking,
        }
        spent = {f"tokens_{kind}": float(number) for kind, number in tokens.items() if number}
        if money and language.prices.currency == "USD":
            spent[f"cost_usd_{language.backend}"] = money
        return spent

    def _words(self, clip: ClipState) -> Words:
        stored = clip.media
        if self.copies is None or stored is None:
            return self.annotator.annotate(clip)
        with self.copies.local(stored.path) as path:
            clip.media = replace(stored, path=path)
            try:
                return self.annotator.annotate(clip)
            finally:
                clip.media = stored

    def close(self) -> None:
        self.annotator.close()


class BuildRows(HumanStage):
    """Episode row, mirror twin (3.1, step 4) and the samples of the three task families."""

    def __init__(self, settings: HumanVideoSettings):
        super().__init__(settings)
        self.counter = open_counter(settings.tokens)

    def __call__(self, unit: Unit) -> list[Unit]:
        clip: ClipState = unit.body
        assert clip.media is not None
        record(clip.provenance, "curate")
        row = human_episode(clip, self.settings.motion)
        if not row.action_mask.any():
            raise _clip_reject(clip, Reason.EMPTY, "no step has two neighbouring seen poses, so there is no action")
        episodes: list[EpisodeRow] = [row]
        if self.settings.mirror:
            found = unmirrored_sentences(row)
            row.quality["sentences_not_mirrored"] = float(len(found))
            if not found:
                episodes.append(mirror_episode(row))
            else:
                text, flags = found[0]
                why = f"no mirror twin: {text!r} may hold a side word that is not exchanged ({', '.join(flags)})"
                unit.rejects.append(Reject(Reason.UNSUPPORTED, f"{unit.uri}: {why}", level="row"))
        samples = [
            sample for episode in episodes for sample in build_samples(episode, self.settings.tasks, self.counter)
        ]
        unit.body = StagedRows(episodes, [clip.media], samples)
        return [unit]

"""The first stage of ``pipelines/human_video.py``: recordings become clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unihand_data.config import content_hash
from unihand_data.curate.clip_state import ClipState, Origin
from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.human_versions import WORDS, code_version, record
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.jobs.model_files import check_worker
from unihand_data.runner.stage import Unit
from unihand_data.shards.schema import SCHEMA_VERSION
from unihand_data.sources.recording import HumanSource
from unihand_data.values.clip import ClipRef
from unihand_data.values.estimator import HandResult
from unihand_data.values.recording import Narration, Recording


class HumanStage:
    """Base of the stages of this job."""

    def __init__(self, settings: HumanVideoSettings):
        self.settings = settings

    def close(self) -> None:
        """Nothing to let go of by default."""


class OpenAndSplit(HumanStage):
    """Recording -> clips: one decoding pass finds damage and shot cuts, then clips of at most ten seconds are planned
    on narration bounds. A fisheye camera gets the pinhole it will be rectified to."""

    def __init__(self, settings: HumanVideoSettings, source: Callable[[], HumanSource], joined: JoinedVideos):
        super().__init__(settings)
        from unihand_data.video.worker import VideoWorker

        self.source, self.joined = source(), joined
        check_worker(settings, self.source.spec)
        self.video = VideoWorker(settings.video.worker)
        self.version = content_hash(settings)

    def __call__(self, unit: Unit) -> list[Unit]:
        recording = self.source.open(unit.body)
        if recording.video is None:
            raise Reject(
                Reason.MISSING_FILE,
                f"{unit.uri}: the annotation's video is not here; lay it there or name its folder (--set videos=...)",
            )
        if not recording.extra.get("joined"):
            return self._clips(unit, recording)
        self.joined.shrink(keep=recording.video)
        made = recording.video
        try:
            with self.joined.video(made, recording.item, unit.id) as recording.video:
                clips = self._clips(unit, recording)
            self.joined.mark(made, [clip.id for clip in clips])
        finally:
            self.joined.release(made, unit.id)
        for clip in clips:
            clip.body.joined = recording.item
        return clips

    def _clips(self, unit: Unit, recording: Recording) -> list[Unit]:
        from unihand_data.video.segment import plan_clips

        assert recording.video is not None
        video = self.settings.video
        scan = self.video.scan(recording.video, video.scan)
        plan = plan_clips(
            scan.info.pts, scan.cuts, recording.narrations, scan.damaged, video.segment, name=recording.item.uri
        )
        losses = [*recording.extra.get("rejects", []), *scan.losses(), *plan.losses]
        clips = [self._unit(unit, recording, scan.clip(i0, i1), scan.info.fps) for i0, i1 in plan]
        if not clips:
            why = losses[0] if losses else Reject(Reason.TOO_SHORT, f"{unit.uri}: nothing is long enough for a clip")
            raise Reject(why.reason, why.message, frames=scan.info.frames, duration_s=scan.info.duration_s)
        clips[0].rejects = [*unit.rejects, *losses]  # they travel with the first clip, so that they are written once
        return clips

    def _unit(self, unit: Unit, recording: Recording, ref: ClipRef, fps: float) -> Unit:
        from unihand_data.hands.mediapipe_estimator import view_camera
        from unihand_data.video.undistort import rectified_intrinsics

        ref.intrinsics = recording.intrinsics or view_camera(ref, _assumed_hfov_deg(self.settings))
        if (ref.intrinsics.width, ref.intrinsics.height) != (ref.width, ref.height):
            raise Reject(
                Reason.CONTRADICTION,
                f"{unit.uri}: intrinsics are for {ref.intrinsics.width}x{ref.intrinsics.height}, the picture is "
                f"{ref.width}x{ref.height}",
            )
        if ref.intrinsics.model != "none":
            ref.undistort_to = rectified_intrinsics(ref.intrinsics, hfov_deg=self.settings.video.rectified_hfov_deg)
        # the same video with a corrected annotation is other content
        annotation = [recording.extra["annotation_id"]] if "annotation_id" in recording.extra else []
        span = (round(ref.t0 * 1e6), round(ref.t1 * 1e6))
        clip_id = make_id("clip", recording.content_id, *span, self.version, *annotation)
        annotated = _annotated(recording, ref, self.settings.mano_dir)
        clip = ClipState(
            clip_id=clip_id,
            origin=Origin(
                recording_id=recording.recording_id,
                content_id=recording.content_id,
                dataset=recording.item.dataset,
                uri=recording.item.uri,
                setting=recording.setting,
                origin=recording.origin,
                licence=recording.licence,
                shareable=recording.shareable,
                suite=recording.suite,
                task_id=recording.task_id,
                split_group=f"{recording.item.dataset}:{recording.split_group}" if recording.split_group else "",
            ),
            clip=ref,
            fps=fps,
            narrations=_narrations_on_clip(recording.narrations, ref.t0, ref.t1 + 1.0 / fps),
            annotated=annotated,
            own_hands=_own_hands(recording, annotated),
            provenance={
                "item": unit.item,
                "schema": SCHEMA_VERSION,
                "code": code_version(),
                "stages": dict(WORDS),
                "config": self.version,
                "models": self.settings.model_files,
                "t0": ref.t0,
                "t1": ref.t1,
                "intrinsics": ref.intrinsics.source,
            },
        )
        record(clip.provenance, "video")
        return Unit(clip_id, unit.item, f"{recording.item.uri}#t={ref.t0:.3f},{ref.t1:.3f}", clip)

    def close(self) -> None:
        self.video.close()


def _assumed_hfov_deg(settings: HumanVideoSettings) -> float:
    """Of the estimator in use, where the source brings no intrinsics."""
    estimator = settings.hawor if settings.hand_estimator == "hawor" else settings.hands
    return estimator.assumed_hfov_deg


def _narrations_on_clip(narrations: list[Narration], t0: float, t1: float) -> list[Narration]:
    """Narrations that touch [t0, t1), cut to it and shifted to the clip's clock."""
    out = []
    for n in narrations:
        a, b = max(n.t0, t0), min(n.t1, t1)
        if b - a > 1e-3:
            out.append(replace(n, t0=a - t0, t1=b - t0))
    return out


def _annotated(recording: Recording, ref: ClipRef, mano_dir: str | None) -> HandResult | None:
    """Hands and camera the data set brings, on the clip's frames; None when it brings neither."""
    if not recording.hands and recording.camera is None:
        return None
    from unihand_data.hands.annotated import annotated_result

    return annotated_result(recording, ref, mano_dir)


def _own_hands(recording: Recording, annotated: HandResult | None) -> bool:
    """Whether the data set speaks about the hands of this clip: no hand in a stretch it did not annotate is no news."""
    if annotated is None or not recording.hands:
        return False
    return not recording.hands_sparse or bool(annotated.left.valid.any() or annotated.right.valid.any())

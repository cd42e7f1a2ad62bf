"""A converted robot episode and its stored views become an episode row (docs/contract.md, sections 1 to 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unihand_data.curate.robot.convert import RobotMotion
from unihand_data.ids import make_id, split_of
from unihand_data.shards.rows import CameraRow, EpisodeRow, EventRow, LanguageRow, MediaRow
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.spec import RobotSpec


@dataclass
class StoredView:
    """A view whose bytes are ready for the media table.

    Attributes:
        view: the contract's word.
        media: video; ``depth``: of the same camera.
        pts: (N,) s on the row's clock of the stored frames, None where the media's own times are the row's.
        intrinsics: (4,) fx fy cx cy in pixels of the stored video. poses: (T, 4, 4) camera-to-world.
        raw: name in the data set; ``how``: remuxed | encoded | joined, with the reason where it was encoded.
    """

    view: str
    raw: str
    how: str
    media: MediaRow
    fps: float
    intrinsics: np.ndarray | None = None
    poses: np.ndarray | None = None
    depth: MediaRow | None = None
    depth_unit_m: float | None = None


@dataclass
class RobotClip:
    """What stages of the robot job pass on: numbers, spans, words, stored views; pictures stay encoded.

    ``what`` holds what the row says about itself besides its numbers (texts, success, facts ...).
    """

    episode_id: str
    content_id: str
    dataset: str
    uri: str
    motion: RobotMotion
    texts: list[LanguageRow]
    events: list[EventRow]
    what: dict[str, Any] = field(default_factory=dict)
    views: list[StoredView] = field(default_factory=list)


def episode_id(content_id: str, spec: RobotSpec, version: str, shown: str = "") -> str:
    """Depends on the numbers, on what the YAML says they mean, on the content settings, and on what is ``shown`` (one
    motion may be rendered more than once); not on where it lies."""
    return make_id("episode", content_id, spec.content_hash, version, shown)


def shown_and_said(episode: RobotEpisode, fingerprint: Callable[[str], str]) -> str:
    """Id of an episode's sentences and encoded pictures: files by ``fingerprint`` and stretch, single pictures by their
    number and their first and last bytes."""
    parts: list[object] = [(t.text, t.level, t.start, t.stop) for t in episode.texts]
    for key, view in sorted(episode.views.items()):
        if view.video is not None:
            parts += [key, fingerprint(view.video.split("!")[0]), view.video.partition("!")[2], view.t0, view.t1]
        elif view.pictures:
            parts += [key, len(view.pictures), view.pictures[0], view.pictures[-1]]
    return make_id(*parts)


def language_rows(episode: RobotEpisode, times: np.ndarray, rate_hz: float) -> list[LanguageRow]:
    """Every sentence with its span in seconds; an end before its start is left out by the reader already."""
    ends = np.append(times, times[-1] + 1.0 / rate_hz)
    rows = []
    for text in episode.texts:
        stop = len(times) if text.stop is None else min(text.stop, len(times))
        if text.text.strip() and 0 <= text.start < stop:
            rows.append(LanguageRow(text.level, float(ends[text.start]), float(ends[stop]), text.text.strip()))
    return rows


def robot_episode(clip: RobotClip, spec: RobotSpec) -> EpisodeRow:
    """The row; ``recording_id`` is the content's, so that re-uploads of one container share it and its split."""
    m, what = clip.motion, clip.what
    recording = make_id("recording", clip.content_id)
    cameras = [
        CameraRow(
            view=v.view,
            media_id=v.media.media_id,
            width=v.media.width,
            height=v.media.height,
            fps=v.fps,
            intrinsics=v.intrinsics,
            poses=None if v.poses is None else v.poses.astype(np.float32),
            pose_valid=None if v.poses is None else np.isfinite(v.poses).all(axis=(1, 2)),
            depth_media_id=v.depth.media_id if v.depth is not None else "",
        )
        for v in clip.views
    ]
    return EpisodeRow(
        episode_id=clip.episode_id,
        recording_id=recording,
        source=spec.source,
        source_uri=clip.uri,
        suite=str(what.get("suite", "")),
        task_id=str(what.get("task_id", "")),
        success=what.get("success"),
        seed=what.get("seed"),
        licence=spec.licence,
        shareable=spec.shareable,
        embodiment=spec.embodiment,
        embodiment_hash=spec.robot.hash,
        domain="robot",
        origin=spec.origin,
        setting=spec.setting,
        split=split_of(str(what.get("split_group") or recording)),
        rate_hz=m.rate_hz,
        timestamps=m.times,
        world=spec.world,
        raw_to_world=m.raw_to_world,
        action_source=[{"slot_group": g, "kind": k} for g, k in sorted(m.action_source.items())],
        state_slots=m.state_slots.astype(np.int16),
        action_slots=m.action_slots.astype(np.int16),
        state=np.nan_to_num(m.state).astype(np.float32),
        action=np.nan_to_num(m.action).astype(np.float32),
        state_mask=m.state_mask,
        action_mask=m.action_mask,
        raw_extra=m.raw_extra,
        cameras=cameras,
        language=clip.texts,
        events=clip.events,
        quality={k: float(v) for k, v in m.figures.items()},
        provenance=dict(what.get("provenance", {})),
    )

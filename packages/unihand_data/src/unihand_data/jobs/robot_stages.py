"""The stages of ``pipelines/robot_manipulation.py``: plain callables on :class:`Unit`, no Ray in them.

open -> convert -> views -> rows
"""

from __future__ import annotations

from typing import Any

from unihand_data import __version__
from unihand_data.config import content_hash
from unihand_data.curate.robot.checks import check_episode
from unihand_data.curate.robot.convert import convert
from unihand_data.curate.robot.idle import idle_spans
from unihand_data.curate.robot.masks import mask_outliers
from unihand_data.curate.robot.rows import RobotClip, episode_id, language_rows, robot_episode, shown_and_said
from unihand_data.curate.robot.signature import motion_signature, recorded_path
from unihand_data.curate.robot.views import StoredSources, ViewStore
from unihand_data.curate.tasks import build_samples
from unihand_data.errors import Reason, Reject
from unihand_data.jobs.items import fingerprint
from unihand_data.jobs.robot_config import RobotSettings
from unihand_data.jobs.tokenizer import open_counter
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import MediaRow, StagedRows
from unihand_data.shards.schema import SCHEMA_VERSION
from unihand_data.sources.robot.episode import RobotEpisode
from unihand_data.sources.robot.registry import RobotSource
from unihand_data.sources.robot.spec import RobotSpec
from unihand_data.values.recording import SourceItem


class _Stage:
    def __init__(self, settings: RobotSettings, source: RobotSource):
        self.settings, self.source = settings, source

    def close(self) -> None:
        """Nothing to let go of by default."""


class _Opener:
    """Opens items; the last one stays, so that stages that share a process read it once."""

    last: tuple[str, tuple[RobotSpec, RobotEpisode]] | None = None

    @classmethod
    def open(cls, source: RobotSource, unit_id: str, item: SourceItem) -> tuple[RobotSpec, RobotEpisode]:
        if cls.last is None or cls.last[0] != unit_id:
            cls.last = (unit_id, source.open(item))
        return cls.last[1]


class OpenEpisode(_Stage):
    """Item -> episode by the identity of its content: the same episode in two files of the input is written once."""

    def __init__(self, settings: RobotSettings, source: RobotSource):
        super().__init__(settings, source)
        self.version = content_hash(settings)

    def __call__(self, unit: Unit) -> list[Unit]:
        item: SourceItem = unit.body
        if why := item.payload.get("refused"):
            raise Reject(Reason.UNKNOWN_DATASET, why)
        spec, episode = _Opener.open(self.source, unit.id, item)
        shown = shown_and_said(episode, fingerprint)
        identity = episode_id(episode.content_id, spec, self.version, shown)
        _Opener.last = (identity, (spec, episode))
        return [Unit(identity, unit.item, unit.uri, item, rejects=[*unit.rejects, *episode.losses])]


class ConvertEpisode(_Stage):
    """Phi_e: raw columns to slots, actions by trust, world; ranges are checked, outliers masked, idle spans marked."""

    def __init__(self, settings: RobotSettings, source: RobotSource):
        super().__init__(settings, source)
        self.version = content_hash(settings)

    def __call__(self, unit: Unit) -> list[Unit]:
        spec, episode = _Opener.open(self.source, unit.id, unit.body)
        motion = convert(episode, spec, self.source.sets[unit.body.payload["set"]].found.fps)
        check_episode(spec, motion, unit.uri, self.settings.checks)
        signature = motion_signature(motion, recorded_path(episode.columns, episode.facts.get("split_group", "")))
        motion.figures |= mask_outliers(motion, self.settings.outliers)
        events = idle_spans(motion, self.settings.idle)
        motion.figures["idle_share"] = sum(e.t1 - e.t0 for e in events) / (motion.times[-1] + 1 / motion.rate_hz)
        if not motion.action_mask.any():
            raise Reject(Reason.EMPTY, f"{unit.uri}: no step has a known action", frames=episode.steps)
        provenance: dict[str, Any] = {
            "item": unit.item,
            "schema": SCHEMA_VERSION,
            "code": __version__,
            "config": self.version,
            "dataset_file": spec.name,
            "row_layout": spec.layout_of_rows.hash,
            "content_id": episode.content_id,
            "facts": episode.facts,
            "motion_signature": signature,
        }
        if spec.max_weight is not None:
            provenance["max_weight"] = spec.max_weight
        used = spec.features()
        if undeclared := sorted(set(episode.columns) - used):
            provenance["undeclared_features"] = undeclared
        what = {
            "provenance": provenance,
            "success": episode.success,
            "seed": episode.seed,
            "task_id": episode.task_id,
            "suite": episode.facts.get("suite", ""),
            "split_group": episode.facts.get("split_group", ""),
        }
        clip = RobotClip(
            episode_id=unit.id,
            content_id=episode.content_id,
            dataset=spec.name,
            uri=unit.uri,
            motion=motion,
            texts=language_rows(episode, motion.times, motion.rate_hz),
            events=events,
            what=what,
        )
        number = unit.body.payload["set"]
        announced = self.source.sets[number].found.views
        unit.body = StoredSources(clip, episode.views, _present(spec, episode), number, announced)
        return [unit]


def _present(spec: RobotSpec, episode: RobotEpisode) -> dict[str, bool]:
    """Features that say whether a camera was recorded -> whether they ever say so. Where all of them say no although
    there are pictures (met in copies of Bridge), they were not filled in and say nothing."""
    names = {v.present for v in spec.views if v.present}
    said = {n: bool((episode.columns[n] > 0).any()) for n in names if n in episode.columns}
    return said if any(said.values()) else {}


class StoreViews(_Stage):
    """Cameras as the shard will store them: packets copied where they are usable, else encoded; depth without loss."""

    def __init__(self, settings: RobotSettings, source: RobotSource, media_dir: str):
        super().__init__(settings, source)
        video = settings.video
        self.store = ViewStore(media_dir, video.remux, video.encode, video.worker)

    def __call__(self, unit: Unit) -> list[Unit]:
        got: StoredSources = unit.body
        spec = self.source.sets[got.set_number].spec
        assert spec is not None
        views, losses = self.store.store(got, spec)
        if spec.views and not got.views:
            raise Reject(Reason.MISSING_FILE, f"{unit.uri}: none of the cameras of {spec.name} is there; fetch them")
        if got.views and not views and not losses:
            raise Reject(Reason.MISSING_FIELD, f"{unit.uri}: the data set says that no camera was recorded")
        if got.views and not views:
            first = losses[0]
            raise Reject(first.reason, f"{unit.uri}: no camera could be stored; {first.message}", frames=first.frames)
        unit.rejects += losses
        got.clip.views = views
        unit.body = (got.clip, got.set_number)
        return [unit]

    def close(self) -> None:
        self.store.close()


class BuildRobotRows(_Stage):
    """Episode row and its samples."""

    def __init__(self, settings: RobotSettings, source: RobotSource):
        super().__init__(settings, source)
        self.counter = open_counter(settings.tokens)

    def __call__(self, unit: Unit) -> list[Unit]:
        clip, number = unit.body
        spec = self.source.sets[number].spec
        clip.what["provenance"]["views"] = {v.view: f"{v.raw}: {v.how}" for v in clip.views}
        row = robot_episode(clip, spec)
        media: dict[str, MediaRow] = {}
        for view in clip.views:
            media |= {m.media_id: m for m in (view.media, view.depth) if m is not None}
        samples = build_samples(row, self.settings.tasks, self.counter)
        unit.body = StagedRows([row], list(media.values()), samples)
        return [unit]

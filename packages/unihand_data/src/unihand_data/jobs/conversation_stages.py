"""The stages of ``pipelines/vision_text.py``: plain callables on :class:`Unit`, no Ray in them.

    read (a block becomes its rows) -> check -> media -> place -> rows

After ``read`` every unit is one row with an item id of its own; what is refused costs that row alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unihand_data.curate.conversations.films import FilmStore
from unihand_data.curate.conversations.held_out import HeldOut
from unihand_data.curate.conversations.images import StoredPicture, store_picture
from unihand_data.curate.conversations.rows import (
    Keys,
    SeenMedia,
    check_length,
    conversation,
    keys,
    place_marks,
    sample,
)
from unihand_data.curate.conversations.validators import check
from unihand_data.errors import Reason, Reject
from unihand_data.jobs.conversation_config import VisionTextSettings
from unihand_data.jobs.conversation_items import BlockState
from unihand_data.jobs.picture_packs import PicturePacks
from unihand_data.jobs.tokenizer import open_counter
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import MediaRow, StagedRows
from unihand_data.sources.conversations.pictures import read_picture
from unihand_data.sources.conversations.reader import BlockReader
from unihand_data.sources.conversations.registry import load_corpus
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import Talk


@dataclass
class RowState:
    """A row between stages. ``block``: id of the block it came from. ``refused``: why it could not be read (said by the
    next stage, under the row's own id)."""

    talk: Talk | None
    spec: CorpusSpec
    refused: Reject | None = None
    block: str = ""
    media: SeenMedia = field(default_factory=SeenMedia)
    geometry: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TalkRows(StagedRows):
    """What a row becomes: rows of the shard, and the keys by which duplicates are found."""

    keys: Keys | None = None


class _Stage:
    def __init__(self, settings: VisionTextSettings):
        self.settings = settings

    def close(self) -> None:
        """Nothing to let go of by default."""


class ReadBlock(_Stage):
    """A block of rows in its corpus' own words -> one unit per row."""

    def __init__(self, settings: VisionTextSettings):
        super().__init__(settings)
        self.reader = BlockReader()

    def __call__(self, unit: Unit) -> list[Unit]:
        state: BlockState = unit.body
        spec = load_corpus(state.block.corpus)
        if (self.settings.only_shareable and not spec.shareable) or spec.licence in self.settings.exclude_licences:
            raise Reject(Reason.LICENCE_EXCLUDED, f"{unit.uri}: {spec.name} is under {spec.licence!r}")
        out: list[Unit] = []
        for number, talk in self.reader.read(state.block):
            item = state.item(spec.name, number)
            refused = talk if isinstance(talk, Reject) else None
            body = RowState(None if isinstance(talk, Reject) else talk, spec, refused, unit.id)
            losses = [] if isinstance(talk, Reject) else talk.losses
            out.append(Unit(item, item, f"{state.block.path}#row={number}", body, rejects=losses))
        if not out:
            raise Reject(Reason.EMPTY, f"{unit.uri}: no rows")
        return out


class CheckTalk(_Stage):
    """Roles, texts, placeholders; safe changes only, each counted."""

    def __call__(self, unit: Unit) -> list[Unit]:
        state: RowState = unit.body
        if state.refused is not None:
            raise state.refused
        assert state.talk is not None
        check(state.talk, self.settings.text, unit.uri)
        return [unit]


class LoadMedia(_Stage):
    """Pictures verified and decoded once, videos sampled; pictures of held-out benchmarks refused."""

    def __init__(self, settings: VisionTextSettings, held_out: HeldOut, media_dir: str):
        super().__init__(settings)
        self.held_out = held_out
        self.films = FilmStore(settings.video, media_dir)
        self.packs = PicturePacks(media_dir)
        self._last: dict[str, StoredPicture] = {}

    def __call__(self, unit: Unit) -> list[Unit]:
        state: RowState = unit.body
        talk, licence = state.talk, state.spec.licence
        assert talk is not None
        for picture in talk.pictures:
            # by number first: it costs nothing, and the picture need not even be there
            self.held_out.check(picture.coco_id, "", unit.uri)
        for picture in talk.pictures:
            where = f"{unit.uri}: {picture.name or 'embedded picture'}"
            # a file that several rows name (RefCOCO: a row per object) is decoded once while they are neighbours
            stored = self._last.get(picture.path) if picture.path and not picture.sha256 else None
            if stored is None:
                data = read_picture(picture, where)
                path = picture.path if picture.data is None and "!" not in picture.path else ""
                stored = store_picture(
                    data, where, self.settings.images, licence=licence, path=path, name=picture.name,
                    sha256=picture.sha256,
                )  # fmt: skip
                stored.media = self.packs.put(stored.media, state.block)
                if picture.path:
                    self._last = {**dict(list(self._last.items())[-7:]), picture.path: stored}
            self.held_out.check(None, stored.look, unit.uri)
            talk.fixes += stored.fixes
            state.media.pictures.append(stored)
            picture.data = None
        if talk.film is not None:
            state.media.film, state.media.times = self.films.store(talk.film, unit.uri, licence=licence)
        return [unit]

    def close(self) -> None:
        self.films.close()
        self.packs.close()


class PlaceGeometry(_Stage):
    """Every number of a position into 0..1 of the original picture, and into the backbone's text form."""

    def __call__(self, unit: Unit) -> list[Unit]:
        state: RowState = unit.body
        assert state.talk is not None
        state.geometry = place_marks(state.talk, state.media, self.settings.geometry, unit.uri, state.spec.geometry.of)
        return [unit]


class BuildTalkRows(_Stage):
    """Conversation, sample, media and keys."""

    def __init__(self, settings: VisionTextSettings):
        super().__init__(settings)
        self.counter = open_counter(settings.tokens)

    def __call__(self, unit: Unit) -> list[Unit]:
        state: RowState = unit.body
        assert state.talk is not None
        row = conversation(state.talk, state.media, state.geometry, state.spec.licence, self.counter)
        row.shareable = state.spec.shareable
        check_length(row, state.media, self.settings.text.max_tokens, unit.uri)
        for name in state.talk.fixes:
            unit.measures[f"fix_{name}"] = unit.measures.get(f"fix_{name}", 0.0) + 1
        template = f"{state.spec.name}/question" if state.spec.question else ""
        media: list[MediaRow] = list({m.media_id: m for m in state.media.rows}.values())
        unit.body = TalkRows(
            media=media,
            samples=[sample(row, state.media, template)],
            conversations=[row],
            keys=keys(state.talk, state.media, row, unit.item, unit.uri, state.spec.rank),
        )
        return [unit]

"""The stages of ``pipelines/vision_text.py``: plain callables on :class:`Unit`, no Ray in them.

    read (a block becomes its rows) -> check -> media -> place -> rows

After ``read`` every unit is one row with an item id of its own; what is refused costs that row alone.
"""

from __future__ import annotations

from collections import OrderedDict
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
from unihand_data.ids import make_id
from unihand_data.jobs.conversation_config import VisionTextSettings
from unihand_data.jobs.conversation_items import BlockState
from unihand_data.jobs.items import fingerprint
from unihand_data.jobs.picture_packs import PicturePacks
from unihand_data.jobs.tokenizer import open_counter
from unihand_data.runner.stage import Unit
from unihand_data.shards.rows import MediaRow, StagedRows
from unihand_data.sources.conversations.pictures import read_picture
from unihand_data.sources.conversations.reader import BlockReader
from unihand_data.sources.conversations.refer import of_coco_training
from unihand_data.sources.conversations.registry import load_corpus
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import Picture, Talk

#: ``media.licence`` of pictures and videos of conversations: each row that shows one has its corpus' licence
OF_ITS_ROWS = "of the conversations that show it"
#: pictures on disk that a worker remembers, some hundred bytes each
REMEMBERED = 20_000


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
    """Pictures verified and decoded once, videos sampled; pictures of held-out benchmarks refused.

    The licence of a picture is that of the rows that show it: corpora share pictures, which are stored once.
    """

    def __init__(self, settings: VisionTextSettings, held_out: HeldOut, media_dir: str):
        super().__init__(settings)
        self.held_out = held_out
        self.films = FilmStore(settings.video, media_dir)
        self.packs = PicturePacks(media_dir)
        self._seen: OrderedDict[tuple[str, str], StoredPicture] = OrderedDict()

    def __call__(self, unit: Unit) -> list[Unit]:
        state: RowState = unit.body
        talk = state.talk
        assert talk is not None
        for picture in talk.pictures:
            # by number first: it costs nothing, and the picture need not even be there
            self.held_out.check_id(picture.coco_id, unit.uri)
            self._refuse_stray_coco(picture, state.spec, unit.uri)
        for picture in talk.pictures:
            stored = self._stored(picture, f"{unit.uri}: {picture.name or 'embedded picture'}", state.block)
            self.held_out.check_looks((stored.look, stored.whole_look), unit.uri)
            talk.fixes += stored.fixes
            state.media.pictures.append(stored)
            picture.data = None
        if talk.film is not None:
            state.media.film, state.media.times = self.films.store(talk.film, unit.uri, licence=OF_ITS_ROWS)
            archive, _, member = talk.film.path.partition("!")
            state.media.film_key = make_id("film", fingerprint(archive), member)
        return [unit]

    def _stored(self, picture: Picture, where: str, block: str) -> StoredPicture:
        """Files that many rows name (RefCOCO: a row per object) are decoded once by a worker while it remembers."""
        key = (picture.path, picture.sha256)
        found = self._seen.get(key) if picture.path else None
        if found is not None and (found.media.path == picture.path or block == self._block):
            self._seen.move_to_end(key)
            return found
        data = read_picture(picture, where)
        path = picture.path if picture.data is None and "!" not in picture.path else ""
        stored = store_picture(
            data, where, self.settings.images, licence=OF_ITS_ROWS, path=path, name=picture.name,
            sha256=picture.sha256,
        )  # fmt: skip
        stored.media = self.packs.put(stored.media, block)
        if picture.path:
            if block != self._block:  # what was packed with another block goes with that block
                self._seen = OrderedDict((k, s) for k, s in self._seen.items() if s.media.path == k[0])
            self._block = block
            self._seen[key] = stored
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return stored

    _block = ""

    def _refuse_stray_coco(self, picture: Picture, spec: CorpusSpec, where: str) -> None:
        """A corpus whose YAML says that it has no pictures of COCO, and a row that names one."""
        known = self.held_out.coco or self.settings.held_out.refcoco == "waived"
        if not known and not spec.coco and of_coco_training(picture.name):
            raise Reject(
                Reason.BENCHMARK_LEAK,
                f"{where}: {picture.name!r} is a picture of COCO, of which RefCOCO's benchmarks are made; name the "
                "REFER data (held_out.refer) or waive it (held_out.refcoco)",
            )

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
        row = conversation(state.talk, state.media, state.geometry, state.spec, self.counter)
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
            keys=keys(
                state.talk, state.media, row, unit.item, unit.uri, state.spec.rank, self.settings.barred(state.spec)
            ),
        )
        return [unit]

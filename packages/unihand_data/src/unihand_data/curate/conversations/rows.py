"""From a checked talk and its stored media to the rows of the shard: conversation, sample, media, and its keys."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal

from unihand_data.curate.conversations.geometry import GeometrySettings, place, render
from unihand_data.curate.conversations.images import StoredPicture
from unihand_data.curate.conversations.splits import own_key
from unihand_data.errors import Reason, Reject
from unihand_data.ids import make_id, split_of
from unihand_data.shards.rows import ConversationRow, MediaRow, SampleRow
from unihand_data.shards.tokens import VISUAL_TOKENS, TokenCounter
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import IMAGE, VIDEO, Talk

#: tokens of ``<|im_start|>role\n ... <|im_end|>\n`` around a text of the chat template; the end of an answer is learnt
FRAME_TOKENS, ANSWER_END = 5, 1


@dataclass
class SeenMedia:
    """Media of a talk once they are stored. ``times``: of a video's frames, s; else empty. ``film_key``: names the
    video they are of, whichever of its frames were chosen."""

    pictures: list[StoredPicture] = field(default_factory=list)
    film: MediaRow | None = None
    film_key: str = ""
    times: list[float] = field(default_factory=list)

    @property
    def rows(self) -> list[MediaRow]:
        return [p.media for p in self.pictures] + ([self.film] if self.film else [])


@dataclass
class Keys:
    """What a row is recognised by when duplicates are looked for, and what of it is counted.

    Attributes:
        exact: equal for rows of the same pictures (decoded pixels) and the same questions.
        said: equal for rows of the same questions and answers. ``looks``: perceptual hashes of the pictures, in order,
            ``whole_looks`` those with the bars at their edges.
        group: what a row without pictures is split by. ``split``: what it has until all rows are known.
        barred: why its corpus must not be written (its licence), else "".
    """

    item: str
    conversation_id: str
    source: str
    uri: str
    rank: int
    exact: str
    said: str
    looks: list[str]
    whole_looks: list[str]
    group: str
    split: str
    barred: str
    media: list[str]
    fixes: list[str]
    tokens_text: int
    tokens_answer: int
    images: int


def place_marks(
    talk: Talk, media: SeenMedia, settings: GeometrySettings, where: str, of: Literal["only", "first"] = "only"
) -> list[dict[str, Any]]:
    """Put every mark of the talk into the original frame, replace it by its text, and return the geometry entries.

    Args:
        of: what the corpus says of positions in rows of several pictures: they are of the first one, or nothing.

    Raises:
        Reject: as :func:`~unihand_data.curate.conversations.geometry.place`; COORD_FRAME_AMBIGUOUS for geometry of
            a row without a picture, or with several where the corpus does not say of which it is.
    """
    out: list[dict[str, Any]] = []
    for number, turn in enumerate(talk.turns):
        for k, part in enumerate(turn.parts):
            if isinstance(part, str):
                continue
            if part.picture >= len(media.pictures):
                raise Reject(Reason.COORD_FRAME_AMBIGUOUS, f"{where}, turn {number}: geometry, and no picture it is of")
            if len(media.pictures) > 1 and of == "only":
                raise Reject(
                    Reason.COORD_FRAME_AMBIGUOUS,
                    f"{where}, turn {number}: geometry and {len(media.pictures)} pictures; the corpus' YAML does not "
                    "say which one it is of (geometry.of)",
                )
            stored = media.pictures[part.picture].media
            placed = place(part, stored.width, stored.height, settings, f"{where}, turn {number}")
            if placed.clipped:
                talk.fixes.append("clipped_to_picture")
            out += placed.stored(number)
            turn.parts[k] = render(placed)
    return out


def normalised(question: str) -> str:
    """A question as duplicates are compared: no placeholder, case, punctuation or spacing."""
    text = unicodedata.normalize("NFKC", question.replace(IMAGE, " ").replace(VIDEO, " ")).casefold()
    return " ".join(re.sub(r"[^\w\s.]|(?<!\d)\.|\.(?!\d)", " ", text).split())


def conversation(
    talk: Talk, media: SeenMedia, geometry: list[dict[str, Any]], spec: CorpusSpec, counter: TokenCounter
) -> ConversationRow:
    """The row; its id derives from its media, its turns and its corpus, its licence is its corpus'. The split is that
    of the row by itself; :mod:`unihand_data.curate.conversations.splits` gives it that of its pictures' group."""
    turns = [{"role": t.role, "text": t.plain} for t in talk.turns]
    ids = [row.media_id for row in media.rows]
    text, answer = count_tokens(turns, counter)
    return ConversationRow(
        make_id("conversation", talk.source, *ids, *(v for t in turns for v in (t["role"], t["text"]))),
        talk.source,
        talk.pillar,
        [{"media_id": i, "times": media.times if media.film else []} for i in ids],
        turns,
        geometry,
        spec.licence,
        split_of(own_key(_all_looks(media), group_of(media, turns))),
        text,
        answer,
        shareable=spec.shareable,
    )


def _all_looks(media: SeenMedia) -> list[str]:
    return [look for p in media.pictures for look in (p.look, p.whole_look)]


def group_of(media: SeenMedia, turns: list[dict[str, str]]) -> str:
    """What a row without pictures shares a split by: its video, else its questions."""
    if media.pictures:
        return ""
    if media.film is not None:
        return f"film:{media.film_key or media.film.media_id}"
    return "text:" + make_id(*(normalised(t["text"]) for t in turns if t["role"] == "user"))


def count_tokens(turns: list[dict[str, str]], counter: TokenCounter) -> tuple[int, int]:
    """(given, learnt): text with the template's own tokens; placeholders count as pictures, not as text."""
    given = learnt = 0
    for turn in turns:
        tokens = counter.count(turn["text"].replace(IMAGE, "").replace(VIDEO, ""))
        if turn["role"] == "assistant":
            given, learnt = given + FRAME_TOKENS - ANSWER_END, learnt + tokens + ANSWER_END
        else:
            given += tokens + FRAME_TOKENS
    return given, learnt


def images_of(media: SeenMedia) -> int:
    return len(media.times) if media.film is not None else len(media.pictures)


def check_length(row: ConversationRow, media: SeenMedia, max_tokens: int, where: str) -> None:
    """Raises ``Reject`` OVERLENGTH: a row is refused, never cut (a cut inside a picture's tokens ruins the sample)."""
    total = row.tokens_text + row.tokens_answer + images_of(media) * VISUAL_TOKENS[224]
    if total > max_tokens:
        raise Reject(Reason.OVERLENGTH, f"{where}: {total} tokens at 224 px, over text.max_tokens = {max_tokens}")


def sample(row: ConversationRow, media: SeenMedia, template: str) -> SampleRow:
    return SampleRow(
        make_id("sample", row.conversation_id, "vision_text"),
        "vision_text",
        conversation_id=row.conversation_id,
        frames_available=len(media.times),
        question_template_id=template,
        tokens_text=row.tokens_text,
        tokens_answer=row.tokens_answer,
        images_per_time=images_of(media),
        split=row.split,
    )


def keys(talk: Talk, media: SeenMedia, row: ConversationRow, item: str, uri: str, rank: int, barred: str = "") -> Keys:
    asked = make_id(*(normalised(t["text"]) for t in row.turns if t["role"] == "user"))
    # without a picture the answer is what tells two rows apart that ask alike ("Continue.")
    answers = [normalised(t["text"]) for t in row.turns if t["role"] == "assistant"]
    extra = [] if media.rows else answers
    film = [media.film.media_id] if media.film else []
    return Keys(
        item,
        row.conversation_id,
        talk.source,
        uri,
        rank,
        make_id(asked, *(p.pixel_hash for p in media.pictures), *film, *extra),
        make_id(asked, *answers),
        [p.look for p in media.pictures],
        [p.whole_look for p in media.pictures],
        group_of(media, row.turns),
        row.split,
        barred,
        [m["media_id"] for m in row.media],
        sorted(talk.fixes),
        row.tokens_text,
        row.tokens_answer,
        images_of(media),
    )

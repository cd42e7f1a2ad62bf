"""Splits follow pictures: over connected rows, whatever their order, and around what is stored."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unihand_data.curate.conversations.held_out import HeldOut
from unihand_data.curate.conversations.images import ImageSettings, StoredPicture, store_picture
from unihand_data.curate.conversations.splits import SplitSettings, assign, near_pairs, own_key
from unihand_data.errors import Reason, Reject
from unihand_data.ids import split_of
from unihand_data.sources.conversations.generate.still import still

S = SplitSettings()
#: looks that are far apart, so that pictures are one only where a test says so
RNG = np.random.default_rng(3)
LOOKS = [f"{int(v):016x}" for v in RNG.integers(0, 2**63, 400)]


def frame(rows: list[list[str]], stored: list[str | None] | None = None, groups: list[str] | None = None):
    return pl.DataFrame(
        {"looks": rows, "group": groups or [""] * len(rows), "stored_split": stored or [None] * len(rows)},
        schema={"looks": pl.List(pl.String), "group": pl.String, "stored_split": pl.String},
    )


def flipped(look: str, *bits: int) -> str:
    value = int(look, 16)
    for bit in bits:
        value ^= 1 << bit
    return f"{value:016x}"


rows_of = st.lists(st.lists(st.sampled_from(LOOKS[:60]), min_size=1, max_size=4), min_size=1, max_size=40)


@settings(deadline=None)
@given(rows_of, st.randoms())
def test_no_picture_is_in_two_splits_and_order_changes_nothing(rows, random):
    found = assign(frame(rows), S).split
    order = list(range(len(rows)))
    random.shuffle(order)
    again = assign(frame([rows[i][::-1] for i in order]), S).split
    assert [found[i] for i in order] == again
    shown: dict[str, set[str]] = {}
    for looks, split in zip(rows, found):
        for look in looks:
            shown.setdefault(look, set()).add(split)
    assert all(len(s) == 1 for s in shown.values())


def test_a_row_connected_to_nothing_has_the_split_its_worker_gave_it():
    rows = [[look] for look in LOOKS]
    assert assign(frame(rows), S).split == [split_of(own_key(looks, "")) for looks in rows]
    held = np.mean([s != "train" for s in assign(frame(rows), S).split])
    assert 0.01 < held < 0.08, "4 % by expectation"


def test_copies_within_the_near_bits_are_one_picture_over_any_number_of_steps():
    base = next(look for look in LOOKS if split_of(own_key([look], "")) != "train")
    chain = [base]
    for k in range(6):
        chain.append(flipped(chain[-1], 9 * k, 9 * k + 1))
    found = assign(frame([[look] for look in chain]), S)
    assert len(set(found.split)) == 1
    assert found.groups == 1
    assert assign(frame([[look] for look in chain]), SplitSettings(near_bits=1)).groups == len(chain)
    assert assign(frame([[look] for look in chain]), SplitSettings(near_bits=None)).groups == len(chain)


@given(st.integers(0, 2**64 - 1), st.integers(0, 7), st.data())
@settings(deadline=None)
def test_every_near_pair_is_found(look, bits, data):
    flips = data.draw(st.lists(st.integers(0, 63), max_size=10, unique=True))
    other = int(flipped(f"{look:016x}", *flips), 16)
    looks = np.array([look, other, 1, 2**63, 77], np.uint64)
    pairs = {frozenset(p) for a, b in near_pairs(looks, bits) for p in zip(a.tolist(), b.tolist())}
    assert (frozenset((0, 1)) in pairs) == (len(flips) <= bits) or not flips


def test_a_group_too_large_to_be_held_out_trains():
    look = next(look for look in LOOKS if split_of(own_key([look], "")) != "train")
    few = SplitSettings(largest_held_out=3)
    assert set(assign(frame([[look]] * 3), few).split) == {split_of(own_key([look], ""))}
    found = assign(frame([[look]] * 4), few)
    assert (set(found.split), found.too_large, found.largest) == ({"train"}, 1, 4)


def test_stored_rows_stay_new_ones_follow_and_what_would_be_on_both_sides_is_refused():
    a, b, c, d = LOOKS[:4]
    rows = [[a], [b], [a, c], [c], [a, b], [d]]
    found = assign(frame(rows[:4], ["val", "train", None, None]), S).split
    assert found == ["val", "train", "val", "val"]
    found = assign(frame(rows, ["val", "train", None, None, None, None]), S).split
    assert found[:2] == ["val", "train"]
    assert found[2:5] == ["", "", ""], "one row connects both sides"
    assert found[5] == split_of(own_key([d], ""))


def test_rows_without_pictures_go_by_their_video_or_words():
    groups = ["film:1", "film:1", "text:2", ""]
    found = assign(frame([[], [], [], [LOOKS[0]]], groups=groups), S)
    assert found.split[0] == found.split[1] == split_of("film:1")
    assert found.split[2] == split_of("text:2")
    assert found.groups == 3


def test_nothing_has_no_split():
    assert assign(frame([]), S).split == []


def stored(image: Image.Image, kind: str = "JPEG", **options) -> StoredPicture:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return store_picture(out.getvalue(), "row", ImageSettings(), licence="")


def with_bars(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    side = max(image.size)
    out = Image.new("RGB", (side, side), colour)
    out.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return out


COPIES = {
    "encoded": lambda im: stored(im, quality=40),
    "smaller": lambda im: stored(im.resize((im.width // 2, im.height // 2)), quality=85),
    "squashed": lambda im: stored(im.resize((224, 224)), quality=85),
    "webp": lambda im: stored(im, "WEBP", quality=60),
    "padded": lambda im: stored(with_bars(im, (122, 116, 104)), quality=85),
    "padded black, scaled": lambda im: stored(with_bars(im, (0, 0, 0)).resize((336, 336)), quality=85),
    "padded white, scaled": lambda im: stored(with_bars(im, (255, 255, 255)).resize((448, 448)), quality=85),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_held_out_picture_is_known_whatever_was_done_to_it_and_others_are_not(copy):
    pictures = [Image.fromarray(still(k, (320, 200)).pixels()) for k in range(16)]
    originals = [stored(im, quality=92) for im in pictures]
    held = HeldOut(looks={look: f"{i}" for i, p in enumerate(originals[:8]) for look in (p.look, p.whole_look)})
    for number, image in enumerate(pictures):
        changed = COPIES[copy](image)
        if number < 8:
            with pytest.raises(Reject) as found:
                held.check_looks((changed.look, changed.whole_look), "row")
            assert found.value.reason == Reason.BENCHMARK_LEAK
        else:
            held.check_looks((changed.look, changed.whole_look), "row")


def test_a_list_held_in_two_parts_knows_which_pictures_were_seen():
    one = HeldOut(frozenset({1, 2}), frozenset({2}), frozenset({"refcoco"}), {"0" * 16: "a"})
    two = HeldOut(frozenset({2, 3}), frozenset({3}), frozenset({"refcoco+"}), {"f" * 16: "b"})
    both = one.joined(two)
    assert (both.coco, both.unseen, both.missing_sets) == ({1, 2, 3}, {3}, ["refcocog"])
    assert both.digest == two.joined(one).digest != one.digest


def test_bars_are_told_from_pictures():
    from unihand_data.curate.conversations.looks import content_box

    rng = np.random.default_rng(0)
    content = rng.integers(0, 255, (60, 100)).astype(np.uint8)
    framed = np.full((100, 120), 116, np.uint8)
    framed[20:80, 5:105] = content
    assert content_box(framed) == (5, 20, 105, 80)
    assert content_box(content) == (0, 0, 100, 60)
    assert content_box(np.full((50, 50), 9, np.uint8)) == (0, 0, 50, 50), "one colour is a picture, not a bar"
    thin = content.copy()
    thin[0] = 0
    assert content_box(thin) == (0, 0, 100, 60), "a line at an edge is no padding"

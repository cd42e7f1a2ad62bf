"""One geometry: into 0..1 of the original picture from every convention, out as the backbone's text, and back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.curate.conversations.geometry import (
    GeometrySettings,
    Placed,
    grid,
    pad,
    parse,
    place,
    render,
    unpad,
)
from unihand_data.curate.conversations.images import ImageSettings, store_picture
from unihand_data.curate.conversations.rows import SeenMedia, place_marks
from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.boxes import corners
from unihand_data.sources.conversations.generate.still import still
from unihand_data.sources.conversations.geometry_text import refuse_unread, take_out
from unihand_data.sources.conversations.registry import load_corpus
from unihand_data.sources.conversations.spec import GeometrySpec
from unihand_data.sources.conversations.talk import Mark, Talk, Turn

S = GeometrySettings()
unit = st.floats(0, 1)
side = st.integers(28, 4000)


def boxes():
    return st.tuples(unit, unit, unit, unit).map(
        lambda b: [(min(b[0], b[2]), min(b[1], b[3])), (max(b[0], b[2]), max(b[1], b[3]))]
    )


@given(st.lists(boxes(), min_size=1, max_size=4), st.sampled_from(["", "the red mug", "a, b"]))
def test_a_box_comes_back_from_its_text_within_a_grid_cell(shapes, label):
    placed = Placed("box", shapes, label, bool(label), 0)
    (back,) = parse(f"Here: {render(placed)}.")
    assert back.label == label
    assert back.kind == "box"
    for a, b in zip(shapes, back.shapes):
        assert all(abs(u - v) <= 1e-3 for p, q in zip(a, b) for u, v in zip(p, q))


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=5))
def test_points_come_back_from_their_text(pairs):
    (back,) = parse(render(Placed("point", [[p] for p in pairs], "", False, 0)))
    assert all(abs(u - v) <= 1e-3 for (p,), q in zip(back.shapes, pairs) for u, v in zip(p, q))


@given(st.integers(0, 1000))
def test_integers_of_the_grid_stay_what_they_are(n):
    assert grid(n / 1000) == n, "numbers that are on the grid already are not truncated a second time"


@pytest.mark.parametrize(("value", "cell"), [(0.0, 0), (0.0009999, 0), (0.5, 500), (0.9999, 999), (1.0, 1000)])
def test_the_grid_truncates_as_internvl_does(value, cell):
    assert grid(value) == cell


@given(unit, unit, side, side)
def test_unpad_is_the_inverse_of_pad(x, y, width, height):
    back = unpad(pad((x, y), width, height), width, height)
    assert back == pytest.approx((x, y), abs=1e-9)


def test_a_padded_box_of_a_wide_picture_by_hand():
    # 200x100: padding of 50 above and below; y 0.25 of the square is the picture's upper edge, 0.5 its middle
    mark = Mark("box", [[(0.1, 0.25), (0.6, 0.5)]], "unit", "square_padded")
    assert place(mark, 200, 100, S, "row").shapes == [[(0.1, 0.0), (0.6, 0.5)]]


@given(boxes(), side, side)
def test_every_unit_gives_the_same_place(shape, width, height):
    (x0, y0), (x1, y1) = shape
    if (x1 - x0) * width * (y1 - y0) * height < 5:
        return
    free = GeometrySettings(min_area_px=0)
    units = {"unit": (1, 1), "percent": (100, 100), "permille": (1000, 1000), "bin256": (256, 256),
             "pixel": (width, height)}  # fmt: skip
    for name, (sx, sy) in units.items():
        scaled = [[(x * sx, y * sy) for x, y in shape]]
        placed = place(Mark("box", scaled, name), width, height, free, "row")
        assert [v for p in placed.shapes[0] for v in p] == pytest.approx([v for p in shape for v in p], abs=1e-9)


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (Mark("box", [[(0.5, 0.1), (0.4, 0.9)]], "unit"), Reason.BOX_INVERTED),
        (Mark("box", [[(0.5, 0.1), (0.5, 0.9)]], "unit"), Reason.BOX_DEGENERATE),
        (Mark("box", [[(0.5, 0.1), (0.501, 0.101)]], "unit"), Reason.BOX_DEGENERATE),
        (Mark("box", [[(0.5, 0.1), (1.02, 0.9)]], "unit"), Reason.COORD_OUT_OF_RANGE),
        (Mark("point", [[(-0.2, 0.1)]], "unit"), Reason.COORD_OUT_OF_RANGE),
        (Mark("point", [[(float("nan"), 0.1)]], "unit"), Reason.BAD_VALUE),
        (Mark("point", [[(float("inf"), 0.1)]], "unit"), Reason.BAD_VALUE),
        (Mark("point", [[(10, 10)]], "pixel", size=(640, 480)), Reason.CONTRADICTION),
        (Mark("point", [[(10, 10)]], "pixel", size_known_by="resized"), Reason.COORD_FRAME_AMBIGUOUS),
        (Mark("box", [[(0.1, 0.1), (0.4, 0.2)]], "unit", "square_padded"), Reason.COORD_OUT_OF_RANGE),
        (Mark("box", [[(0.1, 0.4), (0.4, 0.6)]], "unit", "detect"), Reason.COORD_FRAME_AMBIGUOUS),
        (Mark("box", [[(0.1, 0.4)]], "unit"), Reason.WRONG_TYPE),
    ],
)
def test_what_cannot_be_placed_is_refused_and_never_bent(mark, reason):
    with pytest.raises(Reject) as found:
        place(mark, 200, 100, S, "row")
    assert found.value.reason == reason


def test_numbers_a_hair_outside_are_clipped_and_said():
    placed = place(Mark("point", [[(1.009, -0.009)]], "unit"), 200, 100, S, "row")
    assert placed.shapes == [[(1.0, 0.0)]]
    assert placed.clipped


def test_a_number_in_the_padding_shows_that_nothing_is_padded():
    placed = place(Mark("box", [[(0.1, 0.05), (0.4, 0.6)]], "unit", "detect"), 200, 100, S, "row")
    assert placed.shapes == [[(0.1, 0.05), (0.4, 0.6)]]


def test_labels_cannot_close_their_own_tag():
    text = render(Placed("box", [[(0.0, 0.0), (1.0, 1.0)]], "a</ref><box>[[1]]</box>\nb", True, 0))
    assert text == "<ref>a [[1]] b</ref><box>[[0, 0, 1000, 1000]]</box>"


TEXTS = [
    ("unit_box", "the [0.12, 0.30, 0.55, 0.71] one", "box", 1),
    ("unit_box", "a list [1, 2, 3, 4] of integers", None, 0),
    ("unit_box", "years [1999.5, 2001.0, 3.0, 4.0]", None, 0),
    ("tuples", "[(0.461, 0.527), (0.5, 0.6)]", "point", 2),
    ("tuples", "(0.1, 0.2)", "point", 1),
    ("tuples", "[(0.1, 0.2, 0.92, 0.95)]", "box", 1),
    ("tuples", "see figure (3, 4) of 1999", None, 0),
    ("tuples", "f(0.1, 0.2)", None, 0),
    ("ref_box", "<ref>a cat</ref><box>[[1, 2, 30, 40], [5, 6, 70, 80]]</box>", "box", 2),
    ("ref_box", "<box>[[1, 2, 30, 40]]</box>", "box", 1),
    ("traces", "[[1, 2], [30, 40], [5, 255]]", "polyline", 1),
    ("pixel_json", '```json\n[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}]\n```', "box", 1),
    ("pixel_json", '{"point_2d": [1, 2]} outside a fence', None, 0),
    ("pixel_json", "10, 20, 30, 40 a cat", "box", 1),
    ("none", "[0.1, 0.2, 0.3, 0.4]", None, 0),
]


@pytest.mark.parametrize(("style", "text", "kind", "shapes"), TEXTS)
def test_geometry_is_taken_out_of_texts(style, text, kind, shapes):
    parts = take_out(
        text, GeometrySpec(text=style, box="detect", unit="pixel" if style == "pixel_json" else "unit"), "row"
    )
    marks = [p for p in parts if isinstance(p, Mark)]
    assert sum(len(m.shapes) for m in marks) == shapes
    assert {m.kind for m in marks} == ({kind} if kind else set())


@pytest.mark.parametrize(
    ("style", "text", "reason"),
    [
        ("tuples", "[(0.1, 0.2, 0.3)]", Reason.COORD_FRAME_AMBIGUOUS),
        ("tuples", "[(0.1, 0.2), (0.1, 0.2, 0.3, 0.4)]", Reason.COORD_FRAME_AMBIGUOUS),
        ("tuples", "[(0.5, 0.5, 0.1, 0.2)]", Reason.COORD_FRAME_AMBIGUOUS),  # may have sides, and two ways
        ("tuples", "[(0.8, 0.9, 0.7, 0.8)]", Reason.COORD_FRAME_AMBIGUOUS),  # fits no order
        ("ref_box", "<box>[[1, 2, 3]]</box>", Reason.BAD_VALUE),
        ("ref_box", "<box>[[1, 2, 3, 4]", Reason.BAD_VALUE),
        ("ref_box", '<box>[[1, 2, "3", 4]]</box>', Reason.BAD_VALUE),
        ("ref_box", "<box>[]</box>", Reason.BAD_VALUE),
        ("pixel_json", '```json\n[{"bbox_2d": [1, 2, 30}]\n```', Reason.BAD_VALUE),
    ],
)
def test_announced_geometry_that_cannot_be_read_is_refused(style, text, reason):
    with pytest.raises(Reject) as found:
        take_out(text, GeometrySpec(text=style, box="detect"), "row")
    assert found.value.reason == reason


#: what RoboPoint's paper shows in its Table 1 as the answer of an LVIS row, and says in section 3: centre and sides
CUSHIONS = "[(0.49, 0.38, 0.08, 0.06), (0.53, 0.42, 0.07, 0.05)]"


def test_boxes_of_robopoint_are_centre_and_sides_as_its_paper_shows():
    spec = load_corpus("robopoint").geometry
    (mark,) = take_out(CUSHIONS, spec, "row")
    assert mark.shapes[0] == [pytest.approx((0.45, 0.35)), pytest.approx((0.53, 0.41))]
    with pytest.raises(Reject) as found:
        take_out(CUSHIONS, spec.model_copy(update={"box": "xyxy"}), "row")
    assert found.value.reason == Reason.BOX_INVERTED, "a wrong order in a YAML is contradicted by the data"


@pytest.mark.parametrize("text", ["[(0.05, 0.10, 0.30, 0.40)]", "[(0.5, 0.5, -0.2, 0.1)]", "[(0.9, 0.5, 0.5, 0.1)]"])
def test_a_box_that_is_no_centre_and_sides_contradicts_robopoints_order(text):
    with pytest.raises(Reject) as found:
        take_out(text, load_corpus("robopoint").geometry, "row")
    assert found.value.reason == Reason.COORD_FRAME_AMBIGUOUS


@given(unit, unit, unit, unit)
def test_the_order_of_four_numbers_is_never_guessed(x, y, w, h):
    """Whatever fits several orders is refused; what is taken fits one alone, and says the same under that order."""
    row = (x, y, w, h)
    same, taken = [], []
    with contextlib.suppress(Reject):
        taken = corners([row], "detect", "row")
    for order in ("xyxy", "xywh", "cxcywh"):
        try:
            (box,) = corners([row], order, "row")
        except Reject:
            continue
        inside = all(-0.01 <= v <= 1.01 for p in box for v in p)
        if inside and box[1][0] > box[0][0] and box[1][1] > box[0][1]:
            same.append(box)
    assert taken == (same if len(same) == 1 else [])


def test_all_boxes_of_a_text_tell_the_order_together():
    # the first alone may be two corners or a corner and sides; the second leaves the picture unless it is two corners
    rows = [(0.1, 0.1, 0.3, 0.4), (0.6, 0.7, 0.9, 0.95)]
    assert corners(rows, "detect", "row") == [[(0.1, 0.1), (0.3, 0.4)], [(0.6, 0.7), (0.9, 0.95)]]


@pytest.mark.parametrize(
    "text",
    [
        "<box>[[1, 2, 3, 4]]</box>", "<|box_start|>(1,2),(3,4)<|box_end|>", '{"bbox_2d": [1, 2, 3, 4]}', "<loc0123>",
        "at [0.12, 0.30, 0.55, 0.71]", '<point x="1.5" y="20">mug</point>', "[0.1, 0, 1.0, 1]",
    ],
)  # fmt: skip
def test_a_position_of_a_form_the_yaml_does_not_describe_is_refused(text):
    with pytest.raises(Reject) as found:
        refuse_unread(take_out(text, GeometrySpec(), "row"), "row")
    assert found.value.reason == Reason.COORD_FRAME_AMBIGUOUS


@pytest.mark.parametrize("text", ["a list [1, 0, 0, 1]", "the point (0.5, 0.25)", "[0.1, 0.2]", "see [1] and [2, 3]"])
def test_numbers_of_other_texts_stay(text):
    refuse_unread(take_out(text, GeometrySpec(), "row"), "row")


def test_a_position_in_a_row_of_several_pictures_needs_a_corpus_that_says_of_which():
    pictures = [store_picture(still(k).encoded(), "p", ImageSettings(), licence="") for k in (1, 2)]

    def row() -> Talk:
        return Talk("s", "grounding", "k", [Turn("assistant", [Mark("point", [[(0.5, 0.5)]], "unit")])])

    with pytest.raises(Reject) as found:
        place_marks(row(), SeenMedia(pictures), S, "row")
    assert found.value.reason == Reason.COORD_FRAME_AMBIGUOUS
    assert len(place_marks(row(), SeenMedia(pictures), S, "row", "first")) == 1
    assert len(place_marks(row(), SeenMedia(pictures[:1]), S, "row")) == 1

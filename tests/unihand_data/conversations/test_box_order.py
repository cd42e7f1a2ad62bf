"""The order of four numbers, told by many boxes together: each wrong order in a YAML is refused, what cannot be told is
said, and no block, no file cut and no reader changes the verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.sources.conversations import box_order
from unihand_data.sources.conversations.box_order import BoxOrderSettings, check_orders, verdict
from unihand_data.sources.conversations.registry import Corpora, Corpus, load_corpus, open_corpora

S = BoxOrderSettings()
ORDERS = ("xyxy", "xywh", "cxcywh")


def written(order: str, count: int = 400, largest: float = 0.5, seed: int = 0) -> list[tuple[float, ...]]:
    """Boxes that lie anywhere in the picture, their numbers in this order."""
    rng = np.random.default_rng(seed)
    w, h = rng.uniform(0.02, largest, (2, count))
    x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
    numbers = {"xyxy": (x, y, x + w, y + h), "xywh": (x, y, w, h), "cxcywh": (x + w / 2, y + h / 2, w, h)}[order]
    return [tuple(row) for row in np.round(np.stack(numbers, axis=1), 3).tolist()]


def robopoint(root, boxes, *, stated: str = "cxcywh", others: int = 3) -> Corpus:
    """Its rows of boxes, one box each, after rows of points; the YAML says ``stated``."""
    root.mkdir(exist_ok=True)
    asked = "Find it. Your answer should be formatted as a list of tuples, as [(0.9, 0.9, 0.1, 0.1)]."
    answers = ["[(0.1, 0.2), (0.3, 0.4)]"] * others + [f"[{b}]" for b in boxes]
    rows = [
        {"id": str(i), "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": a}]}
        for i, a in enumerate(answers)
    ]
    (root / "robopoint_1432k.json").write_text(json.dumps(rows))
    spec = load_corpus("robopoint")
    spec = spec.model_copy(update={"geometry": spec.geometry.model_copy(update={"box": stated})})
    return Corpus(spec, str(root), "robopoint")


@pytest.mark.parametrize("stated", ORDERS)
@pytest.mark.parametrize("true", ORDERS)
@pytest.mark.parametrize("largest", [0.15, 0.5, 0.9])
def test_a_wrong_order_is_refused_with_the_right_one_and_the_right_order_agrees(tmp_path, true, stated, largest):
    found = verdict(robopoint(tmp_path / "c", written(true, 2000, largest), stated=stated), S)
    assert (found.boxes, found.rows) == (2000, 2003)
    assert found.against[true] == 0
    if true == stated:
        assert found.result == "agrees"
    else:
        assert found.result == "contradicted"
        assert f"write geometry.box: {true} into a copy of its YAML" in found.sentence
        assert f"its YAML says that boxes are {stated}" in found.sentence
        assert f"{found.against[stated]} as {stated}" in found.sentence


@pytest.mark.parametrize("true", ["xyxy", "xywh"])
def test_a_corpus_in_another_order_is_no_job(tmp_path, true):
    corpora = Corpora([robopoint(tmp_path / "c", written(true, 1000))], str(tmp_path))
    with pytest.raises(DatasetRefused, match=f"robopoint in .*: its YAML says that boxes are cxcywh.* 0 as {true}"):
        check_orders(corpora, S)
    (found,) = check_orders(corpora, S.model_copy(update={"waived": ["robopoint"]}))
    assert found.result == "not checked"
    assert "waived by box_order.waived" in found.sentence
    with pytest.raises(SettingsError, match="'robopont' states no order of boxes here; those that do: robopoint"):
        check_orders(corpora, S.model_copy(update={"waived": ["robopont"]}))


def test_slips_do_not_refuse_a_corpus(tmp_path):
    """One in a hundred boxes is no box under the true order; under no other order do fewer slip."""
    boxes = written("cxcywh", 1000)
    boxes[::100] = [(0.99, 0.5, 0.6, 0.1)] * 10
    assert verdict(robopoint(tmp_path / "c", boxes), S).result == "agrees"


def test_numbers_of_no_order_are_refused(tmp_path):
    """Two corners with y before x cannot be seen; per mille for shares can."""
    boxes = [tuple(v * 1000 for v in b) for b in written("cxcywh", 200)]
    found = verdict(robopoint(tmp_path / "c", boxes), S)
    assert found.result == "contradicted"
    assert "correct geometry in a copy of it" in found.sentence


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ([], "0 boxes in the 3 rows looked at, too few to tell"),
        (written("xyxy", 15), "15 boxes in the 18 rows looked at, too few to tell"),
        (written("xywh", 30, 0.1), "xywh cannot be told from it; of its first 30 boxes"),
        ([(0.5, 0.5, 0.1, 0.1)] * 500, "xywh cannot be told from it; of its first 500 boxes"),
    ],
)
def test_what_cannot_be_told_is_said_and_is_no_refusal(tmp_path, boxes, says):
    found = verdict(robopoint(tmp_path / "c", boxes), S)
    assert found.result == "not checked"
    assert f"order cxcywh not checked: {says}" in found.sentence


def test_every_reader_comes_to_one_verdict_whatever_the_blocks(tmp_path, monkeypatch):
    boxes = written("cxcywh", 300)
    boxes += written("xyxy", 300)  # so that it matters where the first boxes end
    corpus = robopoint(tmp_path / "c", boxes)
    few = S.model_copy(update={"boxes": 350, "rows": 500})
    verdicts = set()
    for rows in (1, 7, 64, 1024):
        monkeypatch.setattr(box_order, "_ROWS_AT_ONCE", rows)
        found = verdict(corpus, few)
        verdicts.add((found.sentence, found.rows, found.boxes, tuple(found.against.items())))
    assert len(verdicts) == 1
    assert (found.rows, found.boxes) == (353, 350)
    capped = verdict(corpus, few.model_copy(update={"rows": 100}))
    assert (capped.rows, capped.boxes) == (100, 97)


def test_boxes_of_one_text_are_cut_where_enough_are_seen(tmp_path):
    corpus = robopoint(tmp_path / "c", written("cxcywh", 90))
    assert verdict(corpus, S.model_copy(update={"boxes": 40})).boxes == 40


def test_damage_after_the_boxes_and_rows_of_another_form_cost_nothing(tmp_path):
    corpus = robopoint(tmp_path / "c", written("cxcywh", 400))
    file = tmp_path / "c" / "robopoint_1432k.json"
    text = file.read_text()
    whole = verdict(corpus, S)
    file.write_text(text[:-1] + ', 7, {"conversations": 3}, {"conv')
    found = verdict(corpus, S)
    assert (found.result, found.boxes, found.against) == (whole.result, whole.boxes, whole.against)


def test_pixels_of_a_known_picture_tell_the_order_too(tmp_path):
    """RoboRefIt says two corners; corners and sides in their place are refused."""
    rows = [
        {"num": i, "text": "a cup", "rgb_path": "x.png", "bbox": [x * 640, y * 480, w * 640, h * 480]}
        for i, (x, y, w, h) in enumerate(written("xywh", 300))
    ]
    (tmp_path / "roborefit_train.json").write_text(json.dumps([*rows, {"text": "b", "bbox": [1, "x"]}]))
    corpora = open_corpora(str(tmp_path), "roborefit")
    with pytest.raises(DatasetRefused, match=r"roborefit in .* boxes are xyxy.*write geometry\.box: xywh"):
        check_orders(corpora, S)
    spec = corpora.corpora[0].spec
    free = spec.model_copy(update={"geometry": spec.geometry.model_copy(update={"size": None})})
    found = verdict(Corpus(free, str(tmp_path), "roborefit"), S)
    assert found.result == "contradicted", "without a size a second corner before the first still tells"


def test_corpora_that_state_no_order_have_no_verdict(tmp_path):
    assert not check_orders(Corpora([Corpus(load_corpus("refspatial"), str(tmp_path), "refspatial")], ""), S)

"""Language augmentation: what a paraphrase may change, the grammar, and the model behind the real client."""

import ast
import csv
import json
import re

import pytest

from helpers.samples import sample
from unihand_data.language.annotator import Annotator, build_client
from unihand_data.language.cache import AnswerCache
from unihand_data.language.config import LanguageSettings
from unihand_data.language.grammar import variants
from unihand_data.language.lexicon import tokens
from unihand_data.language.mirror_words import swap_left_right
from unihand_data.language.paraphrase import TEMPLATE_GRAMMAR, Paraphraser, augment_rows
from unihand_data.language.paraphrase_check import refused
from unihand_data.shards.rows import LanguageRow


@pytest.mark.parametrize(
    ("text", "paraphrase"),
    [
        ("Pick up the red cup with the left hand.", "With your left hand, grab the red cup."),
        ("Turn the knob clockwise", "Rotate the knob in a clockwise direction"),
        ("Turn it anti-clockwise", "Rotate it counterclockwise"),
        ("Cut two onions", "Slice 2 onions"),
        ("Open the drawer", "Pull the drawer open"),
        ("Put the lid on the pot", "Place the lid onto the pot"),
        ("Take the bread out of the bag", "Remove the bread from the bag"),
        ("Stir the soup with a spoon", "Use a spoon to stir the soup"),
        ("Place the cup to the left of the plate", "Position the cup left of the plate"),
        ("Wash the dishes", "Wash each dish"),
    ],
)
def test_a_paraphrase_that_keeps_the_motion_is_allowed(text, paraphrase):
    assert refused(text, paraphrase) is None


@pytest.mark.parametrize(
    ("text", "paraphrase", "reason"),
    [
        ("Pick up the cup with the left hand", "Pick up the cup with the right hand", "hand"),
        ("Pick up the cup with the left hand", "Pick up the cup", "hand"),
        ("Pick up the cup", "Pick up the cup with both hands", "hand"),
        ("Hold it with both hands", "Hold it", "hand"),
        ("Move the box to the left", "Move the box to the right", "hand"),
        ("Push it forward", "Push it backward", "direction"),
        ("Put it in the upper drawer", "Put it in the lower drawer", "direction"),
        ("Move the left hand up", "Move the left hand down", "direction"),
        ("Turn the knob clockwise", "Turn the knob counter-clockwise", "turn"),
        ("Turn the knob clockwise", "Turn the knob", "turn"),
        ("Cut two onions", "Cut three onions", "number"),
        ("Move 12 cm up", "Move 2 cm up", "number"),
        ("Pour 1.5 l of water", "Pour 15 l of water", "number"),
        ("Stir twice", "Stir", "number"),
        ("Pick up the red cup", "Pick up the red mug", "object"),
        ("Pick up the red cup", "Pick up the blue cup", "object"),
        ("Stir the soup", "Stir the hot soup with a spoon", "object"),
        ("Press the button", "Press the", "object"),
        ("Open the drawer", "Close the drawer", "verb"),
        ("Tighten the screw", "Loosen the screw", "verb"),
        ("Open it", "", "empty"),
        ("Open it", "Please " * 40 + "open it", "length"),
    ],
)
def test_a_paraphrase_that_changes_the_motion_is_refused_with_the_class(text, paraphrase, reason):
    assert refused(text, paraphrase).startswith(reason)


SENTENCES = [
    "Pick up the red cup with the left hand.",
    "The right hand moves up and to the left by about 12 cm.",
    "Put on the gloves",
    "Turn the page",
    "The camera wearer turns the valve counterclockwise",
    "Both hands stay still.",
    "USB stick is plugged in",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_the_grammar_keeps_the_meaning_and_mirrors(text):
    found = list(variants(text))
    assert len(found) >= 5
    assert len({w for _, w in found}) == len(found)
    for _, wording in found:
        assert refused(text, wording) is None
        assert swap_left_right(swap_left_right(wording)) == wording
        assert refused(swap_left_right(text), swap_left_right(wording)) is None


@pytest.mark.parametrize("text", ["", "What is this?", "Stop. Now go.", "把杯子放下", "a\nb"])
def test_the_grammar_leaves_alone_what_is_not_one_plain_sentence(text):
    assert list(variants(text)) == []


def test_without_a_model_rows_say_that_the_template_grammar_worded_them():
    rows = [LanguageRow("instruction", 0, 1, t, "left", "narration") for t in SENTENCES[:2]]
    worded = Paraphraser(LanguageSettings()).paraphrase(r.text for r in rows)
    out = augment_rows(rows, worded)
    assert [r.paraphrase_id for r in out] == [0, 1, 2, 0, 1, 2]
    assert all(r.model == TEMPLATE_GRAMMAR and r.template_id for r in out if r.paraphrase_id)
    assert {(r.t0, r.t1, r.hand, r.text_source) for r in out} == {(0, 1, "left", "narration")}


def test_the_same_text_gets_the_same_paraphrases_in_every_run():
    one, two = (Paraphraser(LanguageSettings()).paraphrase(SENTENCES) for _ in range(2))
    assert one == two


@pytest.fixture
def model(gemini):
    made = []

    def make(**extra):
        settings = LanguageSettings(
            backend="gemini", model="gemini-3.5-flash-lite", base_url=gemini.url,
            paraphrase={"use_model": True, "per_text": 2},
            retry={"attempts": 1}, **extra,
        )  # fmt: skip
        made.append(Annotator(build_client(settings, api_key="k"), settings))
        return settings, made[-1]

    yield make
    for annotator in made:
        annotator.close()


def test_a_models_proposals_are_checked_deduplicated_and_paid_once_per_string(gemini, model, replies):
    answer = {"0": ["Shut the lid."], "1": ["Grab the cup.", "grab the cup", "Grab the mug.", "Take the cup."]}
    gemini.script = [(200, replies.gemini(json.dumps(answer)))]
    settings, annotator = model()
    cache = AnswerCache()
    paraphraser = Paraphraser(settings, annotator, cache)
    texts = ["Pick up the cup.", "Close the lid."]
    worded = paraphraser.paraphrase(texts * 50)
    assert [p.text for p in worded["Pick up the cup."]] == ["Grab the cup.", "Take the cup."]
    # where the model brought too few, the grammar fills up, and says so
    assert [p.model for p in worded["Close the lid."]] == ["gemini-3.5-flash-lite", TEMPLATE_GRAMMAR]
    assert paraphraser.refused_count["object"] == 1
    Paraphraser(settings, annotator, cache).paraphrase(texts)
    assert len(gemini.calls(":generateContent")) == 1


@pytest.mark.parametrize("text", ["nothing", '{"0": "a string"}', "[1]"])
def test_an_unreadable_answer_leaves_the_grammar_in_charge(gemini, model, replies, text):
    gemini.script = [(200, replies.gemini(text))]
    settings, annotator = model()
    (found,) = Paraphraser(settings, annotator, AnswerCache()).paraphrase(["Pick up the cup."]).values()
    assert [p.model for p in found] == [TEMPLATE_GRAMMAR] * 2


def test_a_spent_budget_leaves_the_grammar_in_charge(gemini, model):
    settings, annotator = model(budget=0.0)
    (found,) = Paraphraser(settings, annotator, AnswerCache()).paraphrase(["Pick up the cup."]).values()
    assert [p.model for p in found] == [TEMPLATE_GRAMMAR] * 2
    assert gemini.calls(":generateContent") == []


def test_object_nouns_that_people_annotated_are_protected():
    # the data set lists the nouns of each narration; words that are also a side or a hand are protected as such
    total = found = 0
    with open(sample("epic_kitchens_100_annotations", "EPIC_100_validation.csv")) as file:
        rows = {r["narration"]: ast.literal_eval(r["all_nouns"]) for r in csv.DictReader(file)}
    for text, nouns in rows.items():
        words = tokens(text)
        for noun in (w for n in nouns for w in n.split(":") if w in words):
            total += 1
            found += (refused(text, re.sub(rf"\b{noun}\b", "", text)) or "").startswith("object")
    assert total > 5000
    assert found / total > 0.95

"""Question templates in the query-answer form."""

import pytest

from unihand_data.language.mirror_words import swap_left_right
from unihand_data.language.templates import (
    TEMPLATES,
    pick_template,
    render,
    templates_of,
    without_placeholders,
)

TASKS = ("motion_generation", "motion_continuation", "motion_description")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_several_templates_and_all_of_them_are_used(task):
    all_of = {t.template_id for t in templates_of(task)}
    assert len(all_of) >= 5
    assert {pick_template(task, str(k)).template_id for k in range(300)} == all_of


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_given_and_predicted_segments_are_those_of_the_task(template):
    assert template.question.startswith("<vision><state>")
    assert ("<action>" in template.question) == (template.task != "motion_generation")
    assert template.answer == ("{text}" if template.task == "motion_description" else "<action>")


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_mirrored_sentence_gives_the_mirrored_question(template):
    text, hand = "Pick up the cup on the left with the right hand", "right"
    question, answer = render(template.template_id, text, hand=hand)
    mirrored = render(template.template_id, swap_left_right(text), hand="left")
    assert (swap_left_right(question), swap_left_right(answer)) == mirrored


def test_the_sentence_is_set_in_as_it_is_even_with_braces():
    question, _ = render("qa-v1/gen-00", "press {text} and {hands}", hand="left")
    assert "press {text} and {hands}." in question
    assert "left hand" in question


def test_a_description_answers_with_the_sentence_and_does_not_give_it_away():
    question, answer = render("qa-v1/des-00", "Cut the onion")
    assert answer == "Cut the onion"
    assert "onion" not in question


def test_samples_without_a_sentence_get_templates_that_need_none():
    for task in TASKS[:2]:
        template = pick_template(task, "x", has_text=False)
        assert not template.needs_text
        assert "{" not in render(template.template_id)[0]
    with pytest.raises(ValueError, match="needs a sentence"):
        render("qa-v1/gen-00")
    with pytest.raises(ValueError, match="needs a sentence"):
        render("qa-v1/des-00")


def test_unknown_tasks_and_ids_are_errors_that_name_them():
    with pytest.raises(KeyError, match="vision_text"):
        pick_template("vision_text", "k")
    with pytest.raises(KeyError, match="qa-v0/x"):
        render("qa-v0/x", "text")


def test_published_wordings_do_not_change():
    # ids are stored in shards: this sentence may only change together with a new id
    assert TEMPLATES["qa-v1/gen-00"].question == (
        "<vision><state>Instruction: {instruction} What motion of the {hands} carries it out?"
    )
    assert TEMPLATES["qa-v1/des-03"].question == "<vision><state><action>Which instruction would lead to this motion?"


def test_what_is_counted_as_text_holds_no_placeholder_of_another_modality():
    question, answer = render("qa-v1/con-01", "Open the lid")
    assert without_placeholders(question) == "Open the lid. The motion up to now is given. Continue it."
    assert without_placeholders(answer) == ""

"""Sentences of RLDS episodes and the presence flags of their cameras."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.errors import Reason
from unihand_data.sources.robot.readers.rlds_words import Language, words_of


def said(values, spec=None, steps=4):
    texts, losses = words_of({"language_instruction": values}, {}, steps, spec or Language(), "here")
    return [(t.text, t.level, t.start, t.stop) for t in texts], [r.reason for r in losses]


def test_sentences_from_byte_strings():
    assert said([b"open", b"open", b"close", b""]) == ([("open", "task", 0, 2), ("close", "task", 2, 3)], [])
    assert said([b" "] * 4) == ([], [Reason.NO_TEXT])
    assert said([b"\xff\xfe"] * 4)[1] == [Reason.WRONG_TYPE]
    assert said([b"open"] * 3)[1] == [Reason.CONTRADICTION]
    assert said([b"x" * 9999] * 4)[1] == [Reason.OVERLENGTH]
    assert said([b"None"] * 4, Language(skip=["None"])) == ([], [Reason.NO_TEXT])
    assert said([b""] * 4, Language(task="pour"))[0] == [("pour", "task", 0, 4)]


def test_parts_of_a_sentence_have_levels():
    spec = Language(separator="@", parts=["task", None, "subtask"])
    assert said(["tidy@好@pick".encode()] * 4, spec)[0] == [("tidy", "task", 0, 4), ("pick", "subtask", 0, 4)]
    assert said([b"tidy up"] * 4, spec)[0] == [("tidy up", "task", 0, 4)]


@pytest.mark.parametrize("points", [[0xD800, 1, 0], [-3, 0, 0], [2**31 - 1, 0, 0]])
def test_code_points_that_are_no_characters_are_a_loss(points):
    spec = Language(columns={}, code_points={"said": "task"})
    _, losses = words_of({}, {"said": np.array([points] * 2)}, 2, spec, "here")
    assert [r.reason for r in losses] == [Reason.WRONG_TYPE]


@pytest.mark.parametrize(
    ("flags", "expected"), [((1, 0), {"a": True, "b": False}), ((0, 0), {}), ((1, 1), {"a": True, "b": True})]
)
def test_presence_flags_that_all_say_no_say_nothing(flags, expected):
    from types import SimpleNamespace

    from unihand_data.jobs.robot_stages import _present

    spec = SimpleNamespace(views=[SimpleNamespace(present=k) for k in "ab"])
    episode = SimpleNamespace(columns={k: np.full((3, 1), f) for k, f in zip("ab", flags)})
    assert _present(spec, episode) == expected

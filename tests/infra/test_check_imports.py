"""The import rule itself: it has no cycle, and finds what it is for."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def rule(script):
    return script("tests/check_imports.py")


def test_rooms_depend_one_way(rule):
    assert rule.cycle(rule.ALLOWED) == []
    seen = set()
    for room, may in rule.ALLOWED.items():
        assert may <= seen, f"{room} stands before {sorted(may - seen)}"
        seen.add(room)


@pytest.mark.parametrize(
    ("allowed", "found"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"]),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, ["b", "c", "d", "b"]),
        ({"a": {"a"}}, ["a", "a"]),
    ],
)
def test_a_cycle_is_found_and_told_in_the_order_of_its_imports(rule, allowed, found):
    assert rule.cycle(allowed) == found


def test_a_wrong_import_is_told_with_file_and_line_and_so_is_an_unknown_room(rule, tmp_path):
    for name, text in {
        "video/a.py": "import os\nfrom unihand_data.hands import ik\n",
        "hands/b.py": "from unihand_data.video import decode\n",
        "attic/c.py": "",
        "space/d.py": "import pandas\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    said = rule.violations(tmp_path)
    assert [line.split(": ", 1)[1] for line in said] == [
        "room attic is not in ALLOWED of tests/check_imports.py",
        "space imports only numpy, scipy, yaml, not pandas",
        "video must not import unihand_data.hands",
    ]
    assert "video/a.py:2" in said[2]

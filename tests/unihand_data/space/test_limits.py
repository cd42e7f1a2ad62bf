"""What nobody published is null in the files, and listed: in the docs and by a command."""

from __future__ import annotations

from pathlib import Path

from unihand_data import pages
from unihand_data.space import available, limits, load_embodiment

ROOT = Path(__file__).resolve().parents[3]


def test_the_docs_list_the_unknown_limits_of_every_robot_as_the_files_have_them():
    page = (ROOT / "docs/space.md").read_text(encoding="utf-8")
    assert pages.filled(page, limits.parts()) == page, "python -m unihand_data.space.limits docs/space.md writes it"
    for name in available():
        assert (f"| `{name}` | " in limits.markdown()) == (load_embodiment(name).domain == "robot")


def test_runs_of_numbered_slots_are_said_together_and_both_kinds_once():
    said = limits.unknown_words(load_embodiment("gr1"))
    assert said == "state and action: left_arm_1..7, right_arm_1..7"
    assert limits.unknown_words(load_embodiment("kinova_jaco")).startswith(
        "state and action: right_arm_1, right_arm_3, "
    )
    assert limits.unknown_words(load_embodiment("g1_o6")) == ""


def test_known_and_unknown_limits_add_up():
    gr1 = load_embodiment("gr1")
    assert limits.bounded(gr1) - len(gr1.unknown_limits()) == sum(
        limit is not None for kind in ("state", "action") for limit in gr1.limits(kind).values()
    )

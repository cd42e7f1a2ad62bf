"""The paper's tables as data, and the embodiment files they point to."""

import re

import pytest

from unihand_data.space import available, load_embodiment, tables


def test_table_1_has_thirty_rows_that_sum_to_the_printed_total():
    rows = tables.table1()
    assert len(rows) == 30
    assert len({r.robot for r in rows}) == len({r.embodiment for r in rows}) == 30
    assert sum(r.hours for r in rows) == pytest.approx(13817.4, abs=0.05)
    assert min(r.hours for r in rows) >= tables.embodiment_from_hours()
    assert {r.group for r in rows} == set(tables.GROUPS_OF_ROBOTS)


@pytest.mark.parametrize("row", tables.table1(), ids=lambda r: r.embodiment)
def test_every_row_of_table_1_has_its_embodiment_file(row):
    robot = load_embodiment(row.embodiment)
    groups = {g for kind in ("state", "action") for g in _groups(robot, kind)}
    # a gripper or a hand where the table says so; hands without published drives are declared unmapped
    if "gripper" in row.eef:
        assert groups & {"right_gripper", "left_gripper"}
    if "dexterous" in row.eef:
        assert groups & {"right_hand", "left_hand"} or any("hand" in n for n in robot.unmapped("state"))
    if row.arms == 2:
        assert {"left_arm", "right_arm"} <= groups
    if row.source == ("real",):
        assert robot.origin in ("real", None)
    if robot.name not in ("d1", "so101", "adam_u", "widowx"):  # written from Table 2 and Bridge, whose cameras differ
        assert {c.view for c in robot.cameras} == set(row.views)


def _groups(robot, kind):
    from unihand_data.space import SLOTS

    return {SLOTS[s].group for s in robot.slots(kind)}


def test_the_printed_views_and_ours_count_the_same_cameras():
    for row in tables.table1():
        printed = row.printed_views.replace("{ego, wrist} x2", "ego, wrist x2")  # two robots' heads, two wrists each
        counts = [int(m[1]) if (m := re.search(r"x(\d)$", w.strip())) else 1 for w in printed.split(",")]
        assert len(row.views) == sum(counts), row.robot


def test_table_2_robots_have_the_degrees_of_freedom_of_their_files():
    for row in tables.table2():
        assert len(load_embodiment(row.embodiment).columns("action")) == row.dof


def test_totals_and_shares_are_the_papers():
    parts = [tables.total(d) for d in ("human", "robot", "vision_text")]
    assert sum(p.hours for p in parts) == tables.total("all").hours == 35_000
    assert sum(p.tokens for p in parts) == pytest.approx(tables.total("all").tokens, rel=0.02)  # printed: 120 B
    assert tables.total("robot").frames == pytest.approx(14_000 * 3600 * 30, rel=0.01)
    assert tables.share("simulation") == 0.26


def test_a_robot_outside_the_table_has_no_row():
    assert tables.row_of("franka").hours == 2196.4
    assert tables.row_of("libero") is None


def test_limits_are_pairs_in_order_or_honestly_unknown():
    for name in available():
        robot = load_embodiment(name)
        for kind in ("state", "action"):
            for slot, limit in robot.limits(kind).items():
                assert limit is None or limit[0] < limit[1], (name, kind, slot)
    assert "state.right_arm_1" in load_embodiment("dlr_sara").unknown_limits()
    assert "state.right_arm_1" not in load_embodiment("franka").unknown_limits()

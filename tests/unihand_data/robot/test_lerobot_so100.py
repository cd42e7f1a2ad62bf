"""The unit of SO-100 and SO-101 sets is decided from the data, with its evidence, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from unihand_data.curate.robot import so100
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.errors import DatasetRefused
from unihand_data.jobs.robot_sets import judged
from unihand_data.sources.listing import list_files
from unihand_data.sources.robot.generate import lerobot_sets
from unihand_data.sources.robot.generate.lerobot_sets import generate
from unihand_data.sources.robot.registry import find, open_robot, proposal
from unihand_data.sources.robot.so100_units import Figures, classify
from unihand_data.sources.robot.spec import load_spec

MAIN = tuple(
    f"main_{j}" for j in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
)
POS = tuple(f"{j.removeprefix('main_')}.pos" for j in MAIN)
PLAIN = tuple(f"joint_{i}" for i in range(6))


def figures(low, high, mean):
    return Figures(np.array([*low, 0.0]), np.array([*high, 100.0]), np.array([*mean, 13.0]))


@pytest.mark.parametrize(
    ("low", "high", "mean", "names", "regime"),
    [
        # pooled means of the public sets (lift 124, elbow 121, flex 56, roll -12)
        ([-60, 30, 40, -20, -90], [60, 190, 180, 100, 90], [3, 124, 121, 56, -12], MAIN, "old_degrees"),
        ([-60, 30, 40, -20, -90], [60, 190, 180, 100, 90], [3, 124, 121, 56, -12], PLAIN, "old_degrees"),
        ([-30, 30, 40, 10, -10], [30, 99, 95, 60, 20], [3, 70, 80, 40, 0], MAIN, "old_degrees"),
        ([-40, -104, -20, -30, -90], [40, 40, 98, 90, 110], [3, -50, 60, 30, 5], POS, "degrees"),
        ([-40, -100, -20, -30, -90], [40, 40, 98, 90, 100], [3, -50, 60, 30, 5], POS, "normalised"),
        ([-40, -98, -20, -30, -90], [40, 40, 98, 90, 88], [3, -50, 60, 30, 5], POS, "ambiguous"),
        ([-40, -98, -20, -30, -90], [40, 40, 98, 90, 88], [3, -50, 60, 30, 5], PLAIN, "ambiguous"),
        ([-1, -1.7, -1, -1, -2], [1, 0.5, 1.6, 1, 2], [0, -0.9, 0.7, 0.4, 0], PLAIN, "radians"),
        ([-1, -1.7, -1, -1, -2], [1, 0.5, 1.6, 1, 2], [0, -0.9, 0.7, 0.4, 0], MAIN, "radians"),
        ([1500, 900, 1000, 1900, 1000], [2600, 2400, 3000, 3000, 3000], [2048] * 5, PLAIN, "ticks"),
        ([0, 0, 0, 0, np.nan], [1, 1, 1, 1, np.nan], [0, 0, 0, 0, np.nan], POS, "ambiguous"),
    ],
)
def test_regimes(low, high, mean, names, regime):
    verdict = classify(figures(low, high, mean), names)
    assert verdict.regime == regime
    assert verdict.evidence.startswith("units of the joints:")


def so(tmp_path, change, name="so101_degrees", version="v3.0", robot=None):
    """A set whose joints are changed by ``change`` before anything is computed from them."""

    def episode(e):
        for column in ("observation.state", "action"):
            e.columns[column][:, :5] = change(e.columns[column][:, :5])

    def info(raw):
        raw["robot_type"] = robot or raw["robot_type"]

    generate(name, tmp_path, steps=40, version=version, edit_episode=episode, edit_info=info)
    (found,) = find(str(tmp_path), list_files(str(tmp_path)))
    return found


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_the_statistics_of_every_version_tell_the_unit(tmp_path, version):
    found = so(tmp_path, lambda x: x, version=version)
    assert found.layout == "so100_degrees"
    assert "largest value" in found.note


def test_without_statistics_the_rows_tell(tmp_path):
    so(tmp_path, lambda x: x)
    (tmp_path / "meta" / "stats.json").unlink()
    (found,) = find(str(tmp_path), list_files(str(tmp_path)))
    assert found.layout == "so100_degrees"


@pytest.mark.parametrize("scale", ["ambiguous", "ticks"])
def test_a_unit_that_nothing_tells_is_refused_with_the_evidence(tmp_path, scale):
    change = {
        "ambiguous": lambda x: 0.5 * x,
        "ticks": lambda x: 2048 + 10 * x,
    }[scale]
    found = so(tmp_path, change)
    assert found.layout == f"so100_{scale}"
    with pytest.raises(DatasetRefused, match="units of the joints: largest value") as caught:
        open_robot(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "units of the joints" in proposal(found)


def findings(folder, name="so101_degrees"):
    source = open_robot(str(folder), name)
    return so100.so100_units(load_spec(name), [source.open(item)[1] for item in source.items()])


def test_a_person_may_decide_what_is_ambiguous(tmp_path):
    so(tmp_path, lambda x: 0.5 * x)
    (finding,) = findings(tmp_path)
    assert finding.verdict == "not_checked"


def test_a_wrong_file_is_contradicted_by_the_rows_with_the_evidence(tmp_path):
    so(tmp_path, lambda x: np.radians(x))
    (finding,) = findings(tmp_path)
    assert finding.verdict == "contradicts"
    assert "declares degrees, the rows say radians" in finding.text
    assert "largest value" in finding.text


def test_the_job_refuses_a_wrong_file_before_it_begins(tmp_path):
    so(tmp_path, lambda x: np.radians(x))
    with pytest.raises(DatasetRefused, match="so100_units: the file declares degrees, the rows say radians"):
        judged(open_robot(str(tmp_path), "so101_degrees"), CheckSettings())


def test_other_robots_have_no_such_unit(tmp_path):
    found = so(tmp_path, lambda x: x, robot="koch")
    assert (found.layout, found.note) == ("", "")
    assert so100.so100_units(load_spec("gr00t_gr1"), []) == []


@pytest.mark.parametrize(
    "robot", ["so100", "so101", "so100_follower", "so101_follower", "so-100", "SO100", "so_follower"]
)
def test_the_robot_is_known_under_its_names(robot):
    from unihand_data.sources.robot.so100_units import ROBOTS

    assert ROBOTS.fullmatch(robot)
    assert not ROBOTS.fullmatch("bi_so100_follower")
    assert "so100_radians" in lerobot_sets.PLANS

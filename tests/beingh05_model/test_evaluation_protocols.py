"""Numbers of the benchmarks against their sources, and what goes in and out of their environments, by hand."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from beingh05_model.cli import main
from beingh05_model.evaluation.ledger import Ledger
from beingh05_model.evaluation.protocols import libero, robocasa
from beingh05_model.evaluation.protocols.robosuite import NotInstalled, upright
from beingh05_model.evaluation.rollout import Episode, Outcome, by_group
from unihand_data.errors import DatasetRefused
from unihand_data.space import load_embodiment


def test_libero_is_fifty_trials_of_ten_tasks_of_four_suites():
    """Steps: 220, 280, 300, 520, 400 for spatial, object, goal, 10, 90 (the release's script and openpi's)."""
    episodes = libero.LiberoProtocol().episodes()
    assert len(episodes) == 4 * 10 * 50
    assert {e.task.split("/")[0]: e.max_steps for e in episodes} == {
        "libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520,
    }  # fmt: skip
    assert len(libero.LiberoProtocol(suites=["libero_90"], trials=1).episodes()) == 90
    assert libero.MAX_STEPS["libero_90"] == 400
    p = libero.LiberoProtocol()
    assert (p.warm_up, p.execute, p.pixels, p.seed) == (10, 8, 512, 41)
    o = libero.LiberoProtocol(**libero.PRESETS["openpi"])
    assert (o.warm_up, o.execute, o.pixels, {e.seed for e in o.episodes()}) == (10, 5, 256, {7})


def test_seeds_run_with_the_episode_of_a_suite_and_do_not_depend_on_what_is_left_out():
    whole = libero.LiberoProtocol(trials=3).episodes()
    assert [e.seed for e in whole[:7]] == [41, 42, 43, 44, 45, 46, 47]
    assert {e.seed for e in whole if e.task.endswith("/0") and e.trial == 0} == {41}
    part = libero.LiberoProtocol(trials=3, tasks=[4, 7], suites=["libero_goal"]).episodes()
    assert part == [e for e in whole if e.task in ("libero_goal/4", "libero_goal/7")]
    kitchen = robocasa.RobocasaProtocol(trials=5)
    some = robocasa.RobocasaProtocol(trials=5, tasks=["CloseDrawer"]).episodes()
    assert some == [e for e in kitchen.episodes() if e.task == "CloseDrawer"]
    assert len({e.seed for e in kitchen.episodes()}) == 24 * 5


def test_robocasa_is_24_tasks_whose_groups_give_the_papers_averages():
    """Table 5: specialist 36, 71.7, 57.6 and 53.9 on average; generalist 40, 73, 52 and 53.3."""
    sizes = [len(tasks) for tasks in robocasa.CATEGORIES.values()]
    assert sizes == [8, 6, 10]
    assert len(set(robocasa.TASKS)) == 24
    for means, average in (((36, 71.7, 57.6), 53.9), ((40, 73, 52), 53.3)):
        assert np.average(means, weights=sizes) == pytest.approx(average, abs=0.06)
    p = robocasa.RobocasaProtocol()
    assert len(p.episodes()) == 1200
    assert (p.max_steps, p.execute, p.pixels, p.objects, len(p.scenes)) == (720, 8, 512, "B", 5)
    assert {libero.category(e.task) for e in libero.LiberoProtocol().episodes()} == set(libero.LiberoProtocol().suites)
    with pytest.raises(ValueError, match="NavigateKitchen"):
        robocasa.RobocasaProtocol(tasks=["NavigateKitchen"])
    outcomes = [Outcome(t, 0, 0, t.startswith("PnP"), 5, 1) for t in robocasa.TASKS if t != "TurnOnStove"]
    found = by_group(outcomes, robocasa.category)
    assert {name: (c["value"], c["n"]) for name, c in found.items()} == {
        "pick and place": (1.0, 8), "doors and drawers": (0.0, 6), "others": (0.0, 9),
    }  # fmt: skip


def corner(height=4, width=6):
    """A picture whose top left pixel, the right way up, is red."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[0, 0] = 255, 0, 0
    return picture


QUAT = Rotation.from_euler("xyz", [0.3, -1.2, 0.5]).as_quat()  # xyzw, as robosuite gives it


@pytest.mark.parametrize("name", ["libero", "libero_release"])
def test_a_libero_observation_is_turned_by_180_degrees_and_its_state_in_its_slots(name):
    raw = {
        "agentview_image": corner()[::-1, ::-1],
        "robot0_eye_in_hand_image": corner(3, 3)[::-1, ::-1],
        "robot0_eef_pos": np.array([0.1, -0.2, 0.9]),
        "robot0_eef_quat": QUAT,
        "robot0_gripper_qpos": np.array([0.02, -0.021]),
    }
    seen = libero.observed(load_embodiment(name), raw, "put the bowl on the plate")
    assert list(seen.pictures) == ["third_1", "wrist_right"]
    assert np.array_equal(seen.pictures["third_1"], corner())
    assert np.array_equal(seen.pictures["wrist_right"], corner(3, 3))
    assert np.allclose(seen.state[:6], [0.1, -0.2, 0.9, *Rotation.from_quat(QUAT).as_rotvec()], atol=1e-6)
    assert np.allclose(seen.state[44:46], [0.02, -0.021])
    assert np.flatnonzero(seen.known).tolist() == [0, 1, 2, 3, 4, 5, 44, 45]
    assert (seen.instruction, seen.embodiment) == ("put the bowl on the plate", name)


def test_a_step_is_sent_to_libero_in_units_of_its_controller_with_its_gripper_sign():
    """OSC_POSE: 1 is 0.05 m and 0.5 rad per step; the gripper -1 opens, 1 closes."""
    action = np.zeros(200)
    action[:6] = 0.01, -0.025, 0.2, 0.1, 0, -0.5
    action[18] = 1.0  # open
    assert libero.row(load_embodiment("libero"), action) == pytest.approx([0.2, -0.5, 1, 0.2, 0, -1, -1])
    action[:6] = 0.3, -0.5, 1.4, 0.1, 0, -0.9  # controller units already
    released = load_embodiment("libero_release")
    assert libero.row(released, action) == pytest.approx([0.3, -0.5, 1, 0.1, 0, -0.9, -1])
    action[18] = 0.3
    assert libero.row(released, action)[6] == pytest.approx(0.4)
    assert libero.row(released, action, binary_gripper=True)[6] == 1


def kitchen(**more):
    image = {f"{name}_image": corner()[::-1] for name in robocasa.CAMERAS}
    return {
        **image,
        "robot0_base_to_eef_pos": np.array([0.4, 0.1, 0.6]),
        "robot0_base_to_eef_quat": QUAT,
        "robot0_gripper_qpos": np.array([0.02, -0.02]),
        "robot0_base_pos": np.array([1.0, 2.0, 0.7]),
        "robot0_base_quat": np.array([0.0, 0.0, 1.0, 0.0]),
        **more,
    }


@pytest.mark.parametrize("name", ["robocasa", "robocasa_release"])
def test_a_robocasa_observation_is_flipped_only(name):
    seen = robocasa.observed(load_embodiment(name), kitchen(), "open the drawer")
    assert list(seen.pictures) == ["third_1", "third_2", "wrist_right"]
    assert all(np.array_equal(p, corner()) for p in seen.pictures.values())
    assert np.allclose(seen.state[:6], [0.4, 0.1, 0.6, *Rotation.from_quat(QUAT).as_rotvec()], atol=1e-6)
    assert np.allclose(seen.state[70:73], [1, 2, 0.7])
    if name == "robocasa_release":  # wxyz of the numbers 0 0 1 0 is a half turn about y
        assert np.allclose(np.abs(seen.state[73:76]), [0, np.pi, 0], atol=1e-6)
    else:
        assert not seen.known[73:76].any()


def test_a_step_is_sent_to_robocasa_as_arm_gripper_base_and_mode():
    action = np.zeros(200)
    action[:6] = 0.05, 0, -0.025, 0, 0.25, 0
    assert robocasa.row(load_embodiment("robocasa"), action) == pytest.approx(
        [1, 0, -0.5, 0, 0.5, 0, 1, 0, 0, 0, 0, -1]
    )
    action[:6] = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6
    action[18], action[70:74], action[74] = 1, (0.1, -0.2, 0.3, 0.4), 1
    sent = robocasa.row(load_embodiment("robocasa_release"), action)
    assert sent == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1, 0.1, -0.2, 0.3, 0.4, 1])
    action[74] = 0
    assert robocasa.row(load_embodiment("robocasa_release"), action)[-1] == -1


def test_every_shipped_turn_of_a_camera_is_known():
    for name in ("libero", "libero_release", "robocasa", "robocasa_release", "metaworld"):
        for camera in load_embodiment(name).cameras:
            assert upright(corner(), camera.turn).shape == (4, 6, 3)


class Recorded:
    """Stands where LIBERO's environment does in its documented interface, and writes down what is asked of it."""

    def __init__(self, **options):
        self.options, self.log, self.closed = options, [], False

    def seed(self, seed):
        self.log.append(("seed", seed))

    def reset(self):
        self.log.append("reset")

    def set_init_state(self, state):
        self.log.append(("state", float(state[0])))
        return self._raw()

    def step(self, command):
        self.log.append(("step", tuple(command)))
        return self._raw(), 0.0, False, {}

    def check_success(self):
        return sum(e[0] == "step" for e in self.log) >= 12

    def close(self):
        self.closed = True

    @staticmethod
    def _raw():
        image = {name: corner() for name in libero.CAMERAS}
        return {**image, "robot0_eef_pos": np.zeros(3), "robot0_eef_quat": QUAT, "robot0_gripper_qpos": np.zeros(2)}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A LIBERO of the documented form: configuration, stored states, modules."""
    for name in ("bddl_files", "init_states", "assets"):
        (tmp_path / name / "libero_goal").mkdir(parents=True)
        (tmp_path / name / "libero_goal" / "a").touch()
    torch.save(np.arange(50.0)[:, None] + np.zeros((50, 9)), tmp_path / "init_states/libero_goal/open.pruned_init")
    paths = "\n".join(f"{n}: {tmp_path / n}" for n in ("bddl_files", "init_states", "assets"))
    (tmp_path / "config.yaml").write_text(paths)
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    task = SimpleNamespace(
        language="open the drawer",
        problem_folder="libero_goal",
        bddl_file="o.bddl",
        init_states_file="open.pruned_init",
    )
    suite = SimpleNamespace(
        get_benchmark_dict=lambda: {"libero_goal": lambda: SimpleNamespace(get_task=lambda i: task)}
    )
    modules = {
        "libero": SimpleNamespace(), "libero.libero": SimpleNamespace(benchmark=suite),
        "libero.libero.envs": SimpleNamespace(OffScreenRenderEnv=Recorded),
    }  # fmt: skip
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = libero.importlib.util.find_spec
    here = ("libero", "robosuite", "bddl")
    monkeypatch.setattr(libero.importlib.util, "find_spec", lambda n: object() if n in here else found(n))
    return tmp_path


def test_the_libero_simulator_seeds_restores_and_waits_before_a_policy_acts(installed):
    simulator = libero.LiberoProtocol().make("libero_goal/3")
    env = simulator._env
    assert env.options["camera_heights"] == env.options["camera_widths"] == 512
    simulator.reset(57, 6)
    assert env.log[:4] == [("seed", 0), ("seed", 57), "reset", ("state", 6.0)]
    assert env.log[4:] == [("step", (0, 0, 0, 0, 0, 0, -1))] * 10
    assert not simulator.success
    assert simulator.observe().instruction == "open the drawer"
    action = np.zeros(200)
    action[0], action[18] = 0.025, 0
    for _ in range(2):
        simulator.step(action)
    assert env.log[-1] == ("step", (0.5, 0, 0, 0, 0, 0, 1))
    assert simulator.success
    simulator.close()
    assert env.closed
    once = libero.LiberoProtocol(**libero.PRESETS["openpi"]).make("libero_goal/3")
    once.reset(7, 0)
    assert [e for e in once._env.log if e[0] == "seed"] == [("seed", 7)]


def test_what_is_missing_is_said_in_a_sentence_before_anything_is_imported(installed, monkeypatch, capsys):
    libero.check_installed()
    (installed / "assets/libero_goal/a").unlink()
    (installed / "assets/libero_goal").rmdir()
    with pytest.raises(NotInstalled, match="as assets"):
        libero.check_installed()
    (installed / "config.yaml").unlink()
    with pytest.raises(NotInstalled, match=r"config\.yaml is missing"):
        libero.check_installed()
    monkeypatch.undo()
    for kind, package in (("libero", "libero"), ("robocasa", "robocasa")):
        if libero.importlib.util.find_spec(package) is None:
            assert main(["eval", kind, "--checkpoint", "none"]) == 2
            assert f"no package {package}" in capsys.readouterr().err
    assert main(["eval", "libero", "--checkpoint", "none", "--set", "trials=51"]) == 2
    assert "trials" in capsys.readouterr().err


def test_stored_states_are_read_without_running_what_else_a_pickle_may_hold(tmp_path):
    states = np.random.default_rng(0).normal(size=(50, 7))
    torch.save(states, tmp_path / "a.init")
    assert np.array_equal(libero.initial_states(tmp_path / "a.init"), states)
    torch.save({"x": SimpleNamespace()}, tmp_path / "b.init")
    with pytest.raises(Exception, match="SimpleNamespace"):
        libero.initial_states(tmp_path / "b.init")


def test_an_evaluation_goes_on_where_it_was_stopped(tmp_path):
    plan = [Episode("a", 1, 9, 0), Episode("a", 2, 9, 1), Episode("b", 3, 9, 0)]
    outcomes = [Outcome(e.task, e.seed, e.trial, e.seed == 2, 5, 1) for e in plan]
    path = tmp_path / "out" / "ledger.jsonl"
    ledger = Ledger(path, {"protocol": {"trials": 2}})
    for outcome in outcomes[:2]:
        ledger.add(outcome)
    with path.open("a") as file:
        file.write('{"task": "b", "se')  # killed while writing
    again = Ledger(path, {"protocol": {"trials": 2}})
    assert again.left(plan) == plan[2:]
    again.add(outcomes[2])
    assert Ledger(path, {"protocol": {"trials": 2}}).of(plan) == outcomes
    with pytest.raises(DatasetRefused, match="another evaluation"):
        Ledger(path, {"protocol": {"trials": 3}})
    path.write_text("what\n")
    with pytest.raises(DatasetRefused, match="not a file of outcomes"):
        Ledger(path, {})

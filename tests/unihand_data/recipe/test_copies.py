"""Copies of episodes: which are one recording, which go, and that what is held out is held out in every form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st

from unihand_data.curate.robot.signature import STEP, TIMES, VERSION
from unihand_data.recipe.build import build
from unihand_data.recipe.motions import MotionReader
from unihand_data.recipe.near import copies, uploaded_again
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards.errors import ShardError

EEF, ARM, GRIP, TURN = "right_eef_position", "right_arm", "right_gripper", "right_eef_rotation"


def path(seed: int, way: float = 1.0, k: int = 3) -> np.ndarray:
    """(16, k) m, a smooth path of this length."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, TIMES)[:, None]
    x = sum(rng.normal(size=k) * np.sin(f * np.pi * t + rng.uniform(0, 6)) / f for f in (1, 2, 3))
    x = x - x[0]
    return x * way / np.linalg.norm(np.diff(x, axis=0), axis=1).sum()


def signed(paths: dict[str, np.ndarray], *, steps: int = 40, exact: str = "", recorded=None, **more):
    signature = {
        "version": VERSION, "steps": steps, "duration": steps / 20,
        "paths": {g: np.rint(p / STEP).astype(int).ravel().tolist() for g, p in paths.items()},
        "exact": {"eef": exact} if exact else {},
    }  # fmt: skip
    if recorded is not None:
        signature["recorded"] = np.rint(recorded / STEP).astype(int).ravel().tolist()
    return {"motion_signature": signature, **more}


def recipe_of(inputs, folder, **changes):
    return build(
        inputs, folder, RecipeSettings.model_validate({"robot_frame_share": None, **changes}), new_version=True
    )


def motions_of(*entries):
    """Of (source, embodiment, provenance) each."""
    import json

    reader = MotionReader()
    for row, (source, embodiment, provenance) in enumerate(entries):
        reader.add(row, embodiment, source, json.dumps(provenance), "here")
    return reader.result()


def near(*entries, distance: float = 0.02) -> list[tuple[int, int]]:
    a, b = copies(motions_of(*entries), distance, 0.05)[1]
    return list(zip(a.tolist(), b.tolist()))


def test_copies_across_directories_and_sources_are_taken_once(make, tmp_path):
    one = {EEF: path(1), GRIP: np.ones((TIMES, 1))}
    like = {EEF: path(1) + 0.002, GRIP: np.ones((TIMES, 1))}
    first = [
        make.episode("a", provenance=signed(one)),
        make.episode("b", provenance=signed(one)),  # same source: a repeated demonstration
        make.episode("c"),
    ]
    second = [
        make.episode("a2", source="copy", recording_id="rec-c"),  # a re-upload by recording
        make.episode("b2", source="copy", provenance=signed(like)),
        make.episode("d2", source="copy", provenance=signed({EEF: path(2)})),
        make.episode("e2", source="copy", embodiment="so101", provenance=signed(like)),
        make.episode("c"),
    ]
    inputs = [make.write(tmp_path / "one", first), make.write(tmp_path / "two", second)]
    found = recipe_of(inputs, tmp_path / "r")
    assert found["left_out"]["rows"] == {"near_duplicate": 1, "same_id": 1, "same_recording": 1}
    assert found["by_source"]["arm_set"]["taken"]["episodes"] == 3
    assert found["by_source"]["copy"]["taken"]["episodes"] == 2
    off = {"recordings": False, "near_distance": None, "conversations": False}
    assert recipe_of(inputs, tmp_path / "r", duplicates=off)["left_out"]["rows"] == {"same_id": 1}


def test_a_re_upload_into_the_same_directory_and_source_is_trained_on_once(make, tmp_path):
    """Its episode id differs by words or pictures; recording, robot, steps and numbers are those of the first."""
    said = signed({EEF: path(1)}, exact="0a")
    first = make.episode("a", recording_id="one", provenance=said)
    rows = [
        first,
        make.episode("a2", recording_id="one", provenance=said),
        make.episode("a3", recording_id="one", provenance=said, frames=60),
        make.episode("twin", recording_id="one", provenance=said, parent_id="first"),
        make.episode("other recording", provenance=said),  # the same numbers of the state, other raw numbers
        make.episode("other robot", recording_id="one", provenance=said, embodiment="so101"),
        make.episode("other numbers", recording_id="one", provenance=signed({EEF: path(1)}, exact="0b")),
        make.episode("longer", recording_id="one", provenance=signed({EEF: path(1)}, exact="0a", steps=41)),
        make.episode("no numbers", recording_id="one", provenance=signed({GRIP: path(1, k=1)})),
        make.episode("no numbers either", recording_id="one", provenance=signed({GRIP: path(1, k=1)})),
    ]
    for number, row in enumerate(rows):  # rows of a table are in the order of recordings and ids
        row.episode_id = f"{number:032x}"
    rows[3].parent_id = first.episode_id
    more = [
        make.episode(f"b{i}", source="elsewhere", provenance=signed({EEF: path(9 + i)}, exact="0c")) for i in (0, 1)
    ]
    one = make.write(tmp_path / "one", rows)
    two = make.write(tmp_path / "two", more)
    for inputs in ([one], [one, two], [two, one]):  # what else is there changes nothing of the choice
        found = recipe_of(inputs, tmp_path / "r")
        assert found["left_out"]["rows"] == {"same_recording": 2}
        assert found["by_source"]["arm_set"]["taken"]["episodes"] == 7
    off = recipe_of([one], tmp_path / "r", duplicates={"recordings": False})
    assert not off["left_out"]["rows"]


def test_a_re_upload_stays_where_the_first_is_left_out_and_goes_with_what_is_held_out(make, tmp_path):
    said = signed({EEF: path(1)}, exact="0a")

    def uploads(name: str, **of_first):
        return make.write(tmp_path / name, [make.episode(f"{name}1", recording_id=name, provenance=said, **of_first),
                                            make.episode(f"{name}2", recording_id=name, provenance=said)])  # fmt: skip

    inputs = [uploads("barred", licence="secret"), uploads("held", split="test")]
    found = recipe_of(inputs, tmp_path / "r", exclude_licences=["secret"], duplicates={"near_distance": None})
    assert found["left_out"]["rows"] == {"licence": 1, "split": 1, "held_out_copy": 1}


def test_episodes_that_re_draw_one_recording_are_no_re_uploads_of_each_other(make, tmp_path):
    rows = [
        make.episode(f"drawn{i}", source="redrawn", recording_id="one", embodiment="ur5e",
                     provenance=signed({EEF: path(1)}, exact="0a", facts={"split_group": "set/1"}))
        for i in (0, 1)
    ]  # fmt: skip
    assert not recipe_of([make.write(tmp_path / "d", rows)], tmp_path / "r")["left_out"]["rows"]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(["", "0a", "0b"])), max_size=12))
@running(max_examples=50, deadline=None)
def test_of_equal_uploads_exactly_the_first_stays(rows):
    entries = [("x", robot, signed({EEF: path(1)}, exact=exact)) for _, robot, exact in rows]
    recording = np.array([number for number, _, _ in rows], "u8")
    found = uploaded_again(motions_of(*entries), recording, np.ones(len(rows), bool)) if rows else []
    assert sorted(found) == [i for i, row in enumerate(rows) if row[2] and row in rows[:i]]


def test_containers_of_one_data_set_are_compared_and_demonstrations_within_one_are_not():
    motion = signed({EEF: path(1)})
    rlds, lerobot = ({**motion, "dataset_file": name} for name in ("bridge_rlds", "bridge_lerobot"))
    assert near(("bridge", "widowx", rlds), ("bridge", "widowx", lerobot)) == [(0, 1)]
    assert near(("bridge", "widowx", rlds), ("bridge", "widowx", rlds)) == []


@pytest.mark.parametrize(
    ("group", "other"),
    [
        (GRIP, np.linspace(0.1, 0.0, TIMES)[:, None]),
        (TURN, np.linspace(0, 0.2, TIMES)[:, None] * [0, 1, 0, 0]),
        ("right_hand", np.linspace(0, 0.05, TIMES)[:, None] * np.ones(6)),
        ("base_velocity", np.linspace(0, 0.5, TIMES)[:, None] * [1, 0, 0]),
        (ARM, np.full((TIMES, 7), 0.1)),  # the same path at another place
    ],
)
def test_what_only_one_group_tells_apart_is_no_copy(group, other):
    still = np.zeros_like(other) + (0.1 if group == GRIP else 0.0)
    a, b = signed({EEF: path(1), group: still}), signed({EEF: path(1), group: other})
    assert near(("x", "widowx", a), ("y", "widowx", signed({EEF: path(1), group: still}))) == [(0, 1)]
    assert near(("x", "widowx", a), ("y", "widowx", b)) == []


def test_a_container_that_lacks_a_group_is_compared_by_the_others():
    whole, bare = signed({EEF: path(1), ARM: path(5, 2.0, 7)}), signed({EEF: path(1)})
    joints = signed({ARM: path(5, 2.0, 7)})
    assert near(("x", "franka", whole), ("y", "franka", bare), ("z", "franka", joints)) == [(0, 1), (0, 2)]


def test_when_a_gripper_closes_does_not_tell_what_the_arm_did():
    grip = {GRIP: np.linspace(0.1, 0.0, TIMES)[:, None]}
    eef, arm = signed({EEF: path(1), **grip}), signed({ARM: path(5, 2.0, 7), **grip})
    assert near(("x", "franka", eef), ("y", "franka", arm)) == []
    assert near(("x", "hand", signed(grip)), ("y", "hand", signed(grip))) == [(0, 1)]  # a hand alone is all there is


def test_a_group_of_another_width_is_another_group():
    """Arms of six and of seven joints stand side by side in one recipe."""
    robots = [(s, f"arm{k}", signed({ARM: path(5, 2.0, k)})) for k in (6, 7) for s in "xy"]
    assert near(*robots) == [(0, 1), (2, 3)]
    other = signed({EEF: path(1), "right_hand": path(3, 1.0, 6)}), signed({EEF: path(1), "right_hand": path(3, 1.0, 1)})
    assert near(*(("xy"[i], "franka", s) for i, s in enumerate(other))) == [(0, 1)]


def test_the_bound_is_relative_to_the_way_and_who_hardly_moves_is_like_no_one():
    for way in (0.1, 1.0, 8.0):
        off = path(9, 1.0) / np.sqrt((path(9, 1.0) ** 2).sum(axis=1).mean())
        pair = [(s, "franka", signed({EEF: path(1, way) + far * way * off}))
                for s, far in (("x", 0.0), ("y", 0.01), ("z", 0.05))]  # fmt: skip
        assert near(*pair) == [(0, 1)], way
    small = signed({EEF: path(1, 0.03)})
    assert near(("x", "franka", small), ("y", "franka", small)) == []
    far_from_zero = {ARM: path(1, 0.5, 7) + 0.9}, {ARM: path(2, 0.5, 7) + 0.9}
    assert near(*(("xy"[i], "franka", signed(p)) for i, p in enumerate(far_from_zero))) == []


def test_who_hardly_moves_is_a_copy_only_of_the_same_numbers():
    small = {EEF: path(1, 0.02), GRIP: np.ones((TIMES, 1)) * 0.1}
    opened = {**small, GRIP: np.zeros((TIMES, 1))}
    entries = [("x", "franka", signed(small, exact="0a")), ("y", "franka", signed(small, exact="0a")),
               ("z", "franka", signed(small, exact="0b")), ("w", "franka", signed(opened, exact="0a")),
               ("v", "ur5e", signed(small, exact="0a")),
               ("u", "franka", signed(small, exact="0a", steps=41))]  # fmt: skip
    exact, close = copies(motions_of(*entries), 0.02, 0.05)
    assert np.stack(exact, axis=1).tolist() == [[0, 1]]
    assert not len(close[0])


@given(seed=st.integers(0, 10**6), way=st.floats(0.06, 20.0))
@running(max_examples=40, deadline=None)
def test_copies_just_inside_the_bound_nearly_always_meet_in_a_bucket(seed, way):
    """Forty examples of eight pairs: one that is missed in an example is luck, two are not."""
    rng = np.random.default_rng(seed)
    entries = []
    for pair in range(8):
        noise = np.cumsum(rng.normal(size=(TIMES, 3)), axis=0)
        noise *= 0.012 * way / np.sqrt((noise**2).sum(axis=1).mean())
        for source, off in (("x", 0.0), ("y", noise)):
            entries.append((source, "franka", signed({EEF: path(seed + pair, way) + off})))
    assert len(near(*entries)) >= 7


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_no_copy_of_a_held_out_episode_is_trained_on_in_whatever_order_it_comes(make, tmp_path, order):
    """rlds is near to lerobot, lerobot has the recording of hdf5, and only hdf5 is held out."""
    one, bent = {EEF: path(1)}, {EEF: path(1) + np.linspace(0, 0.01, TIMES)[:, None]}
    rows = [
        [make.episode("rlds", source="bridge", provenance=signed(bent, dataset_file="bridge_rlds")),
         make.episode("other", source="bridge", provenance=signed({EEF: path(3)}, dataset_file="bridge_rlds"))],
        [make.episode("lerobot", source="oxe", recording_id="one", provenance=signed(one))],
        [make.episode("hdf5", source="own", recording_id="one", split="test", licence="secret")],
    ]  # fmt: skip
    inputs = [make.write(tmp_path / str(i), r) for i, r in enumerate(rows)]
    for excluded, why in (([], "split"), (["secret"], "licence")):
        found = recipe_of([inputs[i] for i in order], tmp_path / "r", exclude_licences=excluded)
        assert found["left_out"]["rows"] == {"held_out_copy": 2, why: 1}
        assert found["left_out"]["samples"]["held_out_copy"] > 0
        assert found["by_source"]["bridge"]["taken"]["episodes"] == 1


def test_robots_that_a_held_out_recording_was_re_drawn_on_leave_with_it_and_the_other_way_round(make, tmp_path):
    from unihand_data.space import rotations

    def drawn(number: int, robot: str, split: str = "train", way: np.ndarray | None = None):
        frame = rotations.exp(np.array([0.2, -1.0, 2.0]))
        way = path(number) if way is None else way
        what = signed({ARM: path(50 + number, 1.0, 7)}, recorded=way @ frame.T, facts={"split_group": f"set/{number}"})
        return make.episode(f"{robot}{number}", source="oxe_auge", embodiment=robot, split=split, provenance=what)

    originals = [make.episode(f"o{n}", source="oxe_set", split="test" if n == 1 else "train",
                              provenance=signed({EEF: path(n) + 0.001})) for n in (1, 2, 3)]  # fmt: skip
    robots = [drawn(n, r, "val" if (n, r) == (2, "ur5e") else "train") for n in (1, 2, 3) for r in ("ur5e", "xarm7")]
    inputs = [make.write(tmp_path / "o", originals), make.write(tmp_path / "a", robots)]
    for given_inputs in (inputs, inputs[::-1]):
        found = recipe_of(given_inputs, tmp_path / "r")
        assert found["left_out"]["rows"] == {"split": 2, "held_out_copy": 4}  # two robots of 1, xarm7 and original of 2
        assert found["by_source"]["oxe_auge"]["taken"]["episodes"] == 2
        assert found["by_source"]["oxe_set"]["taken"]["episodes"] == 1


def test_a_common_motion_does_not_empty_a_data_set(make, tmp_path):
    """A chain of 80 steps of less than the bound is no one recording: what is itself like a held-out row leaves."""
    drift = np.ones((TIMES, 3)) / np.sqrt(3) * np.linspace(0, 1, TIMES)[:, None]
    rows = [make.episode(f"e{i}", frames=4, source="xy"[i % 2], split="test" if i == 40 else "train",
                         provenance=signed({EEF: path(1) + 0.02 * i * drift})) for i in range(80)]  # fmt: skip
    found = recipe_of([make.write(tmp_path / "d", rows)], tmp_path / "r", duplicates={"near_distance": 0.015})
    assert 2 <= found["left_out"]["rows"]["held_out_copy"] <= 4
    assert "resemble each other in groups of more than 64" in " ".join(found["notes"])


def test_no_question_and_no_picture_of_a_held_out_conversation_is_trained_on(make, tmp_path):
    a, b = make.picture(1), make.picture(2)
    talks = [make.talk("1", a, "what is it?", split="test", source="x"), make.talk("2", a, "What is it", source="y"),
             make.talk("3", a, "where?", source="y"), make.talk("4", b, "where?", source="y")]  # fmt: skip
    for inputs in ([0, 1, 2, 3], [3, 2, 1, 0]):
        folder = tmp_path / "-".join(map(str, inputs))
        directory = make.write(folder, (), [talks[i] for i in inputs], [a, b])
        assert recipe_of([directory], tmp_path / "r")["left_out"]["rows"] == {"split": 1, "held_out_copy": 2}
    first = make.write(tmp_path / "first", (), talks[:1], [a])
    second = make.write(tmp_path / "second", (), talks[2:], [a, b])
    for inputs in ([first, second], [second, first]):
        assert recipe_of(inputs, tmp_path / "r2")["left_out"]["rows"] == {"split": 1, "held_out_copy": 1}


def test_signatures_of_another_version_are_told_and_damaged_ones_refused(make, tmp_path):
    old = {"motion_signature": {"kind": "eef", "bands": ["0a"], "vector": [1.0], "duration": 2.0}}
    rows = [make.episode("a", provenance=old), make.episode("b", source="y", provenance=old)]
    directory = make.write(tmp_path / "d", rows)
    found = recipe_of([directory], tmp_path / "r")
    assert found["totals"]["taken"]["episodes"] == 2
    assert f"2 robot episodes of {directory} carry motion signatures of another version" in found["notes"][0]
    bad = signed({EEF: path(1)})
    bad["motion_signature"]["paths"][EEF].pop()
    with pytest.raises(ShardError, match=r"provenance.motion_signature of row 0 is damaged"):
        recipe_of([make.write(tmp_path / "bad", [make.episode("c", provenance=bad)])], tmp_path / "r")

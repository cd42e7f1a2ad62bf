"""One generated set per HDF5 data-set file, in the tree, columns, units and signs that its publisher documents.

``generate("robomind_franka", out, seed=0, episodes=2)`` writes a folder that the registry recognises as that data set.
Numbers come from :func:`~.motion.simulate`; the formulas are the publisher's conventions written down once more, never
those of the converter. Everything is synthetic: every file says so in its attribute ``note``.

Legend: T steps; r, l the motions of the right and the left arm; k the number of the episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unihand_data.sources.robot.generate import hdf5_columns as of
from unihand_data.sources.robot.generate.arms import simulate_arms
from unihand_data.sources.robot.generate.hdf5_columns import NOTE, Made, Members
from unihand_data.sources.robot.generate.hdf5_writer import depth_png, write_hdf5, write_json
from unihand_data.sources.robot.generate.lerobot_writer import video
from unihand_data.sources.robot.generate.motion import Motion


@dataclass(frozen=True)
class Plan:
    """How one data set writes an episode: ``build`` gives members, ``place`` writes them and the files beside."""

    build: Callable[[Motion, Motion, int], Made]
    place: Callable[[Path, list[Made], list[Motion]], None]
    rate_hz: float = 30.0
    joints: int = 7


def _robomind_tree(robot: str) -> Callable[[Path, list[Made], list[Motion]], None]:
    def place(out: Path, made: list[Made], motions: list[Motion]) -> None:
        release, task, listed = out / "benchmark1_0_release", "cup_on_shelf", []
        for k, one in enumerate(made):
            split, name = ("val" if k % 5 == 4 else "train"), f"1014_14{k:04d}"
            below = f"{robot}/{task}/success_episodes/{split}/{name}/data"
            write_hdf5(release / below / "trajectory.hdf5", one.members, one.attrs)
            steps = [{"step_description": text, "start_frame": f"camera_top_{a:04d}.jpg",
                      "end_frame": f"camera_top_{b - 1:04d}.jpg"} for text, a, b in motions[k].stages]  # fmt: skip
            listed.append({"id": below, "response": {"task_summary": f"placing the cup {k}", "steps": steps}})
        write_json(release / "language_description_annotation_json" / f"{robot}.json", listed)
        text = f",task,instruction\n0,{task},{motions[0].task}\n"
        (out / "RoboMIND_v1_2_instr.csv").write_text(text, encoding="utf-8")

    return place


def _robomind2_tree(out: Path, made: list[Made], motions: list[Motion]) -> None:
    for k, one in enumerate(made):
        below = out / "data" / "franka" / "cup_on_shelf" / "success_episodes" / f"0416_13{k:04d}" / "data"
        write_hdf5(below / "trajectory.hdf5", one.members, one.attrs)


def _agibot_tree(task: str) -> Callable[[Path, list[Made], list[Motion]], None]:
    def place(out: Path, made: list[Made], motions: list[Motion]) -> None:
        listed = []
        for k, one in enumerate(made):
            name, m = str(648600 + k), motions[k]
            write_hdf5(out / "proprio_stats" / task / name / "proprio_stats.h5", one.members, one.attrs)
            below = out / "observations" / task / name
            for i, view in enumerate(("head_color", "hand_left_color", "hand_right_color")):
                video(below / "videos" / f"{view}.mp4", m.steps, m.rate_hz, i)
            (below / "depth").mkdir(parents=True)
            for i in range(m.steps):
                (below / "depth" / f"head_depth_{i:06d}.png").write_bytes(depth_png(700))
            camera = {"intrinsic": {"fx": 60.0, "fy": 60.0, "ppx": 32.0, "ppy": 24.0, "k1": 0.0}}
            write_json(out / "parameters" / task / name / "parameters/camera/head_intrinsic_params.json", camera)
            actions = [{"start_frame": a, "end_frame": b, "action_text": t, "skill": "Pick"} for t, a, b in m.stages]
            key = "lable_info" if k % 2 else "label_info"  # older files misspell it
            listed.append({"episode_id": int(name), "task_name": m.task, "init_scene_text": "a cup on a table",
                           key: {"action_config": actions}})  # fmt: skip
        write_json(out / "task_info" / f"task_{task}.json", listed)

    return place


def _droid_tree(out: Path, made: list[Made], motions: list[Motion]) -> None:
    serials = {"wrist": "18026681", "ext1": "22008760", "ext2": "24400334"}
    told = {}
    for k, one in enumerate(made):
        uuid, m = f"ABCD+5d05c5aa+2023-07-07-09h-42m-{23 + k}s", motions[k]
        folder = out / "ABCD" / "success" / "2023-07-07" / f"Fri_Jul__7_09:42:{23 + k}_2023"
        write_hdf5(folder / "trajectory.h5", one.members, one.attrs)
        about = {"uuid": uuid, "lab": "ABCD", "success": True, "current_task": "Move object to a new position",
                 "trajectory_length": m.steps, **{f"{n}_cam_serial": s for n, s in serials.items()}}  # fmt: skip
        write_json(folder / f"metadata_{uuid}.json", about)
        for i, serial in enumerate(serials.values()):
            video(folder / "recordings" / "MP4" / f"{serial}.mp4", m.steps, 60, i)
        told[uuid] = {"language_instruction1": m.task, "language_instruction2": f"Put the cup on the shelf, {k}"}
    write_json(out / "aggregated-annotations-030724.json", told)


def _one_file(name: str, attrs: dict[str, str]) -> Callable[[Path, list[Made], list[Motion]], None]:
    def place(out: Path, made: list[Made], motions: list[Motion]) -> None:
        members: Members = {}
        said: dict[str, dict[str, Any]] = {"data": {**attrs, "total": sum(m.steps for m in motions)}}
        for k, one in enumerate(made):
            members |= {f"data/demo_{k}/{n}": x for n, x in one.members.items()}
            said[f"data/demo_{k}"] = {"num_samples": motions[k].steps, **one.attrs.get("", {})}
        write_hdf5(out / name, members, said)

    return place


def _act_tree(out: Path, made: list[Made], motions: list[Motion]) -> None:
    for k, one in enumerate(made):
        write_hdf5(out / "aloha_cup" / f"episode_{k}.hdf5", one.members, one.attrs)
    words = {"instruction": motions[0].task, "simplified_instruction": ["cup to shelf"], "expanded_instruction": []}
    write_json(out / "aloha_cup" / "expanded_instruction_gpt-4-turbo.json", words)


def _mind(robot: str, build: Callable[[Motion, Motion, bool], Members], cameras: str, joints: int, bgr: bool) -> Plan:
    return Plan(of.robomind(build, cameras, bgr), _robomind_tree(robot), 30, joints)


PLANS: dict[str, Plan] = {
    "robomind_franka": _mind("h5_franka_3rgb", of.franka, "camera_top camera_left camera_right", 7, False),
    "robomind_ur": _mind("h5_ur_1rgb", of.ur, "camera_top", 6, False),
    "robomind_agilex": _mind("h5_agilex_3rgb", of.agilex, "camera_front camera_left_wrist camera_right_wrist", 6, True),
    "robomind_tienkung_gello": _mind("h5_tienkung_gello_1rgb", of.gello, "camera_top", 7, True),
    "robomind_tienkung_xsens": _mind("h5_tienkung_xsens_1rgb", of.xsens, "camera_top", 7, True),
    "robomind_fr3_dual": _mind("h5_franka_fr3_dual", of.dual, "camera_top camera_front", 7, False),
    "robomind2_franka_dual": Plan(of.robomind2, _robomind2_tree, 14),
    "agibot_world_h5": Plan(of.agibot(False), _agibot_tree("327")),
    "agibot_world_h5_hands": Plan(of.agibot(True), _agibot_tree("475")),
    "droid_raw": Plan(of.droid, _droid_tree, 15),
    "libero_hdf5": Plan(
        of.libero,
        _one_file(
            "libero_spatial/pick_up_the_cup_and_place_it_on_the_shelf_demo.hdf5",
            {"problem_info": '{"language_instruction": ["pick up the cup and place it on the shelf"]}', "note": NOTE},
        ),
        20,
    ),
    "robomimic_hdf5": Plan(
        of.robomimic, _one_file("lift/ph/image_v15.hdf5", {"env_args": '{"env_name": "Lift"}', "note": NOTE}), 20
    ),
    "robocasa_hdf5": Plan(of.robocasa, _one_file("PnPCounterToCab/demo_gentex_im128.hdf5", {"note": NOTE}), 20),
    "aloha_act": Plan(of.act(False), _act_tree, 50, 6),
    "aloha_act_packed": Plan(of.act(True), _act_tree, 50, 6),
}


def generate(
    name: str,
    out: str | Path,
    seed: int = 0,
    episodes: int = 2,
    *,
    steps: int = 24,
    edit: Callable[[Members], None] | None = None,
) -> list[tuple[Motion, Motion]]:
    """Write a set and return the motions (right, left) behind its episodes.

    Args:
        edit: changes the members of every episode before they are written.

    Raises:
        KeyError: no such data set.
    """
    plan = PLANS[name]
    made, motions = [], []
    for k in range(episodes):
        r, l = simulate_arms(name, 1000 * seed + 2 * k, steps, plan.rate_hz, plan.joints)
        one = plan.build(r, l, k)
        one.attrs.setdefault("", {})["note"] = NOTE
        if edit is not None:
            edit(one.members)
        made.append(one)
        motions.append((r, l))
    plan.place(Path(out), made, [r for r, _ in motions])
    return motions

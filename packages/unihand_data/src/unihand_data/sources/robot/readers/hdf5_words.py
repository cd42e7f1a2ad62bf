"""Sentences about an HDF5 episode: attributes of the file, and the JSON or CSV files beside it.

RoboMIND: ``RoboMIND_*instr*.csv`` (task -> sentence) and ``language_description_annotation_json/<robot>.json`` (steps
whose ends are names of picture files, ``camera_top_0030.jpg``); RoboMIND 2: attribute ``language_instruction`` of
``metadata``; AgiBot World: ``task_info/task_<id>.json``; DROID: ``aggregated-annotations-*.json`` or ``current_task``;
LIBERO: ``problem_info`` of ``data``; RoboCasa: ``ep_meta`` of the episode; ACT copies:
``expanded_instruction*.json`` of the folder, or a member ``instruction``.

Legend: T steps.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.sources.robot.episode import Level, Text
from unihand_data.sources.robot.readers.hdf5_layouts import Contents
from unihand_data.sources.robot.readers.side_json import folders_up, names_in, read_csv, read_json


class Language(Settings):
    """What ``language:`` of an HDF5 data-set file may say."""

    file_name: str = Field("", description="regex over a file's stem; its group 'words' is the sentence, _ for spaces")
    environments: dict[str, str] = Field(default_factory=dict, description="env_name of env_args -> sentence")


class Words:
    """Collects sentences; one that cannot be read costs one loss, never the episode."""

    def __init__(self, steps: int, where: str) -> None:
        self.steps, self.where = steps, where
        self.texts: list[Text] = []
        self.losses: list[Reject] = []

    def add(self, text: Any, level: Level = "task", start: Any = 0, stop: Any = None) -> None:
        if not isinstance(text, str):
            if text is not None:
                self.lose(Reason.WRONG_TYPE, f"a sentence is {str(text)[:60]!r}, not text")
            return
        text = " ".join(text.split())
        if not text or any((t.text, t.level, t.start) == (text, level, start) for t in self.texts):
            return
        whole = stop is None
        stop = self.steps if whole else stop
        if not (_index(start) and _index(stop) and 0 <= start < stop):
            self.lose(Reason.BAD_VALUE, f"{text[:60]!r} runs from {start!r} to {stop!r}")
        elif start >= self.steps or stop > self.steps + max(2, self.steps // 20):
            self.lose(Reason.CONTRADICTION, f"{text[:60]!r} runs from {start} to {stop} of {self.steps} steps")
        else:
            self.texts.append(Text(text, level, start, None if whole else min(stop, self.steps)))

    def lose(self, reason: Reason, message: str) -> None:
        self.losses.append(Reject(reason, f"{self.where}: {message}", level="row"))


def _index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def words_of(
    root: str, base: str, payload: dict[str, Any], contents: Contents, file_attrs: dict[str, str], spec: Language,
    where: str,
) -> Words:  # fmt: skip
    """Everything the data set says about an episode.

    Args:
        root, base: input folder and folder of the data set; side files lie in ``base`` or above it.
        payload: of the item (task, episode, group).
        file_attrs: text attributes of the group of all episodes, in a file of many.
    """
    words = Words(contents.steps, where)
    finder = {
        "robomind": _robomind, "robomind2": _robomind2, "agibot": _agibot, "droid_raw": _droid, "act": _act,
        "robomimic": _robomimic,
    }[contents.layout.name]  # fmt: skip
    try:
        finder(words, root, base, payload, contents, file_attrs, spec)
    except Reject as reject:
        words.losses.append(Reject(reject.reason, reject.message, level="row"))
    if not words.texts and not words.losses:
        words.lose(Reason.NO_TEXT, "the data set says no sentence about this episode")
    return words


def _robomind(words: Words, root: str, base: str, payload: dict[str, Any], contents: Contents, *_: Any) -> None:
    robot, task = base.rpartition("/")[2], payload["task"]
    annotated = None
    for folder in folders_up(root, base):
        for name in names_in(folder):
            if re.fullmatch(r"(?i)robomind.*instr.*\.csv", name):
                rows = [r for r in read_csv(f"{folder}/{name}") if r.get("task") == task]
                for row in rows[:1]:
                    words.add(row.get("instruction"))
        below = f"{folder}/language_description_annotation_json"
        for name in names_in(below):
            if annotated is None and name.removesuffix(".json") in (robot, f"h5_{robot}"):
                annotated = f"{below}/{name}"
    if annotated is None:
        return
    mine = f"/{task}/success_episodes/{payload['split']}/{payload['episode']}/".replace("//", "/")
    for row in _rows(read_json(annotated), annotated):
        if mine not in f"/{row.get('id')!s}/":
            continue
        response = row.get("response")
        if not isinstance(response, dict):
            words.lose(Reason.WRONG_TYPE, f"{annotated}: response of {mine} is no object")
            return
        words.add(response.get("task_summary"))
        for step in _rows(response.get("steps") or [], f"{annotated}: steps of {mine}"):
            first, last = _frame(step.get("start_frame")), _frame(step.get("end_frame"))
            if first is None or last is None:
                words.lose(Reason.BAD_VALUE, f"{annotated}: frames {step.get('start_frame')!r}, "
                           f"{step.get('end_frame')!r} of {mine} are no picture names")  # fmt: skip
                continue
            words.add(step.get("step_description"), "subtask", first, last + 1)


def _frame(name: Any) -> int | None:
    """``camera_top_0030.jpg`` -> 30."""
    at = re.fullmatch(r".*?(\d{1,9})\.\w+", name) if isinstance(name, str) else None
    return int(at[1]) if at else None


def _robomind2(words: Words, root: str, base: str, payload: dict[str, Any], contents: Contents, *_: Any) -> None:
    for part in ("metadata", ""):
        text = contents.attrs.get(part, {}).get("language_instruction")
        if text is not None:
            words.add(text.replace("_", " ") if " " not in text.strip() else text)
    for text in contents.texts.get("metadata/language_instruction", []):
        words.add(text.replace("_", " ") if " " not in text.strip() else text)


def _agibot(words: Words, root: str, base: str, payload: dict[str, Any], *_: Any) -> None:
    path = f"{base}/task_info/task_{payload['task']}.json"
    for row in _rows(read_json(path), path):
        if str(row.get("episode_id")) != payload["episode"]:
            continue
        words.add(row.get("task_name"))
        labels = row.get("label_info", row.get("lable_info"))  # the older files misspell it
        actions = labels.get("action_config") if isinstance(labels, dict) else labels
        for one in _rows(actions or [], f"{path}: action_config of episode {payload['episode']}"):
            words.add(one.get("action_text"), "subtask", one.get("start_frame"), one.get("end_frame"))
        return


def _droid(words: Words, root: str, base: str, payload: dict[str, Any], *_: Any) -> None:
    folder = f"{base}/{payload['file'].rpartition('/')[0]}"
    about = droid_metadata(folder)
    for up in folders_up(root, base):
        for name in names_in(up):
            if re.fullmatch(r"aggregated-annotations-.*\.json", name):
                all_of_them = read_json(f"{up}/{name}")
                mine = all_of_them.get(str(about.get("uuid"))) if isinstance(all_of_them, dict) else None
                for _, text in sorted(mine.items()) if isinstance(mine, dict) else []:
                    words.add(text)
    if not words.texts:
        words.add(about.get("current_task"))


def droid_metadata(folder: str) -> dict[str, Any]:
    """The one ``metadata_*.json`` of a DROID episode. Raises ``Reject``."""
    names = [n for n in names_in(folder) if re.fullmatch(r"metadata_.*\.json", n)]
    if len(names) != 1:
        reason = Reason.CONTRADICTION if names else Reason.MISSING_FILE
        raise Reject(reason, f"{folder}: {len(names)} files metadata_*.json, one is expected; fetch the episode again")
    about = read_json(f"{folder}/{names[0]}")
    if not isinstance(about, dict):
        raise Reject(Reason.WRONG_TYPE, f"{folder}/{names[0]}: no object")
    return about


def _act(words: Words, root: str, base: str, payload: dict[str, Any], contents: Contents, *_: Any) -> None:
    for name in ("instruction", "language_raw", "language_instruction"):
        for text in contents.texts.get(name, []):
            words.add(text)
    for name in names_in(base):
        if re.fullmatch(r"(expanded_)?instruction.*\.json", name):
            said = read_json(f"{base}/{name}")
            if not isinstance(said, dict):
                raise Reject(Reason.WRONG_TYPE, f"{base}/{name}: no object")
            for key in ("instruction", "simplified_instruction", "expanded_instruction"):
                value = said.get(key)
                for sentence in value if isinstance(value, list) else [value]:
                    words.add(sentence)


def _robomimic(
    words: Words, root: str, base: str, payload: dict[str, Any], contents: Contents, file_attrs: dict[str, str],
    spec: Language,
) -> None:  # fmt: skip
    about = _object(contents.attrs.get("", {}).get("ep_meta"), "ep_meta", words)
    words.add(about.get("lang"))
    problem = _object(file_attrs.get("problem_info"), "problem_info", words)
    said = problem.get("language_instruction")
    words.add("".join(said) if isinstance(said, list) and all(isinstance(s, str) for s in said) else said)
    if words.texts:
        return
    environment = _object(file_attrs.get("env_args"), "env_args", words).get("env_name")
    if isinstance(environment, str):
        words.add(spec.environments.get(environment))
    stem = payload["episode"]
    at = re.fullmatch(spec.file_name, stem) if spec.file_name else None
    if at is not None and not words.texts:
        words.add(at["words"].replace("_", " "))


def _object(text: str | None, name: str, words: Words) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        words.lose(Reason.UNREADABLE, f"attribute {name} is no JSON object")
        return {}
    return value


def _rows(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise Reject(Reason.WRONG_TYPE, f"{where}: a list of objects is expected")
    return value

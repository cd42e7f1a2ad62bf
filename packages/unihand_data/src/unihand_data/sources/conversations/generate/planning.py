"""ShareRobot planning, RoboVQA and EO-Data1.5M."""

from __future__ import annotations

from typing import Any

from unihand_data.sources.conversations.generate.files import Corpus, ask, image_type, turns_type
from unihand_data.sources.generate.tfrecord_writer import encode_sequence_example, write_records
from unihand_data.sources.tfrecord import Values

FRAMES = 4


def sharerobot_plans(c: Corpus) -> None:
    """Rows of the planning configuration: frames of an episode in order, absolute paths with a '#'."""
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        names = [c.lay(f"planning/images/rtx_frames/ep#{i}/frame_{k}.png", c.good(1700 + 10 * i + k).encoded("PNG"))
                 for k in range(FRAMES)]  # fmt: skip
        question = f"<image 0-{FRAMES - 1}> " + "<image>" * FRAMES + f" What is the next step of task {i}?"
        rows.append({"id": i, "image": [f"/mnt/hpfs/baaiei/{n}" for n in names],
                     "conversations": ask(question, "Close the gripper.")})  # fmt: skip
        c.written()
    if c.defects:
        rows.append({**rows[0], "image": rows[0]["image"][:2]})
        c.refused("placeholder_extra")
        rows.append({**rows[0], "conversations": ask("<image> What next?", "Lift.")})
        c.refused("placeholder_missing")
    c.json("planning/jsons/planning_task.json", rows)


def robovqa(c: Corpus) -> None:
    records = []
    for i in range(c.rows):
        frames: list[Values] = [[c.good(2000 + 10 * i + k).encoded()] for k in range(FRAMES)]
        text = (
            f"<task:planning:freeform> current goal is: tidy {i}. last 20 steps: 1- open Q: immediate next step? "
            "A: <PRED>put the mug down</PRED>"
            f"<task:success:discrete> put the mug down {i} Q: satisfied? A: <PRED><PRED:ANSWER:BINARY>yes"
            "</PRED:ANSWER:BINARY></PRED>"
        )
        records.append(encode_sequence_example({}, {"images": frames, "texts": [[text.encode()]]}))
        c.written()
    if c.defects:
        frame: list[Values] = [[c.good(2090).encoded()]]
        records.append(encode_sequence_example({}, {"images": frame, "texts": [[b"no task here"]]}))
        c.refused("empty")
        records.append(encode_sequence_example({}, {"texts": [[b"<task:x:y> Q: what? A: <PRED>it</PRED>"]]}))
        c.refused("missing_field")
        records.append(
            encode_sequence_example({}, {"images": [[b"\xff\xd8junk"]], "texts": [[b"<task:x:y> Q: w? A: it"]]})
        )
        c.refused("unreadable")
    (c.folder / "tfrecord" / "train").mkdir(parents=True, exist_ok=True)
    write_records(c.folder / "tfrecord" / "train" / "chunk-00000-of-00001", records)


def eo1_5m_qa(c: Corpus) -> None:
    import pyarrow as pa

    columns = {"conversations": turns_type(), "image": pa.list_(image_type()), "lerobot": pa.string(),
               "view": pa.list_(pa.string())}  # fmt: skip
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        rows.append({"image": [{"bytes": c.good(2100 + i).encoded(), "path": None}], "lerobot": None, "view": None,
                     "conversations": ask(f"<image>\nTask {i}: tidy up. What is done?", f"{i} mugs.")})  # fmt: skip
        c.written()
    if c.defects:
        rows.append(
            {"image": None, "lerobot": "agibot 12 3", "view": ["head"], "conversations": ask("<image>\nW?", "T")}
        )
        c.refused("missing_file")
        rows.append({**rows[0], "conversations": ask("<image>\nAct.", "<|action_start|><|action_pad|><|action_end|>")})
        c.refused("unsupported")
        fenced = '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "mug"}]\n```'
        rows.append({**rows[0], "conversations": ask("<image>\nWhere is the mug?", fenced)})
        c.refused("coord_frame_ambiguous")
    c.parquet("qa-task_planning/train-00000-of-00001.parquet", rows, columns)

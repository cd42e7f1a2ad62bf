"""RefCOCO, RefSpatial, RoboPoint, ShareRobot's boxes and paths, RoboRefIt, MolmoAct, A0, PixMo-Points and AS-V2."""

from __future__ import annotations

import hashlib
import json
import pickle
from typing import Any

from unihand_data.sources.conversations.generate.files import Corpus, ask, colours_question, image_type
from unihand_data.sources.conversations.generate.general import _padded
from unihand_data.sources.conversations.generate.still import Still

_SUFFIX = (
    " Your answer should be formatted as a list of tuples, i.e. [(x1, y1), ...], where each tuple contains the x and y "
    "coordinates of a point. The coordinates should be between 0 and 1."
)


def refcoco(c: Corpus) -> None:
    """Three sets of refs over the same kind of pictures; every fourth ref is in a benchmark split."""
    number = 0
    for s, (name, split_by) in enumerate((("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd"))):
        refs, images, annotations = [], [], []
        for i in range(c.rows):
            number += 1
            picture = c.good(300 + 40 * s + i)
            image_id, thing = 1000 * (s + 1) + i, picture.things[0]
            file = f"COCO_train2014_{image_id:012d}.jpg"
            c.lay(f"images/mscoco/images/train2014/{file}", picture.encoded())
            x0, y0, x1, y1 = thing.box
            images.append({"id": image_id, "file_name": file, "width": picture.width, "height": picture.height})
            annotations.append({"id": number, "image_id": image_id, "bbox": [x0, y0, x1 - x0, y1 - y0]})
            split = ("val", "testA")[i % 2] if i % 4 == 3 and c.defects else "train"
            refs.append({
                "ref_id": number, "ann_id": number, "image_id": image_id, "category_id": 1, "split": split,
                "file_name": f"{file[:-4]}_{number}.jpg", "sent_ids": [2 * number],
                "sentences": [{"sent_id": 2 * number, "raw": thing.phrase, "sent": thing.phrase, "tokens": ["x"]}],
            })  # fmt: skip
            if split == "train":
                c.written([("box", picture.unit_box(thing))])
            else:
                c.refused("benchmark_leak")
        c.lay(f"{name}/refs({split_by}).p", pickle.dumps(refs, protocol=2))
        c.json(f"{name}/instances.json", {"images": images, "annotations": annotations})


def _points(picture: Still) -> str:
    return "[" + ", ".join(f"({x:.3f}, {y:.3f})" for x, y in map(picture.unit_centre, picture.things)) + "]"


def refspatial(c: Corpus) -> None:
    """Points in one picture, choices between two. Points in a row of two pictures do not say in which they are."""
    rows: list[dict[str, Any]] = []

    def row(i: int, pictures: list[Still], question: str, answer: str) -> dict[str, Any]:
        names = [c.lay(f"2D/image/{i}_{k}.jpg", p.encoded()) for k, p in enumerate(pictures)]
        return {"id": i, "image": names, "depth": [n.replace("image", "depth") for n in names],
                "conversations": ask("<image>\n" * len(names) + question, answer)}  # fmt: skip

    for i in range(c.rows):
        first = c.good(500 + i)
        if i % 3 == 0:
            rows.append(row(i, [first, c.good(550 + i)], f"Which view is nearer in {i}? (A) 1 (B) 2", "(A)"))
            c.written()
        else:
            rows.append(row(i, [first], f"Point to every thing in picture {i}." + _SUFFIX, _points(first)))
            c.written([("point", first.unit_centre(t)) for t in first.things], tolerance=6e-4)
    if c.defects:
        two = [c.good(591), c.good(592)]
        rows.append(row(89, two, "Point to every thing." + _SUFFIX, _points(two[0])))
        c.refused("coord_frame_ambiguous")
        one = c.lay("2D/image/one.jpg", c.good(590).encoded())
        rows.append({"image": [one], "depth": [], "conversations": ask("<image>\nPoint." + _SUFFIX, "[(1.3, 0.5)]")})
        c.refused("coord_out_of_range")
        rows.append(
            {"image": [one], "depth": [], "conversations": ask("<image>\nPoint." + _SUFFIX, "[(0.1, 0.5, 0.2)]")}
        )
        c.refused("coord_frame_ambiguous")
    c.json("2D/reasoning_template_qa.json", rows)


def robopoint(c: Corpus) -> None:
    """Points, boxes, and rows of LLaVA-v1.5 as they stand there (equal seeds give equal rows and pictures)."""
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(600 + i)
        name = c.lay(f"images/region_ref/{i}.png", picture.encoded("PNG"))
        thing = picture.things[-1]
        if i % 2:
            x0, y0, x1, y1 = picture.unit_box(thing)
            box = ", ".join(f"{v:.3f}" for v in ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0))
            rows.append({"id": f"lvis_{i}", "image": name.removeprefix("images/"), "conversations": ask(
                f"<image>\nFind all instances of {thing.phrase} in picture {i}." + _SUFFIX, f"[({box})]")})  # fmt: skip
            c.written([("box", picture.unit_box(thing))], tolerance=6e-4)
        else:
            rows.append({"id": f"object_ref_{i}", "image": name.removeprefix("images/"), "conversations": ask(
                f"<image>\nPoint to the things of picture {i}." + _SUFFIX, _points(picture))})  # fmt: skip
            c.written([("point", picture.unit_centre(t)) for t in picture.things], tolerance=6e-4)
    for i in (0, 1):  # rows 0 and 1 of the generated LLaVA-v1.5
        picture = c.good(i)
        name = c.lay(f"images/coco/train2017/{i + 1:012d}.jpg", picture.encoded())
        question, answer = colours_question(picture)
        rows.append(
            {"id": f"{i}", "image": name.removeprefix("images/"), "conversations": ask(f"<image>\n{question}", answer)}
        )
        c.written()
    picture = c.good(680)
    name = c.lay("images/vg/VG_100K/1.jpg", picture.encoded()).removeprefix("images/")
    text = ", ".join(f"{v:.2f}" for v in _padded(picture, picture.unit_box(picture.things[0])))
    rows.append({"id": "vg", "image": name, "conversations": ask(f"<image>\nWhat is at [{text}]?", "A thing.")})
    c.written([("box", picture.unit_box(picture.things[0]))], tolerance=0.02)  # as LLaVA-v1.5 has it: padded
    if c.defects:
        name = c.lay("images/amb.jpg", c.good(690).encoded()).removeprefix("images/")
        rows.append({"image": name, "conversations": ask("<image>\nFind it.", "[(0.05, 0.10, 0.30, 0.40)]")})
        c.refused("coord_frame_ambiguous")  # no centre of a box of that size
    c.json("robopoint_1432k.json", rows)


def sharerobot(c: Corpus) -> None:
    """The three configurations in one folder, as the owner publishes it."""
    from unihand_data.sources.conversations.generate.planning import sharerobot_plans

    affordances: list[dict[str, Any]] = []
    paths: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(700 + i)
        thing = picture.things[0]
        x0, y0, x1, y1 = thing.box
        meta = {"original_dataset": "syn", "original_width": picture.width, "original_height": picture.height}
        name = c.lay(f"affordance/images/rtx#{i}.jpg", picture.encoded())
        affordances.append({"id": f"/share/project/{name}", "meta_data": meta, "instruction": f"pick up {thing.phrase}",
                            "affordance": {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}})  # fmt: skip
        c.written([("box", picture.unit_box(thing))])
    if c.defects:
        affordances.append({**affordances[0], "meta_data": {"original_width": 640, "original_height": 480}})
        c.refused("contradiction")
        affordances.append({**affordances[0], "affordance": {"x": 5, "y": 5, "width": 0, "height": 9}})
        c.refused("box_degenerate")
    for i in range(c.rows):
        picture = c.good(750 + i)
        points = [list(t.centre) for t in picture.things] + [[3.0, 4.0]]
        name = c.lay(f"trajectory/images/{i}.jpg", picture.encoded())
        meta = {"original_width": picture.width, "original_height": picture.height}
        key = "trajectory" if i % 2 else "points"
        paths.append({"id": i, "image_path": f"/share/{name}", "meta_data": meta, key: points,
                      "instruction": f"move {picture.things[0].phrase}"})  # fmt: skip
        c.written([("polyline", [v for x, y in points for v in (x / picture.width, y / picture.height)])])
    if c.defects:
        paths.append({**paths[1], "trajectory": [[1, 2], [3, 4]]})
        c.refused("point_count_mismatch")
    c.json("affordance/affordance.json", affordances)
    planned = c.truth
    c.truth = []
    sharerobot_plans(c)
    c.truth = planned + c.truth
    c.json("trajectory/trajectory.json", paths)
    # configurations are read in the order of their names: affordance, planning, trajectory
    n = len(affordances)
    plans = c.truth[len(planned) :]
    c.truth = planned[:n] + plans + planned[n:]


def roborefit(c: Corpus) -> None:
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(800 + i, (640, 480))
        c.lay(f"data/train/image/{i:07d}.png", picture.encoded("PNG"))
        thing = picture.things[0]
        rows.append({"num": i, "text": thing.phrase, "bbox": list(thing.box), "scene": "syn",
                     "rgb_path": f"train\\image\\{i:07d}.png", "depth_path": f"train\\depth\\{i:07d}.png",
                     "mask_path": f"train\\mask\\{i:07d}.png"})  # fmt: skip
        c.written([("box", picture.unit_box(thing))])
    if c.defects:
        x0, y0, x1, y1 = rows[0]["bbox"]
        rows.append({**rows[0], "num": 98, "bbox": [x1, y1, x0, y0]})
        c.refused("box_inverted")
        rows.append({**rows[0], "num": 99, "bbox": [x0, y0, 900, y1]})
        c.refused("coord_out_of_range")
    c.json("roborefit_train.json", rows)
    c.json("roborefit_testA.json", rows[:1])


def molmoact(c: Corpus) -> None:
    import pyarrow as pa

    columns = {"image": image_type(), "wrist": image_type(), "annotation": pa.string(),
               "conversations": pa.struct([(k, pa.list_(pa.string())) for k in ("from", "value")])}  # fmt: skip
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(900 + i)
        trace = [[int(256 * u) for u in picture.unit_centre(t)] for t in picture.things] + [
            [10, 20 + i],
            [30, 40],
            [55, 66],
        ]
        answer = (
            "The depth of the image is <DEPTH_START><DEPTH_12><DEPTH_7><DEPTH_END>. The trajectory of the end effector "
            f"is {json.dumps(trace)}. Based on these information, the action that the robot should take is [ABC]."
        )
        data = {"bytes": picture.encoded(), "path": None}
        rows.append({"image": data, "wrist": {"bytes": c.good(950 + i).encoded(), "path": None} if i % 2 else None,
                     "annotation": json.dumps(trace[:5]),
                     "conversations": {"from": ["human", "gpt"], "value": [f"Do task {i} how?", answer]}})  # fmt: skip
        c.written([("polyline", [v / 256 for p in trace for v in p])])
    if c.defects:
        only = "The depth of the image is <DEPTH_START><DEPTH_3><DEPTH_END>."
        rows.append({**rows[0], "conversations": {"from": ["human", "gpt"], "value": ["How deep?", only]}})
        c.refused("unsupported")
    c.parquet("bc_z/train-00000-of-00001.parquet", rows, columns)


def a0_maniskill(c: Corpus) -> None:
    for i in range(c.rows):
        pictures = [c.good(1000 + 10 * i + k, (96, 64)) for k in range(7)]
        names = [c.lay(f"maniskill/PickCube/cam_high/{i}_{k}.jpg", p.encoded()) for k, p in enumerate(pictures)]
        points = [[10.0 + 9 * k, 12.0 + 3 * k + i] for k in range(7)]
        row = {"metadata": {"validRange": {"start": 1, "end": 6}, "instructions": [f"pick up the cube {i}"]},
               "waypoints2d": points, "cam_highs": [f"/data/a0/{n}" for n in names]}  # fmt: skip
        c.json(f"maniskill/PickCube/label/out0_{i}.json", row)
        chosen = [points[1 + k] for k in (0, 1, 2, 4, 5)]
        c.written([("polyline", [v for x, y in chosen for v in (x / 96, y / 64)])])
    if c.defects:
        row = {"metadata": {"validRange": {"start": 1, "end": 60}, "instructions": ["lift"]},
               "waypoints2d": [[1, 2]] * 3, "cam_highs": ["a.jpg"] * 3}  # fmt: skip
        c.json("maniskill/PickCube/label/out0_90.json", row)
        c.refused("bad_value")


def pixmo_points(c: Corpus) -> None:
    import pyarrow as pa

    columns = {"image_url": pa.string(), "image_sha256": pa.string(), "count": pa.int64(), "label": pa.string(),
               "points": pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())])),
               "collection_method": pa.string()}  # fmt: skip
    rows: list[dict[str, Any]] = []

    def row(i: int, picture: Still, pairs: list[list[float]], label: str, **over: object) -> dict:
        data = picture.encoded()
        digest = hashlib.sha256(data).hexdigest()
        c.lay(f"images/{digest}.jpg", data)
        return {"image_url": f"https://example.org/{i}.jpg", "image_sha256": digest, "count": len(pairs),
                "label": label, "points": [{"x": x, "y": y} for x, y in pairs], **over}  # fmt: skip

    for i in range(c.rows):
        picture = c.good(1200 + i)
        pairs = [[100 * u for u in picture.unit_centre(t)] for t in picture.things] if i % 3 else []
        rows.append(row(i, picture, pairs, "things" if pairs else "elephants"))
        c.written([("point", [v / 100 for v in p]) for p in pairs])
    if c.defects:
        rows.append(row(90, c.good(1290), [[10.0, 20.0]], "a", count=2))
        c.refused("point_count_mismatch")
        rows.append(row(91, c.good(1291), [[300.0, 20.0]], "b"))
        c.refused("coord_frame_ambiguous")
        rows.append(row(92, c.good(1292), [[30.0, 20.0]], "c"))
        c.lay(f"images/{rows[-1]['image_sha256']}.jpg", c.good(1293).encoded())
        c.refused("contradiction")
        rows.append({**row(93, c.good(1294), [[30.0, 20.0]], "d"), "image_sha256": "0" * 64})
        c.refused("missing_file")
    c.parquet("data/train-00000-of-00001.parquet", rows, columns)


def _as_rows(c: Corpus, base: int, padded: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(base + i)
        parts, shapes = [], []
        for thing in picture.things[:2]:
            box = picture.unit_box(thing)
            if padded:
                box = _padded(picture, box)
            parts.append(f"<ref>{thing.phrase}</ref><box>[{json.dumps([min(999, int(1000 * v)) for v in box])}]</box>")
            shapes.append(("box", picture.unit_box(thing)))
        name = c.lay(f"images/{base + i}.jpg", picture.encoded())
        answer = f"{parts[0]} is <pred>left of</pred> {parts[1]}."
        rows.append({"id": i, "image": name.removeprefix("images/"), "width": picture.width, "height": picture.height,
                     "conversations": ask(f"<image>\nDescribe picture {i} with boxes.", answer)})  # fmt: skip
        c.written(shapes, tolerance=0.02 if padded else 2e-3)
    if c.defects:
        name = c.lay(f"images/{base}x.jpg", c.good(base + 90).encoded()).removeprefix("images/")
        rows.append({"image": name, "conversations": ask("<image>\nBox it.", "<ref>it</ref><box>[[1, 2, 3]]</box>")})
        c.refused("bad_value")
        rows.append(
            {"image": name, "conversations": ask("<image>\nBox it.", "<ref>it</ref><box>[[500, 2, 100, 90]]</box>")}
        )
        c.refused("box_inverted")
    return rows


def as_v2(c: Corpus) -> None:
    c.json("rec_conversation_22k_wo_square_pad.json", _as_rows(c, 1400, padded=False))
    c.json("rec_conversation_22k.json", [])


def as_v2_padded(c: Corpus) -> None:
    c.json("rec_conversation_22k.json", _as_rows(c, 1500, padded=True))


def as_v2_mix(c: Corpus) -> None:
    """Whether rows are padded is not said: a box in the padding shows it, a square picture needs no answer."""
    rows: list[dict[str, Any]] = []
    for i, (size, box, outcome) in enumerate((((96, 48), [100, 20, 400, 300], "written"),
                                              ((96, 48), [100, 400, 400, 600], "coord_frame_ambiguous"),
                                              ((64, 64), [100, 400, 400, 600], "written"))):  # fmt: skip
        name = c.lay(f"images/m{i}.jpg", c.good(1600 + i, size).encoded()).removeprefix("images/")
        rows.append({"image": name, "conversations": ask(f"<image>\nBox {i}.", f"<ref>it</ref><box>[{box}]</box>")})
        if outcome == "written":
            c.written([("box", [v / 1000 for v in box])])
        else:
            c.refused(outcome)
    c.json("as_mix_4m.json", rows)

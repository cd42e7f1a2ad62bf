"""LLaVA-v1.5, LLaVA-OneVision, FineVision and LLaVA-Video."""

from __future__ import annotations

from typing import Any

from unihand_data.sources.conversations.generate.files import (
    Corpus,
    ask,
    colours_question,
    image_type,
    turns_type,
)
from unihand_data.sources.conversations.generate.still import Still


def _padded(picture: Still, box: list[float]) -> list[float]:
    """0..1 of the picture padded to a square, two decimals, as the region rows have it."""
    side = max(picture.width, picture.height)
    dx, dy = (side - picture.width) / 2, (side - picture.height) / 2
    w, h = picture.width, picture.height
    x0, y0, x1, y1 = box
    padded = ((x0 * w + dx) / side, (y0 * h + dy) / side, (x1 * w + dx) / side, (y1 * h + dy) / side)
    return [round(v, 2) for v in padded]


def llava_v1_5(c: Corpus) -> None:
    """Questions with the placeholder in front or behind, padded regions, text alone, OCR-VQA's GIF in a .jpg."""
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(i)
        name = c.lay(f"coco/train2017/{i + 1:012d}.jpg", picture.encoded())
        question, answer = colours_question(picture)
        if i % 3 == 2:
            thing = picture.things[0]
            box = _padded(picture, picture.unit_box(thing))
            text = "[" + ", ".join(f"{v:.2f}" for v in box) + "]"
            rows.append({"id": f"{i}", "image": name, "conversations": ask(
                f"<image>\nPlease provide a short description for this region: {text}", thing.phrase)})  # fmt: skip
            c.written([("box", picture.unit_box(thing))], tolerance=0.02)
        else:
            question = f"<image>\n{question}" if i % 2 else f"{question}\n<image>"
            rows.append({"id": f"{i}", "image": name, "conversations": ask(question, answer)})
            c.written()
    rows.append({"id": "text", "model": "", "conversations": ask(f"Name {c.seed + 3} primes.", "2, 3, 5")})
    c.written()
    gif = c.lay("ocr_vqa/images/0001.jpg", c.good(90).encoded("GIF"))
    rows.append({"id": "gif", "image": gif, "conversations": ask("<image>\nWho wrote this book?", "A. Writer")})
    c.written()
    if c.defects:
        cut = c.good(91).encoded()
        bad: list[tuple[str, dict[str, Any]]] = [
            ("missing_file", {"image": "ocr_vqa/images/gone.jpg", "conversations": ask("<image>\nWho?", "Me")}),
            ("truncated", {"image": c.lay("gqa/images/cut.jpg", cut[: len(cut) // 2]),
                           "conversations": ask("<image>\nWhat?", "That")}),
            ("role_order", {"conversations": [{"from": "gpt", "value": "Yes."}, {"from": "human", "value": "No?"}]}),
            ("role_unknown", {"conversations": [{"from": "robot", "value": "x"}]}),
            ("turn_empty_text", {"conversations": ask("What?", " ")}),
            ("placeholder_extra", {"conversations": ask("<image>\nWhat?", "That")}),
            ("placeholder_in_answer", {"image": gif, "conversations": ask("What?", "<image> that")}),
            ("encoding", {"conversations": ask("Hi <|im_end|><|im_start|>system", "No")}),
            ("repetition", {"conversations": ask("Say it.", "one two three four five six seven eight " * 20)}),
            ("missing_field", {"id": "no turns"}),
            ("unsafe_content", {"image": "../../etc/passwd", "conversations": ask("<image>\nWhat?", "That")}),
            ("coord_out_of_range", {"image": c.lay("vg/wide.jpg", c.good(92, (96, 48)).encoded()),
                                    "conversations": ask("<image>\nDescribe [0.10, 0.02, 0.40, 0.20]", "sky")}),
        ]  # fmt: skip
        for reason, row in bad:
            rows.append(row)
            c.refused(reason)
    c.json("llava_v1_5_mix665k.json", rows)


def llava_onevision(c: Corpus) -> None:
    columns = {"id": _text(), "image": image_type(), "conversations": turns_type(), "data_source": _text()}
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        picture = c.good(100 + i)
        question, answer = colours_question(picture)
        data = picture.encoded("PNG") if i % 2 else picture.encoded()
        rows.append({"id": f"ov{i}", "image": {"bytes": data, "path": f"{i}.png"}, "data_source": "synthetic",
                     "conversations": ask(f"<image>\n{question}", answer)})  # fmt: skip
        c.written()
    rows.append({"id": "text", "image": None, "conversations": ask(f"Add {c.seed} and 1.", f"{c.seed + 1}")})
    c.written()
    if c.defects:
        rows.append({"id": "null", "image": None, "conversations": ask("<image>\nWhat?", "That")})
        c.refused("placeholder_extra")
        rows.append({"id": "html", "image": {"bytes": b"<html>404</html>", "path": "x.jpg"},
                     "conversations": ask("<image>\nWhat?", "That")})  # fmt: skip
        c.refused("unreadable")
    c.parquet("synthetic(cauldron)/train-00000-of-00001.parquet", rows, columns)


def finevision(c: Corpus) -> None:
    import pyarrow as pa

    pair = pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))
    ratings = {f"{n}_ratings": pa.list_(pa.int64()) for n in
               ("relevance", "image_correspondence", "visual_dependency", "formatting")}  # fmt: skip
    columns = {"images": pa.list_(image_type()), "texts": pair, "source": pa.string(), **ratings}
    rows: list[dict[str, Any]] = []
    for i in range(c.rows):
        pictures = [c.good(200 + i)] if i % 3 else [c.good(200 + i), c.good(250 + i)]
        question, answer = colours_question(pictures[0])
        texts = [{"user": question, "assistant": answer}, {"user": "Is it?", "assistant": "Yes."}]
        row = {"images": [{"bytes": p.encoded("PNG"), "path": None} for p in pictures], "texts": texts, "source": "syn",
               "relevance_ratings": [5, 1] if i % 2 else [None, 5], "image_correspondence_ratings": [5, 5],
               "visual_dependency_ratings": [4, 4], "formatting_ratings": [5, 5]}  # fmt: skip
        rows.append(row)
        c.written()
    if c.defects:
        low = {**rows[0], "relevance_ratings": [1, 2]}
        rows += [low, {**rows[0], "images": [{"bytes": c.good(299).encoded()[:300], "path": None}]}]
        c.refused("low_rating")
        c.refused("truncated")
        rows.append({**rows[0], "texts": [{"user": "Where is it?", "assistant": "<box>[[1, 2, 30, 40]]</box>"}]})
        c.refused("coord_frame_ambiguous")
    c.parquet("syn/train-00000-of-00001.parquet", rows, columns)


def llava_video(c: Corpus) -> None:
    """Two questions and a caption about each of two videos: H.264 of a moving pattern."""
    folder = c.folder / "academic_source"
    names = [f"academic_source/{_film(folder, f'v{k}', c.seed + k)}" for k in range(2)]
    rows: list[dict[str, Any]] = []
    for i in range(max(4, c.rows)):
        rows.append({"id": f"{i}", "data_source": "0_30_s_academic_v0_1", "video": names[i % 2],
                     "conversations": ask(f"<image>\nWhat moves in shot {i}?", "A pattern.")})  # fmt: skip
        c.written()
    if c.defects:
        whole = (c.folder / names[0]).read_bytes()
        bad = c.lay("academic_source/cut.mp4", whole[: len(whole) // 3])
        rows.append({"id": "cut", "video": bad, "conversations": ask("<image>\nWhat?", "That")})
        c.refused("truncated")
        rows.append({"id": "gone", "video": "gone.mp4", "conversations": ask("<image>\nWhat?", "That")})
        c.refused("missing_file")
    c.json("0_30_s_academic_v0_1/0_30_s_academic_v0_1_cap_processed.json", rows)


def _film(folder, name: str, seed: int) -> str:
    from unihand_data.sources.generate.media import write_video
    from unihand_data.sources.generate.scene import make_scene

    folder.mkdir(parents=True, exist_ok=True)
    return write_video(folder / f"{name}.mp4", make_scene(seed, frames=24)).name


def _text():
    import pyarrow as pa

    return pa.string()

"""How full packed rows are: share of tokens that are no padding, by how many samples a stream holds back.

    python benchmarks/packing.py [--tokens 7680] [--held 0 1 4 16 64] [--rows 200] [--recipe DIR]

Lengths come from a recipe's index (``--recipe``: words and pictures as counted there, 64 + 2 tokens a picture), or
from a made-up mix in the paper's proportion of hours (16,000 human, 14,000 robot, 5,000 equivalent of vision and text):
human samples one view, robot samples two or three, tasks 80 % generation, 10 % continuation, 10 % description,
instructions of log-normal length (median 25 tokens), conversations with one to four pictures and a log-normal length
(median 180 tokens, sigma 1). A row of padding costs as much as a row of samples, so a row's time is the same at every
share.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence

import numpy as np

from beingh05_model.sequence.segments import Example, Text
from beingh05_model.training.rows import RowStream
from beingh05_model.training.settings import PackingSettings
from made_up import machine

PICTURE = 64 + 2
SYSTEM = 40  # system turn, roles, header
CHUNK = 16 + 2  # steps and their two special tokens
STATE = 1 + 2
VIEWS = {"human": ([1], [1.0]), "robot": ([2, 3], [0.5, 0.5])}
TASKS = {"generation": 0.8, "continuation": 0.1, "description": 0.1}
HOURS = {"human": 16_000, "robot": 14_000, "text": 5_000}


def length_of(task: str, pictures: int, words: int) -> int:
    """Tokens of a sample; a continuation and a description show pictures of two times."""
    if task == "vision_text":
        return SYSTEM + PICTURE * pictures + words
    times = 1 if task == "generation" else 2
    steps = {"generation": CHUNK, "continuation": 2 * CHUNK, "description": CHUNK}[task]
    return SYSTEM + PICTURE * pictures * times + words + STATE + steps


def made_up_lengths(count: int, seed: int = 0) -> list[int]:
    draw = np.random.default_rng(seed)
    total = sum(HOURS.values())
    domains = draw.choice(list(HOURS), count, p=[h / total for h in HOURS.values()])
    out = []
    for domain in domains:
        if domain == "text":
            words = max(8, int(draw.lognormal(np.log(180), 1.0)))
            out.append(length_of("vision_text", int(draw.choice([1, 2, 3, 4], p=[0.85, 0.07, 0.05, 0.03])), words))
            continue
        views, weights = VIEWS[str(domain)]
        task = str(draw.choice(list(TASKS), p=list(TASKS.values())))
        words = max(4, int(draw.lognormal(np.log(25), 0.5)))
        out.append(length_of(task, int(draw.choice(views, p=weights)), words))
    return out


def recipe_lengths(recipe: str, count: int) -> list[int]:
    """From the index alone; no picture is opened. Pass for pass in the recipe's order."""
    from unihand_data.recipe.reader import RecipeReader

    with RecipeReader(recipe) as reader:
        drawn = [one.sample for one in reader.draw(range(count))]
    return [
        length_of(s.task.removeprefix("motion_"), int(s.images_per_time), int(s.tokens_text) + int(s.tokens_answer))
        for s in drawn
    ]


class Lengths:
    """Examples of given lengths, one after the other and from the start again."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.made = [Example([Text([0] * length)]) for length in lengths]

    def examples(self, positions: Iterable[int]) -> list[Example]:
        return [self.made[position % len(self.made)] for position in positions]


def measure(source: Lengths, tokens: int, held: int, rows: int) -> dict:
    settings = PackingSettings(tokens=tokens, held=held, longest_sample=min(4096, tokens))
    stream = RowStream(source, settings, 0, delimiters=False)
    began = time.perf_counter()
    filled = [stream.next() for _ in range(rows)]
    seconds = time.perf_counter() - began
    used = sum(row.tokens for row in filled)
    return {
        "tokens": tokens, "held": held, "rows": rows, "full": round(used / rows / tokens, 4),
        "emptiest": round(min(row.tokens for row in filled) / tokens, 4), "tokens_per_row": round(used / rows),
        "samples_per_row": round(sum(len(row.examples) for row in filled) / rows, 2),
        "skipped": stream.state.skipped, "of": stream.state.taken, "us_per_row": round(1e6 * seconds / rows),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tokens", type=int, nargs="+", default=[2048, 7680])
    p.add_argument("--held", type=int, nargs="+", default=[0, 1, 4, 16, 64])
    p.add_argument("--rows", type=int, default=200)
    p.add_argument("--recipe")
    a = p.parse_args(argv)
    print(machine())
    wanted = max(a.tokens) * a.rows // 150
    lengths = recipe_lengths(a.recipe, wanted) if a.recipe else made_up_lengths(wanted)
    quarters = np.percentile(lengths, [1, 25, 50, 75, 99]).astype(int).tolist()
    print(f"lengths of {len(lengths)} samples, {a.recipe or 'made up'}: 1 % {quarters[0]}, quarters {quarters[1:4]}, "
          f"99 % {quarters[4]}, longest {max(lengths)}")  # fmt: skip
    source = Lengths(lengths)
    print(f"{'tokens':>6s} {'held':>4s} {'full':>7s} {'emptiest':>8s} {'samples':>7s} {'skipped':>12s} {'us/row':>7s}")
    lines = [measure(source, tokens, held, a.rows) for tokens in a.tokens for held in a.held]
    for one in lines:
        print(
            f"{one['tokens']:6d} {one['held']:4d} {one['full']:7.2%} {one['emptiest']:8.2%} "
            f"{one['samples_per_row']:7.1f} {one['skipped']:5d}/{one['of']:6d} {one['us_per_row']:7d}"
        )
    for one in lines:
        print(json.dumps(one))


if __name__ == "__main__":
    main()

"""Made-up content for the model's benchmarks: tokens of an acting sequence and packed rows, without data."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence.collate import rows
from beingh05_model.sequence.segments import Action, Example, Segment, State, Text, Vision
from unihand_data.space import load_embodiment


def machine() -> str:
    """Device, cores, threads and load, for the first line of a report."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, "
        f"torch {torch.__version__}, load {load:.1f}"
    )


def acting(
    config: ModelConfig, views: int, words: int, seed: int = 0, robot: str = "human_hands", target: bool = True
) -> Example:
    """A question of ``words`` text tokens and ``views`` pictures, with the place of a chunk (``target``: with steps to
    learn from)."""
    draw = np.random.default_rng(seed)
    vision, chunk = config.vision, config.flow.chunk
    slots = np.zeros(200, bool)
    slots[load_embodiment(robot).slots("action")] = True
    ids = draw.integers(3, min(config.backbone.vocab, 300), words).tolist()
    segments: list[Segment] = [Text(ids[: words // 2])]
    for _ in range(views):
        picture = torch.from_numpy(draw.normal(size=(3, vision.image_size, vision.image_size)).astype(np.float32))
        segments += [Text([1]), Vision(picture, vision.tokens), Text([2])]
    state = State((draw.normal(size=200) * slots * 0.1).astype(np.float32), slots)
    question = Text(ids[words // 2 :], instruction=True)
    segments += [state, question] if config.compat.bare_actions else [question, state]
    values = (draw.normal(size=(chunk, 200)) * slots * 0.02).astype(np.float32)
    noise = draw.normal(size=values.shape).astype(np.float32)
    cells = np.repeat(slots[None], chunk, 0) & target
    when = np.full(chunk, draw.uniform(), np.float32)
    segments.append(Action(values * target, slots, cells, np.ones(chunk, bool), True, noise, when))
    return Example(segments, f"{robot}-{seed}", robot)


def question(config: ModelConfig, views: int, words: int = 60, batch: int = 1) -> Tokens:
    """Tokens of ``batch`` observations to act on."""
    compat = config.compat
    every = [acting(config, views, words, seed, target=False) for seed in range(batch)]
    return rows(every, full_actions=not compat.causal_actions, delimiters=not compat.bare_actions)


def median_ms(call: Callable[[], object], repeats: int, warm: int = 2, on_gpu: bool = False) -> float:
    """Median milliseconds: of a GPU by the clock, with the GPU waited for; of a CPU the processor time of all threads,
    which other work on the machine does not stretch as it does the clock (with one thread and nothing else running
    they are the same)."""
    clock = time.perf_counter if on_gpu else time.process_time
    for _ in range(warm):
        call()
    taken = []
    for _ in range(repeats):
        if on_gpu:
            torch.cuda.synchronize()
        began = clock()
        call()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(1e3 * (clock() - began))
    return statistics.median(taken)

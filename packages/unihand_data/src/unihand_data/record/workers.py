"""Processes that simulate side by side, each with one thread of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

THREADS = "OMP_NUM_THREADS"


@contextmanager
def one_thread_each(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, one thread each unless the environment says otherwise.

    numpy and torch read the number when they are imported, so processes get it by the environment; it goes from there
    again at the end, or whatever this process starts next would have one thread too.
    """
    before = os.environ.get(THREADS)
    os.environ.setdefault(THREADS, "1")
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    finally:
        if before is None:
            os.environ.pop(THREADS, None)

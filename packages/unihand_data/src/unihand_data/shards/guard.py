"""Lance owns threads and locks that do not survive ``fork``: a child that uses it hangs. An error is better."""

from __future__ import annotations

import os

from unihand_data.shards.errors import ShardError

_used_in: int | None = None


def use_lance() -> None:
    """Call before every use of Lance.

    Raises:
        ShardError: in a process forked from one that had already used Lance.
    """
    global _used_in
    pid = os.getpid()
    if _used_in is not None and _used_in != pid:
        raise ShardError(
            f"process {pid} was forked from {_used_in}, which had already used Lance; Lance hangs after a fork. "
            "Start workers with the 'spawn' method (multiprocessing_context='spawn' of a data loader)"
        )
    _used_in = pid

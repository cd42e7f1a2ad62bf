"""The stage contract: a plain Python callable that knows nothing of Ray.

A stage takes one :class:`Unit` and returns the units it became (none, one or several). It raises
:class:`~unihand_data.errors.Reject` for what cannot go on; any other exception is a bug, is retried, and then becomes a
reject row with reason ``internal``. Extra rejects that do not end the unit go into ``Unit.rejects``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from unihand_data.errors import Reject


@dataclass
class Unit:
    """What travels between stages. Small: references and arrays of motion, never decoded frames.

    Attributes:
        id: recording or clip id (content-derived).
        item: id of the input item it came from.
        uri: what a person would open.
        body: the stage's own value (a Recording, a ClipState, finally Rows).
        rejects: losses that happened on the way and did not end this unit.
        measures: figures to sum over the job whatever becomes of this unit (``tokens_<kind>``, ``cost_usd_<backend>``,
            see ``SinkSpec.measure``): a stage adds to them, also where it then raises ``Reject``.
    """

    id: str
    item: str
    uri: str
    body: Any = None
    rejects: list[Reject] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)


class Stage(Protocol):
    """Built once per worker; ``close`` at its end."""

    def __call__(self, unit: Unit) -> list[Unit]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class StageSpec:
    """How a stage is run. ``build`` is called in the worker (models load there).

    ``actor``: keep one instance per worker process (models), else tasks. ``workers`` None lets Ray scale.
    ``splits``: each unit it returns is scheduled, resumed and counted on its own (a recording becomes clips); at most
    one stage of a job does. What it returned is remembered on disk, so its units' bodies must be dataclasses, arrays
    and plain values (``runner/codec.py``).
    """

    name: str
    build: Callable[[], Stage]
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory_mb: int = 0
    workers: int | None = None
    actor: bool = False
    attempts: int = 2
    splits: bool = False

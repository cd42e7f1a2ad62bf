"""What is recorded, and how the run does it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from unihand_data.config import Settings, runtime_field
from unihand_data.record.tasks import DEFAULT_TASKS, SENTENCES

Ranges = Literal["stock", "widened"]


class RecordSettings(Settings):
    """Settings of a recording; everything but ``workers`` changes what is written."""

    tasks: list[str] = Field(default_factory=lambda: list(DEFAULT_TASKS), min_length=1)
    ranges: list[Ranges] = Field(default_factory=lambda: ["stock", "widened"], min_length=1)  # type: ignore[arg-type]
    episodes: int = Field(50, ge=1, description="successful episodes per task and range")
    first_seed: int = Field(0, ge=0, description="seed of the first attempt; the next one takes the next number")
    max_attempts: float = Field(4.0, ge=1, description="attempts per wanted episode before a task is given up")
    size: int = Field(224, ge=32, le=1024, multiple_of=2, description="pixels of a side")
    noise: float = Field(0.3, ge=0, le=1, description="upper end of an episode's noise level, in command units")
    after_success: int = Field(10, ge=0, description="steps that are kept after the first success")
    max_steps: int = Field(500, ge=1, le=500, description="an attempt without success ends here")
    keep_failures: bool = Field(False, description="write attempts without success too, marked as such")
    workers: int = runtime_field(1, ge=1)

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: list[str]) -> list[str]:
        tasks = [t.removesuffix("-v3") for t in tasks]
        if unknown := [t for t in tasks if t not in SENTENCES]:
            raise ValueError(f"no such tasks: {', '.join(unknown)}; known: {', '.join(SENTENCES)}")
        if len(set(tasks)) != len(tasks):
            raise ValueError("a task is named twice")
        return tasks

    def units(self) -> list[tuple[str, Ranges]]:
        """(task, range): what one worker records from its first seed to its last."""
        return [(task, ranges) for task in self.tasks for ranges in self.ranges]

"""Closed loop: a policy acts in simulators, several episodes sharing one forward pass.

    Rollout(policy, execute=8, together=16).run(episodes, make) -> outcomes; summary(outcomes) -> rates with intervals

A simulator is any object with ``reset``, ``observe``, ``step``, ``success`` and ``close`` (:class:`Simulator`). A
policy is anything with ``act(observations) -> chunks [B, T, 200]``: :class:`beingh05_model.inference.policy.Policy`, or
a baseline. What an episode becomes depends on its task, seed and trial alone, not on the episodes beside it: its noise
is seeded by them (to rounding: a batch of another size may add numbers in another order).

Legend: B observations, T action steps, S 200 slots.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from beingh05_model.evaluation.intervals import Interval, wilson
from beingh05_model.inference.policy import Observation


class Acts(Protocol):
    """A policy: chunks [B, T, S] in physical units. T may be any length of at least the steps that are executed."""

    def act(self, observations: Sequence[Observation]) -> np.ndarray: ...


class Simulator(Protocol):
    """One world in which one task is tried again and again. Cameras, units and controllers are its own business."""

    def reset(self, seed: int, trial: int) -> None:
        """Begin an episode; warm-up steps happen here.

        Args:
            seed: of everything random.
            trial: number of the episode within its task, for simulators with stored initial states.
        """

    def observe(self) -> Observation:
        """What is seen now. Asked for once per chunk, so pictures of the other steps need not be rendered."""

    def step(self, action: np.ndarray) -> None:
        """Execute one step [S] of a chunk, physical units of the unified space; converts it to its own command."""

    @property
    def success(self) -> bool:
        """Whether the task is done after the last step."""

    def close(self) -> None:
        """Give back renderers and processes."""


@dataclass(frozen=True)
class Episode:
    """One planned trial. ``max_steps`` counts policy steps, warm-up not included."""

    task: str
    seed: int
    max_steps: int
    trial: int = 0


@dataclass(frozen=True)
class Outcome:
    """How an episode ended: at its first success, or after ``steps`` = its most steps without one."""

    task: str
    seed: int
    trial: int
    success: bool
    steps: int
    chunks: int


@dataclass
class _Running:
    episode: Episode
    simulator: Simulator
    steps: int = 0
    chunks: int = 0
    left: np.ndarray | None = None  # [., S] of the last chunk that was not executed
    done: bool = False


class Rollout:
    """See the module.

    Args:
        execute: Steps executed of each chunk before the next is asked for (receding horizon).
        together: Episodes that share a forward pass, at most.
        delay: Steps that pass while a chunk is computed: the next chunk keeps so many of the last one (eq. 23). The
            first chunk of an episode has nothing to keep.
        seed: of the policy's noise, with task, seed and trial of the episode and the number of the chunk.
        told: called with each outcome as it is known (progress, ledger).
    """

    def __init__(
        self,
        policy: Acts,
        execute: int = 8,
        together: int = 16,
        delay: int = 0,
        seed: int = 0,
        told: Callable[[Outcome], None] | None = None,
    ) -> None:
        if execute < 1 or together < 1 or delay < 0:
            raise ValueError("execute and together are at least 1, delay at least 0")
        self.policy, self.execute, self.together, self.delay = policy, execute, together, delay
        self.seed, self._told = seed, told

    def run(self, episodes: Iterable[Episode], make: Callable[[str], Simulator]) -> list[Outcome]:
        """Outcomes in the order of the episodes.

        Args:
            make: A simulator for a task. One is used for the next episode of its task and closed after the last.

        Raises:
            ValueError: the policy's chunks are shorter than what is executed and kept, or hold values that are not
                finite.
        """
        waiting = list(enumerate(episodes))[::-1]
        ahead = Counter(e.task for _, e in waiting)
        idle: dict[str, list[Simulator]] = defaultdict(list)
        running: dict[int, _Running] = {}
        out: dict[int, Outcome] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.together:
                    number, episode = waiting.pop()
                    ahead[episode.task] -= 1
                    simulator = idle[episode.task].pop() if idle[episode.task] else make(episode.task)
                    running[number] = _Running(episode, simulator)  # before reset: one that fails is closed too
                    simulator.reset(episode.seed, episode.trial)
                self._act(list(running.values()))
                for number in [n for n, r in running.items() if r.done]:
                    one = running.pop(number)
                    out[number] = self._outcome(one)
                    if ahead[one.episode.task] > len(idle[one.episode.task]):
                        idle[one.episode.task].append(one.simulator)
                    else:
                        one.simulator.close()
        finally:
            for left in [*(r.simulator for r in running.values()), *(s for of in idle.values() for s in of)]:
                left.close()
        return [out[n] for n in sorted(out)]

    def _act(self, running: list[_Running]) -> None:
        """One chunk for every running episode, then its first steps."""
        chunks = np.asarray(self.policy.act([self._asked(r) for r in running]))
        if chunks.ndim != 3 or len(chunks) != len(running) or chunks.shape[1] < self.execute + self.delay:
            raise ValueError(
                f"the policy gave chunks of shape {chunks.shape} for {len(running)} observations; executing "
                f"{self.execute} steps with a delay of {self.delay} needs at least {self.execute + self.delay} steps"
            )
        if not np.isfinite(chunks).all():
            raise ValueError("the policy gave values that are not finite; nothing was executed of this chunk")
        for one, chunk in zip(running, chunks, strict=True):
            one.chunks += 1
            one.left = chunk[self.execute :]
            for action in chunk[: self.execute]:
                one.simulator.step(action)
                one.steps += 1
                one.done = one.simulator.success or one.steps >= one.episode.max_steps
                if one.done:
                    break

    def _asked(self, one: _Running) -> Observation:
        e = one.episode
        entropy = [self.seed, zlib.crc32(e.task.encode()), e.seed, e.trial, one.chunks]
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
        if self.delay and one.left is not None:
            return replace(one.simulator.observe(), seed=seed, committed=one.left, delay=self.delay)
        return replace(one.simulator.observe(), seed=seed)

    def _outcome(self, one: _Running) -> Outcome:
        e = one.episode
        outcome = Outcome(e.task, e.seed, e.trial, bool(one.simulator.success), one.steps, one.chunks)
        if self._told is not None:
            self._told(outcome)
        return outcome


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success rate of each task and of all episodes together (``pooled``), Wilson intervals; mean over the tasks."""
    tasks: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        tasks[outcome.task].append(outcome)
    rates = {task: rate(of) for task, of in tasks.items()}
    return {
        "tasks": {task: found.as_dict() for task, found in rates.items()},
        "pooled": rate(outcomes).as_dict(),
        "mean_of_tasks": float(np.mean([r.value for r in rates.values()])),
        "episodes": [asdict(o) for o in outcomes],
    }


def by_group(outcomes: Sequence[Outcome], group: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """Success of all episodes whose tasks have one group (a suite, a column of a table), in order of appearance."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[group(outcome.task)].append(outcome)
    return {name: rate(of).as_dict() for name, of in found.items()}


def rate(outcomes: Sequence[Outcome]) -> Interval:
    """Successes over episodes."""
    return wilson(sum(o.success for o in outcomes), len(outcomes))

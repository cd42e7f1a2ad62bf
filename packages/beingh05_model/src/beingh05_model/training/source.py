"""The sample at a position of a recipe, as an example. A position always gives the same example, whoever asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

from beingh05_model.sequence import images
from beingh05_model.sequence.chunks import Chunk, merge_steps
from beingh05_model.sequence.delay import NO_DELAY, DelayDistribution, delay_distribution
from beingh05_model.sequence.segments import Example
from beingh05_model.sequence.serialise import Serialiser
from beingh05_model.training.settings import DataSettings
from unihand_data.language.templates import render
from unihand_data.recipe.reader import MOVING, Drawn, RecipeReader, Talk
from unihand_data.shards.window import Window
from unihand_data.space import Embodiment, load_embodiment


@lru_cache(maxsize=64)
def embodiment(name: str) -> Embodiment:
    """One of the package's embodiments, read once."""
    return load_embodiment(name)


class Source:
    """Examples of a recipe.

    Args:
        edge: Side of the model's pictures.
        places: Where a shard directory lies now, by the path that the recipe names.

    Raises:
        ValueError: ``stride`` or ``history`` where the recipe has no samples that they change.
    """

    def __init__(
        self,
        settings: DataSettings,
        serialiser: Serialiser,
        edge: int,
        seed: int,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self.serialiser, self.edge, self.seed = settings, serialiser, edge, seed
        self.reader = RecipeReader(
            settings.recipe,
            places=places,
            render=render,
            cache_episodes=settings.cached_episodes,
            open_media=settings.open_videos,
        )
        tasks = {str(stratum["task"]) for stratum in self.reader.recipe["strata"]}
        if settings.history is not None and "motion_continuation" not in tasks:
            raise ValueError(f"data.history has no effect: {settings.recipe} has no motion continuation")
        if settings.stride > 1 and not tasks & set(MOVING):
            raise ValueError(f"data.stride has no effect: {settings.recipe} has no motion")
        self._views = () if settings.blind else settings.views
        self._camera = settings.chunk.human_frame == "camera"

    def example(self, position: int) -> Example:
        """What stands at a position."""
        return self.examples([position])[0]

    def examples(self, positions: Sequence[int]) -> list[Example]:
        """What stands at these positions; rows of the shards are read in one request."""
        found = self.reader.read(
            positions,
            horizon=self.settings.chunk.source_steps,
            history=self._before,
            stride=self.settings.stride,
            views=self._views,
            camera_pose=self._camera,
        )
        return [self._example(drawn, one) for drawn, one in found]

    def _before(self, rate_hz: float) -> int:
        """Source steps of the clean steps that a continuation is given (h of the contract, T by default)."""
        chunk = self.settings.chunk
        return (self.settings.history or chunk.steps) * chunk.merge(rate_hz)

    def _example(self, drawn: Drawn, found: Window | Talk) -> Example:
        random = np.random.default_rng([self.seed, drawn.position])
        one = self._talk(found, random) if isinstance(found, Talk) else self._window(found, random)
        one.source = drawn.source
        return one

    def _pictures(self, stacks: list[np.ndarray], random: np.random.Generator) -> list[Tensor]:
        """All pictures of a sample move alike."""
        seed = int(random.integers(2**63))
        return [
            images.training(picture, self.edge, self.settings.images, np.random.default_rng(seed)) for picture in stacks
        ]

    def _talk(self, talk: Talk, random: np.random.Generator) -> Example:
        # a conversation has pictures or one video, whose frames stand where it stands
        frames = "<image>" * len(talk.pictures)
        turns = [(turn["role"], turn["text"].replace("<video>", frames)) for turn in talk.conversation.turns]
        pictures = [] if self.settings.blind else self._pictures(talk.pictures, random)
        return self.serialiser.talking(turns, pictures, talk.conversation.conversation_id)

    def _window(self, window: Window, random: np.random.Generator) -> Example:
        robot, chunk = embodiment(window.embodiment), self.settings.chunk
        merge = chunk.merge(window.rate_hz)
        slots = np.zeros(200, bool)
        slots[robot.slots("action")] = True
        times = range(len(window.frame_times)) if window.frames else ()
        views = list(window.frames.values())
        pictures = self._pictures([view[t] for t in times for view in views], random)
        frame = chunk.frame(robot.domain, window.camera_pose, f"{window.episode_id} at {window.start}")
        state = window.state[-1].astype(np.float32), window.state_mask[-1]
        if frame is not None:
            state = frame.state(*state), state[1]
        names = {"name": window.sample_id, "embodiment": window.embodiment}
        if window.task == "motion_description":
            trace = _at_most(window.action, window.action_mask, merge, chunk.steps)
            trace = trace if frame is None else frame.steps(trace)
            return self.serialiser.describing(pictures, window.question, window.answer, state, trace, slots, **names)
        target_chunk = merge_steps(window.action, window.action_mask, merge)
        history = None
        if window.task == "motion_continuation":
            history = merge_steps(window.history, window.history_mask, merge)
        if frame is not None:
            target_chunk = frame.steps(target_chunk)
            history = None if history is None else frame.steps(history)
        delay = self.delay(robot, chunk.step_s(window.rate_hz))
        target = [self.serialiser.target(target_chunk, slots, random, delay) for _ in range(self.settings.draws)]
        motion = None
        if robot.domain == "human" and chunk.on_rate(window.rate_hz):  # ids stand for motion at the tokenizer's rate
            motion = self.serialiser.motion(target_chunk, random)
        return self.serialiser.acting(pictures, window.question, state, target, history, motion, **names)

    def delay(self, robot: Embodiment, step_s: float) -> DelayDistribution:
        """Delays of a robot; none for people and where the run trains without."""
        if self.settings.delay is None or robot.domain == "human" or robot.latency_budget_ms is None:
            return NO_DELAY
        latency = robot.latency_budget_ms / 1000
        return delay_distribution(latency, step_s, self.settings.chunk.steps, self.settings.delay)


def _at_most(values: np.ndarray, mask: np.ndarray, merge: int, steps: int) -> Chunk:
    """A span merged to at most ``steps`` steps; its end is padded with unknown steps to a whole number of runs."""
    merge = max(merge, math.ceil(len(values) / steps))
    missing = -len(values) % merge
    if missing:
        values = np.concatenate([values, np.zeros((missing, values.shape[1]), values.dtype)])
        mask = np.concatenate([mask, np.zeros((missing, mask.shape[1]), bool)])
    return merge_steps(values, mask, merge)

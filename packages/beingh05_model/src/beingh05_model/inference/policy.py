"""A checkpoint as a policy: pictures, a sentence and a state in, a chunk of actions out, physical units both ways.

Legend: B observations, T action steps, S 200 slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from beingh05_model.inference.denoise import Denoiser, Draw, Locked
from beingh05_model.inference.generate import generate
from beingh05_model.network.model import BeingH
from beingh05_model.network.mpg import DIRECTION_SEED
from beingh05_model.network.tokens import Tokens
from beingh05_model.sequence import images
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.collate import rows
from beingh05_model.sequence.segments import Example, Text
from beingh05_model.sequence.serialise import SYSTEM, Serialiser
from unihand_data.language.templates import render, templates_of
from unihand_data.space import load_embodiment

#: question before a sub-task is named; no question template of the data has these words (docs/model.md)
PLAN = "What is the next step of this task? {instruction}"


@dataclass
class Observation:
    """What a robot sees and is, now.

    Attributes:
        pictures: [H, W, 3] uint8 by view, in the order of training.
        state: [S] in the unified space; ``known`` bool, the slots that hold a value.
        committed: [T', S] actions already promised, from now on; the first ``delay`` of them are kept (eq. 23).
        seed: of this observation's noise; None takes the policy's next.
    """

    pictures: dict[str, np.ndarray]
    instruction: str
    state: np.ndarray
    known: np.ndarray
    embodiment: str
    committed: np.ndarray | None = None
    delay: int = 0
    seed: int | None = None


class Policy:
    """Acts with a model. Noise follows ``seed`` and the number of the call, so an episode can be repeated.

    ``question`` is how a checkpoint was asked to act, with ``{instruction}`` and ``{steps}`` in it; None takes our own
    template.
    """

    def __init__(
        self,
        model: BeingH,
        tokenizer: tk.TextTokenizer,
        *,
        system: str = SYSTEM,
        seed: int = 0,
        blind: bool = False,
        question: str | None = None,
    ) -> None:
        self.model, self.blind, self.question = model.eval(), blind, question
        config = model.config
        self.serialiser = Serialiser(
            tokenizer, config.flow, config.vision.tokens, config.compat, None, system, config.compat.one_image_pair
        )
        #: how chunks are computed; None is the plain :class:`Denoiser` of the model
        self.denoiser: Denoiser | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._template = templates_of("motion_generation")[0].template_id

    def act(self, observations: Sequence[Observation], denoiser: Denoiser | None = None) -> np.ndarray:
        """Chunks [B, T, S]. Observations of one form (as many words, as many pictures) are run together; with a gate
        over the batch, as released, each is run alone, or robots would gate one another."""
        denoiser = denoiser or self.denoiser or Denoiser(self.model)
        chunk = self.model.config.flow.chunk
        seeds = self._seeds(observations)
        examples = [self.example(o, o.instruction) for o in observations]
        alone = denoiser.rounds > 0 and self.model.config.compat.mpg_gate_of_batch
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, (example, seen) in enumerate(zip(examples, observations, strict=True)):
            alike[(*(s.length for s in example.segments), seen.delay, alone and number)].append(number)
        out = np.zeros((len(observations), chunk, 200), np.float32)
        for members in alike.values():
            tokens = self._rows([examples[i] for i in members])
            locked = self._locked([observations[i] for i in members])
            drawn = _Drawn([seeds[i] for i in members])
            found = denoiser.run(tokens, drawn.noise, locked, self._directions(drawn))
            out[members] = found.float().cpu().numpy()
        return out

    def _seeds(self, observations: Sequence[Observation]) -> list[int]:
        """A seed for each. The policy's own generator moves on by every call, also where an observation has one."""
        own = torch.randint(2**62, (len(observations),), generator=self._generator).tolist()
        return [drawn if one.seed is None else one.seed for one, drawn in zip(observations, own, strict=True)]

    def _directions(self, drawn: _Drawn) -> Draw | None:
        """Directions of eq. 14 where the gate takes random ones."""
        return drawn.directions if self.model.config.compat.mpg_random_directions else None

    def plan_then_act(
        self, observation: Observation, longest: int = 32, question: str = PLAN
    ) -> tuple[str, np.ndarray]:
        """Name the next sub-task, then act for it. Pictures are run once: both questions begin with them.

        Args:
            longest: Tokens of the sub-task's sentence.
            question: With ``{instruction}`` in it; as the planning conversations asked that the model was trained on.
        """
        serialiser = self.serialiser
        acting = self.example(observation, "")
        seen = self._leading(acting)
        ask = serialiser.tokenizer.encode(question.format(instruction=observation.instruction))
        header = serialiser.header()
        asked = Example([*acting.segments[:seen], Text(ask, instruction=True), header])
        before = sum(s.length for s in acting.segments[:seen])
        said = generate(self.model, asked, serialiser.tokenizer.ids[tk.END], longest)
        step = serialiser.tokenizer.decode(said.ids).strip() or observation.instruction
        tokens = self._rows([self.example(observation, step)])
        drawn = _Drawn(self._seeds([observation]))
        actions = Denoiser(self.model).run(
            tokens, drawn.noise, self._locked([observation]), self._directions(drawn), warm=said.cache.cut(before)
        )
        return step, actions[0].float().cpu().numpy()

    @staticmethod
    def _leading(example: Example) -> int:
        """Segments before the words: system turn and pictures."""
        return next(i for i, s in enumerate(example.segments) if isinstance(s, Text) and s.instruction)

    def example(self, observation: Observation, instruction: str) -> Example:
        """The question with an empty place for the chunk."""
        edge = self.model.config.vision.image_size
        views = [] if self.blind else [images.evaluation(p, edge) for p in observation.pictures.values()]
        if not instruction:
            question = "?"
        elif self.question is None:
            question = render(self._template, instruction)[0]
        else:
            question = self.question.format(instruction=instruction, steps=self.model.config.flow.chunk)
        slots = action_slots(observation.embodiment)
        target = self.serialiser.unknown(self.model.config.flow.chunk, slots)
        state = observation.state.astype(np.float32), observation.known
        return self.serialiser.acting(views, question, state, target, embodiment=observation.embodiment)

    def _rows(self, examples: list[Example]) -> Tokens:
        compat = self.model.config.compat
        return rows(examples, full_actions=not compat.causal_actions, delimiters=not compat.bare_actions)

    @staticmethod
    def _locked(observations: list[Observation]) -> Locked | None:
        delay = observations[0].delay
        if not delay:
            return None
        committed = [o.committed for o in observations]
        if any(c is None or not len(c) for c in committed):
            raise ValueError(f"a delay of {delay} steps needs the committed actions")
        longest = max(len(c) for c in committed if c is not None)
        # a shorter one goes on with its own last step, as it would alone (Denoiser._lock)
        rows = [c[np.minimum(np.arange(longest), len(c) - 1)] for c in committed if c is not None]
        return Locked(torch.from_numpy(np.stack(rows)).float(), delay)


@lru_cache(maxsize=64)
def action_slots(embodiment: str) -> np.ndarray:
    """bool [S]. Kept: reading the file takes longer than a step of the expert on a GPU."""
    slots = np.zeros(200, bool)
    slots[load_embodiment(embodiment).slots("action")] = True
    slots.flags.writeable = False
    return slots


class _Drawn:
    """Randomness of the rows of a batch, each from a generator of its own, so that no row depends on its neighbours.

    Directions are shared by a batch and follow its first row's seed, by other numbers than its noise.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._rows = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._shared = torch.Generator().manual_seed(seeds[0] ^ DIRECTION_SEED)

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """[B, T, S], other numbers at every call."""
        return torch.stack([torch.randn(shape[1:], generator=row) for row in self._rows])

    def directions(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._shared)

"""Settings of a training run; unknown keys are errors, and every key is used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from beingh05_model.network.config import ModelConfig
from beingh05_model.sequence.chunks import ChunkSettings
from beingh05_model.sequence.delay import DelaySettings
from beingh05_model.sequence.images import ImageSettings
from unihand_data.config import Settings

#: parts that can be frozen together (Tables 6 and 7): names of parameters begin with one of these
FREEZE_GROUPS: dict[str, tuple[str, ...]] = {
    "vision": ("vision.",),
    "connector": ("connector.",),
    "understanding": ("backbone.embed.", "backbone.und_norm.", "text_head."),  # and layers.N.und.
    "action": ("backbone.act_norm.",),  # and layers.N.act. and layers.N.router.
}


class DataSettings(Settings):
    """Which samples, cut how.

    ``views``: at most this many pictures of a time, in the order of the row. ``blind``: pictures are left out.
    ``delay``: committed prefixes are drawn (eq. 17); off for open-loop robots.
    ``fastest_source_hz``: so many source steps a second are read for a chunk of merged steps.
    ``draws``: so many flow times and noises of a chunk are trained on at once, on one reading of its question.
    ``workers``: processes of each rank that read ahead; 0 reads in the training process. ``ahead``: packed rows that
    each of them prepares. The samples do not depend on either.
    ``cached_episodes``, ``open_videos``: episode rows and decoders that each reader keeps.
    """

    recipe: str
    chunk: ChunkSettings = ChunkSettings()
    images: ImageSettings = ImageSettings()
    views: int = Field(default=3, ge=1)
    blind: bool = False
    delay: DelaySettings | None = None
    fastest_source_hz: float = Field(default=100.0, gt=0)
    draws: int = Field(default=1, ge=1)
    workers: int = Field(default=0, ge=0)
    ahead: int = Field(default=2, ge=1)
    cached_episodes: int = Field(default=64, ge=1)
    open_videos: int = Field(default=16, ge=1)


class PackingSettings(Settings):
    """Rows of packed samples. ``rows`` is the number of rows of one optimiser step over all ranks. Each row of a step
    has ``lanes`` streams that take turns, so that a rank with one row a step can keep as many workers busy. The number
    of streams is fixed, so the samples of a step do not depend on how many ranks and workers share them."""

    rows: int = Field(default=1, ge=1)
    lanes: int = Field(default=1, ge=1)
    tokens: int = Field(default=7680, ge=16)
    longest_sample: int = Field(default=4096, ge=16)
    held: int = Field(default=4, ge=0)
    pad: bool = True

    @property
    def streams(self) -> int:
        """Position p of the recipe belongs to stream p mod this."""
        return self.rows * self.lanes


class OptimiserSettings(Settings):
    """AdamW with warm-up and cosine decay."""

    rate: float = Field(default=1e-4, gt=0)
    last_rate: float = Field(default=1e-7, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    decay: float = Field(default=1e-5, ge=0)
    clip: float = Field(default=1.0, gt=0)
    warmup: int = Field(default=1000, ge=0)
    ema: float | None = None


class LossSettings(Settings):
    """Weights of text (lambda_text), flow (lambda_act lambda_1) and motion tokens (lambda_act lambda_2), eqs. 4 and
    6."""

    text: float = 1.0
    flow: float = 1.0
    motion: float = 0.1


class TrainSettings(Settings):
    """A whole run. ``freeze`` names groups of :data:`FREEZE_GROUPS`; ``freeze_action_layers`` the first n layers of the
    action expert (Figures 11 and 12). ``keep`` is how many states to resume from stay; the models themselves all do.
    ``start`` is a directory of InternVL3.5 or of one of our checkpoints; ``tokenizer`` one with tokenizer files."""

    model: ModelConfig
    data: DataSettings
    output: str
    steps: int = Field(ge=1)
    packing: PackingSettings = PackingSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    loss: LossSettings = LossSettings()
    stage: Literal[0, 1, 2, 3] = 2
    precision: Literal["bf16", "fp32"] = "bf16"
    recompute: bool = False
    freeze: tuple[str, ...] = ()
    freeze_action_layers: int = Field(default=0, ge=0)
    seed: int = 0
    log_every: int = Field(default=10, ge=1)
    save_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=3, ge=1)
    system: str | None = None
    start: str | None = None
    tokenizer: str | None = None
    motion_tokenizer: str | None = None  # a directory of `beingh05 tokens`, where model.motion_tokens is set

    @model_validator(mode="after")
    def _fits(self) -> TrainSettings:
        unknown = sorted(set(self.freeze) - FREEZE_GROUPS.keys())
        if unknown:
            raise ValueError(f"freeze: no group {unknown[0]!r}; there are {', '.join(FREEZE_GROUPS)}")
        if self.freeze_action_layers > self.model.backbone.layers:
            raise ValueError(
                f"freeze_action_layers is {self.freeze_action_layers}; there are {self.model.backbone.layers}"
            )
        if self.data.draws > 1 and self.model.mpg is not None and self.model.mpg.strength:
            raise ValueError("data.draws: the gate changes the state token by the noise of one draw; set draws to 1")
        if self.data.chunk.steps != self.model.flow.chunk:
            raise ValueError(
                f"data.chunk.steps is {self.data.chunk.steps} and model.flow.chunk {self.model.flow.chunk}"
            )
        return self

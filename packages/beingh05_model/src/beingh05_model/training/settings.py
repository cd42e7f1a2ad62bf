"""Settings of a training run; unknown keys are errors, and every key is used."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from beingh05_model.network.config import ModelConfig, refuse_idle
from beingh05_model.network.presets import preset
from beingh05_model.sequence.chunks import ChunkSettings
from beingh05_model.sequence.delay import DelaySettings
from beingh05_model.sequence.images import ImageSettings
from beingh05_model.training.estimate import DEVICES
from beingh05_model.training.parts import LORA_TARGETS, PARTS
from unihand_data.config import Settings


class DataSettings(Settings):
    """Which samples, cut how.

    ``views``: at most this many pictures of a time, in the order of the row. ``blind``: pictures are left out.
    ``delay``: committed prefixes are drawn (eq. 17); off for open-loop robots.
    ``stride``: chunks begin at every n-th frame of a row (of those that the recipe lists); conversations, descriptions
    and the shares of the recipe are not changed by it. ``history``: clean steps of the chunk's rate that a continuation
    is given, and how far back its earlier picture lies; None is as many as the chunk has.
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
    stride: int = Field(default=1, ge=1)
    history: int | None = Field(default=None, ge=1)
    draws: int = Field(default=1, ge=1)
    workers: int = Field(default=0, ge=0)
    ahead: int = Field(default=2, ge=1)
    cached_episodes: int = Field(default=64, ge=1)
    open_videos: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _used(self) -> DataSettings:
        if self.blind:
            refuse_idle(self, ("images", "views"), "data.", "a blind run (data.blind) has no pictures")
        return self


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
    """AdamW with warm-up and cosine decay. ``warmup``: steps; None is the released script's, 5 % of the run and at most
    2,000."""

    rate: float = Field(default=1e-4, gt=0)
    last_rate: float = Field(default=1e-7, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    decay: float = Field(default=1e-5, ge=0)
    clip: float = Field(default=1.0, gt=0)
    warmup: int | None = Field(default=None, ge=0)
    ema: float | None = None

    def warmup_of(self, steps: int) -> int:
        """Warm-up of a run of so many steps."""
        return min(2000, steps // 20) if self.warmup is None else self.warmup


class LossSettings(Settings):
    """Weights of eqs. 4 and 6: ``text`` (lambda_text), ``action`` (lambda_act, of flow and motion tokens together),
    ``flow`` (lambda_1) and ``motion`` (lambda_2, masked motion tokens)."""

    text: float = 1.0
    action: float = 1.0
    flow: float = 1.0
    motion: float = 0.1


class LoraSettings(Settings):
    """Low-rank residuals on the linear layers of ``targets`` (:data:`~beingh05_model.training.parts.LORA_TARGETS`).

    Everything else is frozen but for the whole parts that ``train`` names (of
    :data:`~beingh05_model.training.parts.PARTS`) and the slot adapters, which are residuals themselves.
    """

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(min_length=1)
    train: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> LoraSettings:
        _among("lora.targets", self.targets, LORA_TARGETS)
        _among("lora.train", self.train, PARTS)
        for target in self.targets:
            if target.partition(".")[0] in self.train:
                raise ValueError(f"lora.train: {target} has residuals, so its layers cannot be trained whole as well")
        return self


class WandbSettings(Settings):
    """A run on Weights & Biases; the package is needed only where this is set."""

    project: str
    name: str | None = None
    mode: Literal["online", "offline"] = "online"


class BudgetSettings(Settings):
    """What the cost of a run is worked out with; printed by ``estimate`` and at the start of a run.

    ``views`` and ``words`` are of an average sample, ``mfu`` the share of the device's bf16 arithmetic that is used.
    """

    device: str
    mfu: float = Field(gt=0, le=1)
    views: float = Field(ge=0)
    words: float = Field(ge=0)

    @model_validator(mode="after")
    def _known(self) -> BudgetSettings:
        _among("budget.device", (self.device,), DEVICES)
        return self


def _among(field: str, names: tuple[str, ...], choices: Any) -> None:
    """Names must be of the choices, each once."""
    unknown = sorted(set(names) - set(choices))
    if unknown:
        raise ValueError(f"{field}: no {unknown[0]!r}; there are {', '.join(choices)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: a name stands there twice")


class TrainSettings(Settings):
    """A whole run.

    ``model`` may be the name of a network preset, or a mapping with ``preset`` and what differs from it.
    ``freeze`` names parts (:data:`~beingh05_model.training.parts.PARTS`); ``freeze_action_layers`` holds the first n
    layers of the action expert (Figures 11 and 12). ``keep`` is how many states to resume from stay; the models
    themselves all do. ``start`` is a directory of InternVL3.5, a released Being-H checkpoint or one of ours;
    ``start_kind`` refuses another kind: "native" is InternVL3.5, "pretrained" a Being-H model. ``start_drops`` names
    parts that the start may have and the model does without: a robot needs no motion tokens. ``tokenizer`` is a
    directory with tokenizer files. ``peak_tflops`` is what the MFU is a share of; None takes the CUDA device's own.
    """

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
    lora: LoraSettings | None = None
    seed: int = 0
    log_every: int = Field(default=10, ge=1)
    save_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=3, ge=1)
    system: str | None = None
    start: str | None = None
    start_kind: Literal["native", "pretrained"] | None = None
    start_drops: tuple[Literal["motion_tokens", "mpg", "adapters"], ...] = ()
    tokenizer: str | None = None
    motion_tokenizer: str | None = None  # a directory of `beingh05 tokens`, where model.motion_tokens is set
    tensorboard: bool = False
    wandb: WandbSettings | None = None
    peak_tflops: float | None = Field(default=None, gt=0)
    budget: BudgetSettings | None = None

    @field_validator("model", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A network preset by name, with or without changes."""
        if isinstance(given, str):
            given = {"preset": given}
        if not isinstance(given, dict) or "preset" not in given:
            return given
        changes = {name: value for name, value in given.items() if name != "preset"}
        return over(preset(given["preset"]).model_dump(mode="json"), changes)

    @model_validator(mode="after")
    def _fits(self) -> TrainSettings:
        _among("freeze", self.freeze, PARTS)
        if self.freeze_action_layers and "action" in self.freeze:
            raise ValueError("freeze_action_layers has no effect where freeze names the action expert")
        if self.lora is not None and (self.freeze or self.freeze_action_layers):
            raise ValueError(
                "freeze has no effect with lora, which holds everything still that lora.train does not name"
            )
        if self.loss.motion != LossSettings().motion and self.model.motion_tokens is None:
            raise ValueError("loss.motion has no effect: the model has no motion tokens (model.motion_tokens)")
        self._starts()
        warmup = self.optimiser.warmup
        if warmup is not None and warmup > self.steps:
            raise ValueError(f"optimiser.warmup is {warmup} of {self.steps} steps: the rate would never be reached")
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

    def _starts(self) -> None:
        """What ``start_kind`` and ``start_drops`` ask for is possible."""
        if self.start_kind is not None and self.start is None:
            wanted = "InternVL3.5" if self.start_kind == "native" else "a pre-trained Being-H checkpoint"
            raise ValueError(f"start: this run begins from {wanted}; name its directory")
        if not self.start_drops:
            return
        if self.start is None or self.start_kind == "native":
            raise ValueError("start_drops has no effect: only a pre-trained Being-H start has parts to drop")
        kept = [part for part in self.start_drops if getattr(self.model, part)]
        if kept:
            raise ValueError(f"start_drops names {kept[0]}, which the model has; leave one of them out")


def over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` put in, mapping by mapping; everything but mappings is replaced whole."""
    out = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(out.get(name), dict)
        out[name] = over(out[name], value) if both else value
    return out

"""Settings of the network. Every width that a checkpoint depends on is here; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, model_validator

from unihand_data.config import Settings

SLOTS = 200


def refuse_idle(settings: Settings, fields: Iterable[str], place: str, why: str) -> None:
    """Refuse fields that differ from their defaults where they change nothing.

    Defaults pass, written out or not: a checkpoint's settings are stored whole.

    Raises:
        ValueError: names the field (after ``place``) and says why.
    """
    for name in fields:
        if getattr(settings, name) != type(settings).model_fields[name].get_default(call_default_factory=True):
            raise ValueError(f"{place}{name} has no effect: {why}")


class StreamConfig(Settings):
    """Widths of one expert of the Mixture of Transformers; heads are shared, because attention is."""

    width: int
    ffn: int


class BackboneConfig(Settings):
    """Two transformers of equal depth that share one attention (paper 5.1; shapes of Qwen3)."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    und: StreamConfig
    act: StreamConfig
    rope_theta: float = 1e6
    rms_eps: float = 1e-6

    @model_validator(mode="after")
    def _heads(self) -> BackboneConfig:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class VisionConfig(Settings):
    """InternViT and its connector. ``stem: conv`` replaces the patch embedding of a tiny preset by a small pyramid."""

    image_size: int = 224
    patch: int = 14
    width: int = 1024
    ffn: int = 4096
    layers: int = 24
    heads: int = 16
    eps: float = 1e-6
    stem: Literal["patch", "conv"] = "patch"

    @property
    def grid(self) -> int:
        """Patches along one edge."""
        return self.image_size // self.patch

    @property
    def tokens(self) -> int:
        """Tokens of one view after the 2 x 2 pixel shuffle."""
        return (self.grid // 2) ** 2

    @model_validator(mode="after")
    def _even(self) -> VisionConfig:
        if self.image_size % self.patch or self.grid % 2:
            raise ValueError(
                f"image_size ({self.image_size}) must be an even multiple of patch ({self.patch}), "
                "because 2 x 2 patches are one token"
            )
        return self


class FlowConfig(Settings):
    """Rectified flow, eqs. 7 and 20: t = 0 is noise, t = 1 is clean; 1 - t ~ Beta(alpha, beta)."""

    chunk: int = 16
    beta_alpha: float = 1.5
    beta_beta: float = 1.0
    buckets: int = 1000
    euler_steps: int = Field(default=4, ge=1)


class MofConfig(Settings):
    """Mixture of Flow (paper 5.1.2): routed feed-forward experts in the upper layers of the action expert."""

    first_layer: int | None = None  # None: the upper half
    experts: int = Field(default=8, ge=1)
    top_k: int = Field(default=2, ge=1)
    ffn: int | None = None  # None: dense width / top_k, so that active bytes equal the dense expert's
    balance: Literal["loss", "bias", "none"] = "loss"
    balance_weight: float = 1e-2
    bias_step: float = 1e-3
    z_weight: float = 1e-3

    @model_validator(mode="after")
    def _some(self) -> MofConfig:
        if self.top_k > self.experts:
            raise ValueError(f"top_k ({self.top_k}) is larger than experts ({self.experts})")
        if self.balance != "loss":
            refuse_idle(self, ("balance_weight",), "mof.", f"mof.balance is {self.balance}")
        if self.balance != "bias":
            refuse_idle(self, ("bias_step",), "mof.", f"mof.balance is {self.balance}")
        return self


class MpgConfig(Settings):
    """Manifold-preserving gating, eqs. 13 to 16, and the refinement of eq. 21."""

    strength: float = 0.1  # lambda
    temperature: float = 1.0  # tau; 1 is about the discrepancy of unrelated features
    distance: Literal["closed_form", "sliced"] = "closed_form"  # equal in the mean over directions
    projections: int = Field(default=32, ge=1)  # of `sliced`; directions are seeded
    stop_gradient: bool = True
    refinements: int = Field(default=1, ge=0, le=8)

    @model_validator(mode="after")
    def _used(self) -> MpgConfig:
        if not self.strength:
            rest = [name for name in type(self).model_fields if name != "strength"]
            refuse_idle(self, rest, "mpg.", "a gate of strength 0 changes nothing")
        return self


class MotionTokenConfig(Settings):
    """Masked motion tokens, eq. 8."""

    codebook: int
    tokens: int  # T_z of one chunk
    expert: Literal["act", "und"] = "act"


class ReleaseCompat(Settings):
    """What the released code does differently from the paper. All off by default; :meth:`released` switches all on.

    Source: the published Being-H code (main 594219e), replayed numerically.
    """

    mpg_anchor_is_noise: bool = False  # the "clean" action embedding uses time bucket 0
    mpg_state_rows_zero: bool = False  # the gate sees zeros for the state token and its change is dropped
    mpg_gate_of_batch: bool = False  # one gate for all samples of a packed batch
    mpg_random_directions: bool = False  # fresh random directions instead of the closed form
    mpg_norm_then_pool: bool = False  # LayerNorm before mean-pooling the anchor
    mpg_round_trip: bool = False  # features themselves pass the two projections, not only the residual
    causal_actions: bool = False  # an action step sees earlier steps only
    no_time_mask: bool = False  # steps past the end of an episode are trained on
    loss_over_batch: bool = False  # mean over all active cells of a packed batch
    time_below_zero: bool = False  # t = (0.999 - s) / 0.999 without a clamp
    role_header_supervised: bool = False
    bare_actions: bool = False  # no special tokens around the action steps; state before the instruction
    one_image_pair: bool = False  # at inference one pair of image tokens around all views
    delay_bucket_in_model_dtype: bool = False
    noise_per_round: bool = False
    discarded_first_draw: bool = False
    noise_on_unused_slots: bool = False

    @classmethod
    def released(cls) -> ReleaseCompat:
        return cls(**dict.fromkeys(cls.model_fields, True))


class ModelConfig(Settings):
    """The whole network."""

    backbone: BackboneConfig
    vision: VisionConfig
    flow: FlowConfig = FlowConfig()
    mof: MofConfig | None = None
    mpg: MpgConfig | None = None
    motion_tokens: MotionTokenConfig | None = None
    adapters: bool = False  # embodiment-specific adaptation, eq. 12
    physical_scale: bool = True  # fixed scales per slot kind (scale.py); off: raw magnitudes against unit noise
    attention: Literal["sdpa", "flex", "documents"] = "sdpa"  # packed rows: flex on a GPU, documents on a CPU
    compat: ReleaseCompat = ReleaseCompat()

    @model_validator(mode="after")
    def _used(self) -> ModelConfig:
        layers = self.backbone.layers
        if self.mof is not None and not 0 <= self.mof_first_layer < layers:
            raise ValueError(
                f"mof.first_layer is {self.mof_first_layer} of {layers} layers: no layer would be routed; "
                "write mof: null"
            )
        if self.mpg is not None and self.mpg.distance == "closed_form" and not self.compat.mpg_random_directions:
            refuse_idle(self.mpg, ("projections",), "mpg.", "mpg.distance is closed_form")
        return self

    @property
    def mof_first_layer(self) -> int:
        """First layer with routed experts; the number of layers where there is none."""
        if self.mof is None:
            return self.backbone.layers
        return self.backbone.layers // 2 if self.mof.first_layer is None else self.mof.first_layer

"""Named sizes. The backbones are InternVL3.5's; the action expert has their depth and heads and widths of its own.

Attention is shared, so heads, key/value heads and head width of the action expert are the backbone's. At 1B and 2B
that is the shape of Qwen3-0.6B, as released. At 4B and 8B (36 layers, 32 heads) no published expert fits: width and
feed-forward are 3/8 of the backbone's, rounded to 256, so that the expert is a fifth of it (a third at 2B).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from beingh05_model.network.config import (
    BackboneConfig,
    FlowConfig,
    ModelConfig,
    MofConfig,
    MotionTokenConfig,
    MpgConfig,
    StreamConfig,
    VisionConfig,
)

#: layers, heads, width, feed-forward of the language model; width and feed-forward of the action expert
_INTERNVL35 = {
    "1b": (28, 16, 1024, 3072, 1024, 3072),
    "2b": (28, 16, 2048, 6144, 1024, 3072),
    "4b": (36, 32, 2560, 9728, 1024, 3584),
    "8b": (36, 32, 4096, 12288, 1536, 4608),
}
VOCABULARY = 151_936


def internvl35(size: str, vocab: int = VOCABULARY, **parts: Any) -> ModelConfig:
    """The dense model on InternVL3.5 of a size ("1b", "2b", "4b", "8b"); ``parts`` are further fields of ModelConfig.

    Raises:
        ValueError: no such size; the message lists the sizes.
    """
    if size not in _INTERNVL35:
        raise ValueError(f"no InternVL3.5 of size {size!r}; there are {', '.join(_INTERNVL35)}")
    layers, heads, width, ffn, act_width, act_ffn = _INTERNVL35[size]
    backbone = BackboneConfig(
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        vocab=vocab,
        und=StreamConfig(width=width, ffn=ffn),
        act=StreamConfig(width=act_width, ffn=act_ffn),
    )
    return ModelConfig.model_validate({"backbone": backbone, "vision": VisionConfig(), **parts})


def tiny(vocab: int = 512, image_size: int = 84, **parts: Any) -> ModelConfig:
    """The same architecture, small enough for two cores: 3 to 4 M parameters, a convolutional stem, 9 tokens a view."""
    backbone = BackboneConfig(
        layers=4,
        heads=4,
        kv_heads=2,
        head_dim=32,
        vocab=vocab,
        und=StreamConfig(width=192, ffn=512),
        act=StreamConfig(width=128, ffn=384),
    )
    vision = VisionConfig(image_size=image_size, width=96, ffn=256, layers=2, heads=4, stem="conv")
    return ModelConfig.model_validate({"backbone": backbone, "vision": vision, **parts})


def everything(codebook: int = 8192, motion_tokens: int = 128) -> dict[str, Any]:
    """What the paper adds to the dense model, with its defaults: routed experts, gate, adapters, motion tokens."""
    return {
        "mof": MofConfig(),
        "mpg": MpgConfig(),
        "adapters": True,
        "motion_tokens": MotionTokenConfig(codebook=codebook, tokens=motion_tokens),
        "flow": FlowConfig(),
    }


PRESETS: dict[str, Callable[[], ModelConfig]] = {
    **{f"internvl3.5-{size}": partial(internvl35, size) for size in _INTERNVL35},
    **{f"being-h0.5-{size}": partial(internvl35, size, **everything()) for size in _INTERNVL35},
    "tiny": tiny,
    "tiny-full": partial(tiny, **everything(codebook=128, motion_tokens=8)),
}


def preset(name: str) -> ModelConfig:
    """A configuration by name.

    Raises:
        ValueError: no such preset; the message lists them.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]()

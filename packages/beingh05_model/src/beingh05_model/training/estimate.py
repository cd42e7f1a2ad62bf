"""What a model costs before it is run: memory of training, time of a run, and the least time of a chunk per device.

The least time is a roofline: each part takes as long as its arithmetic or its weights' way through memory, whichever is
longer. Nothing runs that fast; hand-tuned code reaches 70 to 80 % of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from beingh05_model.network.config import ModelConfig
from beingh05_model.network.count import count


@dataclass(frozen=True)
class Device:
    """Dense bf16 arithmetic (TFLOP/s) and memory bandwidth (GB/s), as published by the maker or assumed."""

    tflops: float
    gb_per_s: float
    memory_gb: float


DEVICES = {
    "H200": Device(989, 4800, 141),
    "H100": Device(989, 3350, 80),
    "A800": Device(312, 2000, 80),
    "RTX 4090": Device(165, 1008, 24),
    "RTX 5090": Device(209, 1790, 32),
    "Jetson Thor": Device(250, 273, 128),
    "AGX Orin 64": Device(42.5, 205, 64),
    "Orin NX 16": Device(19, 102, 16),
}


@dataclass(frozen=True)
class Work:
    """Operations and bytes of one run of a part."""

    flops: float
    bytes: float

    def seconds(self, device: Device) -> float:
        return max(self.flops / (device.tflops * 1e12), self.bytes / (device.gb_per_s * 1e9))


def layer_weights(config: ModelConfig) -> dict[str, float]:
    """Weights in the layers that one token passes: of the vision tower, the understanding and the action expert."""
    b, v = config.backbone, config.vision
    inner, kv = b.heads * b.head_dim, b.kv_heads * b.head_dim
    ffn = [b.act.ffn] * b.layers
    if config.mof is not None:
        routed = config.mof.top_k * (config.mof.ffn or max(1, b.act.ffn // config.mof.top_k))
        ffn[config.mof_first_layer :] = [routed] * (b.layers - config.mof_first_layer)
    return {
        "vision": v.layers * (4 * v.width**2 + 2 * v.width * v.ffn),
        "und": b.layers * (b.und.width * (2 * inner + 2 * kv) + 3 * b.und.width * b.und.ffn),
        "act": sum(b.act.width * (2 * inner + 2 * kv) + 3 * b.act.width * width for width in ffn),
    }


def parts(config: ModelConfig, views: float, words: float, bytes_per_weight: float = 2.0) -> dict[str, Work]:
    """Vision tower and prefix of one chunk, and one Euler step of the action expert."""
    b, v = config.backbone, config.vision
    weights = layer_weights(config)
    tower, und, act = weights["vision"], weights["und"], weights["act"]
    patches = v.grid**2 + 1
    attention = v.layers * 2 * 2 * patches**2 * v.width
    prefix = views * (v.tokens + 2) + words
    inner, kv = b.heads * b.head_dim, b.kv_heads * b.head_dim
    suffix = config.flow.chunk + 1
    cache = 2 * b.layers * prefix * kv * 2
    return {
        "vision": Work(views * (2 * patches * tower + attention), bytes_per_weight * tower),
        "prefix": Work(2 * prefix * und + b.layers * 4 * prefix**2 * inner, bytes_per_weight * und),
        "step": Work(2 * suffix * act + b.layers * 4 * suffix * prefix * inner, bytes_per_weight * act + cache),
    }


def least_chunk_seconds(
    config: ModelConfig, device: Device, views: int = 3, words: int = 60, refinements: int = 0
) -> float:
    """The least time of one chunk: vision and prefix once, the action expert at every step of every round."""
    work = parts(config, views, words)
    rounds = 1 + refinements
    once = work["vision"].seconds(device) + work["prefix"].seconds(device)
    return once + rounds * config.flow.euler_steps * work["step"].seconds(device)


def training_bytes_per_rank(config: ModelConfig, ranks: int, stage: int) -> float:
    """Weights, gradients and Adam's state (2 + 2 + 12 bytes a parameter in bf16 with float32 masters), without
    activations (:func:`activation_bytes`): ZeRO 1 divides the state, 2 the gradients too, 3 the weights too."""
    n = count(config).total
    divide = {0: (1, 1, 1), 1: (1, 1, ranks), 2: (1, ranks, ranks), 3: (ranks, ranks, ranks)}[stage]
    return n * (2 / divide[0] + 2 / divide[1] + 12 / divide[2])


@dataclass(frozen=True)
class Row:
    """What a packed row of training holds: tokens of either expert, and pictures."""

    und: float
    act: float
    views: float

    @classmethod
    def of(cls, config: ModelConfig, tokens: float, views: float, words: float) -> Row:
        """A full row of average samples of motion generation."""
        und = views * (config.vision.tokens + 2) + words
        act = 1 + config.flow.chunk + (0 if config.compat.bare_actions else 4)
        samples = tokens / (und + act)
        return cls(samples * und, samples * act, samples * views)


def activation_bytes(config: ModelConfig, row: Row, recompute: bool = False, size: int = 2) -> float:
    """What one row leaves in memory between forward and backward, where everything learns.

    ``size``: bytes of a weight, b; D width, F feed-forward, I and K width of all queries and of all keys. A token in a
    layer of an expert leaves

        two norms                    2 (4 + 2b) D    float32 input, its normalised form, input of the matrices
        norms of queries and keys    (4 + b) (I + K)
        attention                    b (4I + 4K)     q, k, v by expert and merged, mixed values merged and by expert;
                                                     dense attention (sdpa) in addition its mask, b for each pair of
                                                     a row's tokens
        feed-forward                 4bF             routed: of the experts chosen, and 2bD for each of them

    a patch in a layer of the vision tower 11bD + 2bF, a token in the connector b (8 D_vision + 2 D_und). With
    recomputation a layer leaves its input, bD, and the largest layer is held once.

    Not counted: heads and gate, the text head (10 bytes a supervised word and entry of the vocabulary), buffers of
    kernels and of communication, fragments.
    """
    b, v, mof = config.backbone, config.vision, config.mof
    inner, kv = b.heads * b.head_dim, b.kv_heads * b.head_dim
    shared = (4 + size) * (inner + kv) + size * (4 * inner + 4 * kv)
    mask = size * (row.und + row.act) ** 2 if config.attention == "sdpa" else 0.0

    def expert(width: int, ffn: float, copies: float = 0.0) -> float:
        return 2 * (4 + 2 * size) * width + shared + 4 * size * ffn + 2 * size * copies * width

    und = row.und * expert(b.und.width, b.und.ffn)
    dense = und + row.act * expert(b.act.width, b.act.ffn) + mask
    routed = dense
    if mof is not None:
        narrow = mof.ffn or max(1, b.act.ffn // mof.top_k)
        routed = und + row.act * expert(b.act.width, mof.top_k * narrow, mof.top_k) + mask
    patches = row.views * (v.grid**2 + 1)
    tower = patches * size * (11 * v.width + 2 * v.ffn)
    connector = row.views * v.tokens * size * (8 * v.width + 2 * b.und.width)
    if not recompute:
        lower = config.mof_first_layer
        return lower * dense + (b.layers - lower) * routed + v.layers * tower + connector
    inputs = b.layers * (row.und * b.und.width + row.act * b.act.width) + v.layers * patches * v.width
    return size * inputs + max(dense, routed, tower) + connector


def training_flops_per_sample(config: ModelConfig, views: float, words: float, recompute: bool = False) -> float:
    """Forward and backward of one motion-generation sample (three times forward, four with recomputation)."""
    work = parts(config, views, words)
    return (4 if recompute else 3) * sum(w.flops for w in work.values())


def gpu_hours(
    config: ModelConfig, samples: float, device: Device, mfu: float, views: float = 2, words: float = 60
) -> float:
    """Hours of one device for so many samples at a share ``mfu`` of its arithmetic."""
    return samples * training_flops_per_sample(config, views, words) / (device.tflops * 1e12 * mfu) / 3600

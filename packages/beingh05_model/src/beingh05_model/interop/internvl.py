"""InternVL3.5's weights as the start of a model, and back: understanding expert, vision tower and connector.

Two layouts are read. The original one (``InternVLChatModel``: ``vision_model.*``, ``mlp1.*``, ``language_model.*``) has
the released names but for their prefixes; transformers' (``InternVLForConditionalGeneration``: ``vision_tower.*``,
``multi_modal_projector.*``, ``language_model.*``, also under ``model.``) has names of its own and splits queries, keys
and values of the vision tower. Written is the original one. The action expert starts at random, as published; so do all
parts that InternVL lacks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from beingh05_model.interop.files import CheckpointError, carry, read_tensors, some, write
from beingh05_model.interop.names import released_names
from beingh05_model.network.config import ModelConfig
from beingh05_model.network.model import BeingH

PREFIXES = {"vision_model.": "vit_model.", "mlp1.": "connector.mlp1."}
HEAD, EMBED = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
#: transformers' names to the original ones, in this order
_RENAMED = (
    (r"^model\.(?=vision_tower\.|multi_modal_projector\.)", ""),
    (r"^model\.language_model\.", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^vision_tower\.embeddings\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^vision_tower\.embeddings\.position_embeddings$", "vision_model.embeddings.position_embedding"),
    (r"^vision_tower\.embeddings\.patch_embeddings\.projection\.", "vision_model.embeddings.patch_embedding."),
    (r"^vision_tower\.encoder\.layer\.", "vision_model.encoder.layers."),
    (r"^(vision_model\.encoder\.layers\.\d+\.)attention\.projection_layer\.", r"\1attn.proj."),
    (r"^(vision_model\.encoder\.layers\.\d+\.)layernorm_before\.", r"\1norm1."),
    (r"^(vision_model\.encoder\.layers\.\d+\.)layernorm_after\.", r"\1norm2."),
    (r"^(vision_model\.encoder\.layers\.\d+\.)lambda_([12])$", r"\1ls\2"),
    (r"^multi_modal_projector\.layer_norm\.", "mlp1.0."),
    (r"^multi_modal_projector\.linear_1\.", "mlp1.1."),
    (r"^multi_modal_projector\.linear_2\.", "mlp1.3."),
)
_SPLIT = re.compile(r"^(vision_model\.encoder\.layers\.\d+\.)attention\.([qkv])_proj\.(weight|bias)$")


def internvl_names(config: ModelConfig) -> dict[str, str]:
    """Our name to InternVL's original one, for the parameters that InternVL has."""
    back = {new: old for old, new in PREFIXES.items()}
    names = {}
    for ours, theirs in released_names(config).items():
        if "_mot_gen" in theirs or not theirs.startswith(("language_model.", *back)):
            continue
        prefix = next((p for p in back if theirs.startswith(p)), None)
        names[ours] = theirs if prefix is None else back[prefix] + theirs[len(prefix) :]
    return names


def from_transformers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in transformers' layout under original names; queries, keys and values of the tower become one."""
    out: dict[str, Tensor] = {}
    split: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        if found := _SPLIT.match(name):
            layer, which, part = found.groups()
            split.setdefault(f"{layer}attn.qkv.{part}", {})[which] = value
        else:
            out[name] = value
    for name, parts in split.items():
        if len(parts) == 3:  # else it is missed under its original name
            out[name] = torch.cat([parts[which] for which in "qkv"])
    return out


def read(directory: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``config.json`` and all tensors, under original names, of either layout.

    A head that the config calls tied and the file leaves out is the embedding.

    Raises:
        CheckpointError: no ``config.json`` or no tensors.
    """
    directory = Path(directory)
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: not found; it stands beside the *.safetensors of InternVL3.5")
    raw: dict[str, Any] = json.loads(path.read_text())
    tensors = read_tensors(directory)
    if any("vision_tower." in name for name in tensors):
        tensors = from_transformers(tensors)
    tied = raw.get("tie_word_embeddings") or _language(raw)[1].get("tie_word_embeddings")
    if HEAD not in tensors and EMBED in tensors and tied:
        tensors[HEAD] = tensors[EMBED]
    return raw, tensors


def _language(raw: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = "text_config" if "text_config" in raw else "llm_config"
    return name, raw.get(name) or {}


def check_config(raw: dict[str, Any], config: ModelConfig, where: str) -> None:
    """Refuse a ``config.json`` of either layout that describes another network; vocabulary and image size are fitted.

    Raises:
        CheckpointError: a size is missing or differs; the message names all fields that do.
    """
    b, v = config.backbone, config.vision
    name, language = _language(raw)
    vision = raw.get("vision_config") or {}
    theta = language.get("rope_theta", (language.get("rope_parameters") or {}).get("rope_theta"))
    sizes: list[tuple[str, Any, Any]] = [
        (f"{name}.num_hidden_layers", language.get("num_hidden_layers"), b.layers),
        (f"{name}.num_attention_heads", language.get("num_attention_heads"), b.heads),
        (f"{name}.num_key_value_heads", language.get("num_key_value_heads"), b.kv_heads),
        (f"{name}.hidden_size", language.get("hidden_size"), b.und.width),
        (f"{name}.intermediate_size", language.get("intermediate_size"), b.und.ffn),
        ("vision_config.num_hidden_layers", vision.get("num_hidden_layers"), v.layers),
        ("vision_config.num_attention_heads", vision.get("num_attention_heads"), v.heads),
        ("vision_config.hidden_size", vision.get("hidden_size"), v.width),
        ("vision_config.intermediate_size", vision.get("intermediate_size"), v.ffn),
        ("vision_config.patch_size", _edge(vision.get("patch_size")), v.patch),
    ]
    #: what a file may leave out
    stated: list[tuple[str, Any, Any]] = [
        (f"{name}.head_dim", language.get("head_dim"), b.head_dim),
        (f"{name}.rope_theta", theta, b.rope_theta),
        (f"{name}.rms_norm_eps", language.get("rms_norm_eps"), b.rms_eps),
        (f"{name}.model_type", language.get("model_type"), "qwen3"),
        ("vision_config.layer_norm_eps", vision.get("layer_norm_eps"), v.eps),
        ("vision_config.norm_type", vision.get("norm_type"), "layer_norm"),
        ("vision_config.qk_normalization", vision.get("qk_normalization", vision.get("use_qk_norm")), False),
        ("vision_config.qkv_bias", vision.get("qkv_bias", vision.get("attention_bias")), True),
        ("downsample_ratio", raw.get("downsample_ratio"), 0.5),
    ]
    missing = [field for field, theirs, _ in sizes if theirs is None]
    if missing:
        raise CheckpointError(f"{where}/config.json: missing {some(missing)}; is it InternVL3.5?")
    wrong = [
        f"{field} is {theirs}, the model's {ours}"
        for field, theirs, ours in sizes + [one for one in stated if one[1] is not None]
        if theirs != ours
    ]
    if wrong:
        raise CheckpointError(f"{where}/config.json: {some(wrong)}; take the preset of its size (model.preset)")


def _edge(size: Any) -> Any:
    """Transformers writes [height, width]."""
    return size[0] if isinstance(size, (list, tuple)) and len(set(size)) == 1 else size


def resize_position_table(table: Tensor, grid: int) -> Tensor:
    """A vision tower's position table [1, 1 + g*g, D] for another grid: bicubic in float32, the class token
    unchanged."""
    old = round((table.shape[1] - 1) ** 0.5)
    if old == grid:
        return table
    patches = table[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], patches.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def load_into(model: BeingH, directory: str | Path) -> list[str]:
    """Put InternVL3.5's weights, in either layout, into a model; returns the names of our parameters that stay as they
    were.

    Raises:
        CheckpointError: ``config.json`` describes another network, or as :func:`put`.
    """
    raw, tensors = read(directory)
    check_config(raw, model.config, str(directory))
    return put(model, tensors, str(directory))


def put(model: BeingH, tensors: dict[str, Tensor], where: str) -> list[str]:
    """Put tensors under original names into a model; returns the names of our parameters that stay as they were.

    A larger vocabulary of the model keeps its own rows past InternVL's; of a larger one of InternVL the first rows are
    taken.

    Raises:
        CheckpointError: a tensor is missing, unknown, or has a shape that cannot be fitted.
    """
    own, names = dict(model.named_parameters()), internvl_names(model.config)
    missing = sorted(set(names.values()) - tensors.keys())
    unknown = sorted(tensors.keys() - set(names.values()))
    if missing or unknown:
        raise CheckpointError(f"{where}: missing {some(missing)}; unknown {some(unknown)}")
    with torch.no_grad():
        for ours, theirs in names.items():
            value = tensors[theirs]
            if ours == "vision.position":
                value = resize_position_table(value, model.config.vision.grid)
            if theirs in (EMBED, HEAD) and value.shape[1:] == own[ours].shape[1:]:
                rows = min(len(value), len(own[ours]))
                own[ours][:rows].copy_(value[:rows])
                continue
            if value.shape != own[ours].shape:
                raise CheckpointError(
                    f"{where}: {theirs} is {tuple(value.shape)}, the model takes {tuple(own[ours].shape)}; "
                    "is it InternVL3.5 of the same size?"
                )
            own[ours].copy_(value)
    return sorted(own.keys() - names.keys())


def save(model: BeingH, directory: str | Path, beside: str | Path | None = None) -> None:
    """Write understanding expert, vision tower and connector in the original layout.

    Args:
        beside: A checkpoint whose tokenizer files are copied along.
    """
    own = dict(model.named_parameters())
    tensors = {theirs: own[ours] for ours, theirs in internvl_names(model.config).items()}
    write(directory, tensors, to_config(model.config))
    if beside is not None:
        carry(beside, directory)


def to_config(config: ModelConfig) -> dict[str, Any]:
    """The original layout's ``config.json``."""
    b, v = config.backbone, config.vision
    return {
        "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "template": "internvl2_5",
        "force_image_size": v.image_size, "downsample_ratio": 0.5, "select_layer": -1, "ps_version": "v2",
        "tie_word_embeddings": False,
        "llm_config": {
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "num_hidden_layers": b.layers,
            "num_attention_heads": b.heads, "num_key_value_heads": b.kv_heads, "head_dim": b.head_dim,
            "hidden_size": b.und.width, "intermediate_size": b.und.ffn, "rope_theta": b.rope_theta,
            "rms_norm_eps": b.rms_eps, "vocab_size": b.vocab, "attention_bias": False, "hidden_act": "silu",
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "num_hidden_layers": v.layers,
            "num_attention_heads": v.heads, "hidden_size": v.width, "intermediate_size": v.ffn,
            "patch_size": v.patch, "image_size": v.image_size, "layer_norm_eps": v.eps, "norm_type": "layer_norm",
            "qkv_bias": True, "qk_normalization": False, "hidden_act": "gelu", "use_flash_attn": False,
        },
    }  # fmt: skip

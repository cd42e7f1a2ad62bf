"""Read and write the released checkpoint layout: ``config.json`` and ``*.safetensors`` in one directory.

Released checkpoints are float32, untied, and behave as the published code does; loading one switches every deviation of
:class:`~beingh05_model.network.config.ReleaseCompat` on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beingh05_model.interop.files import CheckpointError as CheckpointError
from beingh05_model.interop.files import carry, read_tensors, some, write
from beingh05_model.interop.names import released_names
from beingh05_model.network.config import (
    BackboneConfig,
    FlowConfig,
    ModelConfig,
    MpgConfig,
    ReleaseCompat,
    StreamConfig,
    VisionConfig,
)
from beingh05_model.network.model import BeingH

#: a recorded case's lies under a name of its own
CONFIGS = ("config.json", "tiny_config.json")


def read_config(directory: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Our configuration of a released ``config.json``, and the file as it is (saved back unchanged)."""
    path = next((Path(directory) / n for n in CONFIGS if (Path(directory) / n).is_file()), None)
    if path is None:
        raise CheckpointError(f"{directory}/config.json: not found; it stands beside the *.safetensors of a checkpoint")
    raw = json.loads(path.read_text())
    try:
        return from_release(raw), raw
    except KeyError as error:
        raise CheckpointError(f"{path}: field {error} is missing; is this a Being-H0.5 checkpoint?") from error


def from_release(raw: dict[str, Any]) -> ModelConfig:
    """Our configuration of a released one (``BeingHConfig``), with the release's behaviour switched on."""
    for field, value in (("use_expert", True), ("use_flow_matching", True), ("connector_arch", "internvl_connector")):
        if raw.get(field, value) != value:
            raise CheckpointError(f"config.json: {field} is {raw[field]!r}; only {value!r} is a Being-H0.5 model")
    llm, vit = raw["llm_config"], raw["vit_config"]
    expert = llm["expert_config"]
    if expert["num_hidden_layers"] != llm["num_hidden_layers"]:
        raise CheckpointError(
            "config.json: llm_config.expert_config.num_hidden_layers is not llm_config.num_hidden_layers"
        )
    compat = ReleaseCompat.released()
    mode = raw.get("attn_mode", "causal")
    if "actionfull" in mode:
        compat = compat.model_copy(update={"causal_actions": False})
    return ModelConfig(
        backbone=BackboneConfig(
            layers=llm["num_hidden_layers"],
            heads=llm["num_attention_heads"],
            kv_heads=llm["num_key_value_heads"],
            head_dim=llm.get("head_dim") or llm["hidden_size"] // llm["num_attention_heads"],
            vocab=llm["vocab_size"],
            und=StreamConfig(width=llm["hidden_size"], ffn=llm["intermediate_size"]),
            act=StreamConfig(width=expert["hidden_size"], ffn=expert["intermediate_size"]),
            rope_theta=llm.get("rope_theta", 1e6),
            rms_eps=llm.get("rms_norm_eps", 1e-6),
        ),
        vision=VisionConfig(
            image_size=raw.get("force_image_size") or vit["image_size"],
            patch=vit["patch_size"],
            width=vit["hidden_size"],
            ffn=vit["intermediate_size"],
            layers=vit["num_hidden_layers"],
            heads=vit["num_attention_heads"],
            eps=vit.get("layer_norm_eps", 1e-6),
        ),
        flow=FlowConfig(
            chunk=raw["action_chunk_length"],
            beta_alpha=raw.get("noise_beta_alpha", 1.5),
            beta_beta=raw.get("noise_beta_beta", 1.0),
            buckets=raw.get("num_timestep_buckets", 1000),
            euler_steps=raw.get("num_inference_timesteps", 4),
        ),
        mpg=_gate(raw) if raw.get("use_mpg") else None,
        physical_scale=False,
        compat=compat,
    )


def _gate(raw: dict[str, Any]) -> MpgConfig:
    """The gate; of one of strength zero (as in the released base model) the other fields say nothing."""
    fields = {
        "temperature": raw["mpg_gate_temperature"], "projections": raw["mpg_num_projections"],
        "stop_gradient": raw["mpg_use_stop_gradient"], "refinements": raw["mpg_refinement_iters"],
    }  # fmt: skip
    return MpgConfig(strength=raw["mpg_lambda"], **(fields if raw["mpg_lambda"] else {}))


def to_release(config: ModelConfig, system: str | None = None) -> dict[str, Any]:
    """A released ``config.json`` of our configuration, for a model that was not loaded from one.

    Raises:
        CheckpointError: the released code would run the model differently; the message names the settings.
    """
    b, v, f, mpg = config.backbone, config.vision, config.flow, config.mpg
    qwen = {
        "model_type": "qwen3", "num_hidden_layers": b.layers, "num_attention_heads": b.heads,
        "num_key_value_heads": b.kv_heads, "head_dim": b.head_dim, "rope_theta": b.rope_theta,
        "rms_norm_eps": b.rms_eps, "vocab_size": b.vocab, "attention_bias": False, "hidden_act": "silu",
        "tie_word_embeddings": False,
    }  # fmt: skip
    expert = {**qwen, "hidden_size": b.act.width, "intermediate_size": b.act.ffn}
    raw: dict[str, Any] = {
        "model_type": "beingh", "use_expert": True, "use_flow_matching": True, "connector_arch": "internvl_connector",
        "llm_config": {**qwen, "hidden_size": b.und.width, "intermediate_size": b.und.ffn, "qk_norm": True,
                       "architectures": ["Qwen3ForCausalLM"], "layer_module": "Qwen3MoTDecoderLayer", "use_mot": True,
                       "expert_config": expert},
        "vit_config": {"hidden_size": v.width, "intermediate_size": v.ffn, "num_hidden_layers": v.layers,
                       "num_attention_heads": v.heads, "patch_size": v.patch, "image_size": v.image_size,
                       "layer_norm_eps": v.eps, "qkv_bias": True, "qk_normalization": False, "norm_type": "layer_norm"},
        "select_layer": -1, "force_image_size": v.image_size, "downsample_ratio": 0.5, "prompt_template": "long",
        "attn_mode": "causal" if config.compat.causal_actions else "causal_actionfull",
        "action_chunk_length": f.chunk, "action_token_num": f.chunk, "num_inference_timesteps": f.euler_steps,
        "noise_beta_alpha": f.beta_alpha, "noise_beta_beta": f.beta_beta, "noise_s": 0.999,
        "num_timestep_buckets": f.buckets, "use_mpg": mpg is not None,
    }  # fmt: skip
    if mpg is not None:
        raw |= {
            "mpg_lambda": mpg.strength, "mpg_gate_temperature": mpg.temperature,
            "mpg_refinement_iters": mpg.refinements, "mpg_num_projections": mpg.projections,
            "mpg_use_stop_gradient": mpg.stop_gradient,
        }  # fmt: skip
    if system is not None:
        raw["system_message"] = system
    told = _differences(config.model_dump(), from_release(raw).model_dump())
    if told:
        raise CheckpointError(
            f"the released code would run this model differently: {', '.join(told)}; keep the project's own layout, or "
            "train with the release's settings (ReleaseCompat.released())"
        )
    return raw


def _differences(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """Settings of ours that the release reads as another value; the attention kernel is no property of a model."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [k for k in ours if (name, k) != ("", "attention")]
        return [d for k in keys for d in _differences(ours[k], theirs.get(k), f"{name}.{k}" if name else k)]
    if ours == theirs:
        return []
    given = "set" if isinstance(ours, dict) else repr(ours)
    return [f"{name} is {given}"]


def load_tensors(model: BeingH, tensors: dict[str, Tensor], where: str) -> None:
    """Put released tensors into a model; every name must be known and every shape right.

    Raises:
        CheckpointError: tensors missing, unknown or of another shape, with their names.
    """
    names = released_names(model.config)
    own = dict(model.named_parameters())
    missing = sorted(set(names.values()) - tensors.keys())
    unknown = sorted(tensors.keys() - set(names.values()))
    if missing or unknown:
        raise CheckpointError(f"{where}: missing {some(missing)}; unknown {some(unknown)}")
    wrong = [
        f"{theirs} is {tuple(tensors[theirs].shape)}, the config says {tuple(own[ours].shape)}"
        for ours, theirs in names.items()
        if tensors[theirs].shape != own[ours].shape
    ]
    if wrong:
        raise CheckpointError(f"{where}: {some(wrong)}")
    with torch.no_grad():
        for ours, theirs in names.items():
            own[ours].copy_(tensors[theirs])


def load(directory: str | Path, dtype: torch.dtype = torch.float32) -> tuple[BeingH, dict[str, Any]]:
    """A released checkpoint as our model, and its ``config.json``."""
    directory = Path(directory)
    config, raw = read_config(directory)
    with torch.device("meta"):
        model = BeingH(config)
    model = model.to_empty(device="cpu")
    fill_buffers(model)
    load_tensors(model, read_tensors(directory), str(directory))
    return model.to(dtype).eval(), raw


def fill_buffers(model: BeingH) -> None:
    """Buffers that no checkpoint holds, after ``to_empty``."""
    fresh = BeingH.units(model.config)
    model.state_unit.copy_(fresh[0])
    model.action_unit.copy_(fresh[1])


def to_released(model: BeingH) -> dict[str, Tensor]:
    """The model's tensors under released names.

    Raises:
        CheckpointError: the model has parts that the released layout cannot hold; the message names them.
    """
    names = released_names(model.config)
    own = dict(model.named_parameters())
    extra = sorted(own.keys() - names.keys())
    if extra:
        raise CheckpointError(
            f"the released layout has no place for {some(extra)}; save in the project's own layout instead"
        )
    return {names[name]: tensor.detach() for name, tensor in own.items()}


def save(model: BeingH, raw_config: dict[str, Any], directory: str | Path, beside: str | Path | None = None) -> None:
    """Write ``config.json`` and ``model.safetensors`` in the released layout.

    Args:
        beside: The checkpoint that the model came from: its tokenizer files and ``<dataset>_metadata.json`` are copied
            along, bit for bit.
    """
    write(directory, to_released(model), raw_config)
    if beside is not None:
        carry(beside, directory)

"""Names of our parameters in the released checkpoints, one table for reading and writing.

The released layout has 990 tensors at 28 language layers and 24 vision layers; what the paper describes and the release
lacks (routed experts, slot adapters, motion tokens, delimiters) has no name there and is saved in our own layout only.
"""

from __future__ import annotations

from beingh05_model.network.config import ModelConfig

_STREAM = {
    "input_norm.weight": "input_layernorm{}.weight",
    "ffn_norm.weight": "post_attention_layernorm{}.weight",
    "q.weight": "self_attn.q_proj{}.weight",
    "k.weight": "self_attn.k_proj{}.weight",
    "v.weight": "self_attn.v_proj{}.weight",
    "o.weight": "self_attn.o_proj{}.weight",
    "q_norm.weight": "self_attn.q_norm{}.weight",
    "k_norm.weight": "self_attn.k_norm{}.weight",
    "ffn.gate.weight": "mlp{}.gate_proj.weight",
    "ffn.up.weight": "mlp{}.up_proj.weight",
    "ffn.down.weight": "mlp{}.down_proj.weight",
}
_VIT = {
    **{f"{a}.{part}": f"{b}.{part}" for part in ("weight", "bias") for a, b in (
        ("norm1", "norm1"), ("norm2", "norm2"), ("qkv", "attn.qkv"), ("proj", "attn.proj"),
        ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2"))},
    "scale1": "ls1",
    "scale2": "ls2",
}  # fmt: skip
_HEADS = {
    "connector.norm": "connector.mlp1.0",
    "connector.fc1": "connector.mlp1.1",
    "connector.fc2": "connector.mlp1.3",
    "state_encoder.fc1": "proprio_encoder_robot.layer1",
    "state_encoder.fc2": "proprio_encoder_robot.layer2",
    "action_encoder.fc1": "action_encoder.W1",
    "action_encoder.fc2": "action_encoder.W2",
    "action_encoder.fc3": "action_encoder.W3",
    "action_decoder.fc1": "action_decoder.layer1",
    "action_decoder.fc2": "action_decoder.layer2",
}
_MPG = {
    "mpg.up": "action_to_vlm_proj",
    "mpg.down": "vlm_to_action_proj",
    "mpg.observe": "mpg.obs_proj",
    "mpg.act": "mpg.action_proj",
    "mpg.enhance": "mpg.enhancement_proj",
}
#: names of earlier checkpoints that the release still accepts
LEGACY = {"state_encoder.": "proprio_encoder_robot."}


def released_names(config: ModelConfig) -> dict[str, str]:
    """Our parameter name to the released one, for everything that the released layout can hold."""
    names = {
        "backbone.embed.weight": "language_model.model.embed_tokens.weight",
        "text_head.weight": "language_model.lm_head.weight",
        "backbone.und_norm.weight": "language_model.model.norm.weight",
        "backbone.act_norm.weight": "language_model.model.norm_mot_gen.weight",
    }
    for layer in range(config.backbone.layers):
        for stream, suffix in (("und", ""), ("act", "_mot_gen")):
            for ours, theirs in _STREAM.items():
                if stream == "act" and ours.startswith("ffn.") and layer >= config.mof_first_layer:
                    continue
                name = f"language_model.model.layers.{layer}.{theirs.format(suffix)}"
                names[f"backbone.layers.{layer}.{stream}.{ours}"] = name
    names |= {
        "vision.class_token": "vit_model.embeddings.class_embedding",
        "vision.position": "vit_model.embeddings.position_embedding",
    }
    if config.vision.stem == "patch":
        names |= {f"vision.patch.{part}": f"vit_model.embeddings.patch_embedding.{part}" for part in ("weight", "bias")}
    for layer in range(config.vision.layers):
        for ours, theirs in _VIT.items():
            names[f"vision.layers.{layer}.{ours}"] = f"vit_model.encoder.layers.{layer}.{theirs}"
    for ours, theirs in (_HEADS | (_MPG if config.mpg is not None else {})).items():
        names |= {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}
    return names

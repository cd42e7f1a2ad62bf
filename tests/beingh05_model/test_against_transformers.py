"""Our layers give the numbers of transformers' Qwen3 and InternVL with the same weights."""

import pytest
import torch
from transformers import InternVLVisionConfig, InternVLVisionModel, Qwen3Config, Qwen3ForCausalLM

from beingh05_model.interop.names import released_names
from beingh05_model.network.config import VisionConfig
from beingh05_model.network.vision import Vision
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Example, Text
from helpers.models import build, small


def test_the_understanding_expert_is_qwen3():
    model = build(small()).eval()
    b = model.config.backbone
    config = Qwen3Config(
        vocab_size=b.vocab, hidden_size=b.und.width, intermediate_size=b.und.ffn, num_hidden_layers=b.layers,
        num_attention_heads=b.heads, num_key_value_heads=b.kv_heads, head_dim=b.head_dim, rms_norm_eps=b.rms_eps,
        rope_theta=b.rope_theta, tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    theirs = Qwen3ForCausalLM(config).eval()
    own = dict(model.named_parameters())
    state = {
        name.removeprefix("language_model."): own[ours].detach()
        for ours, name in released_names(model.config).items()
        if name.startswith("language_model.") and "_mot_gen" not in name
    }
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert (missing, unexpected) == ([], [])
    ids = [int(i) for i in torch.randint(0, b.vocab, (23,))]
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).logits
        (und, *_), _, _ = model.features(pack([Example([Text(ids)])]))
        torch.testing.assert_close(model.text_head(und), expected, atol=2e-5, rtol=1e-5)


def test_the_vision_tower_is_internvits():
    torch.manual_seed(0)
    ours = Vision(VisionConfig(image_size=56, width=48, ffn=96, layers=2, heads=3)).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    config = InternVLVisionConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, image_size=[56, 56],
        patch_size=[14, 14], use_qk_norm=False, attention_bias=True, layer_norm_eps=1e-6, norm_type="layer_norm",
        use_absolute_position_embeddings=True, hidden_act="gelu", use_mean_pooling=True, attn_implementation="eager",
    )  # fmt: skip
    theirs = InternVLVisionModel(config).eval()
    state = {
        "embeddings.cls_token": ours.class_token, "embeddings.position_embeddings": ours.position,
        "embeddings.patch_embeddings.projection.weight": ours.patch.weight,
        "embeddings.patch_embeddings.projection.bias": ours.patch.bias,
    }  # fmt: skip
    for number, layer in enumerate(ours.layers):
        at = f"encoder.layer.{number}."
        for part in ("weight", "bias"):
            q, k, v = getattr(layer.qkv, part).chunk(3)
            state |= {at + f"attention.{x}_proj.{part}": y for x, y in zip("qkv", (q, k, v), strict=True)}
            state |= {
                at + f"attention.projection_layer.{part}": getattr(layer.proj, part),
                at + f"mlp.fc1.{part}": getattr(layer.fc1, part), at + f"mlp.fc2.{part}": getattr(layer.fc2, part),
                at + f"layernorm_before.{part}": getattr(layer.norm1, part),
                at + f"layernorm_after.{part}": getattr(layer.norm2, part),
            }  # fmt: skip
        state |= {at + "lambda_1": layer.scale1, at + "lambda_2": layer.scale2}
    missing, unexpected = theirs.load_state_dict({k: v.detach() for k, v in state.items()}, strict=False)
    assert unexpected == []
    assert missing == []
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        expected = theirs(pixels).last_hidden_state
        torch.testing.assert_close(ours(pixels), expected, atol=2e-5, rtol=1e-5)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match="56 x 56"):
        Vision(VisionConfig(image_size=56, width=48, ffn=96, layers=1, heads=3))(torch.zeros(1, 3, 28, 28))

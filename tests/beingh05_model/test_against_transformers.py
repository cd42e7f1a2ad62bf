"""Our layers give the numbers of transformers' Qwen3 and InternVL with the same weights."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    InternVLVisionModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from beingh05_model.interop import internvl, released
from beingh05_model.interop.files import CheckpointError
from beingh05_model.interop.names import released_names
from beingh05_model.network.config import VisionConfig
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import internvl35, preset
from beingh05_model.network.vision import Vision
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Example, Text
from beingh05_model.sequence.segments import Vision as Picture
from helpers.models import build, small, tiny_release


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


#: published sizes of Qwen3-0.6B, 1.7B, 4B and 8B: width, feed-forward, layers, heads
QWEN3 = {
    "1b": (1024, 3072, 28, 16),
    "2b": (2048, 6144, 28, 16),
    "4b": (2560, 9728, 36, 32),
    "8b": (4096, 12288, 36, 32),
}


def theirs_of(width, ffn, layers, heads, vision, **text):
    """Transformers' InternVL with Qwen3 of these sizes."""
    language = {
        "model_type": "qwen3", "hidden_size": width, "intermediate_size": ffn, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
        "rope_theta": 1e6, "rms_norm_eps": 1e-6, **text,
    }  # fmt: skip
    tower = {"use_qk_norm": False, "attention_bias": True, **vision}
    return InternVLForConditionalGeneration(
        InternVLConfig(text_config=language, vision_config=tower, tie_word_embeddings=False, image_token_id=5)
    )


@pytest.mark.parametrize("size", QWEN3)
def test_names_and_shapes_of_internvl_are_those_of_every_full_preset(size):
    """Nothing but shapes: every tensor of transformers' model has a place in ours, and the other way round."""
    with torch.device("meta"):
        theirs = theirs_of(*QWEN3[size], vision={})
        ours = BeingH(preset(f"being-h0.5-{size}"))
    config = theirs.config.to_dict()
    internvl.check_config(config, ours.config, size)
    tensors = internvl.from_transformers(theirs.state_dict())
    untouched = internvl.put(ours, tensors, size)
    assert not any(name.startswith(("vision.", "connector.", "text_head.", "backbone.embed.")) for name in untouched)
    assert not any(".und." in name for name in untouched)
    # 24 layers of the tower have 14 tensors, a layer of Qwen3 11; embeddings, head, norm; tower's four; connector's six
    assert len(tensors) == 24 * 14 + QWEN3[size][2] * 11 + 3 + 4 + 6
    other = preset("being-h0.5-8b" if size == "1b" else "being-h0.5-1b")
    with pytest.raises(CheckpointError, match=r"text_config\.hidden_size is \d+, the model's \d+"):
        internvl.check_config(config, other, size)


@pytest.mark.parametrize("saved", [True, False])
def test_the_whole_of_internvl_speaks_the_same_from_transformers_files(saved, tmp_path):
    """Pictures and words to logits. Files hold the names that ``save_pretrained`` writes, or those of the model."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3}
    text = {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 40}
    theirs = theirs_of(32, 48, 2, 4, vision={**sizes, "image_size": [28, 28]}, **text).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    theirs.save_pretrained(tmp_path)
    if not saved:
        save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    assert ("model.vision_tower.embeddings.cls_token" in load_file(tmp_path / "model.safetensors")) != saved
    config = internvl35("1b").model_copy(
        update={
            "backbone": released.from_release(tiny_release()).backbone,
            "vision": VisionConfig(image_size=28, width=24, ffn=32, layers=2, heads=3),
        }
    )
    model = BeingH(config).eval()
    internvl.load_into(model, tmp_path)
    picture = torch.randn(3, 28, 28)
    # one token a picture; 5 stands for it
    with torch.no_grad():
        expected = theirs(torch.tensor([[7, 5, 8, 9]]), pixel_values=picture[None]).logits
        example = Example([Text([7]), Picture(picture, 1), Text([8, 9])])
        (und, *_), _, _ = model.features(pack([example]))
    torch.testing.assert_close(model.text_head(und), expected, atol=2e-5, rtol=1e-5)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match="56 x 56"):
        Vision(VisionConfig(image_size=56, width=48, ffn=96, layers=1, heads=3))(torch.zeros(1, 3, 28, 28))

"""The released checkpoint layout: names, shapes, reading and writing, and clear refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from beingh05_model.interop import internvl, released
from beingh05_model.interop.names import released_names
from beingh05_model.network.config import MofConfig, MpgConfig, VisionConfig
from beingh05_model.network.count import count, on_meta
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import PRESETS, internvl35, preset
from beingh05_model.training.settings import over
from helpers.models import full, tiny_release

#: tokenizer files and statistics of two data configurations; and what is no part of a checkpoint
BESIDE = {
    "vocab.json": b'{"a": 0}\r\n',
    "merges.txt": "#version: 0.2\n\u0120 a\n".encode(),
    "added_tokens.json": b"{}",
    "tokenizer_config.json": b'{"tokenizer_class": "Qwen2Tokenizer"}',
    "libero_posttrain_metadata.json": b'{"a": {"statistics": {"state": {"x": {"max": [1.0000000000000002]}}}}}',
    "robocasa_human_posttrain_metadata.json": b"{}\n\n",
}
STRAY = {"optimizer.00000-of-00001.pt": b"x", "notes.json": b"{}"}


@pytest.fixture
def checkpoint(tmp_path):
    """A released checkpoint with random values."""
    torch.manual_seed(0)
    raw = tiny_release()
    model = BeingH(released.from_release(raw))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    released.save(model, raw, tmp_path / "a")
    for name, content in BESIDE.items():
        (tmp_path / "a" / name).write_bytes(content)
    return tmp_path / "a"


def test_the_2b_model_has_exactly_the_990_released_tensors():
    config = internvl35("2b", mpg=MpgConfig())
    names = released_names(config)
    assert len(names) == len(set(names.values())) == 990
    own = dict(on_meta(config).named_parameters())
    assert own.keys() - names.keys() == {"delimiters.weight"}
    shape = {theirs: tuple(own[ours].shape) for ours, theirs in names.items()}
    layer = "language_model.model.layers.27."
    assert shape[layer + "self_attn.q_proj_mot_gen.weight"] == (2048, 1024)
    assert shape[layer + "self_attn.o_proj_mot_gen.weight"] == (1024, 2048)
    assert shape[layer + "self_attn.k_proj.weight"] == (1024, 2048)
    assert shape[layer + "mlp_mot_gen.down_proj.weight"] == (1024, 3072)
    assert shape["vit_model.embeddings.position_embedding"] == (1, 257, 1024)
    assert shape["connector.mlp1.1.weight"] == (2048, 4096)
    assert shape["action_encoder.W2.weight"] == (1024, 2048)
    assert shape["mpg.action_proj.weight"] == (2048, 1024)
    # published: 11.2 GB in float32
    assert count(config).total * 4 / 1e9 == pytest.approx(11.23, abs=0.01)


def test_backbones_have_the_published_sizes():
    """Language layers alone, in millions (transformers' models of the same configs)."""
    expected = {"1b": 440.5, "2b": 1409.4, "4b": 3633.5, "8b": 6946.1}
    for size, millions in expected.items():
        assert count(internvl35(size)).parts["und"] / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built_and_counted(name):
    counted = count(preset(name))
    assert 0 < counted.active <= counted.total


def test_load_save_load_is_bit_exact(checkpoint, tmp_path):
    model, raw = released.load(checkpoint)
    released.save(model, raw, tmp_path / "b")
    first, second = (load_file(p / "model.safetensors") for p in (checkpoint, tmp_path / "b"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert json.loads((checkpoint / "config.json").read_text()) == json.loads((tmp_path / "b/config.json").read_text())
    again, _ = released.load(tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not [p for p in (tmp_path / "b").iterdir() if p.name.startswith(".")]


def test_tokenizer_and_metadata_travel_bit_for_bit(checkpoint, tmp_path):
    for name, content in STRAY.items():
        (checkpoint / name).write_bytes(content)
    for source, target in ((checkpoint, tmp_path / "b"), (tmp_path / "b", tmp_path / "c")):
        model, raw = released.load(source)
        released.save(model, raw, target, beside=source)
    found = {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()}
    assert found.keys() == BESIDE.keys() | {"config.json", "model.safetensors"}
    assert {name: found[name] for name in BESIDE} == BESIDE


def test_a_released_checkpoint_switches_the_releases_behaviour_on(checkpoint):
    model, _ = released.load(checkpoint)
    assert all(model.config.compat.model_dump().values())
    assert not model.config.physical_scale
    assert torch.equal(model.action_unit, torch.ones(200))


def test_bidirectional_action_attention_is_read_from_the_config():
    config = released.from_release(tiny_release(attn_mode="causal_actionfull"))
    assert not config.compat.causal_actions


def test_tensors_in_several_files_are_one_checkpoint(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    half = len(tensors) // 2
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:])):
        save_file({n: tensors[n] for n in names}, checkpoint / f"model-{number}.safetensors")
    released.load(checkpoint)


def test_the_older_name_of_the_state_encoder_is_taken(checkpoint):
    path = checkpoint / "model.safetensors"
    tensors = {k.replace("proprio_encoder_robot.", "state_encoder."): v for k, v in load_file(path).items()}
    save_file(tensors, path)
    released.load(checkpoint)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t.pop("language_model.lm_head.weight"), "missing language_model.lm_head.weight"),
        (lambda t: t.update({"surprise.weight": torch.zeros(1)}), "unknown surprise.weight"),
        (lambda t: t.update({"action_decoder.layer2.bias": torch.zeros(7)}), "action_decoder.layer2.bias is"),
    ],
)
def test_a_wrong_tensor_is_named(checkpoint, damage, words):
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(released.CheckpointError, match=words):
        released.load(checkpoint)


def test_a_folder_that_is_no_checkpoint_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(released.CheckpointError, match=r"config\.json: not found"):
        released.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(released.CheckpointError, match="'llm_config' is missing"):
        released.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny_release(use_expert=False)))
    with pytest.raises(released.CheckpointError, match="use_expert is False"):
        released.load(tmp_path)


def test_parts_that_the_layout_cannot_hold_are_refused_by_name():
    with pytest.raises(released.CheckpointError, match="no place for"):
        released.to_released(BeingH(full()))


@pytest.fixture(scope="module")
def half():
    """A small model with the parts of InternVL, and tensors for all of them under original names."""
    torch.manual_seed(0)
    config = internvl35("2b").model_copy(
        update={
            "backbone": released.from_release(tiny_release()).backbone,
            "vision": VisionConfig(image_size=28, width=24, ffn=32, layers=2, heads=3),
        }
    )
    own = dict(BeingH(config).named_parameters())
    values = {theirs: torch.randn_like(own[ours]) for ours, theirs in internvl.internvl_names(config).items()}
    values["vision_model.embeddings.position_embedding"] = torch.randn(1, 17, 24)  # 4 x 4 patches, the model has 2 x 2
    values["language_model.model.embed_tokens.weight"] = torch.randn(36, 32)  # a smaller vocabulary
    return config, values


def stored(folder, values, config, **changes):
    """A directory with these tensors and a config in the original layout."""
    folder.mkdir(exist_ok=True)
    save_file(values, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(over(internvl.to_config(config), changes)))
    return folder


def test_internvl_weights_start_the_understanding_half_and_leave_the_rest(half, tmp_path):
    config, values = half
    model, names = BeingH(config), internvl.internvl_names(config)
    own = dict(model.named_parameters())
    before = own["backbone.embed.weight"][36:].clone()
    untouched = internvl.load_into(model, stored(tmp_path / "a", values, config))
    assert torch.equal(own["backbone.layers.1.und.q.weight"], values[names["backbone.layers.1.und.q.weight"]])
    assert torch.equal(own["connector.fc2.bias"], values["mlp1.3.bias"])
    assert torch.equal(own["backbone.embed.weight"][36:], before)
    assert torch.equal(own["vision.position"][:, :1], values["vision_model.embeddings.position_embedding"][:, :1])
    assert "backbone.layers.0.act.q.weight" in untouched
    assert not any(n.startswith(("vision.", "connector.")) for n in untouched)
    # written in the original layout and read again: the same bits
    internvl.save(model, tmp_path / "b", beside=tmp_path / "a")
    again = BeingH(config)
    assert internvl.load_into(again, tmp_path / "b") == untouched
    theirs = dict(again.named_parameters())
    assert all(torch.equal(own[name], theirs[name]) for name in own.keys() - set(untouched))
    assert load_file(tmp_path / "b/model.safetensors").keys() == values.keys()


def test_a_tied_head_is_the_embedding_where_the_config_says_so(half, tmp_path):
    config, values = half
    lacking = {name: value for name, value in values.items() if "lm_head" not in name}
    model = BeingH(config)
    internvl.load_into(model, stored(tmp_path, lacking, config, llm_config={"tie_word_embeddings": True}))
    assert torch.equal(model.text_head.weight[:36], values["language_model.model.embed_tokens.weight"])
    with pytest.raises(released.CheckpointError, match=r"missing language_model\.lm_head\.weight; unknown none"):
        internvl.load_into(model, stored(tmp_path, lacking, config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"llm_config": {"hidden_size": 48}}, r"llm_config\.hidden_size is 48, the model's 32; take the preset"),
        ({"llm_config": {"num_hidden_layers": 36}}, r"llm_config\.num_hidden_layers is 36, the model's 2"),
        ({"llm_config": {"rope_theta": 1e4}}, r"llm_config\.rope_theta is 10000\.0, the model's 1000000\.0"),
        ({"vision_config": {"num_hidden_layers": 45}}, r"vision_config\.num_hidden_layers is 45"),
        ({"vision_config": {"qk_normalization": True}}, r"vision_config\.qk_normalization is True, the model's False"),
        (
            {"llm_config": None},
            r"missing llm_config\.num_hidden_layers.* and 1 more; is it InternVL3\.5\?",
        ),
    ],
)
def test_internvl_of_another_size_is_refused_by_its_config(half, tmp_path, changes, words):
    config, values = half
    with pytest.raises(released.CheckpointError, match=words):
        internvl.load_into(BeingH(config), stored(tmp_path, values, config, **changes))


def test_internvl_tensors_without_a_place_or_a_config_are_refused(half, tmp_path):
    config, values = half
    more = {**values, "language_model.model.layers.2.mlp.up_proj.weight": torch.zeros(1)}
    with pytest.raises(released.CheckpointError, match=r"unknown language_model\.model\.layers\.2"):
        internvl.load_into(BeingH(config), stored(tmp_path, more, config))
    (tmp_path / "config.json").unlink()
    with pytest.raises(released.CheckpointError, match=r"config\.json: not found; it stands beside"):
        internvl.load_into(BeingH(config), tmp_path)


def test_a_position_table_of_the_right_size_is_taken_as_it_is():
    table = torch.randn(1, 17, 8)
    assert internvl.resize_position_table(table, 4) is table
    flat = torch.ones(1, 1025, 8)
    torch.testing.assert_close(internvl.resize_position_table(flat, 16), torch.ones(1, 257, 8))


def test_routed_layers_leave_the_released_names_of_the_dense_ones():
    names = released_names(internvl35("2b", mof=MofConfig()))
    assert "backbone.layers.13.act.ffn.up.weight" in names
    assert "backbone.layers.14.act.ffn.up.weight" not in names

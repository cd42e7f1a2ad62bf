"""A start from a released or an own checkpoint: what both have is copied, what is new changes nothing at first."""

import json

import pytest
import torch

from beingh05_model.interop import released, warm_start
from beingh05_model.interop.released import CheckpointError
from beingh05_model.network.config import MofConfig, MotionTokenConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.collate import pack
from beingh05_model.training import checkpoint, run
from helpers.models import build, example, small, tiny_release
from helpers.training_jobs import settings


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A released checkpoint with random values, its config and its tensors under our names."""
    folder, raw = tmp_path_factory.mktemp("release"), tiny_release()
    model = build(released.from_release(raw))
    released.save(model, raw, folder)
    return folder, model


def flow(model):
    with torch.no_grad():
        return model(pack([example(seed=1), example("human_hands", seed=2)])).flow.item()


@pytest.mark.parametrize(
    "mof",
    [
        MofConfig(experts=8, top_k=2),
        MofConfig(experts=8, top_k=4, ffn=192),
        MofConfig(experts=3, top_k=3, ffn=384),
    ],
)
def test_routed_experts_begin_as_the_dense_network(mof):
    """Slices of 384 or copies; the first choice of every sample adds up to the dense layer."""
    dense = build(small())
    torch.manual_seed(5)
    routed = BeingH(small(mof=mof))
    new = warm_start.adopt(routed, dense.state_dict(), dense.config, "a")
    assert flow(routed) == pytest.approx(flow(dense), rel=1e-5)
    assert "backbone.layers.1.router.state.weight" in new
    assert not any(".und." in name or ".q." in name for name in new)


def test_experts_that_no_slices_can_fill_are_refused():
    dense = build(small())
    for mof in (MofConfig(experts=4, top_k=2, ffn=100), MofConfig(experts=3, top_k=2)):
        with pytest.raises(CheckpointError, match=r"model\.mof\.ffn must divide"):
            warm_start.adopt(BeingH(small(mof=mof)), dense.state_dict(), dense.config, "a")
    single = BeingH(small(mof=MofConfig(experts=4, top_k=1)))
    with pytest.raises(CheckpointError, match=r"model\.mof\.top_k to 2 or more"):
        warm_start.adopt(single, dense.state_dict(), dense.config, "a")


def test_a_released_checkpoint_starts_a_model_with_all_that_the_paper_adds(release):
    folder, given = release
    config = given.config.model_copy(
        update={
            "mof": MofConfig(experts=4),
            "adapters": True,
            "motion_tokens": MotionTokenConfig(codebook=16, tokens=3),
            "compat": ReleaseCompat(),
            "physical_scale": True,
        }
    )
    model = BeingH(config)
    new = warm_start.from_released(model, folder)
    heads = {name.partition(".")[0] for name in new}
    assert heads == {"adapters", "backbone", "delimiters", "motion_embed", "motion_head", "motion_place"}
    own, theirs = dict(model.named_parameters()), dict(given.named_parameters())
    for name in own.keys() - set(new) - {"state_encoder.fc1.weight"}:
        assert torch.equal(own[name], theirs[name]), name
    # the state in new units means what it meant in raw ones
    state = torch.randn(200)
    unit = BeingH.units(config)[0]
    raw = torch.nn.functional.linear(state, theirs["state_encoder.fc1.weight"])
    assert torch.allclose(torch.nn.functional.linear(state / unit, own["state_encoder.fc1.weight"]), raw, atol=1e-3)


def test_what_would_be_lost_is_refused_by_name(release):
    folder, given = release
    if given.config.mpg is not None and given.config.mpg.strength:
        lacking = given.config.model_copy(update={"mpg": None})
        with pytest.raises(CheckpointError, match=r"set model\.mpg as in the checkpoint"):
            warm_start.from_released(BeingH(lacking), folder)
    dense = build(small(mpg=MpgConfig()))
    with pytest.raises(CheckpointError, match=r"mpg\.\S+ has no place in the model; set model\.mpg"):
        warm_start.adopt(BeingH(small()), dense.state_dict(), dense.config, "a")
    assert not any(
        "mpg" in n for n in warm_start.adopt(BeingH(small()), dense.state_dict(), dense.config, "a", ["mpg"])
    )
    wider = small().model_copy(update={"backbone": tiny(vocab=64).backbone.model_copy(update={"layers": 3})})
    with pytest.raises(CheckpointError, match="nothing says how it would begin"):
        warm_start.adopt(BeingH(wider), build(small()).state_dict(), small(), "a")


def test_a_run_knows_what_it_starts_from(release, tmp_path):
    folder, _ = release
    assert run.kind_of(folder) == "released"
    plain = build(small())
    checkpoint.save(tmp_path / "ours", plain.config, plain.state_dict(), tokenizer.small(["a cup"]), {"step": 1})
    assert run.kind_of(tmp_path / "ours") == "ours"
    (tmp_path / "vl").mkdir()
    (tmp_path / "vl/config.json").write_text(json.dumps({"architectures": ["InternVLChatModel"], "llm_config": {}}))
    assert run.kind_of(tmp_path / "vl") == "internvl"
    richer = settings(tmp_path, model=small(adapters=True), start=str(tmp_path / "ours"), start_kind="pretrained")
    made = run._start(richer)
    assert torch.equal(made.text_head.weight, plain.text_head.weight)
    with pytest.raises(ValueError, match=r"holds a checkpoint of this package, and this run begins from InternVL3\.5"):
        run._start(richer.model_copy(update={"start_kind": "native"}))
    with pytest.raises(ValueError, match=r"holds InternVL3\.5, and this run begins from a pre-trained"):
        run._start(richer.model_copy(update={"start": str(tmp_path / "vl")}))
    with pytest.raises(ValueError, match="name its directory"):
        settings(tmp_path, start_kind="native")

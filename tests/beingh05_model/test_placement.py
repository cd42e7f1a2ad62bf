"""Where an evaluated checkpoint runs: device, numbers and denoiser are chosen, told, and hardly change a chunk."""

from typing import get_args

import numpy as np
import pytest
import torch

from beingh05_model import cli
from beingh05_model.evaluation import checkpoints
from beingh05_model.evaluation.placement import Placement
from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.policy import Observation
from beingh05_model.inference.prepared import Mode
from beingh05_model.network.config import MofConfig, MpgConfig
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.training import checkpoint
from helpers.models import build
from unihand_data.config import SettingsError
from unihand_data.space import load_embodiment


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A random model with a gate, slot adapters and routed experts."""
    words = tokenizer.small(["open the drawer"])
    config = tiny(vocab=len(words), image_size=28, mpg=MpgConfig(), mof=MofConfig(experts=3), adapters=True)
    backbone = config.backbone.model_copy(update={"layers": 2})
    config = config.model_copy(update={"backbone": backbone})
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoint.save(folder, config, build(config).state_dict(), words, {"step": 1})
    return folder


def acted(saved, **placement):
    loaded = checkpoints.load(saved, placement=Placement(**placement))
    known = np.zeros(200, bool)
    known[load_embodiment("metaworld").slots("state")] = True
    draw = np.random.default_rng(0)
    seen = [
        Observation(
            {"third_1": draw.integers(0, 255, (40, 60, 3), dtype=np.uint8)},
            "open the drawer", draw.normal(size=200) * known, known, "metaworld", seed=n,
        )
        for n in range(2)
    ]  # fmt: skip
    return loaded.policy, loaded.policy.act(seen)


def test_bfloat16_and_static_shapes_give_nearly_the_same_chunks(saved):
    _, expected = acted(saved)
    policy, coarse = acted(saved, dtype="bfloat16")
    assert policy.model.dtype == torch.bfloat16
    assert policy.model.action_unit.dtype == torch.float32
    apart = np.abs(coarse - expected).max() / np.abs(expected).max()
    assert 0 < apart < 0.05
    policy, same = acted(saved, static="eager")
    assert isinstance(policy.denoiser, StaticDenoiser)
    assert policy.denoiser.ran.mode == "eager"
    np.testing.assert_allclose(same, expected, atol=1e-6)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_is_taken_where_there_is_one(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * gpu)
    assert Placement.choose() == (Placement("cuda", "bfloat16") if gpu else Placement("cpu", "float32"))
    assert Placement.choose("cpu") == Placement("cpu", "float32")
    assert Placement.choose("cpu", "bfloat16", "eager") == Placement("cpu", "bfloat16", "eager")
    if gpu:
        assert Placement.choose("cuda:1", static="graphed") == Placement("cuda:1", "bfloat16", "graphed")
        with pytest.raises(SettingsError, match="there is cpu, cuda, cuda:0 or cuda:1"):
            Placement.choose("cuda:2")


def test_what_cannot_be_placed_is_one_sentence(saved, capsys):
    for words, said in (
        (["--device", "gpu"], "--device gpu: not found by torch"),
        (["--device", "cuda:99"], "--device cuda:99: not found by torch"),
        (["--device", "cpu", "--dtype", "int4"], "--dtype int4: not known; write float32 or bfloat16"),
        (["--device", "cpu", "--static", "fast"], f"--static fast: not known; write {get_args(Mode)[0]}, "),
        (["--device", "cpu", "--static", "graphed"], "CUDA graphs need a GPU; write eager or compiled"),
    ):
        assert cli.main(["eval", "metaworld", "--checkpoint", str(saved), *words]) == 2
        wrong = capsys.readouterr().err
        assert said in wrong
        assert wrong.count("\n") == 1

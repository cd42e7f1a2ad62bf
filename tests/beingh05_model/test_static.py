"""Static shapes give the chunks of the plain denoiser, whatever differs between two chunks of one form."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser, Locked
from beingh05_model.inference.policy import Observation, Policy
from beingh05_model.network.config import MofConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.int8 import to_int8
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import everything, tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.collate import pack, rows
from helpers.models import CHUNK, EDGE, build, example, full, small, talk

PARTS = {
    "plain": {},
    "gate": {"mpg": MpgConfig(strength=0.7, refinements=2)},
    "sliced gate": {"mpg": MpgConfig(strength=0.7, distance="sliced")},
    "routed experts": {"mof": MofConfig(experts=3)},
    "gate and one expert": {"mpg": MpgConfig(strength=0.7), "mof": MofConfig(experts=3, top_k=1)},
    "adapters": {"adapters": True},
    "released gate": {
        "mpg": MpgConfig(strength=0.7, refinements=2),
        "compat": ReleaseCompat.released().model_copy(update={"bare_actions": False}),
    },
}


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def agree(static, plain, t, locked=None, seed=3):
    released = plain.model.config.compat.mpg_random_directions
    expected, found = (
        denoiser.run(t, noise(seed), locked, noise(seed + 1) if released else None) for denoiser in (plain, static)
    )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("history", [0, 2], ids=["generation", "continuation"])
@pytest.mark.parametrize("delay", [0, 2], ids=["free", "locked"])
def test_static_equals_plain(parts, history, delay):
    model = build(small(**parts)).eval()
    plain, static = Denoiser(model), StaticDenoiser(model)
    t = rows([example(seed=1, history=history), example("so101", seed=2, history=history)])
    locked = Locked(torch.randn(2, CHUNK, 200) * 0.02, delay) if delay else None
    agree(static, plain, t, locked)


def test_static_equals_plain_with_everything_on():
    model = build(full()).eval()
    agree(StaticDenoiser(model), Denoiser(model), rows([example("human_hands", seed=1)]),
          Locked(torch.randn(1, 2, 200) * 0.02, 2))  # fmt: skip


def test_chunks_of_one_form_share_its_buffers_and_not_their_content():
    """Other words, lengths, pictures, states and delays; nothing of an earlier chunk may be left."""
    model = build(full()).eval()
    plain, static = Denoiser(model), StaticDenoiser(model)
    for seed, words in enumerate([(7, 8, 9), (1, 2, 3, 4, 5, 6, 7, 8), (9,), (7, 8, 9)]):
        locked = Locked(torch.randn(1, CHUNK, 200) * 0.02, seed % 3) if seed else None
        robot = ("metaworld", "human_hands", "so101")[seed % 3]
        agree(static, plain, rows([example(robot, seed=seed, instruction=words)]), locked, seed)
    assert len(static._prepared) == 1


def test_a_longer_prefix_or_more_rows_is_another_form():
    model = build(small()).eval()
    plain, static = Denoiser(model), StaticDenoiser(model, bucket=16)
    for t in (
        rows([example(seed=1)]),
        rows([example(seed=1, instruction=range(1, 30))]),
        rows([example(seed=1), example(seed=2)]),
    ):
        agree(static, plain, t)
    assert len(static._prepared) == 3


def test_the_state_may_stand_before_the_words_as_released():
    """The released order and masks, with the state cached in the prefix."""
    config = small(mpg=MpgConfig(strength=0.5), physical_scale=False, compat=ReleaseCompat.released())
    model = build(config).eval()
    one = example(seed=1)
    words, state = (next(n for n, s in enumerate(one.segments) if want(s)) for want in (
        lambda s: getattr(s, "instruction", False), lambda s: type(s).__name__ == "State"))  # fmt: skip
    one.segments.insert(words, one.segments.pop(state))
    t = rows([one], full_actions=False, delimiters=False)
    assert int(t.state_at[0]) < int(t.action_at[0]) - 1
    agree(StaticDenoiser(model), Denoiser(model), t)


def test_more_steps_and_rounds_than_the_models_own():
    model = build(small(mpg=MpgConfig(strength=0.7))).eval()
    t = rows([example()])
    for options in ({"euler_steps": 7}, {"refinements": 0}, {"refinements": 3, "euler_steps": 2}):
        agree(StaticDenoiser(model, **options), Denoiser(model, **options), t)


def test_int8_layers_run_with_static_shapes():
    model = to_int8(build(full())).eval()
    agree(StaticDenoiser(model), Denoiser(model), rows([example("human_hands", seed=1), example(seed=2)]))


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("config", [full(), small(**PARTS["sliced gate"]), small(**PARTS["released gate"])])
def test_the_work_asks_nothing_of_the_host_as_a_graph_demands(config):
    """No value is read back, no size depends on one, no list becomes a tensor: what fails or is frozen in a capture."""
    static = StaticDenoiser(build(config).eval())
    directions = noise(2) if config.compat.mpg_random_directions else None
    static.run(rows([example("human_hands", seed=1, history=2)]), noise(1), None, directions)
    with Operations() as seen:
        static.last.prefix()
        static.last.flow()
    forbidden = ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "_unique2", "lift_fresh",
                 "is_nonzero", "equal", "randn", "normal_")  # fmt: skip
    assert "linear" in seen.names or "mm" in seen.names or "addmm" in seen.names
    assert not [name for name in seen.names if name in forbidden]


def test_a_policy_acts_with_static_shapes_for_mixed_sentences_robots_and_delays():
    words = tokenizer.small(["open the drawer", "pick up the cup"])
    config = tiny(vocab=len(words), image_size=EDGE, **everything(codebook=16, motion_tokens=3))
    model = build(config.model_copy(update={"backbone": config.backbone.model_copy(update={"layers": 2})}))
    seen = []
    for number, (robot, text) in enumerate([("metaworld", "open the drawer"), ("so101", "pick up the cup"),
                                            ("metaworld", "open it"), ("metaworld", "open the drawer")]):  # fmt: skip
        draw = np.random.default_rng(number)
        pictures = {"third_1": draw.integers(0, 255, (30, 40, 3), dtype=np.uint8)}
        committed = draw.normal(size=(4, 200)) * 0.01 if number == 2 else None
        seen.append(
            Observation(
                pictures, text, draw.normal(size=200), np.ones(200, bool), robot, committed, 2 if number == 2 else 0,
                seed=number,
            )
        )  # fmt: skip
    policy, static = Policy(model, words), StaticDenoiser(model)
    expected = policy.act(seen)
    assert np.allclose(policy.act(seen, static), expected, atol=1e-5)
    assert np.allclose(policy.act(seen[::-1], static)[::-1], expected, atol=1e-5)


def test_the_result_says_what_ran_and_nothing_else_runs_in_its_place():
    model = build(small()).eval()
    static = StaticDenoiser(model)
    assert static.ran is None
    static.run(rows([example()]), noise(1))
    assert static.ran is not None
    assert (static.ran.mode, static.ran.device) == ("eager", "cpu")
    assert static.ran.padded > static.ran.prefix > 0
    assert static.ran.prepared_s > 0
    static.run(rows([example(seed=2)]), noise(1))
    assert static.ran.prepared_s == 0
    for mode in ("graphed", "compiled+graphed"):
        with pytest.raises(ValueError, match="needs a CUDA device"):
            StaticDenoiser(model, mode=mode)
    with pytest.raises(ValueError, match="there are eager"):
        StaticDenoiser(model, mode="fast")
    with pytest.raises(ValueError, match="warm cache"):
        static.run(rows([example()]), noise(1), warm=object())
    with pytest.raises(ValueError, match="motion tokens"):
        static.run(rows([example("human_hands", motion=True)]), noise(1))


def test_layers_that_are_no_plain_matrices_are_refused():
    model = build(small()).eval()
    model.backbone.layers[0].act.q = torch.nn.Sequential(model.backbone.layers[0].act.q)
    with pytest.raises(ValueError, match="merge it first"):
        StaticDenoiser(model)


def test_the_model_itself_is_unchanged_by_a_static_denoiser():
    model = build(full()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    StaticDenoiser(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_may_be_bfloat16_while_units_stay_exact():
    exact = build(full())
    model = build(full()).bfloat16().eval()
    assert model.action_unit.dtype == torch.float32
    assert torch.equal(model.action_unit, exact.action_unit)
    t = rows([example("human_hands", seed=1)])
    plain, static, full_size = (d.run(t, noise(1)) for d in (Denoiser(model), StaticDenoiser(model), Denoiser(exact)))
    size = float(full_size.abs().max())
    assert float((plain - full_size).abs().max()) < 0.02 * size
    assert float((plain - static).abs().max()) < 0.02 * size
    losses = model.train()(pack([example("human_hands", seed=1, motion=True), talk(2)]))
    (losses.flow + losses.text + losses.motion + losses.routing).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_model_made_without_memory_gets_its_units():
    with torch.device("meta"):
        model = BeingH(small())
    model = model.to_empty(device="cpu")
    assert torch.equal(model.action_unit, BeingH.units(model.config)[1])


def compiled_equals_plain(model, backend):
    plain, static = Denoiser(model), StaticDenoiser(model, mode="compiled", backend=backend)
    for seed in (1, 2):
        t = rows([example("human_hands", seed=seed, instruction=(7,) * (1 + 3 * seed))])
        agree(static, plain, t, Locked(torch.randn(1, CHUNK, 200) * 0.02, seed))
    assert static.ran is not None
    assert static.ran.mode == "compiled"


def test_layers_are_captured_whole_and_give_the_same_numbers():
    """Everything at once, through torch.compile's capture without its code generator."""
    compiled_equals_plain(build(full()).eval(), "aot_eager")


@pytest.mark.slow
def test_compiled_equals_plain():
    """With the code generator: one layer with a gate and adapters, because each kind of layer takes it long."""
    config = small(mpg=MpgConfig(strength=0.7), adapters=True)
    backbone = config.backbone.model_copy(update={"layers": 1})
    compiled_equals_plain(build(config.model_copy(update={"backbone": backbone})).eval(), "inductor")

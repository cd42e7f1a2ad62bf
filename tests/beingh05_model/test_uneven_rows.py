"""Rows that hold different kinds of samples: every part takes part, and what a row holds is all that counts."""

import pytest
import torch

from beingh05_model.network.config import MofConfig, MpgConfig
from beingh05_model.network.model import BeingH
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Example, Vision
from beingh05_model.training import losses
from beingh05_model.training.adapters import AdapterOptimiser, take_out
from beingh05_model.training.balance import Balance
from beingh05_model.training.settings import LossSettings, OptimiserSettings
from helpers.models import build, example, full, talk

MOF = MofConfig(experts=3, top_k=1, first_layer=1, balance="loss")


def words(seed):
    """A conversation without a picture."""
    return Example([s for s in talk(seed).segments if not isinstance(s, Vision)])


ROWS = {
    "robots": [example(seed=1), example("human_hands", seed=2)],
    "people with motion tokens": [example("human_hands", seed=3, motion=True)],
    "conversations": [talk(4), talk(5)],
    "words alone": [words(6)],
    "all": [example(seed=1), example("human_hands", seed=2, motion=True), talk(3)],
}
#: parts that a row has nothing for
IDLE = {
    "robots": ("text_head", "motion_embed", "motion_head"),
    "people with motion tokens": ("text_head",),
    "conversations": ("state_encoder", "action_encoder", "action_decoder", "motion", "mpg", "delimiters", ".act."),
    "words alone": ("vision", "connector", "state_encoder", "action", "motion", "mpg", "delimiters", ".act.", "router"),
    "all": (),
}


def model(**changes):
    changes = {"mof": MOF, "mpg": MpgConfig(stop_gradient=False), "adapters": False, **changes}
    return build(full(**changes))


def backward(net, examples, expert="act"):
    net.zero_grad(set_to_none=True)
    parts = net(pack(examples, total=80))
    (parts.text + parts.flow + parts.motion + parts.routing).backward()
    return parts


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("expert", ["und", "act"])
def test_every_parameter_has_a_gradient_in_every_row_and_it_is_zero_where_nothing_was_done(kind, expert):
    tokens = full().motion_tokens.model_copy(update={"expert": expert})
    net = model(motion_tokens=tokens)
    backward(net, ROWS[kind])
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if any(part in name for part in IDLE[kind]):
            assert not parameter.grad.any(), name


@pytest.mark.parametrize("kind", ROWS)
def test_what_takes_part_without_content_changes_no_loss(kind):
    net = model()
    parts = backward(net, ROWS[kind])
    with torch.no_grad():
        plain = net(pack(ROWS[kind], total=80))
    for name in losses.PARTS:
        assert getattr(parts, name).item() == pytest.approx(getattr(plain, name).item(), rel=1e-6), name
    for name, count in losses.counts(pack(ROWS[kind]), net.config).items():
        assert bool(getattr(parts, name)) == bool(count), name


@pytest.mark.parametrize("stop", [True, False])
def test_the_modules_run_forward_and_backward_in_the_same_order_whatever_a_row_holds(stop):
    """ZeRO 3 gathers a module's weights when it runs, ZeRO 2 reduces gradients as they come, on every rank at once."""
    net = model(mpg=MpgConfig(stop_gradient=stop))
    orders = []
    for examples in ROWS.values():
        order, hooks = [], []
        for name, m in net.named_modules():
            if any(True for _ in m.parameters(recurse=False)):
                hooks.append(m.register_forward_pre_hook(lambda m, _, o=order, name=name: o.append(f"forward {name}")))
                hooks.append(
                    m.register_full_backward_pre_hook(lambda m, _, o=order, name=name: o.append(f"backward {name}"))
                )
        for name, p in net.named_parameters():
            hooks.append(p.register_post_accumulate_grad_hook(lambda p, o=order, name=name: o.append(f"has {name}")))
        backward(net, examples)
        orders.append(order)
        for hook in hooks:
            hook.remove()
    assert all(order == orders[0] for order in orders)


def gradients(net, rows, weight):
    """Loss and gradients of a step of several rows, as the engine makes them: a mean over the rows."""
    net.zero_grad(set_to_none=True)
    counts = [losses.counts(row, net.config) for row in rows]
    whole = {name: sum(count[name] for count in counts) for name in losses.PARTS}
    total = torch.zeros(())
    for row, count in zip(rows, counts, strict=True):
        total = total + losses.weighted(losses.shares(net(row), count, whole), weight)
    total.backward()
    return total.item(), {name: p.grad.clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("balance", ["bias", "none"])
def test_the_loss_of_a_step_does_not_depend_on_which_rows_its_samples_share(balance):
    net = model(mof=MOF.model_copy(update={"balance": balance}))
    made = [example(seed=1), example("human_hands", seed=2, motion=True), talk(3), example(seed=4), talk(5), words(6)]
    splits = ([made], [made[:1], made[1:]], [[made[2]], made[3:5], made[:2], [made[5]]])
    weight = LossSettings(text=0.5, action=2.0, motion=0.3)
    steps = [gradients(net, [pack(row) for row in rows], weight) for rows in splits]
    for loss, found in steps[1:]:
        assert loss == pytest.approx(steps[0][0], rel=1e-5)
        for name, gradient in found.items():
            assert torch.allclose(gradient, steps[0][1][name], rtol=1e-3, atol=1e-6), name


def test_lambda_act_stands_for_flow_and_motion_tokens_together():
    parts = {name: torch.tensor(value) for name, value in zip(losses.PARTS, (2.0, 3.0, 5.0, 7.0), strict=True)}
    assert float(losses.weighted(parts, LossSettings())) == pytest.approx(2 + 3 + 0.5 + 7)
    chosen = LossSettings(text=0.5, action=10, flow=0.2, motion=0.4)
    assert float(losses.weighted(parts, chosen)) == pytest.approx(1 + 10 * (0.6 + 2) + 7)


def test_what_is_not_finite_is_named_with_its_step():
    losses.check(3, {"text": 1.0, "flow": 0.0})
    with pytest.raises(losses.Diverged, match=r"step 3: not finite: flow nan, motion inf\."):
        losses.check(3, {"text": 1.0, "flow": float("nan"), "motion": float("inf")})


def test_adapters_and_the_routers_load_lie_where_the_engine_does():
    """``meta`` stands for a GPU: the engine moves the model, which no longer has the adapters."""
    net = BeingH(full(mof=MofConfig(experts=3, top_k=1, balance="bias")))
    device = torch.device("meta")
    taken = take_out(net)
    net.to(device)
    assert {p.device for p in taken.parameters()} == {torch.device("cpu")}
    optimiser = AdapterOptimiser(taken, OptimiserSettings(), device)
    assert {p.device for p in net.adapters.parameters()} == {device}
    assert {p.dtype for p in net.adapters.parameters()} == {torch.float32}
    moved = {id(p) for o in optimiser.groups.values() for g in o.param_groups for p in g["params"]}
    assert moved == {id(p) for p in net.adapters.parameters()}
    balance = Balance(net, device)
    assert balance._load.device == device

"""What must not leak, move or learn: targets, documents, slots, experts, adapters."""

import dataclasses

import numpy as np
import pytest
import torch

from beingh05_model.network import flow
from beingh05_model.network.adapters import ADAPTER_GROUPS, group_slots
from beingh05_model.network.config import MofConfig, MotionTokenConfig, MpgConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.network.scale import ACTION_UNIT, units
from beingh05_model.sequence.collate import pack
from helpers.models import action_slots, build, example, full, small, talk


def outputs(model, t):
    """Velocity of the action steps, features of the motion tokens."""
    (und, act, und_at, act_at), _, _ = model.features(t)
    at = torch.searchsorted(act_at, t.action_at)
    motion, places = (und, und_at) if model._motion_expert == "und" else (act, act_at)
    return model.decode_steps(act[:, at], t.action_slots), motion[:, torch.searchsorted(places, t.motion_at)]


@torch.no_grad()
@pytest.mark.parametrize("gate", [None, MpgConfig(strength=0.9)], ids=["no gate", "gate"])
@pytest.mark.parametrize("expert", ["act", "und"])
def test_perturbing_one_target_never_moves_the_other(gate, expert):
    """With routed experts and adapters; eq. 9 also holds for what the gate makes of noisy and clean actions."""
    model = build(full(mpg=gate, motion_tokens=MotionTokenConfig(codebook=16, tokens=3, expert=expert))).eval()
    t = pack([example("human_hands", motion=True)])
    velocity, z = outputs(model, t)
    for other in ({"noise": t.noise + 3}, {"action": t.action * -2}, {"time": t.time * 0.5}):
        velocity_2, z_2 = outputs(model, dataclasses.replace(t, **other))
        assert torch.equal(z, z_2)
        assert not torch.allclose(velocity, velocity_2)
    other_ids = dataclasses.replace(t, motion_ids=(t.motion_ids + 1) % 16)
    velocity_3, z_3 = outputs(model, other_ids)
    assert torch.equal(velocity, velocity_3)
    assert not torch.allclose(z, z_3)


@torch.no_grad()
def test_a_document_does_not_feel_its_neighbours():
    model = build(full()).eval()
    a, b = example(seed=1), example("human_hands", seed=2, motion=True)
    alone = outputs(model, pack([a]))[0]
    together = outputs(model, pack([a, b, talk(5)], total=120))[0]
    torch.testing.assert_close(together[:, : alone.shape[1]], alone, atol=2e-6, rtol=1e-5)


def test_slots_without_a_loss_get_no_gradient():
    model = build(small())
    t = pack([example("metaworld")])
    model(t).flow.backward()
    idle = ~torch.from_numpy(action_slots("metaworld"))
    assert not model.action_decoder.fc2.weight.grad[idle].any()
    assert not model.action_decoder.fc2.bias.grad[idle].any()
    assert not model.action_encoder.fc1.weight.grad[:, idle].any()
    assert model.action_decoder.fc2.weight.grad[~idle].any()


def test_the_flow_loss_is_a_mean_per_sample_and_then_over_samples():
    velocity, target = torch.zeros(5, 3), torch.tensor([[1.0, 2, 9], [3, 9, 9], [2, 2, 2], [2, 2, 2], [7, 7, 7]])
    cells = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    sample = torch.tensor([0, 0, 1, 1, 2])
    # sample 0: (1 + 4 + 9) / 3; sample 1: 4; sample 2 has no cell and does not count
    assert flow.flow_loss(velocity, target, cells, sample, 3).item() == pytest.approx((14 / 3 + 4) / 2)


def test_the_loss_with_a_delay_does_not_depend_on_the_prefix_targets():
    model = build(small()).eval()
    a = example(delay=2)
    b = example(delay=2)
    action = next(s for s in a.segments if hasattr(s, "noise"))
    other = next(s for s in b.segments if hasattr(s, "noise"))
    other.noise[:2] += 5  # the prefix is clean: its noise is not looked at, its targets carry no loss
    with torch.no_grad():
        assert torch.equal(model(pack([a])).flow, model(pack([b])).flow)
    assert not action.cells[:2].any()


def test_experts_that_no_sample_chose_have_an_exactly_zero_gradient():
    model = build(small(mof=MofConfig(experts=6, top_k=2)))
    t = pack([example(seed=4)])
    losses = model(t)
    losses.flow.backward()
    chosen = losses.figures["expert_share"][0][0] > 0
    assert int(chosen.sum()) == 2
    experts = model.backbone.layers[-1].act.ffn.experts
    for number, expert in enumerate(experts):
        for weight in (expert.gate.weight, expert.up.weight, expert.down.weight):
            assert weight.grad is not None
            assert bool(weight.grad.any()) == bool(chosen[number])


def test_the_layers_below_the_upper_half_are_dense():
    model = BeingH(small(mof=MofConfig()))
    assert model.backbone.layers[0].router is None
    assert model.backbone.layers[1].router is not None


def test_active_feed_forward_bytes_equal_the_dense_experts():
    from beingh05_model.network.count import count
    from beingh05_model.network.presets import internvl35

    dense, routed = count(internvl35("2b")), count(internvl35("2b", mof=MofConfig()))
    router = routed.parts["router"]
    assert routed.active - router == dense.active
    assert routed.total > dense.total


@torch.no_grad()
@pytest.mark.parametrize("parts", [{"motion_tokens": None}, {}], ids=["gated state", "motion tokens"])
def test_routing_looks_at_no_action_step_noisy_or_clean(parts):
    model = build(full(mpg=MpgConfig(strength=0.9), **parts)).eval()
    t = pack([example(seed=4), example("human_hands", seed=5, motion=not parts)])
    share = model(t).figures["expert_share"]
    for other in ({"noise": t.noise * -2}, {"action": t.action * -2}, {"time": t.time * 0.5}):
        assert torch.equal(share, model(dataclasses.replace(t, **other)).figures["expert_share"])
    assert not torch.equal(share, model(dataclasses.replace(t, state=t.state * -2)).figures["expert_share"])


def test_the_flow_teaches_the_router_also_where_it_takes_one_expert():
    model = build(small(mof=MofConfig(experts=3, top_k=1)))
    model(pack([example(seed=4), example("so101", seed=5)])).flow.backward()
    router = model.backbone.layers[-1].router
    assert router.state.weight.grad.abs().max() > 1e-6
    assert router.text.weight.grad.abs().max() > 1e-6


def test_balance_keeps_experts_in_use_when_one_embodiment_is_most_of_the_data():
    """Router alone, trained on skewed samples with nothing but the balance loss: the load evens out."""
    from beingh05_model.network.mof import Router

    def load(balance):
        """Share of the busiest expert over the last 100 of 400 batches."""
        torch.manual_seed(0)
        step_of_bias = {"bias_step": 0.05} if balance == "bias" else {}
        config = MofConfig(experts=4, top_k=1, balance=balance, z_weight=0.0, **step_of_bias)
        router = Router(config, 8, 8, 1e-6)
        kinds, shares = torch.randn(2, 8) * 3, []
        optimiser = torch.optim.Adam(router.parameters(), 0.05)
        for step in range(400):
            torch.manual_seed(step)
            which = (torch.rand(64) < 0.05).long()  # 95 % of one kind
            state = kinds[which] + 0.5 * torch.randn(64, 8)
            routing = router(state, torch.zeros(64, 8))
            if balance == "loss":
                optimiser.zero_grad()
                routing.loss.backward()
                optimiser.step()
            elif balance == "bias":
                router.rebalance((routing.weight_BX > 0).sum(0))
            shares.append((routing.weight_BX > 0).float().mean(0))
        return float(torch.stack(shares[-100:]).mean(0).max())

    skewed = load("none")
    assert skewed > 0.6
    assert load("bias") < 0.4
    assert load("loss") < 0.4


def test_biases_even_out_the_experts_of_a_model_that_learns_from_mostly_one_robot():
    """Flow, z-loss and two experts at a time; nine of ten samples are of one embodiment."""
    robots = ["metaworld"] * 9 + ["human_hands"]
    batches = [pack([example(robot, seed=10 * b + n) for n, robot in enumerate(robots)]) for b in range(4)]

    def busiest(**balance):
        """Share of the choices that the busiest of four experts has, over the second half of 36 steps."""
        model = build(small(mof=MofConfig(experts=4, **balance)))
        router = model.backbone.layers[-1].router
        optimiser = torch.optim.Adam(model.parameters(), 3e-4)
        load = torch.zeros(4)
        for step in range(36):
            parts = model(batches[step % 4])
            optimiser.zero_grad()
            (parts.flow + parts.routing).backward()
            optimiser.step()
            chosen = (parts.figures["expert_share"][-1] > 0).sum(0)
            if balance["balance"] == "bias":
                router.rebalance(chosen)
            load += chosen * (step >= 18)
        return float(load.max() / load.sum())

    assert busiest(balance="none") > 0.45  # 0.5: every sample chooses it
    assert busiest(balance="bias", bias_step=0.2) < 0.4


def test_adapters_are_silent_at_the_start_and_touch_only_their_embodiments_groups():
    torch.manual_seed(0)
    with_adapters = BeingH(full(mpg=None, mof=None))
    without = BeingH(full(mpg=None, mof=None, adapters=False))
    without.load_state_dict({k: v for k, v in with_adapters.state_dict().items() if not k.startswith("adapters")})
    t = pack([example("metaworld")])
    with torch.no_grad():
        assert torch.equal(with_adapters(t).flow, without(t).flow)
    with_adapters(t).flow.backward()
    own = with_adapters.adapters.active(torch.from_numpy(action_slots("metaworld")))
    for name in ADAPTER_GROUPS:
        gradient = with_adapters.adapters.decode[name].grad
        assert (gradient is not None and bool(gradient.any())) == bool(own[name]), name


def test_adapter_groups_cover_every_action_slot_once():
    from unihand_data.space import GROUPS

    slots = [slot for name in ADAPTER_GROUPS for slot in group_slots(name)]
    expected = [s for g in GROUPS.values() if not g.state_only for s in g.slots]
    assert sorted(slots) == sorted(expected)
    assert len(ADAPTER_GROUPS) == 15


def test_physical_scales_are_constants_of_the_slot_kind():
    unit = units(ACTION_UNIT)
    assert unit[0] == unit[9] == pytest.approx(0.01)
    assert unit[3] == pytest.approx(0.05)
    assert unit[110] == unit[50] == pytest.approx(0.5)
    assert (unit > 0).all()


def test_masked_motion_tokens_are_scored_and_the_others_are_not():
    model = build(full(mpg=None, mof=None)).eval()
    e = example("human_hands", motion=True)
    t = pack([e])
    with torch.no_grad():
        before = model(t).motion
        ids = t.motion_ids.clone()
        ids[0, 0] = (ids[0, 0] + 1) % 16  # a masked one: only its label changes
        assert model(dataclasses.replace(t, motion_ids=ids)).motion != before


def test_released_behaviour_is_off_unless_asked_for():
    assert not any(ReleaseCompat().model_dump().values())
    assert all(ReleaseCompat.released().model_dump().values())


def test_text_loss_counts_answer_tokens_only():
    model = build(small()).eval()
    e = talk(3)
    t = pack([e])
    assert len(t.label_at) == 4
    first = int(t.label_at[0])
    assert t.text_ids[0][(t.text_at == first + 1).nonzero()[0, 0]] == t.label_ids[0, 0]
    with torch.no_grad():
        assert np.isfinite(float(model(t).text))

"""What must not leak, move or learn: targets, documents, slots, experts, adapters."""

import dataclasses

import numpy as np
import pytest
import torch

from beingh05_model.network import flow
from beingh05_model.network.adapters import ADAPTER_GROUPS, group_slots
from beingh05_model.network.config import MofConfig, ReleaseCompat
from beingh05_model.network.model import BeingH
from beingh05_model.network.scale import ACTION_UNIT, units
from beingh05_model.sequence.collate import pack
from helpers.models import action_slots, build, example, full, small, talk


def outputs(model, t):
    """Velocity of the action steps and features of the motion tokens."""
    (_, act, _, act_at), _, _ = model.features(t)
    at = torch.searchsorted(act_at, t.action_at)
    z = torch.searchsorted(act_at, t.motion_at)
    return model.decode_steps(act[:, at], t.action_slots), act[:, z]


@torch.no_grad()
def test_perturbing_one_target_never_moves_the_other():
    model = build(full(mpg=None)).eval()  # the gate reads the noisy steps on purpose
    t = pack([example("human_hands", motion=True)])
    velocity, z = outputs(model, t)
    other_noise = dataclasses.replace(t, noise=t.noise + 3)
    velocity_2, z_2 = outputs(model, other_noise)
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


def test_routing_does_not_look_at_noisy_steps():
    model = build(small(mof=MofConfig())).eval()
    t = pack([example(seed=4)])
    with torch.no_grad():
        share = model(t).figures["expert_share"]
        moved = model(dataclasses.replace(t, noise=t.noise * -2)).figures["expert_share"]
    assert torch.equal(share, moved)


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

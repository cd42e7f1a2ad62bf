"""What a motion token stands for (part, time, group, level) reaches the network, and the masked loss learns from it."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from beingh05_model.network.config import MotionTokenConfig
from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.collate import pack, rows
from beingh05_model.sequence.segments import Example, Motion, State, Text
from beingh05_model.sequence.serialise import mask_tokens
from beingh05_model.training import checkpoint
from beingh05_model.training.parts import part_of
from helpers import models

#: as a tokenizer lays them out: PLACES places, of which each two (the hands) share CODES ids of their own
PLACES, CODES = 32, 4
SIZES = MotionTokenConfig(codebook=PLACES // 2 * CODES, tokens=PLACES)


def moving(*segments):
    """Examples that end with these motion segments."""
    made = [models.example("human_hands", seed=seed, motion=True) for seed in range(len(segments))]
    return [dataclasses.replace(e, segments=[*e.segments[:-1], m]) for e, m in zip(made, segments, strict=True)]


def motion(*places):
    count = len(places)
    return Motion(np.zeros(count, int), np.ones(count, bool), np.array(places))


def test_places_survive_packing_segment_by_segment():
    plain = dataclasses.replace(motion(0, 0, 0), places=None)
    given = moving(motion(0, 1, 6, 7), plain, motion(8, 9, 10, 11))
    packed = pack([given[0], models.talk(), *given[1:]], total=160)
    assert packed.motion_place.tolist() == [[0, 1, 6, 7, 0, 1, 2, 8, 9, 10, 11]]
    assert packed.to("cpu").motion_place.dtype == torch.long
    right, left = moving(motion(0, 1, 2), motion(6, 7, 8))
    assert rows([right, left]).motion_place.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert pack([models.talk()]).motion_place.shape == (1, 0)


@pytest.mark.parametrize("expert", ["act", "und"])
def test_masked_tokens_differ_by_their_place_and_by_nothing_else(expert):
    model = models.build(models.full(motion_tokens=SIZES.model_copy(update={"expert": expert})))
    first, second = moving(motion(0, 1, 6), motion(1, 6, 7))
    with torch.no_grad():
        found = model.embed_motion(pack([first, second]))[0]
    assert torch.equal(found[1], found[3])
    assert torch.equal(found[2], found[4])
    assert len(found.unique(dim=0)) == 4


def test_the_flow_does_not_see_places():
    model = models.build(models.full(motion_tokens=SIZES))
    batch = pack(moving(motion(0, 1, 6), motion(1, 6, 7)))
    with torch.no_grad():
        before, after = model(batch), model(dataclasses.replace(batch, motion_place=batch.motion_place + 1))
    assert torch.equal(before.flow, after.flow)
    assert not torch.equal(before.motion, after.motion)


def test_a_checkpoint_holds_the_places(tmp_path):
    model = models.build(models.full(motion_tokens=SIZES)).eval()
    words = tokenizer.small(["a cup"])
    checkpoint.save(tmp_path, model.config, model.state_dict(), words, {"step": 1})
    back = checkpoint.load(tmp_path).model
    assert torch.equal(back.motion_place.weight, model.motion_place.weight)
    assert back.motion_place.weight.shape == (PLACES, 128)
    assert part_of("motion_place.weight") == part_of("motion_head.weight") == "heads"
    batch = pack(moving(motion(0, 1, 6)))
    with torch.no_grad():
        assert torch.equal(back(batch).motion, model(batch).motion)


# ---- what the loss learns -------------------------------------------------------------------------------------------


def segment(draw: np.random.Generator) -> Example:
    """One hand or both; ids follow from the place and from one of CODES ways to move, which other tokens alone tell."""
    way, hand = draw.integers(CODES), PLACES // 2
    places = np.arange(PLACES)[(slice(0, hand), slice(hand, None), slice(None))[draw.integers(3)]]
    ids = places % hand * CODES + (way + places) % CODES
    state = State(np.zeros(200, np.float32), np.zeros(200, bool))
    return Example([Text([1, 2], instruction=True), state, Motion(ids, mask_tokens(len(places), draw), places)])


def learned(places: bool) -> float:
    """Masked loss at the end of a short training on fresh segments; without places all of them are one zero."""
    torch.manual_seed(0)
    model = BeingH(models.small(motion_tokens=SIZES))
    if not places:
        torch.nn.init.zeros_(model.motion_place.weight).requires_grad_(False)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 2e-3)
    draw, losses = np.random.default_rng(0), []
    for _ in range(40):
        loss = model(pack([segment(draw) for _ in range(8)])).motion
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-10:]))


def test_the_masked_loss_falls_below_what_frequencies_tell():
    """All ids are equally frequent: log(ids) nats. A place has CODES of them: log(CODES). What is below came from the
    other tokens. With positions alone the same training is not there yet."""
    frequencies, of_a_place = math.log(SIZES.codebook), math.log(CODES)
    with_places = learned(True)
    assert with_places < of_a_place < frequencies / 2
    assert learned(False) > of_a_place * 1.2

"""Samples become tokens: text, pictures, chunks, delays, masked motion."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beingh05_model.network.config import FlowConfig
from beingh05_model.sequence import images, tokenizer
from beingh05_model.sequence.chunks import Chunk, in_camera, merge_steps, state_in_camera
from beingh05_model.sequence.collate import pack, rows
from beingh05_model.sequence.delay import NO_DELAY, DelaySettings, delay_distribution
from beingh05_model.sequence.segments import Action, State, Text
from beingh05_model.sequence.serialise import Serialiser, mask_tokens
from helpers.models import EDGE, action_slots
from unihand_data.space import GROUPS, rotations

SENTENCES = ("pick up the red cup", "open the drawer", "what is this?", "a cup", "system\nuser\nassistant\n")


@pytest.fixture(scope="module")
def words():
    return tokenizer.small(SENTENCES)


@pytest.fixture
def serialiser(words):
    return Serialiser(words, FlowConfig(chunk=4), 1)


def picture():
    return images.evaluation(np.zeros((40, 60, 3), np.uint8), EDGE)


def chunk(steps=4, embodiment="metaworld", seed=0):
    slots = action_slots(embodiment)
    values = (np.random.default_rng(seed).normal(size=(steps, 200)) * slots).astype(np.float32)
    return Chunk(values, np.repeat(slots[None], steps, 0)), slots


# ---- text ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_comes_back_from_its_ids_unless_it_spells_a_control_token(text):
    words = tokenizer.small(SENTENCES)
    if not any(name in text for name in tokenizer.SPECIAL):
        assert words.decode(words.encode(text)) == text


def test_text_cannot_smuggle_in_control_tokens(words):
    ids = words.encode("close it <|im_end|> <|im_start|>system <img>")
    assert not set(ids) & set(words.ids.values())


def test_a_saved_tokenizer_is_the_same_one(words, tmp_path):
    words.save(tmp_path / "tokenizer.json")
    again = tokenizer.load(tmp_path)
    assert len(again) == len(words)
    assert again.encode(SENTENCES[0]) == words.encode(SENTENCES[0])


def test_a_slow_tokenizers_files_are_read_with_the_ids_that_they_give(words, tmp_path):
    words.backend.model.save(str(tmp_path))
    base = words.backend.get_vocab_size(with_added_tokens=False)
    added = {"<|action_start|>": base, "<ACTION_TOKEN_0>": base + 1}
    (tmp_path / "added_tokens.json").write_text(__import__("json").dumps(added))
    again = tokenizer.load(tmp_path)
    assert again.backend.token_to_id("<ACTION_TOKEN_0>") == base + 1
    (tmp_path / "added_tokens.json").write_text('{"<|action_start|>": 5}')
    with pytest.raises(ValueError, match="cannot have its id 5"):
        tokenizer.load(tmp_path)


def test_a_tokenizer_without_the_special_tokens_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="lacks"):
        tokenizer.load(tmp_path)
    with pytest.raises(ValueError, match="neither"):
        tokenizer.load(tmp_path / "nowhere")


# ---- examples -----------------------------------------------------------------------------------------------------


def test_loss_falls_on_answers_only(serialiser, words):
    e = serialiser.talking([("user", "<image>\nwhat is this?"), ("assistant", "a cup")], [picture()])
    t = pack([e])
    answer = [*words.encode("a cup"), words.ids[tokenizer.END]]
    assert t.label_ids[0].tolist() == answer
    text = {int(p): int(i) for p, i in zip(t.text_at, t.text_ids[0])}
    assert [text[int(p) + 1] for p in t.label_at] == answer
    assert words.decode([text[int(t.label_at[0])]]) == "\n"  # the end of "assistant\n"


def test_a_description_gives_clean_steps_and_asks_for_a_sentence(serialiser):
    values, slots = chunk()
    state = np.zeros(200, np.float32), slots
    e = serialiser.describing([picture(), picture()], "<vision><state><action>what?", "a cup", state, values, slots)
    t = pack([e])
    assert not t.action_target.any()
    assert not t.action_cells.any()
    assert (t.time == 1).all()
    assert len(t.label_at) > 0


def test_what_answers_with_actions_ends_with_one_run_of_the_action_expert(serialiser):
    values, slots = chunk()
    target = serialiser.target(values, slots, np.random.default_rng(0))
    state = np.zeros(200, np.float32), slots
    e = serialiser.acting([picture()], "<vision><state>open the drawer", state, target, history=values)
    kinds = [type(s) for s in e.segments]
    assert kinds[-3:] == [State, Action, Action]
    assert kinds[:-3].count(Text) == len([k for k in kinds if k is Text])
    t = pack([e])
    assert set(range(int(t.state_at[0]) - 1, t.length)) == {
        int(p) for places in (t.state_at, t.action_at, t.delimiter_at) for p in places
    }


def test_the_instruction_is_what_the_router_pools(serialiser, words):
    values, slots = chunk()
    target = serialiser.target(values, slots, np.random.default_rng(0))
    e = serialiser.acting([picture()], "open the drawer", (np.zeros(200, np.float32), slots), target)
    t = pack([e])
    assert t.text_weight[0, 0].sum() == pytest.approx(1)
    pooled = t.text_weight[0, 0].nonzero()[:, 0].tolist()
    text = {int(p): int(i) for p, i in zip(t.text_at, t.text_ids[0])}
    assert words.decode([text[p] for p in pooled]) == "open the drawer"


def test_rows_of_different_form_are_refused(serialiser):
    a = serialiser.talking([("user", "a cup")], [])
    b = serialiser.talking([("user", "open the drawer")], [])
    with pytest.raises(ValueError, match="same segments"):
        rows([a, b])


def test_pictures_without_a_place_and_places_without_a_picture_are_refused(serialiser):
    with pytest.raises(ValueError, match="no <image> place"):
        serialiser.talking([("user", "hm")], [picture()])
    with pytest.raises(ValueError, match="more <image> places"):
        serialiser.talking([("user", "<image>")], [])
    with pytest.raises(ValueError, match="user or assistant"):
        serialiser.talking([("robot", "hm")], [])


def test_a_row_that_is_too_long_is_refused(serialiser):
    with pytest.raises(ValueError, match="do not fit"):
        pack([serialiser.talking([("user", "a cup")], [])], total=3)


def test_the_same_generator_gives_the_same_target(serialiser):
    values, slots = chunk()
    a, b = (serialiser.target(values, slots, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(a.noise, b.noise)
    assert np.array_equal(a.time, b.time)


def test_flow_times_follow_the_beta_distribution(serialiser):
    values, slots = chunk()
    random = np.random.default_rng(0)
    times = np.array([serialiser.target(values, slots, random).time[0] for _ in range(4000)])
    assert times.mean() == pytest.approx(0.4, abs=0.015)  # 1 - alpha / (alpha + beta)
    assert ((times >= 0) & (times <= 1)).all()
    assert (times < 0.2).mean() == pytest.approx(1 - 0.8**1.5, abs=0.03)


def test_masked_motion_has_maskgits_mean_ratio_and_at_least_one_token():
    random = np.random.default_rng(0)
    masks = [mask_tokens(64, random) for _ in range(4000)]
    assert np.mean([m.mean() for m in masks]) == pytest.approx(2 / math.pi, abs=0.01)
    assert min(m.sum() for m in masks) >= 1
    assert mask_tokens(1, random).sum() == 1


# ---- delays -------------------------------------------------------------------------------------------------------


@given(latency=st.floats(0.001, 0.4), rate=st.floats(5, 50), steps=st.integers(2, 60), safety=st.integers(0, 3))
def test_delays_follow_equation_17(latency, rate, steps, safety):
    mean = math.ceil(latency * rate - 1e-9)
    chosen = DelaySettings(safety=safety)
    if mean + safety >= steps:
        with pytest.raises(ValueError, match="nothing of a chunk"):
            delay_distribution(latency, 1 / rate, steps, chosen)
        return
    found = delay_distribution(latency, 1 / rate, steps, chosen)
    sigma = max(1.0, mean / 4)
    assert found.mean == mean
    assert found.maximum == min(steps, mean + safety + math.ceil(2 * sigma) + 1)
    assert found.probability.sum() == pytest.approx(1)
    assert found.probability.argmax() == min(mean, found.maximum - 1)
    assert found.probability.min() >= 0.2 / found.maximum - 1e-12


def test_rows_without_a_latency_budget_have_no_delay():
    assert delay_distribution(None, 0.1, 8) is NO_DELAY
    assert NO_DELAY.draw(np.random.default_rng(0)) == 0


def test_a_committed_prefix_is_clean_and_without_loss(serialiser):
    values, slots = chunk()
    certain = delay_distribution(0.1, 0.1, 4, DelaySettings(safety=0))
    random, seen = np.random.default_rng(0), set()
    for _ in range(50):
        target = serialiser.target(values, slots, random, certain)
        d = int((target.time == 1).sum())
        seen.add(d)
        assert not target.cells[:d].any()
        assert target.cells[d:, slots].all()
    assert len(seen) > 2


# ---- chunks -------------------------------------------------------------------------------------------------------


def test_merged_displacements_are_composed_and_absolute_targets_are_the_last():
    values, _ = chunk(6, "franka")
    merged = merge_steps(values.values, values.mask, 3)
    position, rotation = (GROUPS[f"right_eef_{x}"].slice for x in ("position", "rotation"))
    arm = GROUPS["right_arm"].slice
    if values.mask[:, position].any():
        assert np.allclose(merged.values[0, position], values.values[:3, position].sum(0), atol=1e-5)
        total = np.eye(3)
        for step in values.values[:3, rotation]:
            total = rotations.exp(step.astype(float)) @ total
        assert np.allclose(rotations.exp(merged.values[0, rotation].astype(float)), total, atol=1e-5)
    assert np.array_equal(merged.values[:, arm], values.values[2::3, arm])


def test_a_merged_displacement_holds_only_if_all_its_steps_do():
    values, _ = chunk(6)
    values.mask[1] = False
    merged = merge_steps(values.values, values.mask, 3)
    position, gripper = GROUPS["right_eef_position"].slice, GROUPS["right_gripper"].slice
    assert not merged.mask[0, position].any()
    assert merged.mask[0, gripper].all()
    assert merged.mask[1].sum() == values.mask[3].sum()


def test_one_step_is_left_as_it_is_and_a_remainder_is_refused():
    values, _ = chunk(6)
    assert np.array_equal(merge_steps(values.values, values.mask, 1).values, values.values)
    with pytest.raises(ValueError, match="cannot be merged"):
        merge_steps(values.values, values.mask, 4)


def test_the_camera_frame_keeps_lengths_and_angles_and_moves_nothing_else():
    values, _ = chunk(3, "human_hands")
    turn = rotations.exp(np.array([0.3, -1.0, 0.4]))
    moved = in_camera(values.values, turn)
    position = GROUPS["left_eef_position"].slice
    assert np.allclose(np.linalg.norm(moved[:, position], axis=1), np.linalg.norm(values.values[:, position], axis=1))
    assert np.array_equal(moved[:, 110:], values.values[:, 110:])
    assert np.allclose(in_camera(moved, turn.T), values.values, atol=1e-6)


def test_a_step_in_the_camera_is_the_step_between_poses_in_the_camera():
    """Displacement and pose transform alike: R^T (p1 - p0) and R^T R1 R0^T R."""
    random = np.random.default_rng(0)
    turn, centre = rotations.exp(random.normal(size=3)), random.normal(size=3)
    p, r = GROUPS["right_eef_position"].slice, GROUPS["right_eef_rotation"].slice
    start, end, step = (np.zeros(200) for _ in range(3))
    start[p], end[p] = random.normal(size=3), random.normal(size=3)
    start[r], end[r] = random.normal(size=3), random.normal(size=3)
    step[p] = end[p] - start[p]
    step[r] = rotations.log(rotations.exp(end[r]) @ rotations.exp(start[r]).T)
    a, b = (state_in_camera(x, turn, centre) for x in (start, end))
    moved = in_camera(step, turn)
    assert np.allclose(moved[p], b[p] - a[p])
    assert np.allclose(rotations.exp(moved[r]), rotations.exp(b[r]) @ rotations.exp(a[r]).T)


# ---- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (28, 28), (200, 90)])
def test_the_middle_of_a_picture_is_what_the_model_sees(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    picture[shape[0] // 2 - 5 : shape[0] // 2 + 5, shape[1] // 2 - 5 : shape[1] // 2 + 5] = 255
    seen = images.evaluation(picture, 28)
    assert seen.shape == (3, 28, 28)
    middle = seen[:, 13:15, 13:15].mean()
    assert middle > 2
    assert seen[:, 0, 0].max() < -1.5


def test_normalisation_is_imagenets():
    grey = images.evaluation(np.full((28, 28, 3), 255, np.uint8), 28)
    expected = (1 - images.MEAN) / images.DEVIATION
    torch.testing.assert_close(grey[:, :1, :1], expected)


def test_training_pictures_are_random_and_repeatable():
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    chosen = images.ImageSettings(shift=3)
    a, b, c = (images.training(picture, 28, chosen, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == (3, 28, 28)


def test_turning_the_hue_keeps_greys_and_a_full_turn_is_nothing():
    x = torch.rand(3, 5, 5) * 0.4 + 0.3
    torch.testing.assert_close(images.turn_hue(x, 1.0), x, atol=1e-3, rtol=0)
    grey = torch.full((3, 2, 2), 0.5)
    torch.testing.assert_close(images.turn_hue(grey, 0.3), grey, atol=1e-3, rtol=0)


def test_a_shift_moves_whole_pixels():
    x = torch.arange(75.0).view(3, 5, 5)
    moved = images.shifted(x, 1, -2)
    assert torch.equal(moved[:, 1:, :3], x[:, :-1, 2:])


def test_wrong_pictures_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        images.evaluation(np.zeros((4, 4, 3)), 28)

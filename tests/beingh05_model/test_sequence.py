"""Samples become tokens: text, pictures, chunks, delays, masked motion."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beingh05_model.interop import cases
from beingh05_model.network.config import FlowConfig, ReleaseCompat
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
    if not any(name in text for name in (*tokenizer.SPECIAL, *tokenizer.STATE)):
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
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    again = tokenizer.load(tmp_path)
    assert again.backend.token_to_id("<ACTION_TOKEN_0>") == base + 1
    (tmp_path / "added_tokens.json").write_text('{"<|action_start|>": 5}')
    with pytest.raises(ValueError, match="cannot have its id 5"):
        tokenizer.load(tmp_path)
    (tmp_path / "added_tokens.json").unlink()
    named = {str(number): {"content": name} for name, number in added.items()}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": named}))
    assert tokenizer.load(tmp_path).backend.token_to_id("<ACTION_TOKEN_0>") == base + 1


AWKWARD = (
    "what's the micro-step actions in the next 16 steps?\n",
    "According to the instruction 'open it.\n', don't",
    "it'll I'VE  they're",
    "7 boxes, 12.5cm, 1234567",
    "end.\nnext",
    "end ...\r\n\r\n  next\n \n",
    "a  b   c    ",
    "\t\tx\u00a0y\u3000z",
    "cafe\u0301 versus caf\u00e9, \u212b",
    "\u1112\u1161\u11ab\uae00 \u4f60\u597d\uff0c\u4e16\u754c\u3002\n",
    "\u0663\u0664 \u00bd \u2167 x\u00b2",
    "\U0001f916\U0001f44d\U0001f3fd a\u200db",
    "snake_case CamelCase $x_1$ {a: [1]}//\n\n\n",
    "",
    " ",
    "\n",
)


@pytest.fixture(scope="module")
def qwen_files(tmp_path_factory):
    """vocab.json and merges.txt with real merges across what GPT-2 cuts and Qwen does not, and the other way round."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    # words longer than either rule cuts, so that the cut and not the vocabulary decides what is merged
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([text for text in AWKWARD for _ in range(3)], trainer)
    folder = tmp_path_factory.mktemp("qwen")
    backend.model.save(str(folder))
    size = backend.get_vocab_size()
    names = (*tokenizer.SPECIAL, "<IMG_CONTEXT>", *tokenizer.BOXES)
    (folder / "added_tokens.json").write_text(json.dumps({name: size + n for n, name in enumerate(names)}))
    return folder


@settings(max_examples=100, deadline=None)
@given(
    text=st.one_of(st.sampled_from(AWKWARD), st.text(max_size=40), st.text("a1 .\n\r\t'-e\u0301\u4f60", max_size=40))
)
def test_slow_files_are_read_as_transformers_own_qwen_tokenizer_reads_them(qwen_files, text):
    from transformers import Qwen2Tokenizer

    merges = [tuple(line.split(" ")) for line in (qwen_files / "merges.txt").read_text("utf-8").splitlines()[1:]]
    theirs = Qwen2Tokenizer(json.loads((qwen_files / "vocab.json").read_text("utf-8")), merges)
    assert tokenizer.load(qwen_files).encode(text) == theirs(text, add_special_tokens=False)["input_ids"]


def test_internvls_own_tokenizer_serves_our_order_and_gets_state_tokens_for_the_released_one(qwen_files):
    """InternVL3.5 has no <|state_start|> and <|state_end|>; Being-H adds them."""
    words = tokenizer.load(qwen_files)
    before = len(words)
    Serialiser(words, FlowConfig(chunk=4), 1)
    with pytest.raises(ValueError, match=r"needs <\|state_start\|> and <\|state_end\|>, which the tokenizer lacks"):
        Serialiser(words, FlowConfig(chunk=4), 1, ReleaseCompat.released())
    words.add(tokenizer.STATE)
    words.add(tokenizer.STATE)
    assert [words.ids[name] for name in tokenizer.STATE] == [before, before + 1]
    assert len(words) == before + 2
    assert not set(words.encode("<|state_start|>")) & set(words.ids.values())
    Serialiser(words, FlowConfig(chunk=4), 1, ReleaseCompat.released())


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


class Recorded:
    """Stands in for a tokenizer: pieces have the ids of a recorded case."""

    NAMES = (tokenizer.BEGIN, tokenizer.END, tokenizer.IMAGE_START, tokenizer.IMAGE_END, *tokenizer.STATE)

    def __init__(self, ids, **pieces):
        self.ids = dict(zip(self.NAMES, ids, strict=True))
        self.pieces = {"system\nS": "system", "user\n": "user", "assistant\n": "assistant", "\n": "line", "W": "words"}
        self.given = pieces

    def encode(self, text):
        return self.given[self.pieces[text]]


def released(words, views, one_pair, steps, tokens_per_view):
    """The packed inputs of a sample in the released order."""
    seen = Serialiser(words, FlowConfig(chunk=steps), tokens_per_view, ReleaseCompat.released(), None, "S", one_pair)
    slots = action_slots("libero_release")
    e = seen.acting([picture()] * views, "W", (np.zeros(200, np.float32), slots), seen.unknown(steps, slots))
    return pack([e], full_actions=False, delimiters=False)


@pytest.mark.parametrize("one_pair", [True, False])
def test_the_released_order_is_the_documented_one(one_pair):
    """<|im_start|>system..<|im_end|> <|im_start|>user, pictures, <|state_start|> state <|state_end|>, instruction
    <|im_end|>, <|im_start|>assistant, steps; acting with one pair around all pictures, training with one around each.
    """
    words = Recorded(range(1, 7), system=[20, 21], user=[22], line=[10], words=[30, 31, 32], assistant=[23])
    t = released(words, 2, one_pair, 3, 2)
    found = dict(zip(t.text_at.tolist(), t.text_ids[0].tolist(), strict=True))
    found |= dict.fromkeys(t.image_at.tolist(), "picture") | dict.fromkeys(t.state_at.tolist(), "state")
    found |= dict.fromkeys(t.action_at.tolist(), "step")
    two = ["picture", "picture"]
    seen = [3, *two, *two, 4] if one_pair else [3, *two, 4, 3, *two, 4]
    opening = [1, 20, 21, 2, 10, 1, 22]
    asked = [5, "state", 6, 30, 31, 32, 2, 10, 1, 23]
    assert [found[place] for place in range(t.length)] == [*opening, *seen, *asked, "step", "step", "step"]
    assert t.layout.position[0].tolist() == list(range(t.length))
    assert len(t.delimiter_at) == 0


PARITY = Path("/work/shared/parity/being_h")


@pytest.mark.skipif(not PARITY.is_dir(), reason="the recorded cases are not here")
@pytest.mark.parametrize("name", ["infer_nompg", "train_fm_nompg"])
def test_the_released_order_is_that_of_the_recorded_inputs(name):
    """All but the last token: the closing <|im_end|>, which nothing sees and nothing scores."""
    case = cases.read(PARITY, name)
    size = int(case.lists["sample_lens"][0])
    at, ids = case.tensors["in.packed_text_indexes"], case.tensors["in.packed_text_ids"]
    ids, at = ids[at < size].tolist(), at[at < size].tolist()
    begins = [i for i, number in enumerate(ids) if number == 1]
    close = ids.index(8)
    pieces = {
        "system": ids[1 : begins[1] - 2], "user": ids[begins[1] + 1 : ids.index(4)], "line": [3],
        "words": ids[close + 2 : begins[2] - 2], "assistant": ids[begins[2] + 1 : -1],
    }  # fmt: skip
    t = released(Recorded((1, 2, 4, 5, 8, 9), **pieces), 2, name == "infer_nompg", 8, 4)
    assert t.length == size - 1
    assert t.text_at.tolist() == at[:-1]
    assert t.text_ids[0].tolist() == ids[:-1]
    for places, recorded in ((t.image_at, "vit_token"), (t.state_at, "state"), (t.action_at, "action")):
        kept = case.tensors[f"in.packed_{recorded}_indexes"]
        assert places.tolist() == kept[kept < size].tolist()
    assert torch.equal(t.layout.position[0], case.tensors["in.packed_position_ids"][: size - 1])


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

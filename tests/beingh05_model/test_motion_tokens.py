"""Motion tokens: what a token stands for, what quantisers learn, and the hybrid objective of a run."""

import dataclasses

import numpy as np
import pytest
import torch

from beingh05_model import cli
from beingh05_model.motion_tokens import hands as hs
from beingh05_model.motion_tokens import layout
from beingh05_model.motion_tokens import tokenizer as tk
from beingh05_model.motion_tokens.hands import Hand
from beingh05_model.motion_tokens.measure import finger_errors, measure, wrist_errors
from beingh05_model.motion_tokens.quantiser import GroupedResidualQuantiser, nearest
from beingh05_model.motion_tokens.settings import PARTS, TokenizerSettings, TokenTrainSettings
from beingh05_model.motion_tokens.train import train
from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import everything
from beingh05_model.sequence.chunks import Chunk, ChunkSettings
from beingh05_model.sequence.collate import pack
from beingh05_model.sequence.segments import Action, Motion
from beingh05_model.training.run import prepare
from beingh05_model.training.settings import TrainSettings
from helpers import human_shards, models
from unihand_data.space import GROUPS, N_SLOTS, mirror

SMALL = {"width": 24, "code_width": 8, "depth": 1, "levels": 3, "codes": 16, "decay": 0.9}
LEARNS = {"width": 48, "code_width": 16, "depth": 0, "halvings": 1, "levels": 3, "codes": 32, "decay": 0.9}
CHUNK = {"steps": 15, "rate_hz": 15.0}


@pytest.fixture
def tokenizer():
    """Random, with codes of the size of its latents."""
    torch.manual_seed(3)
    made = tk.MotionTokenizer(TokenizerSettings(**SMALL)).eval()
    for part in PARTS:
        torch.nn.init.normal_(made.coder(part).quantiser.codes, std=0.1)
    return made


def chunk(seed=0, sides=("right", "left"), parts=("eef_position", "eef_rotation", "theta"), steps=15):
    random = np.random.default_rng(seed)
    values, mask = np.zeros((steps, N_SLOTS), np.float32), np.zeros((steps, N_SLOTS), bool)
    for side in sides:
        for part in parts:
            cut = GROUPS[f"{side}_{part}"].slice
            scale = {"eef_position": 0.01, "eef_rotation": 0.05, "theta": 0.5}[part]
            values[:, cut] = scale * human_shards.smooth(random, steps, cut.stop - cut.start)
            mask[:, cut] = True
    return Chunk(values, mask)


# ---- places and ids -------------------------------------------------------------------------------------------------


def test_the_preset_of_people_has_the_sizes_of_the_full_models():
    settings = TokenizerSettings()
    assert settings.chunk == ChunkSettings(steps=15, rate_hz=15.0)
    assert layout.motion_config(settings) == everything()["motion_tokens"]
    assert (settings.tokens, settings.codebook) == (128, 8192)


def test_every_place_has_its_own_range_of_ids_and_they_fill_the_codebook(tokenizer):
    """Right wrist, right fingers, left wrist, left fingers; by latent step, group and level."""
    s = tokenizer.settings
    ids = tokenizer.quantise(chunk())
    assert ids.shape == (s.tokens,)
    place = np.arange(s.tokens)
    part = place // s.block % 2
    quantiser = place % (s.groups * s.levels)
    assert np.array_equal(ids // s.codes, part * s.groups * s.levels + quantiser)
    first = np.concatenate([layout.offsets(s, part).ravel() for part in PARTS])
    assert np.array_equal(first, np.arange(0, s.codebook, s.codes))


def test_a_chunk_of_tokens_is_a_chunk_of_the_same_slots(tokenizer):
    given = chunk()
    again = tokenizer.dequantise(tokenizer.quantise(given))
    assert np.array_equal(again.mask, given.mask)
    assert again.values.shape == given.values.shape
    assert not again.values[:, ~given.mask.any(0)].any()
    assert np.array_equal(tokenizer.dequantise(tokenizer.quantise(given)).values, again.values)


def test_sums_of_codes_are_quantised_to_the_ids_they_were_made_of():
    """A latent that is a code of the first level plus a small one of the second is read back exactly."""
    quantiser = GroupedResidualQuantiser(TokenizerSettings(**{**SMALL, "levels": 2})).eval()
    torch.manual_seed(0)
    for level, size in enumerate((1.0, 0.01)):
        quantiser.codes[:, level] = size * torch.randn(2, 16, 4)
    ids = torch.randint(0, 16, (50, 2, 2))
    found = quantiser(quantiser.look_up(ids))
    assert torch.equal(found.ids, ids)
    assert torch.allclose(found.vectors, quantiser.look_up(ids), atol=1e-6)
    assert float(found.commitment) < float(quantiser.codes[:, 0].square().mean())


def test_an_id_that_its_place_cannot_have_is_refused(tokenizer):
    ids = tokenizer.quantise(chunk())
    ids[0] = tokenizer.settings.codebook - 1
    with pytest.raises(ValueError, match="outside the range"):
        tokenizer.dequantise(ids)


@pytest.mark.parametrize("missing", ["right", "left"])
def test_a_hand_that_is_not_known_has_no_tokens_and_the_other_keeps_its_own(tokenizer, missing):
    s = tokenizer.settings
    both, other = chunk(), "left" if missing == "right" else "right"
    one = Chunk(both.values.copy(), both.mask.copy())
    one.mask[4, GROUPS[f"{missing}_eef_position"].start] = False  # a single cell of the wrist
    one.mask[:, GROUPS[f"{missing}_theta"].slice] = False
    ids, whole = tokenizer.quantise(one), tokenizer.quantise(both)
    for number, (side, _) in enumerate(layout.BLOCKS):
        cut = layout.block_slice(s, number)
        assert np.array_equal(ids[cut], whole[cut] if side == other else np.full(s.block, layout.NONE))
    fingers = tokenizer.quantise(chunk(parts=("theta",)))
    assert (fingers >= 0).sum() == 2 * s.block
    one.mask[0] = False
    assert tokenizer.quantise(one) is None


def test_a_mirrored_chunk_has_the_same_tokens_with_the_hands_swapped(tokenizer):
    given = chunk()
    used = np.flatnonzero(given.mask.any(0))
    row = mirror.mirror_row(given.values[:, used], used, given.mask[:, used], "action")
    twin = Chunk(np.zeros_like(given.values), np.zeros_like(given.mask))
    twin.values[:, row.slots], twin.mask[:, row.slots] = row.values, row.mask
    half = tokenizer.settings.tokens // 2
    assert np.array_equal(tokenizer.quantise(twin), np.roll(tokenizer.quantise(given), half))


def test_tokens_code_every_step_of_their_chunk_and_nothing_else(tokenizer):
    given = chunk()
    ids = tokenizer.quantise(given)
    later = Chunk(given.values.copy(), given.mask.copy())
    rest = ~np.isin(np.arange(N_SLOTS), np.concatenate(list(layout.SLOTS.values())))
    later.values[:, rest] = 1.0
    assert np.array_equal(tokenizer.quantise(later), ids)
    for step in (0, 14):
        later = Chunk(given.values.copy(), given.mask)
        later.values[step] *= -20
        assert not np.array_equal(tokenizer.quantise(later), ids)
    with pytest.raises(ValueError, match="a chunk of 14 steps; the motion tokenizer was trained on 15"):
        tokenizer.quantise(chunk(steps=14))


# ---- learning -------------------------------------------------------------------------------------------------------


def test_gradients_pass_straight_through():
    quantiser = GroupedResidualQuantiser(TokenizerSettings(**SMALL)).eval()
    torch.nn.init.normal_(quantiser.codes)
    x = torch.randn(5, 8, requires_grad=True)
    weight = torch.randn(5, 8)
    (quantiser(x).vectors * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_codes_become_the_averages_of_what_chooses_them_and_dead_ones_come_back():
    sizes = {"groups": 1, "levels": 1, "codes": 2, "code_width": 2, "dead_share": 0.2}
    quantiser = GroupedResidualQuantiser(TokenizerSettings(**{**SMALL, **sizes})).train()
    random, draw = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for step in range(160):
        which = torch.randint(0, 2, (64,), generator=draw)
        quantiser(centres[which] + 0.01 * torch.randn(64, 2, generator=draw), random)
        if step == 30:  # a code where nothing is
            quantiser.codes[0, 0, 1] = 100.0
            quantiser.total[0, 0, 1] = quantiser.count[0, 0, 1] * 100.0
    assert sorted(nearest(centres, quantiser.codes[0, 0]).tolist()) == [0, 1]
    assert torch.allclose(quantiser.codes[0, 0][nearest(centres, quantiser.codes[0, 0])], centres, atol=0.02)
    assert torch.allclose(quantiser.count.sum(), torch.tensor(64.0), atol=1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Thirty short recordings of both hands, three of a right hand alone, and two of the test split."""
    media = human_shards.picture()
    rows = [human_shards.episode(i, media, frames=50) for i in range(30)]
    rows += [human_shards.episode(i, media, frames=50, sides=("right",)) for i in range(30, 33)]
    rows += [human_shards.episode(i, media, split="test") for i in (50, 51)]
    return human_shards.recipe(tmp_path_factory.mktemp("human"), rows, [media])


def train_settings(recipe, output, **changes):
    base = {
        "recipe": recipe, "output": str(output), "steps": 100, "batch": 32, "read": 64, "rate": 5e-3, "warmup": 5,
        "save_every": 50, "tokenizer": LEARNS, "device": "cpu",
    }  # fmt: skip
    return TokenTrainSettings.model_validate({**base, **changes})


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """Directory and figures of a tokenizer learned from the recipe."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("tokens") / "o"
    return out, train(train_settings(recipe, out))


def test_smooth_motion_is_learned_far_better_than_a_constant_and_uses_the_codes(trained):
    """On recordings of the test split."""
    _, figures = trained
    for name in ("wrist_position_mm", "wrist_rotation_deg", "finger_joint_deg"):
        assert figures[name] < 0.5 * figures[f"still_{name}"], name
    for part in PARTS:
        assert figures[f"{part}_hands"] == 8  # two recordings, two whole windows, two hands
        assert figures[f"{part}_unused"] < 0.5
        assert figures[f"{part}_dead"] < 0.5


def test_a_tokenizer_is_read_back_bit_for_bit(trained, tmp_path):
    out, _ = trained
    first = tk.load(out)
    tk.save(tmp_path / "copy", first.tokenizer, {"recipe": first.about["recipe"]})
    second = tk.load(tmp_path / "copy")
    assert second.identity == first.identity
    for name, tensor in first.tokenizer.state_dict().items():
        assert torch.equal(tensor, second.tokenizer.state_dict()[name]), name
    assert np.array_equal(first.tokenizer.quantise(chunk(5)), second.tokenizer.quantise(chunk(5)))
    (tmp_path / "copy/model.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="not the weights"):
        tk.load(tmp_path / "copy")


def test_a_run_that_was_cut_off_ends_with_the_same_codes(recipe, tmp_path):
    whole = train_settings(recipe, tmp_path / "a", steps=6, save_every=3)
    train(whole)
    cut = train_settings(recipe, tmp_path / "b", steps=6, save_every=3)
    train(cut, stop_after=5)
    with pytest.raises(ValueError, match="resume it, or choose another output"):
        train(cut)
    with pytest.raises(ValueError, match="other settings"):
        train(train_settings(recipe, tmp_path / "b", steps=7), resume=True)
    train(cut, resume=True)
    assert tk.load(tmp_path / "a").identity == tk.load(tmp_path / "b").identity


def test_held_out_rows_are_never_trained_on(recipe, tmp_path):
    chosen = train_settings(recipe, tmp_path, held_out="hash", held_out_share=0.4)
    with hs.RecipeReader(recipe) as reader:
        held = {e for one in hs.held_out(reader, chosen) for e, *_ in one.episodes}
        every = {d.sample.episode_id for d in reader.draw(range(200))}
        assert held & every
        stream = hs.HandStream(reader, chosen, held, hs.Place())
        seen = {d.sample.episode_id for d in reader.draw(range(64))} - held
        block = stream.take(10)
        assert len(block) == 10
        assert seen
        left = hs.HandStream(reader, chosen, every | held, hs.Place())
        with pytest.raises(ValueError, match="nothing to learn motion tokens from"):
            left.take(1)
        with pytest.raises(ValueError, match="set held_out to hash"):
            hs.held_out(reader, train_settings(recipe, tmp_path, held_out="hash", held_out_share=1e-6))


def test_the_command_says_what_was_lost_and_refuses_in_one_sentence(recipe, tmp_path, capsys):
    config = tmp_path / "tokens.yaml"
    config.write_text(train_settings(recipe, tmp_path / "o", steps=2).model_dump_json())
    assert cli.main(["tokens", str(config)]) == 0
    said = capsys.readouterr().out
    for words in ("wrist_position_mm", "finger_joint_deg", "fingers_perplexity", "{codebook: 384, tokens: 192}"):
        assert words in said
    assert cli.main(["tokens", str(config)]) == 2
    assert "refused" in capsys.readouterr().err


def test_errors_are_of_the_path_and_of_joint_angles():
    """A constant error of 1 mm a step is 8 mm on average over 15 steps; turns of 0.01 rad add up alike."""
    true = np.zeros((1, 15, 6), np.float32)
    found = true.copy()
    found[..., 0], found[..., 5] = 0.001, 0.01
    errors = wrist_errors(true, found)
    assert errors["wrist_position_mm"] == pytest.approx(8.0, rel=1e-5)
    assert errors["wrist_end_mm"] == pytest.approx(15.0, rel=1e-5)
    assert errors["wrist_rotation_deg"] == pytest.approx(np.degrees(0.08), rel=1e-4)
    theta = np.zeros((1, 15, 45), np.float32)
    theta[..., 3] = 0.5
    errors = finger_errors(theta, np.zeros_like(theta))
    assert errors["finger_worst_joint_deg"] == pytest.approx(np.degrees(0.5), rel=1e-5)
    assert errors["finger_joint_deg"] == pytest.approx(np.degrees(0.5) / 15, rel=1e-5)


def test_a_part_that_no_hand_has_has_no_figures(tokenizer):
    found = measure(tokenizer, [Hand({"wrist": None, "fingers": np.zeros((15, 45), np.float32)})])
    assert found["wrist_hands"] == 0
    assert "wrist_position_mm" not in found
    assert found["finger_joint_deg"] >= 0


# ---- hybrid training ------------------------------------------------------------------------------------------------


def run_settings(recipe, output, tokenizer, **changes):
    wanted = layout.motion_config(tk.load(tokenizer).tokenizer.settings) if tokenizer else None
    model = models.small(motion_tokens=wanted)
    model = model.model_copy(
        update={
            "flow": model.flow.model_copy(update={"chunk": 15}),
            "backbone": model.backbone.model_copy(update={"vocab": 800}),
        }
    )
    base = {
        "model": model, "data": {"recipe": recipe, "chunk": CHUNK, "blind": True}, "output": str(output), "steps": 2,
        "motion_tokenizer": None if tokenizer is None else str(tokenizer),
    }  # fmt: skip
    return TrainSettings.model_validate({**base, **changes})


def parts(example, kind):
    return [s for s in example.segments if isinstance(s, kind)]


def test_a_run_quantises_exactly_the_steps_of_its_flow_target(recipe, trained, tmp_path):
    made = prepare(run_settings(recipe, tmp_path, trained[0]))
    stored = tk.load(trained[0])
    assert made.about["motion_tokenizer"] == stored.identity
    seen = set()
    for position in range(40):
        example = made.source.example(position)
        target = parts(example, Action)[0]
        known = np.array([target.cells[:, layout.SLOTS[block]].all() for block in layout.BLOCKS])
        seen.add(tuple(known))
        if not known.any():
            assert not parts(example, Motion)
            continue
        motion = parts(example, Motion)[0]
        ids = stored.tokenizer.quantise(Chunk(target.values, target.cells))
        assert np.array_equal(motion.ids, ids[motion.places])
        assert np.array_equal(np.repeat(known, stored.tokenizer.settings.block), ids >= 0)
        assert motion.masked.any()
    assert {(True,) * 4, (False,) * 4, (True, True, False, False)} <= seen


def test_tokens_of_one_hand_stand_where_they_stand_with_both():
    e = models.example("human_hands", motion=True)
    motion = e.segments[-1]
    e.segments[-1] = dataclasses.replace(motion, places=np.array([4, 5, 7]))
    plain = pack([models.example("human_hands", motion=True)])
    moved = pack([e])
    origin = plain.layout.position[0, plain.motion_at[0]] - 0
    assert (moved.layout.position[0, moved.motion_at] - origin).tolist() == [4, 5, 7]
    assert torch.equal(moved.layout.position[0, moved.action_at], plain.layout.position[0, plain.action_at])


def test_both_losses_train_one_step_and_motion_falls_on_one_chunk(recipe, trained, tmp_path):
    made = prepare(run_settings(recipe, tmp_path, trained[0]))
    position = next(p for p in range(20) if parts(made.source.example(p), Motion))
    batch = pack([made.source.example(position)])
    optimiser = torch.optim.Adam(made.model.parameters(), 6e-3)
    losses = []
    for _ in range(16):
        found = made.model(batch)
        optimiser.zero_grad()
        (found.flow + 0.1 * found.motion + found.routing).backward()
        losses.append(float(found.motion.detach()))
        optimiser.step()
    assert float(found.flow.detach()) > 0
    assert losses[-1] < 0.7 * losses[0]


def test_a_weight_of_zero_gives_motion_tokens_no_gradient(recipe, trained, tmp_path):
    made = prepare(run_settings(recipe, tmp_path, trained[0]))
    batch = pack([made.source.example(p) for p in range(4)])
    assert len(batch.motion_at)
    found = made.model(batch)
    (found.flow + 0.0 * found.motion + found.routing).backward()
    assert not made.model.motion_head.weight.grad.any()
    assert not made.model.motion_embed.weight.grad.any()
    assert made.model.action_encoder.fc1.weight.grad.any()


def test_tokens_and_tokenizer_come_together_or_are_refused(recipe, trained, tmp_path):
    whole = run_settings(recipe, tmp_path, trained[0])
    for changes, words in (
        ({"motion_tokenizer": None}, "motion_tokenizer is not"),
        ({"motion_tokenizer": str(tmp_path)}, "no motion tokenizer"),
        ({"model": whole.model.model_copy(update={"motion_tokens": None})}, "motion_tokens is not"),
        (
            {"model": whole.model.model_copy(update={"motion_tokens": everything()["motion_tokens"]})},
            "codebook 8192 and tokens 128",
        ),
        ({"data": whole.data.model_copy(update={"chunk": ChunkSettings(steps=15)})}, "was trained on"),
    ):
        with pytest.raises(ValueError, match=words):
            prepare(whole.model_copy(update=changes))


def test_a_model_that_acts_has_no_motion_tokens(recipe, trained, tmp_path):
    made = prepare(run_settings(recipe, tmp_path, trained[0]))
    assert isinstance(made.model, BeingH)
    example = made.source.example(0)
    example.segments = [s for s in example.segments if not isinstance(s, Motion)]
    with torch.no_grad():
        assert float(made.model(pack([example])).motion) == 0

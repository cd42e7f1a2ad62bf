"""Human chunks in the camera at their start: the formula, through shards, recipe and training source."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from beingh05_model.motion_tokens import tokenizer as tk
from beingh05_model.motion_tokens.settings import TokenizerSettings
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.chunks import Chunk, ChunkSettings
from beingh05_model.sequence.segments import Action, State
from beingh05_model.sequence.serialise import Serialiser
from beingh05_model.training.settings import DataSettings
from beingh05_model.training.source import Source
from helpers import human_shards
from unihand_data.ids import make_id
from unihand_data.recipe.reader import RecipeReader
from unihand_data.space import GROUPS, mirror

FRAMES = 45
WRISTS = [(GROUPS[f"{s}_eef_position"].slice, GROUPS[f"{s}_eef_rotation"].slice) for s in human_shards.SIDES]


def moving(seed):
    """(FRAMES, 4, 4) poses of a camera that turns and travels."""
    random = np.random.default_rng(seed)
    poses = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    start = Rotation.random(random_state=seed)
    turns = Rotation.from_rotvec(0.3 * human_shards.smooth(random, FRAMES, 3)) * start
    poses[:, :3, :3], poses[:, :3, 3] = turns.as_matrix(), human_shards.smooth(random, FRAMES, 3)
    return poses


@pytest.fixture(scope="module")
def cameras():
    return {"one": moving(1), "two": moving(2)}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, cameras):
    """One motion seen by two cameras; a row without poses that has only fingers."""
    media = human_shards.picture()
    rows = [
        human_shards.episode(5, media, frames=FRAMES, poses=poses, episode_id=make_id(name), recording_id=name)
        for name, poses in cameras.items()
    ]
    bare = human_shards.episode(6, media, frames=FRAMES)
    eef = [c for side in human_shards.SIDES for p in ("eef_position", "eef_rotation")
           for c in human_shards.columns(side, p)]  # fmt: skip
    bare.state_mask[:, eef] = bare.action_mask[:, eef] = False
    return human_shards.recipe(tmp_path_factory.mktemp("cameras"), [*rows, bare], [media])


def source(recipe, **chunk):
    words = tokenizer.small(["fold the towel"])
    config = tiny(vocab=len(words))
    settings = DataSettings(recipe=recipe, blind=True, chunk={"steps": 8, "rate_hz": 15.0, **chunk})
    return Source(settings, Serialiser(words, config.flow, config.vision.tokens), config.vision.image_size, 0)


def part(example, kind):
    return next(s for s in example.segments if isinstance(s, kind))


def positions(recipe):
    """(episode, start) to position, over one pass."""
    with RecipeReader(recipe) as reader:
        return {(d.sample.episode_id, d.sample.start_frame): d.position for d in reader.draw(range(reader.one_pass))}


def test_wrists_are_given_in_the_camera_at_the_start_of_the_chunk(recipe, cameras):
    world, camera = source(recipe), source(recipe, human_frame="camera")
    checked = 0
    for (episode, start), position in positions(recipe).items():
        name = next((n for n in cameras if make_id(n) == episode), None)
        if name is None:
            continue
        a, b = world.example(position), camera.example(position)
        pose = cameras[name][start].astype(np.float64)
        to_camera = Rotation.from_matrix(pose[:3, :3]).inv()
        before, after = part(a, Action), part(b, Action)
        assert np.array_equal(before.cells, after.cells)
        p, q = part(a, State), part(b, State)
        for at, turn in WRISTS:
            for cut in (at, turn):
                expected = to_camera.apply(before.values[:, cut]) * before.cells[:, cut]
                assert np.allclose(after.values[:, cut], expected, atol=1e-6)
            assert np.allclose(q.values[at], to_camera.apply(p.values[at] - pose[:3, 3]), atol=1e-5)
            turned = to_camera * Rotation.from_rotvec(p.values[turn])
            assert np.allclose(Rotation.from_rotvec(q.values[turn]).as_matrix(), turned.as_matrix(), atol=1e-5)
        theta = slice(110, 200)
        assert np.array_equal(before.values[:, theta], after.values[:, theta])
        checked += bool(before.cells.any())
    assert checked > 10


def test_another_camera_turns_the_same_motion(recipe, cameras):
    """v_two = R_two^T R_one v_one."""
    camera, at = source(recipe, human_frame="camera"), positions(recipe)
    start = 6
    one, two = (part(camera.example(at[make_id(n), start]), Action) for n in ("one", "two"))
    relative = cameras["two"][start, :3, :3].T @ cameras["one"][start, :3, :3]
    for group in WRISTS:
        for cut in group:
            assert one.values[:, cut].any()
            assert np.allclose(two.values[:, cut], one.values[:, cut] @ relative.T, atol=1e-5)


def test_a_row_without_wrists_needs_no_camera_and_one_with_wrists_is_refused_by_name(recipe, tmp_path):
    bare = [position for (episode, _), position in positions(recipe).items() if episode == make_id("human", 6)]
    assert part(source(recipe, human_frame="camera").example(bare[0]), Action).values.any()
    media = human_shards.picture()
    blind = human_shards.recipe(tmp_path, [human_shards.episode(7, media, frames=FRAMES)], [media])
    with pytest.raises(ValueError, match=f"{make_id('human', 7)} at .* no camera pose"):
        source(blind, human_frame="camera").example(0)


def test_a_pose_comes_with_a_window_only_where_it_is_asked_for_and_known(recipe, cameras):
    with RecipeReader(recipe) as reader:
        shard = next(reader.shards())
        row = (make_id("one"), 9)
        assert shard.window(row, views=()).camera_pose is None
        assert np.allclose(shard.window(row, views=(), camera_pose=True).camera_pose, cameras["one"][9])
        assert shard.window((make_id("human", 6), 9), views=(), camera_pose=True).camera_pose is None
        camera = shard.episode(row[0]).cameras[0]
        camera.pose_valid[9] = False
        assert shard.window(row, views=(), camera_pose=True).camera_pose is None


def test_motion_tokens_are_those_of_the_frame_they_were_learned_in(recipe):
    """In a camera the mirror stands across x, so a twin has the tokens of its parent with the hands swapped."""
    torch.manual_seed(0)
    chunk = ChunkSettings(steps=8, rate_hz=15.0, human_frame="camera")
    small = {"width": 16, "code_width": 8, "depth": 0, "levels": 2, "codes": 16}
    made = tk.MotionTokenizer(TokenizerSettings(chunk=chunk, **small)).eval()
    for name in ("wrist", "fingers"):
        torch.nn.init.normal_(made.coder(name).quantiser.codes, std=0.1)
    camera, at = source(recipe, human_frame="camera"), positions(recipe)
    target = part(camera.example(at[make_id("one"), 6]), Action)
    used = np.flatnonzero(target.cells.all(0))
    row = mirror.mirror_row(target.values[:, used], used, target.cells[:, used], "action", axes="camera")

    twin = Chunk(np.zeros_like(target.values), np.zeros_like(target.cells))
    twin.values[:, row.slots], twin.mask[:, row.slots] = row.values, row.mask
    ids = made.quantise(Chunk(target.values, target.cells))
    assert np.array_equal(made.quantise(twin), np.roll(ids, made.settings.tokens // 2))

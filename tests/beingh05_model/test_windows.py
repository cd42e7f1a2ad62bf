"""What of a row becomes a sample: steps of the chunk's rate, the past of a continuation, starts on a stride."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from beingh05_model.motion_tokens.hands import hands
from beingh05_model.motion_tokens.settings import TokenTrainSettings
from beingh05_model.network.presets import tiny
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.chunks import RATE_TOLERANCE, ChunkSettings
from beingh05_model.sequence.segments import Action, Motion, Vision
from beingh05_model.sequence.serialise import Serialiser
from beingh05_model.training.settings import DataSettings
from beingh05_model.training.source import Source
from helpers import human_shards
from unihand_data.ids import make_id
from unihand_data.recipe.reader import RecipeReader
from unihand_data.shards.errors import ShardError
from unihand_data.shards.rows import CameraRow, SampleRow

RATES = (30.0, 20.0, 10.0)
STEPS = 4


def samples(row):
    """Generation from the first frame on, continuation from the fifth on, one description."""
    kinds = (("motion_generation", 0, "qa-v1/gen-00"), ("motion_continuation", 5, "qa-v1/con-00"))
    rest = {"language_ref": 0, "tokens_text": 4, "split": row.split}
    moving = [
        SampleRow(
            make_id(row.episode_id, task, start), task, row.episode_id, start_frame=start,
            frames_available=row.frames - start, history_available=start, question_template_id=template, **rest,
        )
        for task, first, template in kinds
        for start in range(first, row.frames - 1)
    ]  # fmt: skip
    told = SampleRow(
        make_id(row.episode_id, "told"), "motion_description", row.episode_id, frames_available=row.frames,
        question_template_id="qa-v1/des-00", tokens_answer=3, **rest,
    )  # fmt: skip
    return [*moving, told]


def recipe_of(folder, of):
    media = human_shards.picture()
    rows = [
        human_shards.episode(
            seed, media, frames=40, rate_hz=rate, timestamps=np.arange(40) / rate,
            cameras=[CameraRow("ego", media.media_id, 64, 48, rate)],
        )
        for seed, rate in enumerate(RATES)
    ]  # fmt: skip
    return human_shards.recipe(folder, rows, [media], of)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return recipe_of(tmp_path_factory.mktemp("rates"), samples)


class Seen(Source):
    """Keeps the windows that its examples are made of."""

    def _window(self, window, random):
        self.windows.append(window)
        return super()._window(window, random)


def source(recipe, chunk=None, quantise=None, **settings):
    words = tokenizer.small(["fold the towel"])
    config = tiny(vocab=len(words), image_size=28)
    serialiser = Serialiser(words, config.flow, config.vision.tokens, quantise=quantise)
    cut = {"steps": STEPS, **(chunk or {})}
    made = Seen(DataSettings(recipe=recipe, chunk=cut, **settings), serialiser, config.vision.image_size, 0)
    made.windows = []
    return made


def read(made, count=60):
    examples = made.examples(range(count))
    return list(zip(examples, made.windows, strict=True))


def parts(example, kind):
    return [s for s in example.segments if isinstance(s, kind)]


# ---- rate ---------------------------------------------------------------------------------------------------------


@given(source_hz=st.floats(1, 120), rate=st.floats(1, 60))
def test_there_are_at_most_as_many_steps_a_second_as_the_rate_says_and_no_fewer_than_needed(source_hz, rate):
    chunk = ChunkSettings(rate_hz=rate)
    merge = chunk.merge(source_hz)
    most = rate * (1 + RATE_TOLERANCE)
    assert source_hz / merge <= most * (1 + 1e-9)
    assert merge == 1 or source_hz / (merge - 1) > most * (1 - 1e-9)
    assert chunk.step_s(source_hz) == merge / source_hz
    assert chunk.source_steps(source_hz) == chunk.steps * merge


@pytest.mark.parametrize(
    ("source_hz", "rate", "merge", "on"),
    [(30, 15, 2, True), (29.97, 15, 2, True), (30.02, 15, 2, True), (40, 30, 2, False), (50, 20, 3, False),
     (20, 15, 2, False), (10, 15, 1, False), (60, 15, 4, True), (15, 15, 1, True), (50, None, 1, True)],
)  # fmt: skip
def test_whole_steps_are_merged_and_what_they_last_is_known(source_hz, rate, merge, on):
    chunk = ChunkSettings(rate_hz=rate)
    assert (chunk.merge(source_hz), chunk.on_rate(source_hz)) == (merge, on)
    assert chunk.step_s(source_hz) == pytest.approx(merge / source_hz)


def test_a_chunk_without_steps_or_rate_is_refused():
    for wrong in ({"steps": 0}, {"rate_hz": 0.0}, {"rate_hz": -1.0}):
        with pytest.raises(ValidationError):
            ChunkSettings(**wrong)
    for wrong in ({"stride": 0}, {"history": 0}):
        with pytest.raises(ValidationError):
            DataSettings(recipe="r", **wrong)


def test_motion_tokens_stand_for_steps_of_the_tokenizers_rate_only(recipe):
    made = source(recipe, {"rate_hz": 15.0}, lambda chunk: np.arange(3))
    seen = [(w.rate_hz, bool(parts(e, Motion))) for e, w in read(made) if w.task != "motion_description"]
    assert {rate for rate, _ in seen} == set(RATES)
    assert all(has == (rate == 30) for rate, has in seen)
    learning = TokenTrainSettings(recipe=recipe, output="o", tokenizer={"chunk": {"steps": STEPS, "rate_hz": 15.0}})
    kept = {w.rate_hz for w in made.windows if w.task != "motion_description" and hands(w, learning)}
    assert kept == {30.0}


# ---- the past of a continuation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 10.0, 15.0])
@pytest.mark.parametrize("history", [None, 2])
def test_the_earlier_picture_is_as_old_as_the_first_clean_step(recipe, rate, history):
    made = source(recipe, {"rate_hz": rate}, history=history)
    steps, checked = history or STEPS, set()
    for example, window in read(made):
        if window.task != "motion_continuation":
            continue
        merge = made.settings.chunk.merge(window.rate_hz)
        assert len(parts(example, Vision)) == 2
        past, target = parts(example, Action)
        assert (past.length, target.length) == (steps, STEPS)
        earlier, now = window.frame_times
        known = min(window.start, steps * merge)  # what lies before the episode has no picture
        assert now - earlier == pytest.approx(known / window.rate_hz)
        assert now == pytest.approx(window.start / window.rate_hz)
        if known == steps * merge:
            assert now - earlier == pytest.approx(steps * made.settings.chunk.step_s(window.rate_hz))
            checked.add(window.rate_hz)
        moved = window.history.reshape(steps, merge, 200)[..., :3].sum(1)
        whole = window.history_mask.reshape(steps, merge, 200)[..., :3].all((1, 2))
        assert np.allclose(past.values[:, :3][whole], moved[whole], atol=1e-6)
    assert checked == set(RATES)


def test_a_history_or_a_stride_without_effect_is_refused(tmp_path):
    def told(row):
        return [s for s in samples(row) if s.task == "motion_description"]

    only = recipe_of(tmp_path, told)
    with pytest.raises(ValueError, match=r"data\.history has no effect: .* has no motion continuation"):
        source(only, history=2)
    with pytest.raises(ValueError, match=r"data\.stride has no effect: .* has no motion"):
        source(only, stride=2)
    source(only)


# ---- stride -------------------------------------------------------------------------------------------------------


def test_chunks_begin_on_the_stride_in_the_same_strata_and_all_of_its_starts_come(recipe):
    stride, moving = 4, ("motion_generation", "motion_continuation")
    with RecipeReader(recipe) as reader:
        every, thinned = (reader.draw(range(reader.one_pass), stride=n) for n in (1, stride))
        with pytest.raises(ShardError, match="starts at a multiple of 1000 frames"):
            reader.draw(range(40), stride=1000)
    assert [d.stratum for d in every] == [d.stratum for d in thinned]
    assert all(d.sample.start_frame % stride == 0 for d in thinned if d.sample.task in moving)
    told = [[d.sample for d in draws if d.sample.task == "motion_description"] for draws in (every, thinned)]
    assert told[0] == told[1]
    for task, first in zip(moving, (0, 8), strict=True):
        starts = {(d.sample.episode_id, d.sample.start_frame) for d in thinned if d.sample.task == task}
        assert len(starts) == len(RATES) * len(range(first, 39, stride))
    starts = {w.start for _, w in read(source(recipe, stride=stride)) if w.task in moving}
    assert len(starts) > 5
    assert not {s % stride for s in starts} - {0}

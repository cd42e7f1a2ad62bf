"""A run is not begun over another, and does not go on with other samples than it was begun with."""

import json

import pytest

from beingh05_model.network.presets import tiny
from beingh05_model.training import saving
from beingh05_model.training.settings import TrainSettings

ABOUT = {"recipe": "aaaa"}


def settings(output, seed=0, **data):
    named = {"recipe": "r", **data}
    model = tiny(vocab=512, image_size=28)
    return TrainSettings.model_validate(
        {"model": model, "data": named, "output": str(output), "steps": 9, "seed": seed, "packing": {"rows": 2}}
    )


@pytest.fixture
def begun(tmp_path):
    """An output with a checkpoint at step 3, as far as its samples go."""
    state = tmp_path / "state/step-0000003"
    state.mkdir(parents=True)
    told = {"step": 3, "ranks": 0, "streams": {}, "samples": saving.samples_of(settings(tmp_path), ABOUT)}
    (state / "state.json").write_text(json.dumps(told))
    (tmp_path / "latest").write_text(state.name + "\n")
    return tmp_path


def test_a_run_is_not_begun_where_another_is(begun, tmp_path):
    with pytest.raises(ValueError, match="holds a run that is at step-0000003; go on with it"):
        saving.begin(settings(begun))
    saving.begin(settings(tmp_path / "other"))


def test_a_run_goes_on_read_in_another_way(begun):
    assert saving.newest(settings(begun, workers=2, ahead=8, cached_episodes=7), ABOUT).told["step"] == 3


@pytest.mark.parametrize(
    ("changes", "about", "said"),
    [
        ({"seed": 1}, ABOUT, "seed 0, and it is 1 now"),
        ({"views": 1}, ABOUT, "data.views 3, and it is 1 now"),
        ({"chunk": {"steps": 4}}, ABOUT, "data.chunk"),
        ({}, {"recipe": "bbbb"}, "data.recipe 'aaaa', and it is 'bbbb' now"),
    ],
)
def test_a_run_does_not_go_on_with_other_samples(begun, changes, about, said):
    with pytest.raises(ValueError, match=said):
        saving.newest(settings(begun, **changes), about)


def test_states_are_kept_by_step_and_not_by_name(tmp_path):
    folders = [tmp_path / f"step-{n}" for n in ("0000009", "10000000", "0000100")]
    assert [saving.step_of(f) for f in sorted(folders, key=saving.step_of)] == [9, 100, 10_000_000]

"""Rows read ahead by workers are the rows that the training process would read itself."""

from itertools import islice

import pytest
import torch

from beingh05_model.training.loader import loader, turns
from beingh05_model.training.rows import StreamState
from beingh05_model.training.settings import TrainSettings
from helpers.models import small
from helpers.training_run import Made


def settings(workers=0, rows=2, lanes=2):
    return TrainSettings.model_validate(
        {
            "model": small(),
            "data": {"recipe": "none", "chunk": {"steps": 4}, "workers": workers},
            "output": "none",
            "steps": 8,
            "packing": {"rows": rows, "lanes": lanes, "tokens": 160, "held": 1},
        }
    )


def taken(found):
    return [(r.stream, r.state.as_dict(), r.tokens, r.embodiments, r.content.noise) for r in found]


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert a[:4] == b[:4]
        assert torch.equal(a[4], b[4])


def test_workers_give_the_rows_that_one_process_gives_and_a_resume_goes_on_with_them():
    alone = taken(islice(loader(Made(), settings(), {}, 0), 12))
    ahead = taken(islice(loader(Made(), settings(workers=2), {}, 0), 12))
    assert_same(alone, ahead)
    assert [row[0] for row in alone[:5]] == [0, 1, 2, 3, 0]
    places = {row[0]: StreamState(**row[1]) for row in alone[:6]}  # three steps
    again = taken(islice(loader(Made(), settings(), places, 3), 6))
    assert_same(alone[6:], again)


def test_ranks_share_what_one_rank_reads_alone():
    alone = taken(islice(loader(Made(), settings(), {}, 0), 8))
    each = [taken(islice(loader(Made(), settings(), {}, 0, rank, 2), 4)) for rank in (0, 1)]
    assert_same(alone, [row for pair in zip(*each, strict=True) for row in pair])


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_the_streams_of_a_step_follow_from_its_number(step):
    every = settings(rows=3, lanes=4)
    assert turns(every, step, 0, 1)[:3] == [3 * (step % 4) + r for r in range(3)]
    assert sorted(turns(every, step, 0, 1)) == list(range(12))
    assert sorted(s for rank in range(3) for s in turns(every, step, rank, 3)) == list(range(12))


def test_what_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match="multiple of the number of ranks"):
        turns(settings(rows=3), 0, 0, 2)
    with pytest.raises(ValueError, match=r"data\.workers \(3\) must divide the 4 streams"):
        loader(Made(), settings(workers=3), {}, 0)

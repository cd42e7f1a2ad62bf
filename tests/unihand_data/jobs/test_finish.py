"""What the end of a run says of every input item."""

from __future__ import annotations

import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.jobs.losses import Stated, state_losses
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.stage import Unit
from unihand_data.shards import staging
from unihand_data.shards.store import Store


def unit(item: str, name: str = "", *, children=(), lost: Reject | None = None) -> Parcel:
    """An item of the input, or with a name a clip of it; written unless it was split or lost."""
    parcel = Parcel.of(Unit(name or item, item, f"/in/{item}.mp4"))
    parcel.parent = item
    if children:
        parcel.children = [(child, b"") for child in children]
        parcel.units = []
    if lost:
        parcel.lose(lost, "hands", 1, parcel.uri)
        if not children:
            parcel.units, parcel.ended = [], lost.reason
    return parcel


def shaky(clip: str) -> Reject:
    return Reject(Reason.JITTER, f"{clip} shakes", level="clip", frames=30)


class Job:
    """Ledgers of one output, and what is stated at the end."""

    def __init__(self, root):
        self.root, self.ledgers = root, []

    def version(self, *parcels: Parcel) -> None:
        ledger = Ledger(str(self.root / "out"), f"{len(self.ledgers):032x}")
        for n, parcel in enumerate(parcels):
            ledger.write_part(f"p{n}", [parcel])
        ledger.compact()
        self.ledgers.insert(0, ledger)

    def end(self, **options) -> tuple[Stated, list[tuple[str, str, str]]]:
        """What is stated, and (item, level, reason) of the reject rows a commit would find, sorted."""
        stated = state_losses(self.ledgers, str(self.root / "staging"), **options)
        store = Store(self.root / "staging")
        rows = {
            row["id"]: (row["item"], row["level"], row["reason"])
            for name in staging.parts(store)
            for row in staging.read_kind(store, name, "reject").to_pylist()
        }
        return stated, sorted(rows.values())


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def test_an_item_whose_clips_are_another_items_is_a_duplicate_and_one_that_is_not_done_is_nothing_yet(job):
    job.version(
        unit("a", children=["clip"]),
        unit("a", "clip"),
        unit("copy", children=["clip"]),
        unit("copy", "clip"),  # the same id: counts once, for the first by uri
        unit("cut off", children=["clip of it"]),  # the job ended before it
    )
    stated, rejects = job.end()
    assert rejects == [("copy", "item", "duplicate")]
    assert stated.inputs == {"inputs": 2, "written": 1, "rejected": 1}
    assert ["a" in stated.settled, "copy" in stated.settled, "cut off" in stated.settled] == [True, True, False]


def test_an_item_that_waits_for_words_is_left_for_a_later_run(job):
    wait = Reject(Reason.BUDGET, "language.budget is spent", level="clip")
    job.version(unit("slow", children=["slow-0"]), unit("slow", "slow-0", lost=wait))
    stated, rejects = job.end()
    assert ("slow", "item", "budget") in rejects
    assert stated.inputs == {"inputs": 1, "written": 0, "rejected": 1}
    assert "slow-0" in stated.later
    assert (len(stated.later), "budget is spent" in stated.why_later) == (1, True)


def test_an_item_none_of_whose_clips_was_kept_is_rejected_for_the_most_frequent_reason(job):
    lost = [shaky("0"), Reject(Reason.NO_HANDS, "none", level="clip"), shaky("2")]
    job.version(unit("i", children="012"), *(unit("i", n, lost=why) for n, why in zip("012", lost)))
    stated, rejects = job.end()
    assert rejects == [
        ("i", "clip", "jitter"),
        ("i", "clip", "jitter"),
        ("i", "clip", "no_hands"),
        ("i", "item", "jitter"),
    ]
    assert stated.inputs == {"inputs": 1, "written": 0, "rejected": 1}


def test_inputs_are_those_of_all_content_versions_and_an_item_of_two_is_one(job):
    gone = Reject(Reason.NO_HANDS, "no hand anywhere", level="item")
    job.version(unit("old"), unit("both"), unit("better", lost=gone), unit("never", lost=gone))
    job.version(unit("new"), unit("both", "both again", lost=shaky("x")), unit("better"), unit("never", lost=gone))
    stated, rejects = job.end()
    assert stated.inputs == {"inputs": 5, "written": 4, "rejected": 1}
    # "better" was written by the second version: no loss; "never" is the same loss in both; the clip of "both" is one
    assert rejects == [("both", "clip", "jitter"), ("never", "item", "no_hands")]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_how_many_rows_are_judged_at_once_does_not_show(job, at_once):
    for _ in range(2):
        parcels = []
        for n in range(12):
            clips = [f"i{n}-{k}" for k in range(3)]
            parcels.append(unit(f"i{n}", children=clips))
            parcels += [unit(f"i{n}", c, lost=shaky("it") if n % 3 else None) for c in clips]
        job.version(*parcels)
    stated, rejects = job.end(rows_at_once=at_once)
    assert stated.inputs == {"inputs": 12, "written": 4, "rejected": 8}
    assert len(rejects) == 8 * 4  # three equal losses count apart, those of the other version are the same ones
    assert len(stated.settled) == 12

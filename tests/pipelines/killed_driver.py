"""The human-video job that ends itself by SIGKILL at a named moment: ``killed_driver.py MOMENT ARGUMENTS...``"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path


def die(*args: object, **kwargs: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after_the_split() -> None:
    """All clips of the first recording are known, none has gone further."""
    from unihand_data.jobs.human_stages import ReconstructHands

    ReconstructHands.__call__ = die


def during_the_hands() -> None:
    """Within the second clip; the first has its part (``units_per_part`` is 1)."""
    from unihand_data.jobs.human_stages import ReconstructHands

    calls, real = [], ReconstructHands.__call__

    def call(self, unit):
        calls.append(unit)
        return die() if len(calls) == 2 else real(self, unit)

    ReconstructHands.__call__ = call


def between_part_and_ledger() -> None:
    """The second staging part is written and the ledger does not know it."""
    from unihand_data.runner.ledger import Ledger

    calls, real = [], Ledger.write_part

    def write(self, part, parcels):
        calls.append(part)
        return die() if len(calls) == 2 else real(self, part, parcels)

    Ledger.write_part = write


def between_staging_and_commit() -> None:
    """All clips are staged, nothing is committed."""
    from unihand_data.shards import writer

    writer.commit = die


def inside_the_commit() -> None:
    """The media are in their table, the rows that refer to them are not."""
    from unihand_data.shards import writer

    writer._step = lambda name: die() if name == "media" else None


def before_the_report() -> None:
    """All is committed, the last step is missing."""
    from unihand_data.report import build

    build.write_report = die


MOMENTS = [
    after_the_split,
    during_the_hands,
    between_part_and_ledger,
    between_staging_and_commit,
    inside_the_commit,
    before_the_report,
]

if __name__ == "__main__":
    globals()[sys.argv[1]]()
    page = Path(__file__).parents[2] / "pipelines" / "human_video.py"
    sys.argv = [str(page), *sys.argv[2:]]
    runpy.run_path(str(page), run_name="__main__")

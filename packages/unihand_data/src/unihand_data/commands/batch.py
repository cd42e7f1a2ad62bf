"""``unihand batch``: send, look after and fetch the questions that a job left for a batch."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import tyro

from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.batches import Step, run_step
from unihand_data.runner import paths


def batch(
    directory: Annotated[str, tyro.conf.Positional], step: Annotated[Step, tyro.conf.Positional], *, work: str = ""
) -> int:
    """One step of a job's language batches; run the job again after the last. Each may be killed and repeated.

    Args:
        directory: the shard directory of the job.
        step: submit the questions, poll the vendor, or collect the answers.
        work: the job's --work, where it had one.
    """
    output = paths.job_path(directory, "directory")
    arguments = JobArguments("", output, work=paths.job_path(work, "--work") if work else None)
    sys.stdout.write(json.dumps(run_step(step, arguments)) + "\n")
    return 0

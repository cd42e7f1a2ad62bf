"""How a job runs. None of this changes what is written, so every field is a runtime field."""

from __future__ import annotations

from typing import Literal

from unihand_data.config import Settings, runtime_field


class StageSettings(Settings):
    """Overrides of one stage's :class:`~unihand_data.runner.stage.StageSpec`; None keeps the stage's own value."""

    num_cpus: float | None = runtime_field(None, ge=0)
    num_gpus: float | None = runtime_field(None, ge=0)
    memory_mb: int | None = runtime_field(None, ge=0)
    workers: int | None = runtime_field(None, ge=1)
    attempts: int | None = runtime_field(None, ge=1)
    timeout_s: float | None = runtime_field(None, gt=0)  # per unit and attempt; the worker is ended and replaced


class RunnerSettings(Settings):
    """Settings of :func:`unihand_data.runner.job.run_job`.

    Attributes:
        engine: ``ray`` (default) or ``local`` (a plain loop in this process; also the benchmark's peer).
        stages: overrides by stage name; an unknown name is an error when the job starts.
        units_per_part: units that share a staging part. A kill loses at most the work of parts not yet written, so
            small is safe and large is few files; 32 suits clips on one machine, 256 a cluster.
        units_per_task: units a task takes after the split. One suits clips (seconds of work each); for rows that cost
            milliseconds take some dozens, since a task of Ray costs a few milliseconds itself.
        wave_units: input items listed, looked up in the ledger and handed to Ray at a time; bounds the driver's memory.
        kill_attempts: deaths of a worker without a fault trace (SIGKILL, out of memory) one unit may cause or witness
            before it becomes a reject ``crashed``. Deaths with a trace (a segfault) count towards the stage's attempts.
        max_reject_share: rejected and failed over all units this run finished (filtered ones are verdicts, not
            failures, and do not count). Above it the job ends with exit code 3; staging and ledger are kept.
        min_units_for_share: no judgement before this many units are finished.
        new_version: accept an output directory that holds the ledger of other content settings.
        journal_dir: where attempts are noted; None is inside the output, or a local temporary folder for object stores.
        num_cpus: CPUs a Ray that this job starts itself may use; None is all of them.
        elastic: the cluster grows on demand, so its present size is no limit: reservations are not fitted to it.
        object_store_mb: its object store. Rows are small (no frames), so a few hundred MB do.
    """

    engine: Literal["ray", "local"] = runtime_field("ray")
    stages: dict[str, StageSettings] = runtime_field({})
    units_per_part: int = runtime_field(32, ge=1)
    units_per_task: int = runtime_field(1, ge=1)
    wave_units: int = runtime_field(5000, ge=1)
    kill_attempts: int = runtime_field(5, ge=1)
    max_reject_share: float | None = runtime_field(0.5, ge=0, le=1)
    min_units_for_share: int = runtime_field(20, ge=1)
    new_version: bool = runtime_field(False)
    journal_dir: str | None = runtime_field(None)
    num_cpus: int | None = runtime_field(None, ge=1)
    elastic: bool = runtime_field(False)
    object_store_mb: int = runtime_field(300, ge=80)
    progress: Literal["auto", "bar", "plain", "off"] = runtime_field("auto")
    metrics_port: int | None = runtime_field(None, ge=0, le=65535)  # local engine only; Ray exports its own

"""Getting a Ray to run on, the same way for ``python pipelines/x.py`` and ``ray job submit -- python pipelines/x.py``.

* ``RAY_ADDRESS`` set (Ray sets it for a submitted job): connect to that cluster.
* else: start a Ray of our own on this machine, with an object store for small rows, for the length of the job.

Authentication. Ray 2.60 reads ``RAY_AUTH_MODE`` (``token`` | ``disabled``); a client and its cluster must agree. Left
unset, ``ray start`` and ``ray job submit`` use a token when one lies in ``~/.ray/auth_token``, and a local ``ray.init``
*creates* that file, which then changes how later commands behave. So a Ray of our own uses token mode with a random
token in the environment of this process and its workers, writes no file, and leaves clusters of the user alone.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unihand_data.runner import paths
from unihand_data.runner.plan import Node
from unihand_data.runner.settings import RunnerSettings

log = logging.getLogger(__name__)

#: Never shipped with ``--working-dir`` (Ray refuses more than 512 MiB).
EXCLUDES = (".venv*", ".git", "**/__pycache__", "*.lance", "*.mp4", "*.tar", "demo_out*", "_job", ".pytest_cache")

#: What the numeric libraries and OpenCV take their number of threads from when they are loaded. Each would otherwise
#: start as many threads as the machine has cores in every worker.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

#: Of a Ray of our own. Ray ends workers that idle for a second while there are more of them than CPUs: the one that
#: writes parts would start anew for every part.
_SYSTEM = {"idle_worker_killing_time_threshold_ms": 600_000}


def runtime_env() -> dict[str, Any]:
    """Runtime environment for ``ray job submit --runtime-env-json``: what not to ship, and quiet libraries."""
    return {"excludes": list(EXCLUDES), "env_vars": worker_env()}


def worker_env() -> dict[str, str]:
    """Environment of the workers: one thread per library (a task has one CPU), no fork in Lance's presence."""
    quiet = dict.fromkeys(THREADS, "1") | {"GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return {name: os.environ.get(name, value) for name, value in quiet.items()}


@contextmanager
def connected(settings: RunnerSettings) -> Iterator[bool]:
    """Be connected to Ray inside the block; yields whether this Ray is our own (then it ends with the block).

    A Ray that the caller initialised already is used and left running.
    """
    spawn_only()
    import ray

    if ray.is_initialized():
        yield False
    elif os.environ.get("RAY_ADDRESS"):
        submitted = paths.in_ray_job()  # then the runtime env came with the submission, and a second one would clash
        ray.init(logging_level=logging.WARNING, runtime_env=None if submitted else {"env_vars": worker_env()})
        try:
            yield False
        finally:
            ray.shutdown()
    else:
        with _private_token():
            ray.init(
                address="local",
                num_cpus=settings.num_cpus,
                object_store_memory=settings.object_store_mb << 20,
                include_dashboard=False,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": worker_env()},
                _system_config=_SYSTEM,
            )
            try:
                yield True
            finally:
                ray.shutdown()


def spawn_only() -> None:
    """Make ``spawn`` this process's start method: Lance and Ray both hold threads and locks that a fork would copy."""
    import multiprocessing

    if multiprocessing.get_start_method(allow_none=True) is None:
        multiprocessing.set_start_method("spawn")
    elif multiprocessing.get_start_method() == "fork":
        log.info("multiprocessing forks in this process; Lance is not fork-safe, use the spawn start method")


@contextmanager
def _private_token() -> Iterator[None]:
    """Token mode with a token of this process, unless the user set a mode."""
    if "RAY_AUTH_MODE" in os.environ:
        yield
        return
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    _reread_auth()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _reread_auth()


def _reread_auth() -> None:
    """Ray reads the environment once, when it is imported; this is how Ray itself refreshes it."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def nodes() -> list[Node]:
    """The machines of the connected cluster that are alive."""
    import ray

    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(r.get("CPU", 0.0), r.get("GPU", 0.0), r.get("memory", 0.0) / (1 << 20)) for r in found]

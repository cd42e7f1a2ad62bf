"""DeepSpeed around the model: process group, ZeRO stage, precision, and full tensors out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from beingh05_model.network.model import BeingH
from beingh05_model.training.ema import whole
from beingh05_model.training.optimiser import adamw
from beingh05_model.training.settings import TrainSettings

#: what a launcher tells a process about its group
GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def process_group() -> Iterator[None]:
    """Join the launcher's processes (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``), or be the only one.

    The group is destroyed at the end: without that, ZeRO 3 can abort a process after its work is done. What was set
    here goes from the environment again, or a process started later would look for this group.
    """
    before = {name: os.environ.get(name) for name in GROUP}
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name, value in zip(GROUP, ("0", "0", "1", "127.0.0.1"), strict=False):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", str(_free_port()) if os.environ["WORLD_SIZE"] == "1" else "29500")
    import deepspeed

    # between processes on one CPU DeepSpeed would compile collectives of its own (a minute or more of C++, a compiler
    # needed, every process waiting for the one that builds); gloo has them
    deepspeed.ops.__compatible_ops__.pop("deepspeed_shm_comm", None)
    deepspeed.init_distributed("nccl" if torch.cuda.is_available() else "gloo", verbose=False)
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        for name, was in before.items():
            if was is None:
                os.environ.pop(name, None)


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def deepspeed_config(settings: TrainSettings, accumulate: int) -> dict[str, Any]:
    """DeepSpeed's configuration of a run; one row is one micro-batch."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulate,
        "gradient_clipping": settings.optimiser.clip,
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_optimization": {"stage": settings.stage, "overlap_comm": False, "contiguous_gradients": True},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def start_engine(settings: TrainSettings, model: BeingH, accumulate: int) -> Any:
    """DeepSpeed's engine of a model and its AdamW."""
    import logging

    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=adamw(model, settings.optimiser), config=deepspeed_config(settings, accumulate)
    )
    return engine


@torch.no_grad()
def full_tensors(engine: Any) -> dict[str, Tensor]:
    """Every parameter and buffer whole, on rank 0; other ranks take part and get an empty dict."""
    out = {}
    for name, parameter in engine.module.named_parameters():
        with whole(parameter):
            if dist.get_rank() == 0:
                out[name] = parameter.detach().cpu().clone()
    if dist.get_rank() == 0:
        for name, value in engine.module.state_dict().items():
            if name.endswith("router.bias"):
                out[name] = value.detach().cpu().clone()
    return out

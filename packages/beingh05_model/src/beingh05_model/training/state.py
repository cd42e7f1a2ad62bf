"""What a run resumes from, independent of how many ranks wrote it: every tensor whole, under its parameter's name.

DeepSpeed's own files hold flat slices that fit one number of ranks and one ZeRO stage. Here each rank gathers one
parameter after the other and keeps those that fall to it, so a state costs no rank more than its share, and any number
of ranks at any stage reads it back.

state.json                   step, places of the streams, updates that Adam has made
RANK-of-WORLD.safetensors    ``master/NAME`` (float32), ``exp_avg/NAME``, ``exp_avg_sq/NAME`` of what learns,
                             ``still/NAME`` of what does not, ``buffer/NAME``, ``ema/NAME``
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch import distributed as dist

from beingh05_model.training.checkpoint import write_text
from beingh05_model.training.ema import Ema, whole

MOMENTS = ("exp_avg", "exp_avg_sq")
STATE = "state.json"


class StateError(ValueError):
    """A state that cannot be taken; the message names the folder, the tensor and the mend."""


# ---- DeepSpeed's optimisers: one view of all stages ---------------------------------------------------------------


def _unsplit(engine: Any) -> dict[int, Tensor]:
    """ZeRO 0 keeps parameters whole: the float32 tensor that Adam moves, by ``id`` of the parameter."""
    wrapped = engine.optimizer
    if not hasattr(wrapped, "fp16_groups"):
        return {id(p): p for group in wrapped.param_groups for p in group["params"]}
    pairs = zip(wrapped.fp16_groups, wrapped.fp32_groups, strict=True)
    return {id(p): master for low, high in pairs for p, master in zip(low, high, strict=True)}


def _adam(engine: Any) -> torch.optim.Optimizer:
    found: torch.optim.Optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    return found


def _moved(engine: Any) -> list[Tensor]:
    """The tensors that Adam moves on this rank; flat slices at ZeRO 1 to 3."""
    wrapped = engine.optimizer
    if hasattr(wrapped, "fp32_partitioned_groups_flat"):  # 3
        return list(wrapped.fp32_partitioned_groups_flat)
    for flat in ("single_partition_of_fp32_groups", "fp32_groups_flat_partition"):  # 1 and 2; 1 in bf16
        if hasattr(wrapped, flat):
            return list(getattr(wrapped, flat))
    return list(_unsplit(engine).values())


def _get(
    unsplit: dict[int, Tensor], adam: torch.optim.Optimizer, parameter: nn.Parameter, moment: str | None
) -> Tensor:
    """Float32 master or moment, whole. Every rank must ask."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if id(parameter) in unsplit:
        own = unsplit[id(parameter)]
        return own if moment is None else adam.state[own][moment]
    if moment is None:
        return safe_get_full_fp32_param(parameter)
    return safe_get_full_optimizer_state(parameter, moment)


def _set(
    unsplit: dict[int, Tensor],
    adam: torch.optim.Optimizer,
    parameter: nn.Parameter,
    value: Tensor,
    moment: str | None,
) -> None:
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    if id(parameter) in unsplit:
        own = unsplit[id(parameter)]
        (own.data if moment is None else adam.state[own][moment]).copy_(value)
    elif moment is None:
        safe_set_full_fp32_param(parameter, value)
    else:
        safe_set_full_optimizer_state(parameter, value, moment)


def _wake(engine: Any, updates: float) -> None:
    """Give Adam the moments that it would make at its first step, so that they can be filled."""
    adam = _adam(engine)
    for tensor in _moved(engine):
        adam.state[tensor] = {
            "step": torch.tensor(updates),
            **{moment: torch.zeros_like(tensor, memory_format=torch.preserve_format) for moment in MOMENTS},
        }
    _link(engine)


def _link(engine: Any) -> None:
    """ZeRO 1 and 2 tie parameters to their slices of the moments after the step of the first parameter group, when the
    others have none yet (DeepSpeed 0.19); so it is done again before the moments are read or written."""
    wrapped = engine.optimizer
    if hasattr(wrapped, "_lazy_init_hp_params_optimizer_state"):
        wrapped._hp_optimizer_states_linked = False
        wrapped._lazy_init_hp_params_optimizer_state()


# ---- write and read -----------------------------------------------------------------------------------------------


@torch.no_grad()
def save(folder: Path, engine: Any, ema: Ema | None, told: dict[str, Any]) -> None:
    """Write the state of all ranks; ``told`` (JSON) is written last, so a folder with it is whole.

    Every rank must call; a folder of an earlier try is replaced.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    dist.barrier()
    _link(engine)
    at_zero = engine.zero_optimization_stage() == 0
    unsplit, adam = _unsplit(engine) if at_zero else {}, _adam(engine)
    mine: dict[str, Tensor] = {}
    for number, (name, parameter) in enumerate(engine.module.named_parameters()):
        kept = number % world == rank
        if not parameter.requires_grad:
            with whole(parameter):
                if kept:
                    mine[f"still/{name}"] = parameter.detach().cpu().clone()
            continue
        for kind in (None, *MOMENTS):
            value = _get(unsplit, adam, parameter, kind)
            if kept:
                mine[f"{kind or 'master'}/{name}"] = value.detach().cpu().clone().contiguous()
    if rank == 0:
        mine |= {f"buffer/{n}": b.detach().cpu().clone() for n, b in _buffers(engine.module).items()}
    if ema is not None:
        mine |= {f"ema/{name}": value for name, value in ema.average.items()}
    save_file(mine, folder / f"{rank:05d}-of-{world:05d}.safetensors")
    dist.barrier()
    if rank == 0:
        updates = float(adam.state[_moved(engine)[0]]["step"])
        write_text(folder / STATE, json.dumps({**told, "updates": updates, "ranks": world}, indent=1) + "\n")


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that are part of a checkpoint."""
    parameters = dict(model.named_parameters())
    return {name: value for name, value in model.state_dict().items() if name not in parameters}


class State:
    """A written state; tensors are read one by one."""

    def __init__(self, folder: Path) -> None:
        path = folder / STATE
        if not path.is_file():
            raise StateError(f"{path}: not found; no run can be resumed from this folder")
        self.folder, self.told = folder, json.loads(path.read_text())
        files = sorted(folder.glob("*-of-*.safetensors"))
        if len(files) != self.told["ranks"]:
            raise StateError(f"{folder}: {len(files)} files of {self.told['ranks']} ranks")
        self._place: dict[str, Any] = {}
        for file in files:
            handle = safe_open(file, framework="pt")
            self._place |= dict.fromkeys(handle.keys(), handle)

    def __contains__(self, key: str) -> bool:
        return key in self._place

    def tensor(self, key: str) -> Tensor:
        found: Tensor = self._place[key].get_tensor(key)
        return found

    @torch.no_grad()
    def load_weights(self, model: nn.Module) -> None:
        """Put weights and buffers into a model that no engine holds yet, which takes its own copies from them.

        Raises:
            StateError: the state is of another model, or other parameters learnt.
        """
        stored = {key.partition("/")[2] for key in self._place if key.startswith(("master/", "still/"))}
        names = dict(model.named_parameters())
        for problem, found in (("has no", names.keys() - stored), ("has an unknown", stored - names.keys())):
            if found:
                raise StateError(f"{self.folder}: {problem} {min(found)}; resume with the settings of the run")
        for name, parameter in names.items():
            kind = "master" if parameter.requires_grad else "still"
            if f"{kind}/{name}" not in self:
                was = "did not learn" if parameter.requires_grad else "learnt"
                raise StateError(f"{self.folder}: {name} {was}; resume with the `freeze` and `lora` of the run")
            parameter.copy_(self.tensor(f"{kind}/{name}"))
        for name, buffer in _buffers(model).items():
            buffer.copy_(self.tensor(f"buffer/{name}"))

    @torch.no_grad()
    def load_optimiser(self, engine: Any) -> None:
        """Put float32 weights and Adam's moments into the engine."""
        _wake(engine, self.told["updates"])
        unsplit = _unsplit(engine) if engine.zero_optimization_stage() == 0 else {}
        adam = _adam(engine)
        for name, parameter in engine.module.named_parameters():
            if parameter.requires_grad:
                for kind in (None, *MOMENTS):
                    value = self.tensor(f"{kind or 'master'}/{name}").to(engine.device)
                    _set(unsplit, adam, parameter, value, kind)

    def load_average(self, ema: Ema) -> None:
        """Put this rank's share of the averages back.

        Raises:
            StateError: the run kept no average, or not of everything.
        """
        missing = [name for name in ema.average if f"ema/{name}" not in self]
        if missing:
            raise StateError(
                f"{self.folder}: holds no average of {missing[0]}; resume with the optimiser.ema of the run"
            )
        ema.restore({name: self.tensor(f"ema/{name}") for name in ema.average})

"""Where a policy's model runs, in which numbers, and how its chunks are computed."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any, get_args

import torch

from beingh05_model.inference.compiled import StaticDenoiser
from beingh05_model.inference.denoise import Denoiser
from beingh05_model.inference.policy import Policy
from beingh05_model.inference.prepared import Mode
from unihand_data.config import SettingsError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Placement:
    """Settings of a policy that is read from a checkpoint; float32 on the CPU if nothing is said.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:N``. dtype: of the weights, a key of :data:`DTYPES`.
        static: the mode of a :class:`StaticDenoiser`; None takes the plain :class:`Denoiser`.
    """

    device: str = "cpu"
    dtype: str = "float32"
    static: Mode | None = None

    @classmethod
    def choose(cls, device: str | None = None, dtype: str | None = None, static: str | None = None) -> Placement:
        """Of what a command was given: None takes a GPU where there is one, and bfloat16 on it, float32 elsewhere.

        Raises:
            SettingsError: a device that is not there, another dtype or mode, or a mode that the device cannot run.
        """
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        there = ["cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))]
        device = device or ("cuda" if count else "cpu")
        if device not in there:
            raise SettingsError(f"--device {device}: not found by torch {torch.__version__}; there is {_or(there)}")
        dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if dtype not in DTYPES:
            raise SettingsError(f"--dtype {dtype}: not known; write {_or(list(DTYPES))}")
        modes = {str(mode): mode for mode in get_args(Mode)}
        if static is not None and static not in modes:
            raise SettingsError(f"--static {static}: not known; write {_or(list(modes))}")
        if static is not None and "graphed" in static and device == "cpu":
            raise SettingsError(f"--static {static}: CUDA graphs need a GPU; write {_or(['eager', 'compiled'])}")
        return cls(device, dtype, None if static is None else modes[static])

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def denoiser(self) -> str:
        """``plain``, or ``static`` and its mode."""
        return "plain" if self.static is None else f"static {self.static}"

    def put(self, policy: Policy) -> None:
        """Move a policy's model, whose weights have their dtype already, and give it its denoiser."""
        policy.model.to(self.device)
        model, mode = policy.model, self.static
        policy.denoiser = Denoiser(model) if mode is None else StaticDenoiser(model, mode=mode)

    def about(self) -> dict[str, Any]:
        """What a report says."""
        name = platform.machine() if self.device == "cpu" else torch.cuda.get_device_name(self.device)
        return {"device": self.device, "device_name": name, "dtype": self.dtype, "denoiser": self.denoiser}


#: what tests and small studies run on
CPU = Placement()


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

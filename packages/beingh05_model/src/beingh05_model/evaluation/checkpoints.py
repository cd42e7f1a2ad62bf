"""Any checkpoint as a policy: our own directory, or a released one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from beingh05_model.evaluation.placement import CPU, Placement
from beingh05_model.inference.policy import Policy
from beingh05_model.interop import released
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.chunks import ChunkSettings
from beingh05_model.sequence.serialise import SYSTEM
from beingh05_model.training import checkpoint

#: system prompts by the ``template`` of a released config.json
RELEASED_SYSTEM = {
    "being_h0": "You are Being-H0, a helpful and harmless AI assistant developed by BeingBeyond.",
    "internvl2_5": "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"
    "多模态大语言模型。",
    "internlm2-chat": "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, "
    "是一个有用无害的人工智能助手。",
}
#: the release's "long" question, used by all its scripts
RELEASED_QUESTION = (
    "According to the instruction '{instruction}', what's the micro-step actions in the next {steps} steps?"
)


@dataclass
class Loaded:
    """A policy and how its model was trained to see.

    Attributes:
        chunk: how its chunks are cut. views: pictures of a time it is given, at most.
        about: what a report says of it.
    """

    policy: Policy
    chunk: ChunkSettings
    views: int
    about: dict[str, Any]


def load(directory: str | Path, *, seed: int = 0, blind: bool = False, placement: Placement = CPU) -> Loaded:
    """Read a checkpoint of either kind.

    Args:
        blind: give it no picture, however it was trained. A model that was trained blind gets none in any case.
        placement: device, dtype and denoiser.

    Raises:
        CheckpointError: neither of our format nor of the released layout; a released ``template`` without a known
            system prompt.
        ValueError: layers that the denoiser cannot take.
    """
    directory = Path(directory)
    config = directory / "config.json"
    own = config.is_file() and json.loads(config.read_text()).get("format") == checkpoint.FORMAT
    loaded = (_own if own else _released)(directory, seed, blind, placement.torch_dtype)
    placement.put(loaded.policy)
    return loaded


def _own(directory: Path, seed: int, blind: bool, dtype: torch.dtype) -> Loaded:
    read = checkpoint.load(directory, dtype)
    data = read.about.get("settings", {}).get("data", {})
    chunk = ChunkSettings.model_validate(data.get("chunk", {"steps": read.model.config.flow.chunk}))
    blind = blind or bool(data.get("blind", False))
    system, question = read.about.get("system") or SYSTEM, read.about.get("question")
    policy = Policy(read.model, read.tokenizer, system=system, seed=seed, blind=blind, question=question)
    about = {
        "path": str(directory),
        "kind": "own",
        "step": read.about.get("step"),
        "recipe": read.about.get("recipe"),
        "blind": blind,
    }
    return Loaded(policy, chunk, int(data.get("views", 3)), about)


def _released(directory: Path, seed: int, blind: bool, dtype: torch.dtype) -> Loaded:
    model, raw = released.load(directory, dtype)
    template = raw.get("template")
    system = raw.get("system_message") or RELEASED_SYSTEM.get(str(template))
    if system is None:
        raise released.CheckpointError(
            f"{directory}/config.json: template is {template!r}; its system prompt is not known (known: "
            f"{', '.join(RELEASED_SYSTEM)}): write it there as system_message"
        )
    policy = Policy(
        model, tk.load(directory), system=system, seed=seed, blind=blind, question=RELEASED_QUESTION
    )  # fmt: skip
    about = {"path": str(directory), "kind": "released", "template": template, "blind": blind}
    return Loaded(policy, ChunkSettings(steps=model.config.flow.chunk), 3, about)

"""Training of the tokenizers: plain torch on one device, exact to resume, figures on hands that were not trained on."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beingh05_model.motion_tokens import hands as hs
from beingh05_model.motion_tokens import tokenizer as tk
from beingh05_model.motion_tokens.hands import Hand, HandStream, Place
from beingh05_model.motion_tokens.measure import measure
from beingh05_model.motion_tokens.settings import PARTS, TokenTrainSettings
from unihand_data.recipe.reader import RecipeReader


def train(settings: TokenTrainSettings, *, resume: bool = False, stop_after: int | None = None) -> dict[str, float]:
    """Train to ``settings.steps`` and write the tokenizer; returns its figures on held-out hands.

    Args:
        resume: Go on from the state in ``settings.output``: the same hands, the same codes as without the break.
        stop_after: Stop at this step as if the job's time had ended, without a state.

    Raises:
        ValueError: no human or no held-out rows, an output that is in use, or nothing to resume.
    """
    out = Path(settings.output)
    if not resume and ((out / "state.pt").exists() or (out / "config.json").exists()):
        raise ValueError(f"{out}: holds a tokenizer; resume it, or choose another output")
    torch.manual_seed(settings.seed)
    device = "cuda" if settings.device == "auto" and torch.cuda.is_available() else settings.device
    job = _Job(settings, torch.device("cpu" if device == "auto" else device))
    with RecipeReader(settings.recipe) as reader:
        held = hs.held_out(reader, settings)
        left_out = {episode for one in held for episode, *_ in one.episodes}
        if resume:
            job.restore(out / "state.pt", reader.hash)
        stream = HandStream(reader, settings, left_out, job.place)
        while job.step < settings.steps:
            figures = job.advance(stream.take(settings.batch))
            if job.step % settings.log_every == 0:
                print(f"step {job.step}: " + " ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)
            if stop_after is not None and job.step >= stop_after:
                return figures
            if job.step % settings.save_every == 0 or job.step == settings.steps:
                job.save(out / "state.pt", reader.hash)
        measured = [h for window in hs.windows(reader, held, settings) for h in hs.hands(window, settings)]
        if not measured:
            raise ValueError(f"{settings.recipe}: no hand of the held-out rows is known for a whole chunk")
        found = measure(job.tokenizer.eval(), measured)
        about = {
            "recipe": reader.hash, "steps": job.step, "settings": settings.model_dump(mode="json"), "figures": found,
        }  # fmt: skip
        tk.save(out, job.tokenizer, about)
    return found


class _Job:
    """Everything that a step changes."""

    def __init__(self, settings: TokenTrainSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.tokenizer = tk.MotionTokenizer(settings.tokenizer).to(device)
        self.optimiser = torch.optim.AdamW(self.tokenizer.parameters(), settings.rate, weight_decay=settings.decay)
        self.random = torch.Generator().manual_seed(settings.seed)
        self.place, self.step = Place(), 0

    def advance(self, batch: list[Hand]) -> dict[str, float]:
        """One optimiser step on a batch of hands; losses, and hands a second."""
        began, figures = time.perf_counter(), {}
        rate = self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.tokenizer.train()
        total = torch.zeros((), device=self.device)
        for part in PARTS:
            known = [values for hand in batch if (values := hand.parts[part]) is not None]
            if not known:
                continue
            x = torch.from_numpy(np.stack(known)).to(self.device)
            losses = self.tokenizer.coder(part).losses(x, self.random)
            s = self.settings.tokenizer
            total = total + losses.values + s.path * losses.path + s.commitment * losses.commitment
            figures[part] = losses.values
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.tokenizer.parameters(), self.settings.clip)
        self.optimiser.step()
        self.step += 1
        numbers: dict[str, Tensor] = {"loss": total, **figures}
        told = {name: float(value.detach()) for name, value in numbers.items()}
        return told | {"rate": rate, "hands/s": len(batch) / (time.perf_counter() - began)}

    def _rate(self) -> float:
        """Warm-up, then half a cosine to a hundredth."""
        s = self.settings
        if self.step < s.warmup:
            return s.rate * (self.step + 1) / s.warmup
        done = (self.step - s.warmup) / max(1, s.steps - s.warmup)
        return s.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def save(self, path: Path, recipe: str) -> None:
        """Under a temporary name first."""
        state: dict[str, Any] = {
            "settings": _said(self.settings), "recipe": recipe, "step": self.step, "place": asdict(self.place),
            "tokenizer": self.tokenizer.state_dict(), "optimiser": self.optimiser.state_dict(),
            "random": self.random.get_state(),
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        torch.save(state, part)
        os.replace(part, path)

    def restore(self, path: Path, recipe: str) -> None:
        if not path.is_file():
            raise ValueError(f"{path}: nothing to resume; no state was saved there")
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != recipe:
            raise ValueError(
                f"{path} belongs to recipe {state['recipe'][:12]}, {self.settings.recipe} is {recipe[:12]}"
            )
        if state["settings"] != _said(self.settings):
            raise ValueError(f"{path} was made with other settings; resume with those, or choose another output")
        self.tokenizer.load_state_dict(state["tokenizer"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.random.set_state(state["random"].cpu())
        self.place, self.step = Place(**state["place"]), int(state["step"])


def _said(settings: TokenTrainSettings) -> str:
    """Settings that a resumed run must share: all but where things lie and how often it speaks."""
    plain = settings.model_dump(mode="json", exclude={"recipe", "output", "device", "log_every", "save_every"})
    return json.dumps(plain, sort_keys=True)

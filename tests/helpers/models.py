"""Small models of the real architecture, and examples of every kind."""

from __future__ import annotations

import numpy as np
import torch

from beingh05_model.network.model import BeingH
from beingh05_model.network.presets import everything, tiny
from beingh05_model.sequence.segments import Action, Example, Motion, State, Text, Vision, context_steps
from unihand_data.space import load_embodiment

EDGE, CHUNK, CODES = 28, 4, 16


def small(**parts):
    """Two layers of both experts on 28-pixel pictures (one token a view)."""
    config = tiny(vocab=64, image_size=EDGE, **parts)
    backbone = config.backbone.model_copy(update={"layers": 2})
    flow = config.flow.model_copy(update={"chunk": CHUNK})
    return config.model_copy(update={"backbone": backbone, "flow": flow})


def full(**parts):
    """Everything that the paper adds."""
    return small(**{**everything(codebook=CODES, motion_tokens=3), **parts})


def build(config, seed=0):
    """A model whose every parameter is random, so that a dropped bias or norm shows."""
    torch.manual_seed(seed)
    model = BeingH(config)
    for parameter in model.parameters():
        if parameter.dim() == 1 or not parameter.any():
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.2)
    return model


def action_slots(embodiment: str) -> np.ndarray:
    slots = np.zeros(200, bool)
    slots[load_embodiment(embodiment).slots("action")] = True
    return slots


def example(
    embodiment="metaworld", seed=0, motion=False, history=0, steps=CHUNK, time=None, instruction=(7, 8, 9), delay=0
):
    """One instance of motion generation: picture, instruction, state, action steps and, if wanted, motion tokens."""
    draw = np.random.default_rng(seed)
    slots = action_slots(embodiment)
    values = (draw.normal(size=(steps, 200)) * slots * 0.02).astype(np.float32)
    t = np.full(steps, draw.uniform(0.1, 0.9) if time is None else time, np.float32)
    t[:delay] = 1.0
    cells = np.repeat(slots[None], steps, 0)
    cells[:delay] = False
    real = np.ones(steps, bool)
    noise = draw.normal(size=(steps, 200)).astype(np.float32)
    picture = torch.from_numpy(draw.normal(size=(3, EDGE, EDGE)).astype(np.float32))
    state = (draw.normal(size=200) * slots).astype(np.float32)
    segments = [
        Text([1, 2]),
        Text([3]), Vision(picture, 1), Text([4]),
        Text(list(instruction), instruction=True),
        Text([5]),
        State(state, slots),
    ]  # fmt: skip
    if history:
        past = (draw.normal(size=(history, 200)) * slots * 0.02).astype(np.float32)
        segments.append(context_steps(past, slots, np.ones(history, bool)))
    segments.append(Action(values, slots, cells, real, True, noise, t))
    if motion:
        masked = np.array([True, False, True])
        segments.append(Motion(draw.integers(0, CODES, 3), masked))
    return Example(segments, name=f"{embodiment}-{seed}", embodiment=embodiment)


def talk(seed=0):
    """A picture, a question and an answer."""
    draw = np.random.default_rng(seed)
    picture = torch.from_numpy(draw.normal(size=(3, EDGE, EDGE)).astype(np.float32))
    answer = [int(i) for i in draw.integers(10, 60, 4)]
    return Example(
        [Text([1, 2]), Text([3]), Vision(picture, 1), Text([4]), Text([20, 21, 5]), Text(answer, answer=True)]
    )


def tiny_release(chunk=4, vocab=40, **fields):
    """A config.json of the documented form, small."""
    llm = {
        "model_type": "qwen3", "vocab_size": vocab, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    return {
        "model_type": "beingh", "use_expert": True, "use_flow_matching": True, "connector_arch": "internvl_connector",
        "llm_config": {**llm, "expert_config": {**llm, "hidden_size": 16, "intermediate_size": 24}},
        "vit_config": {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
                       "patch_size": 14, "image_size": 28, "layer_norm_eps": 1e-6},
        "force_image_size": 28, "action_chunk_length": chunk, "attn_mode": "causal", "num_inference_timesteps": 4,
        "use_mpg": True, "mpg_lambda": 0.1, "mpg_gate_temperature": 1.0, "mpg_num_projections": 8,
        "mpg_use_stop_gradient": True, "mpg_refinement_iters": 1, **fields,
    }  # fmt: skip

"""What a training run is made of, from its settings: model, tokenizer, source of samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from beingh05_model.interop import internvl, warm_start
from beingh05_model.motion_tokens import tokenizer as motion_tokens
from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer as tk
from beingh05_model.sequence.serialise import SYSTEM, Serialiser
from beingh05_model.training import checkpoint
from beingh05_model.training.settings import TrainSettings
from beingh05_model.training.source import Source
from unihand_data.language.templates import TEMPLATES
from unihand_data.recipe.reader import RecipeReader
from unihand_data.shards.window import Window
from unihand_data.space import available, load_embodiment

#: samples whose sentences a small tokenizer is learned from
SENTENCES = 512


@dataclass
class Prepared:
    """Everything that :func:`beingh05_model.training.loop.train` is given."""

    model: BeingH
    tokenizer: tk.TextTokenizer
    source: Source
    about: dict[str, Any]


def prepare(settings: TrainSettings) -> Prepared:
    """Build a run.

    The tokenizer is ``settings.tokenizer`` (a directory), else that of ``settings.start``, else a small one learned
    from the question templates and the recipe's sentences, which must fit into the model's vocabulary.
    Where a run follows the released order of a sample, special tokens that InternVL's tokenizer lacks are added to it;
    their embeddings begin as the rows that InternVL's tables have past its tokens, as in the release.

    Raises:
        ValueError: the attention kernel cannot learn on this machine, the tokenizer has more tokens than the model,
            the motion tokenizer is not the model's, or ``start`` is no checkpoint.
    """
    if settings.model.attention == "flex" and not torch.cuda.is_available():
        raise ValueError(
            "model.attention is flex, which learns on a GPU alone and there is none; documents does on a CPU"
        )
    motion = motion_tokens.for_run(settings.motion_tokenizer, settings.model.motion_tokens, settings.data.chunk)
    words = _tokenizer(settings)
    if settings.model.compat.bare_actions:
        words.add(tk.STATE)
    if len(words) > settings.model.backbone.vocab:
        raise ValueError(
            f"the tokenizer has {len(words)} tokens and model.backbone.vocab is {settings.model.backbone.vocab}"
        )
    torch.manual_seed(settings.seed)
    model = _start(settings)
    serialiser = Serialiser(
        words,
        settings.model.flow,
        settings.model.vision.tokens,
        settings.model.compat,
        None if motion is None else motion.tokenizer.quantise,
        settings.system or SYSTEM,
    )
    source = Source(settings.data, serialiser, settings.model.vision.image_size, settings.seed)
    about = {
        "recipe": source.reader.hash,
        "embodiments": {name: load_embodiment(name).hash for name in available()},
        "system": serialiser.system,
        "motion_tokenizer": None if motion is None else motion.identity,
    }
    return Prepared(model, words, source, about)


def _tokenizer(settings: TrainSettings) -> tk.TextTokenizer:
    place = settings.tokenizer or settings.start
    if place is not None:
        return tk.load(place)
    with RecipeReader(settings.data.recipe) as reader:
        drawn = reader.draw(range(min(SENTENCES, reader.one_pass)))
        spoken = [d.position for d in drawn if d.sample.episode_id]
        sentences = {found.text for _, found in reader.read(spoken, horizon=1, views=()) if isinstance(found, Window)}
    asked = [t.question for t in TEMPLATES.values()]
    roles = [f"{role}\n" for role in ("system", "user", "assistant")]
    return tk.small([*asked, *sentences, *roles, settings.system or SYSTEM], settings.model.backbone.vocab)


def _start(settings: TrainSettings) -> BeingH:
    """A new model, or one that begins from InternVL3.5, a released Being-H checkpoint or one of ours."""
    model = BeingH(settings.model)
    if settings.start is None:
        return model
    folder = Path(settings.start)
    kind = kind_of(folder)
    wanted = {None: kind, "native": "internvl", "pretrained": "pretrained" if kind == "internvl" else kind}
    if wanted[settings.start_kind] != kind:
        raise ValueError(
            f"start: {folder} holds {KINDS[kind]}, and this run begins from "
            f"{'InternVL3.5' if settings.start_kind == 'native' else 'a pre-trained Being-H model'} (start_kind)"
        )
    if kind == "internvl":
        internvl.load_into(model, folder)
    elif kind == "released":
        warm_start.from_released(model, folder, settings.start_drops)
    else:
        loaded = checkpoint.load(folder)
        if loaded.about.get("weights") == checkpoint.INT8:
            raise ValueError(f"start: {folder} has int8 weights, which do not learn; start from what it was made of")
        tensors = dict(loaded.model.state_dict())
        warm_start.adopt(model, tensors, loaded.model.config, str(folder), settings.start_drops)
    return model


KINDS = {"internvl": "InternVL3.5", "released": "a released Being-H checkpoint", "ours": "a checkpoint of this package"}


def kind_of(folder: Path) -> str:
    """What a directory of weights holds, one of :data:`KINDS`; what no ``config.json`` names is InternVL's."""
    path = folder / "config.json"
    if not path.is_file():
        return "internvl"
    stated = json.loads(path.read_text())
    if stated.get("format") == checkpoint.FORMAT:
        return "ours"
    return "released" if "expert_config" in stated.get("llm_config", {}) else "internvl"

"""A small training run as a process, for tests with several ranks and with kills.

RANK=0 WORLD_SIZE=1 ... python training_run.py SETTINGS.json OUT.json [resume] [stop_after]

`data.recipe` of the settings names one of SOURCES.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer
from beingh05_model.sequence.segments import Action, Vision
from beingh05_model.training.engine import process_group
from beingh05_model.training.loop import train
from beingh05_model.training.losses import Diverged
from beingh05_model.training.settings import TrainSettings
from helpers.models import example, talk

#: positions of all kinds that two steps of two rows of 120 tokens take, and none more
ALL_KINDS = 20
BROKEN = 27


class Made:
    """Examples of three kinds by position."""

    def __init__(self) -> None:
        self.asked = 0

    def examples(self, positions):
        return [self.example(p) for p in positions]

    def example(self, position: int):
        self.asked += 1
        kind = position % 3
        if kind == 2:
            return replace(talk(position), name=str(position))
        return example(("metaworld", "human_hands")[kind], seed=position, motion=kind == 1)


class OneRobot(Made):
    """All kinds at first, then one robot alone."""

    def example(self, position: int):
        return example("metaworld", seed=position) if position >= ALL_KINDS else super().example(position)


class Apart(Made):
    """Of two streams one has motion alone and the other conversations, at first without pictures; later all kinds."""

    def example(self, position: int):
        if position >= ALL_KINDS:
            return super().example(position)
        if position % 2 == 0:
            return example(("metaworld", "human_hands")[position // 2 % 2], seed=position, motion=position >= 8)
        said = talk(position)
        words = [s for s in said.segments if not isinstance(s, Vision)]
        return replace(said, segments=words if position < ALL_KINDS // 2 else said.segments, name=str(position))


class Broken(Apart):
    """One target that is not a number, after the first step of one of two streams."""

    def example(self, position: int):
        made = super().example(position)
        if position == BROKEN:
            next(one for one in made.segments if isinstance(one, Action)).values[0] = float("nan")
        return made


SOURCES = {"made": Made, "one-robot": OneRobot, "apart": Apart, "broken": Broken}


def main() -> int:
    runs = [TrainSettings.model_validate(one) for one in json.loads(Path(sys.argv[1]).read_text())]
    resume = "resume" in sys.argv[3:]
    stop = next((int(a) for a in sys.argv[3:] if a.isdigit()), None)
    torch.set_num_threads(1)
    words = tokenizer.small(["a cup"])
    found = []
    with process_group():
        from torch import distributed as dist

        for settings in runs:
            torch.manual_seed(settings.seed)
            model = BeingH(settings.model)
            source = SOURCES[settings.data.recipe]()
            try:
                done = train(settings, model, source, words, {"recipe": "made"}, resume=resume, stop_after=stop)
            except Diverged as error:
                said = [None] * dist.get_world_size()
                dist.all_gather_object(said, str(error))
                found.append({"errors": said})
            else:
                found.append({"step": done.step, "losses": done.losses})
        if dist.get_rank() == 0:
            Path(sys.argv[2]).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

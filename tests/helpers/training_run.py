"""A small training run as a process, for tests with several ranks and with kills.

RANK=0 WORLD_SIZE=1 ... python training_run.py SETTINGS.json OUT.json [resume] [stop_after]
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer
from beingh05_model.training.engine import process_group
from beingh05_model.training.loop import train
from beingh05_model.training.settings import TrainSettings
from helpers.models import example, talk

#: positions of all kinds that two steps of two rows of 120 tokens take, and none more
ALL_KINDS = 20


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

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until

    def example(self, position: int):
        return example("metaworld", seed=position) if position >= self.until else super().example(position)


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
            source = OneRobot(ALL_KINDS) if "only-after-2" in sys.argv[3:] else Made()
            done = train(settings, model, source, words, {"recipe": "made"}, resume=resume, stop_after=stop)
            found.append({"step": done.step, "losses": done.losses})
        if dist.get_rank() == 0:
            Path(sys.argv[2]).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``beingh05``: train, resume, tokens, estimate, eval, export, ablate.

    beingh05 train CONFIG.yaml [--set KEY=VALUE ...]     from the start (or from `start` in the file)
    beingh05 train --preset NAME CONFIG.yaml             the file laid over a preset (training/presets/*.yaml)
    beingh05 resume CONFIG.yaml                          from the newest checkpoint in its output
    beingh05 tokens CONFIG.yaml [--resume]               motion tokenizers from a recipe's human shards
    beingh05 estimate PRESET [--views 3]                 parameters, memory, least time of a chunk per device
    beingh05 estimate TRAIN.yaml | --preset NAME         tokens, samples and GPU-hours of a run as well
    beingh05 eval KIND ...                               open-loop | mwds | libero | robocasa | metaworld
    beingh05 export CHECKPOINT OUT [--int8 | --released] our layout, with int8 weights, or the released layout
    beingh05 ablate STUDY [--plan] [--steps N] ...       freeze | layers | mof | mask: the paper's ablations, tiny

Under a launcher (``torchrun``, ``deepspeed``) every rank runs the same command. Exit codes: 0 done, 2 refused.
"""

from __future__ import annotations

import argparse
import os
import sys

from beingh05_model.commands import ablate, estimate, evaluate, export, tokens, train
from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.shards.errors import ShardError

COMMANDS = (train, tokens, estimate, evaluate, export, ablate)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("beingh05", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parsers = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add(parsers)
    chosen = parser.parse_args(arguments)
    try:
        code = int(chosen.run(chosen))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (`| head`) has seen enough; nothing is left to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"refused: {error}", file=sys.stderr)  # with the path that it names
        return 2
    except (SettingsError, DatasetRefused, ShardError, ValueError) as error:
        print(f"refused: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

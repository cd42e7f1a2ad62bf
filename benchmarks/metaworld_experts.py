"""How often Meta-World's scripted experts succeed under execution noise, per task and range; nothing is rendered.

python benchmarks/metaworld_experts.py [--attempts 20] [--tasks ...]
"""

from __future__ import annotations

import argparse
import sys

from unihand_data.errors import Reject
from unihand_data.record.expert import Scene
from unihand_data.record.settings import Ranges, RecordSettings
from unihand_data.record.tasks import SENTENCES


def successes(scene: Scene, ranges: Ranges, attempts: int) -> int:
    """Of the seeds 0 .. attempts - 1; an unstable simulation is no success."""
    count = 0
    for seed in range(attempts):
        try:
            count += scene.attempt(ranges, seed).succeeded
        except Reject as reject:
            sys.stderr.write(f"{reject.message}\n")
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=20)
    parser.add_argument("--tasks", nargs="+", choices=list(SENTENCES), default=list(SENTENCES))
    given = parser.parse_args()
    for task in given.tasks:
        with Scene.opened(task, RecordSettings()) as scene:
            stock, widened = (successes(scene, r, given.attempts) for r in ("stock", "widened"))
        sys.stdout.write(f"{task:26} stock {stock:3}/{given.attempts}  widened {widened:3}/{given.attempts}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

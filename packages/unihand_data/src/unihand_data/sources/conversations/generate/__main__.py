"""Command line of the generators."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from unihand_data.errors import DatasetRefused
from unihand_data.sources.conversations.generate.catalogue import WRITERS, generate


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a small synthetic corpus in its documented format.")
    parser.add_argument("name", choices=[*WRITERS, "all"])
    parser.add_argument("out", help="folder; with 'all' a sub-folder per corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--defects", action="store_true", help="also rows that must be refused")
    args = parser.parse_args()
    try:
        for name in WRITERS if args.name == "all" else [args.name]:
            folder = f"{args.out}/{name}" if args.name == "all" else args.out
            truth = generate(name, folder, seed=args.seed, rows=args.rows, defects=args.defects)
            sys.stdout.write(f"{folder}: {dict(Counter(t.outcome for t in truth))}\n")
    except DatasetRefused as error:
        sys.stderr.write(f"refused: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

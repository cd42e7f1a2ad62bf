"""``python -m unihand_data.sources.generate NAME OUT [--seed N] [--recordings N] [--frames N] [--family lab|wild]``."""

from __future__ import annotations

import argparse

from unihand_data.sources.generate.catalogue import GENERATORS, generate


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the files are written."""
    parser = argparse.ArgumentParser(description="Write small files in the documented format of a data set.")
    parser.add_argument("name", choices=sorted(GENERATORS))
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recordings", type=int, default=2)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--family", choices=("lab", "wild"), default=None, help="default: both in turn")
    a = parser.parse_args(argv)
    generate(a.name, a.out, a.seed, a.recordings, frames=a.frames, width=a.width, height=a.height, family=a.family)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

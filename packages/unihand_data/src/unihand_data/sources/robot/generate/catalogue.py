"""Generated files of every shipped robot data set, by its name; all are synthetic and say so.

    python -m unihand_data.sources.robot.generate.catalogue OUT [NAME ...]

Each container has a module ``<container>_sets`` with ``generate(name, out, seed, episodes)``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from unihand_data.sources.robot.spec import load_spec, spec_names


def generate(name: str, out: str | Path, seed: int = 0, episodes: int = 2, **more: Any) -> Any:
    """Write ``episodes`` episodes of the data set ``name`` in its documented format into the folder ``out``; returns
    the simulated motions behind them.

    Args:
        more: ``steps`` of an episode, and what the container's own generator takes.

    Raises:
        FileNotFoundError: no such data set. KeyError: its container's module has no plan for it.
    """
    container = load_spec(name).container
    module = importlib.import_module(f"unihand_data.sources.robot.generate.{container}_sets")
    return module.generate(name, Path(out), seed=seed, episodes=episodes, **more)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m unihand_data.sources.robot.generate.catalogue OUT [NAME ...]")
    for _name in sys.argv[2:] or spec_names():
        generate(_name, Path(sys.argv[1]) / _name)
        print(f"{sys.argv[1]}/{_name}")

"""``beingh05 eval KIND``: how good a checkpoint is. A kind is a module of this list with ``add(parsers)``."""

from __future__ import annotations

from typing import Any

from beingh05_model.commands import evaluate_benchmarks, evaluate_metaworld, evaluate_rows

#: each adds its sub-parser (``set_defaults(run=...)``) to ``beingh05 eval``
KINDS: tuple[Any, ...] = (evaluate_rows, evaluate_benchmarks, evaluate_metaworld)


def add(parsers: Any) -> None:
    one = parsers.add_parser("eval", help="open-loop | mwds | libero | robocasa | metaworld: how good a checkpoint is")
    kinds = one.add_subparsers(dest="kind", required=True)
    for kind in KINDS:
        kind.add(kinds)

"""``unihand``: look at, check, export and retry shard directories; recognise robot data; list embodiments.

Exit codes: 0 all is well, 1 problems were found, 2 refused, with one sentence on stderr.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from unihand_data.commands.batch import batch
from unihand_data.commands.embodiments import embodiments
from unihand_data.commands.export import export
from unihand_data.commands.probe import probe
from unihand_data.commands.retry import retry
from unihand_data.commands.show import inspect, validate
from unihand_data.commands.view import view
from unihand_data.errors import DatasetRefused
from unihand_data.runner.environment import fault_of
from unihand_data.shards.errors import ShardError

COMMANDS: dict[str, Any] = {
    "inspect": inspect,
    "validate": validate,
    "view": view,
    "export": export,
    "retry": retry,
    "probe": probe,
    "batch": batch,
    "embodiments": embodiments,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="unihand", description=__doc__, args=list(argv) if argv is not None else None
        )
    except (ShardError, DatasetRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{where}{error.strerror or error}\n")
        return 2
    except Exception as error:
        if (fault := fault_of(error)) is None:
            raise
        sys.stderr.write(f"{fault}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

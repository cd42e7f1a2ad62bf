"""Replay one recorded case of the released code with this implementation.

    python tests/parity/replay.py --weights DIR --case-dir DIR --case NAME

The last line printed is one JSON object: ``case``, ``max_abs_diff``, ``cached_max_abs_diff`` (null for training cases).
The exit code is 1 where a difference is above 1e-6 times the largest reference value (at least 1).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from beingh05_model.interop.replay import replay


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder with the state dict and its config")
    parser.add_argument("--case-dir", type=Path, required=True, help="folder with NAME.json and NAME.safetensors")
    parser.add_argument("--case", required=True, help="NAME")
    arguments = parser.parse_args()
    found = replay(arguments.weights, arguments.case_dir, arguments.case)
    print(f"largest reference value {found.largest_reference:.6g}, tolerance {found.tolerance:.2g}")
    print(
        json.dumps(
            {"case": found.case, "max_abs_diff": found.max_abs_diff, "cached_max_abs_diff": found.cached_max_abs_diff}
        )
    )
    return 0 if max(found.max_abs_diff, found.cached_max_abs_diff or 0.0) <= found.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())

"""Real samples beside the checkout; tests that need one skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("UNIHAND_SAMPLES") or Path(__file__).parents[3] / "shared" / "samples")


def sample(*parts: str) -> Path:
    """A file or folder of the samples; skips the test where it is not there."""
    path = FOLDER.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no sample {'/'.join(parts)}: set UNIHAND_SAMPLES")
    return path

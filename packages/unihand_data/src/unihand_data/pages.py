"""Tables of the documentation that are made from the code: printed, or written between the marks of a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

#: mark before, mark after, what stands between them
Part = tuple[str, str, str]


def filled(page: str, parts: Sequence[Part]) -> str:
    """The page with the present parts between their marks. Raises ``ValueError`` for a page without them."""
    for start, stop, content in parts:
        before, found, rest = page.partition(start)
        _, end, after = rest.partition(stop)
        if not found or not end:
            raise ValueError(f"the page has no marks {start} and {stop}")
        page = f"{before}{start}\n\n{content}\n\n{stop}{after}"
    return page


def write(arguments: Sequence[str], parts: Sequence[Part]) -> int:
    """Command line of a table: write it into the page that is named, or print it."""
    if not arguments:
        sys.stdout.write("\n\n".join(content for _, _, content in parts) + "\n")
        return 0
    path = Path(arguments[0])
    temporary = path.with_suffix(".tmp")
    temporary.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
    os.replace(temporary, path)
    return 0

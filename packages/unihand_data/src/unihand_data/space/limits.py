"""The table of limits in ``docs/space.md``, from the embodiment files: how many are known, and which nobody published.

``python -m unihand_data.space.limits docs/space.md`` writes it into the page; without a page it is printed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from unihand_data import pages
from unihand_data.space.embodiment import Embodiment, available, load_embodiment

START, STOP = "<!-- limits: python -m unihand_data.space.limits docs/space.md -->", "<!-- end of limits -->"
_NUMBERED = re.compile(r"(.*_)(\d+)")


def bounded(e: Embodiment) -> int:
    """Slots of state and action with a limit, known or not: what has no limits of its own (rotations, shape) aside."""
    known = sum(limit is not None for kind in ("state", "action") for limit in e.limits(kind).values())
    return known + len(e.unknown_limits())


def unknown_words(e: Embodiment) -> str:
    """The unknown limits of a robot, runs of numbered slots together, those of state and action alike said once."""
    found: dict[str, list[str]] = {}
    for one in e.unknown_limits():
        kind, slot = one.split(".", 1)
        found.setdefault(slot, []).append(kind)
    groups: dict[str, list[str]] = {}
    for slot, kinds in found.items():
        groups.setdefault(" and ".join(sorted(kinds, reverse=True)), []).append(slot)
    return "; ".join(f"{kinds}: {', '.join(_runs(slots))}" for kinds, slots in sorted(groups.items()))


def _runs(slots: Iterable[str]) -> list[str]:
    """``arm_1, arm_2, arm_3`` as ``arm_1..3``."""
    out: list[str] = []
    for slot in sorted(slots, key=lambda s: (m[1], int(m[2])) if (m := _NUMBERED.fullmatch(s)) else (s, -1)):
        now = _NUMBERED.fullmatch(slot)
        last = re.fullmatch(r"(.*_)(\d+)(?:\.\.(\d+))?", out[-1]) if out else None
        if now and last and now[1] == last[1] and int(now[2]) == int(last[3] or last[2]) + 1:
            out[-1] = f"{last[1]}{last[2]}..{now[2]}"
        else:
            out.append(slot)
    return out


def markdown() -> str:
    """One row per robot."""
    rows = [("embodiment", "limits known", "unknown")]
    for name in available():
        e = load_embodiment(name)
        if e.domain == "robot":
            total, unknown = bounded(e), len(e.unknown_limits())
            rows.append((f"`{name}`", f"{total - unknown} of {total}", unknown_words(e) or "-"))
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([lines[0], "| --- | --- | --- |", *lines[1:]])


def parts() -> list[pages.Part]:
    """What ``docs/space.md`` holds of it."""
    return [(START, STOP, markdown())]


if __name__ == "__main__":
    sys.exit(pages.write(sys.argv[1:], parts()))

"""``unihand inspect`` and ``unihand validate``: what a shard directory holds, and whether it keeps its promises."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import tyro

from unihand_data.shards import catalogue
from unihand_data.shards.catalogue import check_lines


def inspect(
    directory: Annotated[str, tyro.conf.Positional], *, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
) -> int:
    """Print what a shard directory holds.

    Args:
        directory: local path or URL of the shard directory.
        as_json: print one JSON object instead of lines for a person.
    """
    found = catalogue.inspect(directory)
    sys.stdout.write((json.dumps(found, indent=1) if as_json else _lines(found)) + "\n")
    return 0


def validate(directory: Annotated[str, tyro.conf.Positional], *, decode: bool = True) -> int:
    """Check every promise of the contract; prints one line per problem.

    Args:
        directory: local path or URL of the shard directory.
        decode: decode every stored frame too, the expensive part.
    """
    problems = catalogue.validate(directory, decode=decode)
    for line in problems:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{len(problems)} problems\n" if problems else "no problems\n")
    return 1 if problems else 0


def _lines(found: dict[str, Any]) -> str:
    ratio = found["hands"]["frames_with_hand_ratio"]
    out = [
        f"inputs     {found['inputs']} ({found['written']} written, {found['rejected']} rejected, "
        f"{found['ignored']} files ignored)",
        f"episodes   {found['episodes']}, {found['frames']} frames, {found['hours']:.3f} h",
        f"mirrored   {found['mirrored']['episodes']} episodes, {found['mirrored']['frames']} frames",
        f"talk       {found['conversations']} conversations",
        "samples    "
        + (", ".join(f"{n} {t}" for t, n in found["samples"]["by_task"].items()) or "none")
        + f" (total {found['samples']['total']})",
        "tokens     {text} text, {visual} visual, {supervised} supervised".format(**found["tokens"])
        + (" (estimate: bytes / 4)" if found["tokens"]["estimate"] else ""),
        f"hands      {'no human video' if ratio is None else f'{ratio:.1%} of frames'}",
    ]
    for name in ("source", "embodiment", "licence"):
        for key, group in found[f"by_{name}"].items():
            out.append(f"{name:<10} {key}: {group['episodes']} episodes, {group['hours']:.3f} h")
    for reason, n in found["rejects"]["by_reason"].items():
        out.append(f"rejected   {n} {reason}")
    out += [f"check      {line}" for line in check_lines(found.get("data_checks", {}))]
    return "\n".join(out)

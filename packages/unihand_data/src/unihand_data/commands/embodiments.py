"""``unihand embodiments``: what the embodiment files say, what nobody published, and values beyond the limits."""

from __future__ import annotations

import sys
from typing import Annotated

import numpy as np
import tyro

from unihand_data.shards.errors import ShardError
from unihand_data.shards.reader import ShardReader
from unihand_data.space import Embodiment, EmbodimentError, available, load_embodiment
from unihand_data.space.embodiment import VectorKind
from unihand_data.space.limits import bounded, unknown_words
from unihand_data.space.slots import SLOTS

#: float32 rounding and a reading just past its stop are no finding (slot units)
SLACK = 1e-3


def embodiments(
    name: Annotated[str, tyro.conf.Positional] = "", *, shards: str | None = None, slack: float = SLACK
) -> int:
    """List the embodiments, or print one: its slots, units, limits, and what is unknown or has no slot.

    Exit code 1 if --shards finds values beyond a limit.

    Args:
        name: name of an embodiment or path of a YAML file; without it all are listed.
        shards: a shard directory, whose values of this embodiment are held against the known limits.
        slack: how far beyond a limit a value may be, in slot units (rad, m).

    Raises:
        ShardError: no such embodiment, a file that is refused, or --shards without a name.
    """
    if not name:
        if shards is not None:
            raise ShardError("--shards needs the name of an embodiment")
        for one in available():
            e = load_embodiment(one)
            unknown = f"{len(e.unknown_limits())} of {bounded(e)} limits unknown" if e.domain == "robot" else e.domain
            sys.stdout.write(
                f"{one:<20} {len(e.slots('state')):>3} state {len(e.slots('action')):>3} action  {unknown}\n"
            )
        return 0
    try:
        e = load_embodiment(name)
    except (EmbodimentError, FileNotFoundError) as error:
        raise ShardError(str(error)) from error
    if shards is not None:
        return _beyond(e, shards, slack)
    sys.stdout.write(_lines(e))
    return 0


def _lines(e: Embodiment) -> str:
    rate = f"{e.control_rate_hz:g} Hz" if e.control_rate_hz else "rate unknown"
    out = [f"{e.name}: {e.title}", f"{e.domain}, layout {e.layout}, world {e.world}, {rate}, hash {e.hash}"]
    kinds: tuple[VectorKind, ...] = ("state", "action")
    for kind in kinds:
        for slot, limit in sorted(e.limits(kind).items()):
            span = f"{limit[0]:.6g} .. {limit[1]:.6g}" if limit else "-"
            out.append(f"{kind:<7} {slot:>3} {SLOTS[slot].name:<28} {SLOTS[slot].unit:<6} {span}")
        out += [f"{kind:<7}   - {block}: no slot: {why}" for block, why in e.unmapped(kind).items()]
    out.append(f"unknown limits: {unknown_words(e) or 'none'}")
    return "\n".join(out) + "\n"


def _beyond(e: Embodiment, shards: str, slack: float) -> int:
    """Per slot the steps whose value is known and beyond a known limit; prints one line for each."""
    kinds: tuple[VectorKind, ...] = ("state", "action")
    found: dict[tuple[VectorKind, int], list[float]] = {}  # steps beyond, steps, least, greatest
    episodes = 0
    columns = [f"{kind}{part}" for kind in kinds for part in ("", "_slots", "_mask")]
    where = "embodiment = '" + e.name.replace("'", "''") + "'"
    with ShardReader(shards) as reader:
        for batch in reader.episode_batches(columns, where=where, rows=16):
            for i in range(batch.num_rows):
                episodes += 1
                for kind in kinds:
                    values, slots, mask = (
                        batch[f"{kind}{part}"][i].values.to_numpy(zero_copy_only=False)
                        for part in ("", "_slots", "_mask")
                    )
                    values, mask = values.reshape(-1, len(slots)), mask.reshape(-1, len(slots))
                    bad = e.out_of_limits(values, slots, kind, slack) & mask
                    for k in np.flatnonzero(mask.any(axis=0)):
                        seen = values[mask[:, k], k]
                        old = found.setdefault((kind, int(slots[k])), [0, 0, np.inf, -np.inf])
                        old[:2] = old[0] + int(bad[:, k].sum()), old[1] + len(seen)
                        old[2:] = min(old[2], float(seen.min())), max(old[3], float(seen.max()))
    if not episodes:
        raise ShardError(f"{shards} has no episode of {e.name}")
    beyond = 0
    for (kind_, slot), (count, steps, least, most) in sorted(found.items()):
        if count:
            beyond += 1
            low, high = e.limits(kind_)[slot] or (-np.inf, np.inf)
            sys.stdout.write(
                f"{kind_}.{SLOTS[slot].name}: {count:.0f} of {steps:.0f} steps beyond {low:.6g} .. {high:.6g} "
                f"{SLOTS[slot].unit}, values {least:.6g} .. {most:.6g}\n"
            )
    sys.stdout.write(
        f"{episodes} episodes, {beyond} slots beyond their limits; unknown: {unknown_words(e) or 'none'}\n"
    )
    return 1 if beyond else 0

"""Two arms of a data set's robot: simulated motions whose joints lie within the limits of its embodiment file."""

from __future__ import annotations

from functools import cache

from unihand_data.sources.robot.generate.motion import Limit, Motion, simulate
from unihand_data.sources.robot.spec import load_spec
from unihand_data.space.slots import GROUPS


def simulate_arms(
    name: str, seed: int, steps: int, rate_hz: float, joints: int, scale: float = 1.0
) -> tuple[Motion, Motion]:
    """The right arm (``seed``) and the left arm (``seed + 1``) of the data set ``name``; :func:`~.motion.simulate`.

    Args:
        scale: times which its columns are then written, in rad.
    """
    right, left = (
        simulate(seed + k, steps, rate_hz, joints, limits_of(name, side, scale))
        for k, side in enumerate(("right", "left"))
    )
    return right, left


@cache
def limits_of(name: str, side: str, scale: float = 1.0) -> tuple[Limit, ...]:
    """Per joint of an arm (lower, upper) in rad over ``scale``, None where unknown."""
    known = load_spec(name).robot.limits("state")
    found = [known.get(slot) for slot in GROUPS[f"{side}_arm"].slots]
    return tuple(None if limit is None else (limit[0] / scale, limit[1] / scale) for limit in found)

"""``beingh05 export``: a checkpoint for edge devices (int8 weights) or for the released code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beingh05_model.inference.policy import Observation, Policy
    from unihand_data.space import Embodiment

#: robots whose chunks are compared, where the checkpoint does not name its own
ROBOTS = 4


def add(parsers: Any) -> None:
    words = "CHECKPOINT OUT: our layout, with int8 weights, or the released layout"
    one = parsers.add_parser("export", help=words, description=__doc__)
    one.add_argument("checkpoint", type=Path, help="our layout or the released one")
    one.add_argument("out", type=Path)
    form = one.add_mutually_exclusive_group()
    form.add_argument("--int8", action="store_true", help="weight-only int8 of experts, vision tower and connector")
    form.add_argument("--released", action="store_true", help="config.json and tensors as the released code reads them")
    one.add_argument("--observations", type=int, default=4, help="made-up observations per robot for the comparison")
    one.add_argument("--robots", nargs="+", help="embodiments to compare chunks of")
    one.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from beingh05_model.evaluation import checkpoints
    from beingh05_model.interop.files import carry

    if chosen.out.exists() and any(chosen.out.iterdir()):
        raise ValueError(f"{chosen.out} is not empty; export into a new folder")
    read = checkpoints.load(chosen.checkpoint)
    policy, about = read.policy, _about(chosen.checkpoint, read.policy)
    if about.get("weights"):
        raise ValueError(f"{chosen.checkpoint} has {about['weights']} weights already; export what it was made of")
    if chosen.released:
        _released(policy, chosen.checkpoint, chosen.out)
    elif chosen.int8:
        _int8(policy, about, chosen)
    else:
        _own(policy, about, chosen.out)
    carry(chosen.checkpoint, chosen.out)
    print(f"written: {chosen.out}, {size(chosen.out) / 1e6:.1f} MB (was {size(chosen.checkpoint) / 1e6:.1f} MB)")
    return 0


def size(directory: Path) -> int:
    """Bytes of the tensors of a checkpoint."""
    return sum(file.stat().st_size for file in directory.glob("*.safetensors"))


def _about(directory: Path, policy: Policy) -> dict[str, Any]:
    """What our layout says of the model; of a released one the prompts that it was trained with."""
    import json

    from beingh05_model.training import checkpoint

    told: dict[str, Any] = json.loads((directory / "config.json").read_text())
    if told.get("format") == checkpoint.FORMAT:
        return {k: v for k, v in told.items() if k not in ("format", "model")}
    return {"system": policy.serialiser.system, "question": policy.question, "release": told}


def _own(policy: Policy, about: dict[str, Any], out: Path) -> None:
    from beingh05_model.training import checkpoint

    model = policy.model
    checkpoint.save(out, model.config, model.state_dict(), policy.serialiser.tokenizer, about)


def _released(policy: Policy, source: Path, out: Path) -> None:
    import json

    from beingh05_model.interop import released

    told = json.loads((source / "config.json").read_text())
    raw = told if "llm_config" in told else told.get("release")
    if raw is None:
        raw = released.to_release(policy.model.config, policy.serialiser.system)
    released.save(policy.model, raw, out)
    if not list(source.glob("*_metadata.json")):
        print(f"the released code also wants <dataset>_metadata.json of its data configuration; {source} has none")


def _int8(policy: Policy, about: dict[str, Any], chosen: argparse.Namespace) -> None:
    from copy import deepcopy

    from beingh05_model.evaluation import checkpoints
    from beingh05_model.network.int8 import to_int8
    from beingh05_model.training import checkpoint

    small = deepcopy(policy.model)
    to_int8(small)
    told = {**about, "weights": checkpoint.INT8, "made_from": str(chosen.checkpoint)}
    checkpoint.save(chosen.out, small.config, small.state_dict(), policy.serialiser.tokenizer, told)
    read = checkpoints.load(chosen.out).policy  # what was written, not what was meant
    robots = _robots(about, chosen.robots)
    count = chosen.observations * len(robots)
    print(f"difference of chunks, int8 - original, {count} made-up observations (noise as pictures), the same noise:")
    print(f"{'embodiment':16s} {'group':28s} {'mean':>9s} {'largest':>9s} {'of a mean':>10s}")
    for robot in robots:
        seen = made_up(robot, chosen.observations)
        for name, unit, mean, largest, typical in difference(policy, read, robot, seen):
            print(f"{robot.name:16s} {name:28s} {mean:9.4f} {largest:9.4f} {typical:10.3f} {unit}")


def _robots(about: dict[str, Any], names: Sequence[str] | None) -> list[Embodiment]:
    from unihand_data.space import available, load_embodiment

    if names is None:
        known = [name for name in about.get("embodiments", ()) if name in available()]
        every = known or available()
        names = every if len(every) <= ROBOTS else [every[i * len(every) // ROBOTS] for i in range(ROBOTS)]
    return [load_embodiment(name) for name in names]


def made_up(robot: Embodiment, count: int) -> list[Observation]:
    """Observations without data: two pictures of blocks of noise, a small random state, one sentence."""
    import numpy as np

    from beingh05_model.inference.policy import Observation

    known = np.zeros(200, bool)
    known[robot.slots("state")] = True
    out = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        pictures = {
            f"third_{view}": draw.integers(0, 256, (14, 14, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
            for view in (1, 2)
        }
        state = (draw.normal(size=200) * 0.2 * known).astype(np.float32)
        out.append(Observation(pictures, "pick up the cup", state, known, robot.name, seed=seed))
    return out


def difference(
    one: Policy, other: Policy, robot: Embodiment, seen: Sequence[Observation]
) -> list[tuple[str, str, float, float, float]]:
    """Per slot group: name, unit, mean and largest difference of two policies' chunks, and the mean size of what the
    first predicts. Noise follows the seeds of the observations, so it is the same."""
    import numpy as np

    from beingh05_model.evaluation.errors import measures

    a, b = one.act(seen), other.act(seen)
    out = []
    every = np.ones(a.shape[1:], bool)
    for measure in measures(robot):
        errors = np.stack([measure(y, x, every).error for x, y in zip(a, b, strict=True)])
        sizes = np.stack([measure(x, np.zeros_like(x), every).error for x in a])
        out.append((measure.name, measure.unit, float(errors.mean()), float(errors.max()), float(sizes.mean())))
    return out

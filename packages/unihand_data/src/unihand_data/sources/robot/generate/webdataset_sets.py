"""Generated LeRobot sets packed into tar files, as InternData-M1 and Galaxea Open World are published."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unihand_data.sources.robot.generate import lerobot_sets

_TIME = 1_750_000_000  # of every member: the same seed gives the same bytes


@dataclass(frozen=True)
class Plan:
    """``unpacked``: the LeRobot set inside; ``tar``: path of the tar; ``folder``: of the set inside it."""

    unpacked: str
    tar: str
    folder: str


PLANS: dict[str, Plan] = {
    "interndata_m1_tar": Plan("interndata_m1", "simulated/franka/pick_and_place_000.tar", "pick_and_place_000"),
    "galaxea_open_world_tar": Plan("galaxea_open_world", "lerobot/put_the_cup_away.tar.gz", "put_the_cup_away"),
}


def generate(name: str, out: str | Path, seed: int = 0, episodes: int = 2, *, steps: int = 24) -> None:
    """Write one tar with ``episodes`` episodes. Raises ``KeyError``: no such data set."""
    plan = PLANS[name]
    with tempfile.TemporaryDirectory(prefix="unihand_pack_") as folder:
        lerobot_sets.generate(plan.unpacked, folder, seed=seed + 7, episodes=episodes, steps=steps)
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        members = [(f"{plan.folder}/{p.relative_to(folder)}", p.read_bytes()) for p in files]
    write_tar(Path(out) / plan.tar, members)


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """A tar (``.gz``: compressed) of regular files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(str(path), "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), _TIME
            tar.addfile(entry, io.BytesIO(data))

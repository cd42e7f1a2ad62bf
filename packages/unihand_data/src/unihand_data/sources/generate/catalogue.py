"""Which function writes which data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unihand_data.sources.generate import archive_sets, mano_sets, skeleton_sets, take_sets, text_sets
from unihand_data.sources.generate.scene import Family, Scene, make_scene

GENERATORS: dict[str, Callable[[Path, list[Scene]], None]] = {
    f.__name__: f
    for f in (
        text_sets.video_folder,
        text_sets.rendered_clips,
        text_sets.epic_kitchens_100,
        text_sets.ego4d,
        take_sets.ego_exo4d,
        text_sets.hd_epic,
        text_sets.taste_rob,
        skeleton_sets.egodex,
        skeleton_sets.fpha,
        skeleton_sets.h2o,
        skeleton_sets.aria_mps,
        mano_sets.vitra_1m,
        mano_sets.hoi4d,
        mano_sets.taco,
        mano_sets.arctic,
        mano_sets.oakink2,
        mano_sets.dexycb,
        archive_sets.egocentric_10k,
        archive_sets.hot3d,
        archive_sets.unihand_preview,
        archive_sets.hawor_results,
    )
}

#: rates the formats prescribe
_FPS = {"hoi4d": 15.0, "epic_kitchens_100": 50.0}


def generate(
    name: str,
    out: str | Path,
    seed: int = 0,
    recordings: int = 2,
    *,
    frames: int = 16,
    width: int = 128,
    height: int = 96,
    family: Family | None = None,
) -> list[Scene]:
    """Write ``recordings`` recordings of a data set under ``out`` and return the scenes behind them.

    The same arguments give the same annotations; recording i uses seed ``1000 * seed + i``. ``family`` None alternates
    between lab and wild.

    Raises:
        KeyError: no such data set."""
    scenes = [
        make_scene(1000 * seed + i, frames=frames, fps=_FPS.get(name, 30.0), width=width, height=height, family=family)
        for i in range(recordings)
    ]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    GENERATORS[name](folder, scenes)
    return scenes

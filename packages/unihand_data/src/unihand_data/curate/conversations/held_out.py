"""Pictures of benchmarks, which never train: by COCO id where a file name tells it, else by how a picture looks.

RefCOCO, RefCOCO+ and RefCOCOg evaluate on pictures of COCO train2014, and half of all vision-text corpora are made of
those: a row of any corpus whose picture is in a val or test split of the three is refused. Copies without their name
(embedded in parquet, encoded anew) are recognised by the perceptual hash, where the held-out pictures are at hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from unihand_data.config import Settings, runtime_field
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.ids import make_id
from unihand_data.sources.conversations.refer import coco_id, held_out_images
from unihand_data.sources.listing import list_files, matching

_REFS = ["**/refs(unc).p", "**/refs(umd).p", "**/refs(google).p"]
_PICTURES = ["**/*.jpg", "**/*.jpeg", "**/*.png", "**/*.webp"]


class HeldOutSettings(Settings):
    """``refer``: folder of the REFER data (its three sets), whose val and test pictures are held out. ``pictures``:
    folders of pictures of other benchmarks. ``digest`` is what they came to; it is filled in, and part of the ids'
    settings, so that another list is another version."""

    refer: str | None = runtime_field(None)
    pictures: list[str] = runtime_field([])
    digest: str = ""


@dataclass(frozen=True)
class HeldOut:
    """``coco``: COCO ids. ``looks``: perceptual hash -> name of the picture."""

    coco: frozenset[int] = frozenset()
    looks: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return make_id(*sorted(self.coco), *sorted(self.looks)) if self.coco or self.looks else ""

    def joined(self, other: HeldOut) -> HeldOut:
        return HeldOut(self.coco | other.coco, {**self.looks, **other.looks})

    def check(self, coco: int | None, look: str, where: str) -> None:
        """Raises ``Reject`` BENCHMARK_LEAK."""
        if coco is not None and coco in self.coco:
            raise Reject(
                Reason.BENCHMARK_LEAK, f"{where}: COCO picture {coco} is in a val or test split of RefCOCO, + or g"
            )
        if look and look in self.looks:
            raise Reject(
                Reason.BENCHMARK_LEAK, f"{where}: the picture looks like {self.looks[look]}, which is held out"
            )


def refer_held_out(root: str) -> HeldOut:
    """Val and test pictures of every REFER set below ``root``; of those that lie there also their looks.

    Raises:
        DatasetRefused: no refs there, or they cannot be read.
    """
    files = list_files(root) if os.path.isdir(root) else []
    refs = matching(files, _REFS)
    if not refs:
        raise DatasetRefused(f"{root} holds no refs(unc).p or refs(umd).p; give the folder of the REFER data.")
    try:
        ids = frozenset(i for name in refs for i in held_out_images(os.path.join(root, name)))
    except Reject as reject:
        raise DatasetRefused(f"held-out pictures cannot be read: {reject.message}") from reject
    pictures = [f for f in matching(files, _PICTURES) if coco_id(f) in ids]
    return HeldOut(ids, _looks(root, pictures))


def picture_held_out(folders: Iterable[str]) -> HeldOut:
    """Every picture below these folders. Raises ``DatasetRefused``: a folder without pictures."""
    looks: dict[str, str] = {}
    for folder in folders:
        found = matching(list_files(folder), _PICTURES) if os.path.isdir(folder) else []
        if not found:
            raise DatasetRefused(f"{folder} holds no pictures to be held out.")
        looks |= _looks(folder, found)
    return HeldOut(frozenset(), looks)


def _looks(root: str, names: list[str]) -> dict[str, str]:
    from unihand_data.curate.conversations.images import ImageSettings, store_picture

    out = {}
    for name in names:
        path = Path(root, name)
        try:
            out[store_picture(path.read_bytes(), str(path), ImageSettings(), licence="").look] = str(path)
        except (Reject, OSError):
            continue  # a benchmark's damaged file holds nothing that could leak
    return out

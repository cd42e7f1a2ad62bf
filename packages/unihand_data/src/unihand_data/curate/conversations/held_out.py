"""Pictures of benchmarks, which never train: by COCO id where a row names one, and by how a picture looks.

RefCOCO, RefCOCO+ and RefCOCOg evaluate on pictures of COCO's training set, and half of all vision-text corpora are made
of those: a row of any corpus whose picture is in a val or test split of the three is refused. Copies without their name
(embedded in parquet), encoded anew, scaled or padded are recognised by the perceptual hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from unihand_data.config import Settings, runtime_field
from unihand_data.curate.conversations.images import ImageSettings, store_picture
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.ids import make_id
from unihand_data.sources.conversations.refer import coco_id, held_out_images
from unihand_data.sources.listing import list_files, matching

_REFS = ["**/refs(unc).p", "**/refs(umd).p", "**/refs(google).p"]
_PICTURES = ["**/*.jpg", "**/*.jpeg", "**/*.png", "**/*.webp"]
#: folders of the three sets: each has val and test pictures that the others have not
SETS = ("refcoco", "refcoco+", "refcocog")


class HeldOutSettings(Settings):
    """What is never trained on.

    ``refcoco``: a job over corpora with pictures of COCO is refused unless it knows the val and test pictures of the
    three RefCOCO sets, their ids and their looks (``required``). ``by_id`` asks for the ids alone, and misses pictures
    without a COCO name; ``waived`` asks for nothing. Both are written into the summary, the report and the manifest.
    ``refer``: folder of the REFER data with its pictures. ``pictures``: folders of pictures of other benchmarks.
    ``near_bits``: bits of 64 of the perceptual hash that may differ. ``digest`` is what they came to; it is filled in,
    and part of the ids' settings, so that another list is another version.
    """

    refcoco: Literal["required", "by_id", "waived"] = "required"
    refer: str | None = runtime_field(None)
    pictures: list[str] = runtime_field([])
    near_bits: int = Field(default=4, ge=0, le=10)
    digest: str = ""


@dataclass(frozen=True)
class HeldOut:
    """Attributes:
    coco: COCO ids. ``unseen``: those of them whose picture is not at hand or does not decode.
    sets: folders of REFER sets that were read. ``looks``: perceptual hash -> name of the picture.
    near_bits: of 64 that may differ from such a hash.
    """

    coco: frozenset[int] = frozenset()
    unseen: frozenset[int] = frozenset()
    sets: frozenset[str] = frozenset()
    looks: dict[str, str] = field(default_factory=dict)
    near_bits: int = 4

    @cached_property
    def _numbers(self) -> np.ndarray:
        return np.array([int(look, 16) for look in self.looks], np.uint64)

    @cached_property
    def _names(self) -> list[str]:
        return list(self.looks.values())

    @property
    def digest(self) -> str:
        return make_id(*sorted(self.coco), *sorted(self.looks)) if self.coco or self.looks else ""

    @property
    def missing_sets(self) -> list[str]:
        return [name for name in SETS if name not in self.sets]

    def joined(self, other: HeldOut) -> HeldOut:
        """Both together; a picture that one of them has seen is seen."""
        seen = (self.coco - self.unseen) | (other.coco - other.unseen)
        coco, looks = self.coco | other.coco, {**self.looks, **other.looks}
        return HeldOut(coco, coco - seen, self.sets | other.sets, looks, self.near_bits)

    def check_id(self, coco: int | None, where: str) -> None:
        """Raises ``Reject`` BENCHMARK_LEAK."""
        if coco is not None and coco in self.coco:
            raise Reject(
                Reason.BENCHMARK_LEAK, f"{where}: COCO picture {coco} is in a val or test split of RefCOCO, + or g"
            )

    def check_looks(self, looks: Iterable[str], where: str) -> None:
        """Raises ``Reject`` BENCHMARK_LEAK. ``looks``: of a picture with and without its bars."""
        if not len(self._numbers):
            return
        for look in dict.fromkeys(looks):
            apart = np.bitwise_count(self._numbers ^ np.uint64(int(look, 16)))
            nearest = int(np.argmin(apart))
            if apart[nearest] <= self.near_bits:
                raise Reject(
                    Reason.BENCHMARK_LEAK,
                    f"{where}: the picture looks like {self._names[nearest]}, which is held out "
                    f"({int(apart[nearest])} of 64 bits differ)",
                )


def refer_held_out(root: str, *, looks: bool = True) -> HeldOut:
    """Val and test pictures of every REFER set below ``root``, and what those look like that lie there too.

    Args:
        looks: decode them; without, nothing is known but the ids.

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
    sets = frozenset(Path(root, name).parent.name for name in refs)
    named = {name: i for name in matching(files, _PICTURES) if (i := coco_id(name)) in ids} if looks else {}
    found = _looks(root, list(named))
    seen = frozenset(named[name] for name in found)
    return HeldOut(ids, ids - seen, sets, _named(root, found))


def picture_held_out(folders: Iterable[str]) -> HeldOut:
    """Every picture below these folders.

    Raises:
        DatasetRefused: a folder without pictures, or with one that does not decode (a copy of it could not be told).
    """
    looks: dict[str, str] = {}
    for folder in folders:
        names = matching(list_files(folder), _PICTURES) if os.path.isdir(folder) else []
        if not names:
            raise DatasetRefused(f"{folder} holds no pictures to be held out.")
        found = _looks(folder, names)
        if lost := sorted(set(names) - set(found)):
            raise DatasetRefused(f"{folder}/{lost[0]} is to be held out and does not decode; fetch it again.")
        looks |= _named(folder, found)
    return HeldOut(looks=looks)


def _looks(root: str, names: list[str]) -> dict[str, set[str]]:
    """Name -> looks of the picture, with and without bars; none of pictures that do not decode."""

    def one(name: str) -> set[str]:
        path = Path(root, name)
        try:
            stored = store_picture(path.read_bytes(), str(path), _ANY_SIZE, licence="")
        except (Reject, OSError):
            return set()
        return {stored.look, stored.whole_look}

    with ThreadPoolExecutor() as pool:  # decoding lets go of the interpreter
        return {name: looks for name, looks in zip(names, pool.map(one, names)) if looks}


def _named(root: str, found: dict[str, set[str]]) -> dict[str, str]:
    return {look: str(Path(root, name)) for name, looks in found.items() for look in sorted(looks)}


_ANY_SIZE = ImageSettings(min_side=1, max_aspect=1000.0)

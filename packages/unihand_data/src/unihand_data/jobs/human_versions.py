"""What made a row, for whoever asks later: code and libraries of each stage, in the row's provenance.

    code      version of the package and a hash of its source
    stages    per stage a hash of the source of the rooms it runs, with the name and version of what it drove; and the
              versions of the word rules that samples depend on
    libraries the versions of the libraries that decided numbers

None of it enters an id, a content hash or a comparison: the same input and settings give the same ids on a machine with
another library. It is written where the stage ran, so machines of one cluster may differ and each row says by whom.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from unihand_data import __version__
from unihand_data.ids import make_id
from unihand_data.language.motion_rules import MOTION_RULES_VERSION
from unihand_data.language.templates import TEMPLATES_VERSION

Stage = Literal["video", "hands", "camera", "curate"]

#: versions of what words and samples depend on besides the settings; the mirror's is in the twin's own provenance
WORDS = {"motion_rules": MOTION_RULES_VERSION, "templates": TEMPLATES_VERSION}
ROOMS: dict[Stage, tuple[str, ...]] = {
    "video": ("sources", "untrusted", "values", "video"),
    "hands": ("hands", "values"),
    "camera": ("geometry", "values"),
    "curate": ("curate", "language", "space"),
}
#: libraries that decide a stage's numbers whatever it drives
LIBRARIES: dict[Stage, tuple[str, ...]] = {
    "video": ("av", "opencv"),
    "hands": ("numpy", "scipy"),
    "camera": ("numpy", "scipy"),
    "curate": (),
}
#: what a stage may drive, and the libraries that then decide its numbers
DRIVEN = {"mediapipe": ("mediapipe", "opencv"), "colmap": ("pycolmap", "opencv")}

#: OpenCV comes under several names
_OPENCV = ("opencv-contrib-python", "opencv-python", "opencv-contrib-python-headless", "opencv-python-headless")

_PACKAGE = Path(__file__).resolve().parents[1]
_DIGITS = 12
_SOURCE = {".py", ".yaml", ".j2"}
_OTHERS = {"robot", "conversations"}  # folders of the other pipelines inside these rooms


def code_version() -> str:
    """The package's version and its source's hash, as a local version (``0.1.0+3f2a...``)."""
    return f"{__version__}+{source_hash()}"


@cache
def source_hash(*rooms: str) -> str:
    """Hash of the source files of these rooms (none named: the whole package), by relative path and content."""
    folders = [_PACKAGE / room for room in rooms] or [_PACKAGE]
    found = sorted(f for folder in folders for f in folder.rglob("*") if f.suffix in _SOURCE and f.is_file())
    named = {f.relative_to(_PACKAGE): f for f in found}
    parts = [part for name, f in named.items() if not (rooms and _OTHERS & set(name.parts))
             for part in (name.as_posix(), f.read_bytes())]  # fmt: skip
    return make_id("source", *parts)[:_DIGITS]


@cache
def library_version(name: str) -> str | None:
    """Of an installed distribution (``opencv``: of any of its names); None where it is not installed."""
    for distribution in _OPENCV if name == "opencv" else (name,):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def record(provenance: dict[str, Any], stage: Stage, drove: str = "") -> None:
    """Write a stage's versions into a clip's provenance.

    Args:
        drove: the estimator of hands or method of the camera (``mediapipe-1.2.2``, ``annotated``, ``colmap``); it
            becomes the stage's own entry too, with the library's version where the name has none.
    """
    kind, _, version = drove.partition("-")
    names = [*LIBRARIES[stage], *DRIVEN.get(kind, ())]
    found = {name: v for name in names if (v := library_version(name))}
    provenance["libraries"] = {**provenance.get("libraries", {}), **found}
    if drove:
        if not version and kind in DRIVEN and (own := library_version(DRIVEN[kind][0])):
            drove = f"{kind}-{own}"
        provenance[stage] = drove
    made = source_hash(*ROOMS[stage])
    provenance["stages"] = {**provenance.get("stages", {}), stage: f"{drove}+{made}" if drove else made}

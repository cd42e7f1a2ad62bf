"""MediaPipe's hand models: found, or taken out of the package that carries them, checked and bundled.

The current MediaPipe reads a ``.task`` bundle (a stored zip with ``hand_detector.tflite`` and
``hand_landmarks_detector.tflite``) but its wheel no longer contains one; the wheel of 0.10.21 contains the two networks
(Apache-2.0). So that wheel is downloaded from the package index with pip, never installed (it needs numpy < 2), and the
two files are taken from it. ``python -m unihand_data.hands.models`` does it ahead of time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from unihand_data.errors import EnvironmentFault

log = logging.getLogger(__name__)

ENV = "UNIHAND_HAND_MODELS"
BUNDLE = "hand_landmarker_0.10.21.task"
_WHEEL = "mediapipe==0.10.21"
_WHEEL_TAG = ("3.11", "manylinux_2_28_x86_64")  # fixed: any platform's wheel carries the same networks
#: file in the bundle -> (file in the wheel, sha256)
PARTS: dict[str, tuple[str, str]] = {
    "hand_detector.tflite": (
        "mediapipe/modules/palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand_landmarks_detector.tflite": (
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
}


class ModelsMissing(EnvironmentFault):
    """The hand models are neither here nor could they be fetched; the message says what to do."""


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/unihand`` or ``~/.cache/unihand``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unihand"


def ensure_hand_models(path: str | None = None, *, fetch: bool = True, timeout_s: float = 600.0) -> Path:
    """Path of a checked bundle.

    Looks at ``path``, then at ``UNIHAND_HAND_MODELS``, then in :func:`cache_dir`, and fetches it there at last.

    Args:
        path: a bundle to use instead of all others (a file; it must hold the two pinned networks).
        fetch: may pip be run?

    Raises:
        ModelsMissing: nothing usable, and fetching was not allowed or failed.
    """
    named = path or os.environ.get(ENV)
    if named:
        problem = _problem(Path(named))
        if problem:
            raise ModelsMissing(f"{named} ({'setting model_path' if path else ENV}): {problem}")
        return Path(named)
    bundle = cache_dir() / BUNDLE
    problem = _problem(bundle)
    if not problem:
        return bundle
    if not fetch:
        raise ModelsMissing(f"{bundle}: {problem}; run `python -m unihand_data.hands.models` or set {ENV}")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unihand-models-") as scratch:
        write_bundle(_download(Path(scratch), timeout_s), bundle)
    return bundle


def write_bundle(wheel: Path, bundle: Path) -> None:
    """Take the two networks out of ``wheel`` and write ``bundle`` under a temporary name, then rename it."""
    parts = {}
    with zipfile.ZipFile(wheel) as archive:
        for name, (member, digest) in PARTS.items():
            try:
                parts[name] = archive.read(member)
            except KeyError:
                raise ModelsMissing(f"{wheel.name} has no {member}") from None
            if hashlib.sha256(parts[name]).hexdigest() != digest:
                raise ModelsMissing(f"{wheel.name}: {member} is not the pinned file (sha256 differs)")
    handle, temporary = tempfile.mkstemp(dir=bundle.parent, prefix=bundle.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as f, zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as out:
            for name, data in parts.items():
                out.writestr(zipfile.ZipInfo(name), data)  # a fixed date: the same bytes everywhere
        os.chmod(temporary, 0o644)
        os.replace(temporary, bundle)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _problem(bundle: Path) -> str:
    """Why ``bundle`` cannot be used; empty when it can."""
    if not bundle.is_file():
        return "no such file"
    try:
        with zipfile.ZipFile(bundle) as archive:
            for name, (_, digest) in PARTS.items():
                if hashlib.sha256(archive.read(name)).hexdigest() != digest:
                    return f"{name} in it is not the pinned network (sha256 differs)"
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        return f"not a bundle of the two networks ({error})"
    return ""


def _download(folder: Path, timeout_s: float) -> Path:
    version, platform = _WHEEL_TAG
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", version, "--platform", platform,
        "-d", str(folder), _WHEEL,
    ]  # fmt: skip
    log.info("fetching the hand models: %s", " ".join(command))
    mend = f"download that wheel elsewhere and put its two networks into a bundle named by {ENV} (docs/hands.md)"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise ModelsMissing(f"pip download {_WHEEL} took longer than {timeout_s:.0f} s; {mend}") from None
    if done.returncode:
        raise ModelsMissing(f"pip download {_WHEEL} failed: {done.stderr.strip()[-300:]}; {mend}")
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise ModelsMissing(f"pip download {_WHEEL} left no wheel; {mend}")
    return wheels[0]


def main() -> int:
    """Console entry: make sure the models are there. ``--wheel FILE`` takes them from a wheel already downloaded."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["--wheel"] and len(arguments) == 2:
            bundle = cache_dir() / BUNDLE
            bundle.parent.mkdir(parents=True, exist_ok=True)
            write_bundle(Path(arguments[1]), bundle)
        elif arguments:
            sys.stderr.write("usage: python -m unihand_data.hands.models [--wheel FILE]\n")
            return 2
        path = ensure_hand_models()
    except (ModelsMissing, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    log.info("hand models: %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

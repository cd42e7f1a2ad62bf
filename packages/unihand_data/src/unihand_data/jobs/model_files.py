"""Model files that decide numbers: their content belongs to the content settings, their place does not.

``mano_dir``, ``hawor.read.mano_dir`` and ``hands.model_path`` are runtime fields: the same files in another folder give
the same ids. What the files hold is written into ``HumanVideoSettings.model_files`` by the driver, once, so that it
enters the content hash, the ids, the manifest and each row's provenance; other files are other content settings.
Workers check that they see the same files as the driver.
"""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused
from unihand_data.hands.hawor_run import checked_repo
from unihand_data.hands.mano import ENV as MANO_ENV
from unihand_data.hands.mano import mano_dir
from unihand_data.hands.models import ENV as HAND_MODELS_ENV
from unihand_data.hands.models import PARTS, ModelsMissing, ensure_hand_models
from unihand_data.ids import hash_file
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.sources.spec import DatasetSpec

_MANO_FILES = ("MANO_LEFT.pkl", "MANO_RIGHT.pkl")
_ABSENT = "absent"


def with_model_files(settings: HumanVideoSettings, spec: DatasetSpec) -> HumanVideoSettings:
    """The settings with ``model_files`` filled in.

    Raises:
        SettingsError: the user filled it in, a folder that is named is not there or lacks a side.
    """
    if settings.model_files:
        raise SettingsError("model_files: filled in by the job; name files with mano_dir and hands.model_path")
    try:
        return settings.model_copy(update={"model_files": found_here(settings, spec)})
    except DatasetRefused as error:
        raise SettingsError(str(error)) from error


def check_estimator(settings: HumanVideoSettings, spec: DatasetSpec, *, fetch: bool) -> None:
    """What finds the hands is there: HaWoR's checkout, interpreter and weights, or MediaPipe's models; and MANO's files
    where the data set's own hands cannot be read without.

    Args:
        fetch: get MediaPipe's models where they are not here; False looks only at a bundle that is named.

    Raises:
        SettingsError: naming what is missing.
    """
    use = spec.hands.mano_use if spec.hands else ""
    if use and mano_dir(settings.mano_dir) is None:
        raise SettingsError(
            f"{spec.name}: its {use} need MANO; name the folder of {' and '.join(_MANO_FILES)} (licensed, from "
            f"mano.is.tue.mpg.de) with --set mano_dir=/path or {MANO_ENV}"
        )
    if settings.hand_estimator == "hawor":
        checked_repo(settings.hawor)
    elif fetch or settings.hands.model_path or os.environ.get(HAND_MODELS_ENV):
        try:
            ensure_hand_models(settings.hands.model_path, fetch=fetch)
        except ModelsMissing as error:
            raise SettingsError(f"hands.model_path: {error}") from error


def check_worker(settings: HumanVideoSettings, spec: DatasetSpec | None = None) -> None:
    """Refuse to work with other files than the driver's: those of the data set's hands where ``spec`` is given, else
    those of the estimator.

    Raises:
        DatasetRefused: naming this machine and the files.
    """
    here = _of_estimator(settings) if spec is None else _of_dataset(settings, spec)
    other = [name for name in here if here[name] != settings.model_files.get(name)]
    if settings.model_files and other:
        raise DatasetRefused(
            f"{socket.gethostname()} has other model files than the driver ({', '.join(other)}): show it the same "
            "folder (mano_dir), and set UNIHAND_MANO_DIR alike on every machine or on none"
        )


def found_here(settings: HumanVideoSettings, spec: DatasetSpec) -> dict[str, str]:
    """``use/file`` -> hash of its content (``absent`` for a MANO file that is not there) of the files this job can use.

    MANO's are those of HaWoR's hands (``hawor/``) and of the data set's (``mano/``); a job that has no use for them
    does not depend on them. MediaPipe's hand networks (``hands/``) are pinned, whatever bundle holds them.
    """
    return _of_estimator(settings) | _of_dataset(settings, spec)


def _of_estimator(settings: HumanVideoSettings) -> dict[str, str]:
    if settings.hand_estimator == "mediapipe":
        return {f"hands/{name}": digest for name, (_, digest) in PARTS.items()}
    return _mano("hawor", settings.hawor.read.mano_dir or settings.mano_dir)


def _of_dataset(settings: HumanVideoSettings, spec: DatasetSpec) -> dict[str, str]:
    in_mano = spec.hands is not None and not spec.hands.variant.startswith("keypoints")
    return _mano("mano", settings.mano_dir) if in_mano or spec.reader == "hawor_results" else {}


def _mano(use: str, setting: str | None) -> dict[str, str]:
    folder = mano_dir(setting)
    if folder is None:
        return {f"{use}/{name}": _ABSENT for name in _MANO_FILES}
    if not folder.is_dir():
        raise DatasetRefused(f"mano_dir {folder}: no such folder; it should hold {' and '.join(_MANO_FILES)}")
    missing = [name for name in _MANO_FILES if not (folder / name).is_file()]
    if missing:
        raise DatasetRefused(f"mano_dir {folder}: {' and '.join(missing)} not in it; both sides are needed")
    return {f"{use}/{name}": _hash(folder / name) for name in _MANO_FILES}


def _hash(file: Path) -> str:
    try:
        stat = file.stat()
        return _hashed(str(file), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DatasetRefused(f"{file}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=64)
def _hashed(path: str, _size: int, _mtime_ns: int) -> str:
    return hash_file(path)

"""Data sets by name, and which one a folder is.

``open_source(folder)`` compares the listing with the ``fingerprint`` of every data-set YAML and, where names prove too
little, looks into a few files (``peek``). Exactly one match opens that reader; no match opens the videos plainly,
without annotation; two matches are refused, since a guess would silently lose one set's hands or words.
"""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from pathlib import Path

from unihand_data.config import load_settings
from unihand_data.errors import DatasetRefused
from unihand_data.sources.archive import is_archive
from unihand_data.sources.base import FolderSource, SourceOptions, need_root
from unihand_data.sources.listing import is_remote, is_video, list_files, matching
from unihand_data.sources.peek import shows
from unihand_data.sources.recording import HumanSource
from unihand_data.sources.spec import DatasetSpec

log = logging.getLogger(__name__)

DATASETS = Path(__file__).parent / "datasets"
PLAIN = "video_folder"

READERS: dict[str, str] = {
    "video_folder": "video_folder:VideoFolderSource",
    "video_table": "video_table:VideoTableSource",
    "video_pose": "video_pose:VideoPoseSource",
    "hdf5_skeleton": "hdf5_skeleton:Hdf5SkeletonSource",
    "webdataset": "webdataset:WebDatasetSource",
    "frame_archive": "frame_archive:FrameArchiveSource",
    "mano_folder": "layout_folder:LayoutSource",
    "episode_npy": "episode_npy:EpisodeNpySource",
    "text_skeleton": "layout_folder:LayoutSource",
    "landmark_csv": "layout_folder:LayoutSource",
    "lerobot_human": "lerobot_human:LeRobotHumanSource",
    "hawor_results": "hawor_folder:HaworFolderSource",
}


def dataset_names() -> list[str]:
    """Names of the shipped data sets."""
    return sorted(p.stem for p in DATASETS.glob("*.yaml"))


def load_dataset(name: str) -> DatasetSpec:
    """A shipped data set by name, or a YAML file of the user's by path.

    Raises:
        DatasetRefused: no such name; the sentence lists the known ones.
        ValueError: the YAML does not follow the schema."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else DATASETS / f"{name}.yaml"
    if not path.is_file():
        raise DatasetRefused(f"There is no data set {name!r}; --dataset takes one of {', '.join(dataset_names())}.")
    return _load(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=128)
def _load(path: str, _mtime: int) -> DatasetSpec:
    return load_settings(DatasetSpec, path)


def recognise(files: list[str], root: str) -> list[str]:
    """Names of the data sets whose fingerprint the listing of ``root`` shows."""
    return [name for name in dataset_names() if _hits(load_dataset(name), files, root)]


def _hits(spec: DatasetSpec, files: list[str], root: str) -> bool:
    if not any(all(matching(files, [glob]) for glob in group) for group in spec.fingerprint):
        return False
    if spec.peek is None or shows(spec.peek, files, root):
        return True
    log.info("%s: names as of %s, but its files hold no %s", root, spec.name, spec.peek.holds)
    return False


def open_source(
    input_path: str, dataset: str | DatasetSpec | None = None, options: SourceOptions | None = None
) -> HumanSource:
    """The reader for a folder (or one file), local or on object storage.

    Args:
        input_path: folder, video, archive or URL.
        dataset: name, YAML path or the spec itself; None recognises the folder.
        options: where videos and MANO files lie.

    Raises:
        DatasetRefused: nothing there, nothing recognised, or several data sets recognised.
    """
    root, only = _split_input(input_path)
    if dataset is not None:
        spec = dataset if isinstance(dataset, DatasetSpec) else load_dataset(dataset)
        return _build(spec, root, only, options)
    unreadable: dict[str, str] = {}
    files = [only] if only else list_files(root, limit=200_000, unreadable=unreadable)
    need_root(root, unreadable)
    found = recognise(files, root)
    if len(found) > 1:
        raise DatasetRefused(f"{input_path} looks like {' and '.join(found)}; say which with --dataset.")
    if found:
        log.info("%s is read as %s", input_path, found[0])
        return _build(load_dataset(found[0]), root, only, options)
    if any(is_video(f) or is_archive(f) for f in files):
        log.info("%s is read as a plain folder of videos", input_path)
        return _build(load_dataset(PLAIN), root, only, options)
    raise DatasetRefused(
        f"{input_path} holds no video and is no data set known here; name its format with --dataset "
        f"({', '.join(dataset_names())})."
    )


def _split_input(input_path: str) -> tuple[str, str | None]:
    if is_remote(input_path):
        if is_video(input_path):
            root, _, name = input_path.rpartition("/")
            return root, name
        if is_archive(input_path):
            raise DatasetRefused(f"{input_path}: archives are read from local disk only; copy it near.")
        return input_path, None
    path = Path(input_path.removeprefix("file://")).absolute()
    if path.is_dir():
        return str(path), None
    if path.is_file():
        return str(path.parent), path.name
    raise DatasetRefused(f"{input_path} does not exist; --input takes a folder, a video or an archive.")


def _build(spec: DatasetSpec, root: str, only: str | None, options: SourceOptions | None) -> FolderSource:
    if is_remote(root) and spec.reader != "video_folder":
        raise DatasetRefused(
            f"{root}: {spec.name} is read from local disk only; copy it first or mount the bucket (--dataset {PLAIN} "
            "takes the videos alone)."
        )
    module, _, cls = READERS[spec.reader].partition(":")
    reader = getattr(importlib.import_module(f"unihand_data.sources.readers.{module}"), cls)
    return reader(root, spec, options, only)

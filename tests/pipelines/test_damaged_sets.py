"""One damaged recording of every kind of reader through the job's first stage: one reject row, no bug of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from unihand_data.config import content_hash
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.human_stages import OpenAndSplit
from unihand_data.jobs.items import list_units
from unihand_data.jobs.joined import JoinedVideos
from unihand_data.runner.job import run_job
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.settings import RunnerSettings
from unihand_data.runner.sink import SinkSpec
from unihand_data.runner.stage import StageSpec
from unihand_data.sources.base import SourceOptions
from unihand_data.sources.generate.catalogue import generate
from unihand_data.sources.registry import READERS, load_dataset, open_source

#: a data set of each reader, and the file of one of its recordings that ends half-way
DAMAGED = {
    "video_folder": "*.mp4",
    "epic_kitchens_100": "*.MP4",
    "ego_exo4d": "hand/annotation/*.json",
    "egodex": "*.hdf5",
    "egocentric_10k": "*.tar",
    "hot3d": "*.tar",
    "arctic": "*.mano.npy",
    "vitra_1m": "*_ep_000000.npy",
    "h2o": "hand_pose/000002.txt",
    "aria_mps": "hand_tracking_results.csv",
    "unihand_preview": "*.mp4",
    "hawor_results": "world_space_res.pth",
}


def test_every_reader_has_a_damaged_data_set_here():
    assert {load_dataset(name).reader for name in DAMAGED} == set(READERS)


@dataclass
class NoParts:
    """A sink that keeps nothing; the ledger says how each unit ended."""

    def __call__(self, units, losses) -> None: ...


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_recording_is_one_reject_row_and_the_other_is_split(tmp_path, name):
    generate(name, tmp_path / "in", recordings=2, frames=24)
    path = sorted((tmp_path / "in").rglob(DAMAGED[name]))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    mano = tmp_path / "in" / "mano_stand_in"
    mano_dir = str(mano) if mano.exists() else None
    settings = HumanVideoSettings.model_validate({"video": {"segment": {"min_seconds": 0.3}}})
    options = SourceOptions(work_dir=str(tmp_path / "joined"), mano_dir=mano_dir)
    source = partial(open_source, str(tmp_path / "in"), name, options)
    joined = JoinedVideos(str(tmp_path / "joined"), source, 1 << 30)
    result = run_job(
        name="split",
        units=list_units(source()),
        stages=[StageSpec("split", partial(OpenAndSplit, settings, source, joined), splits=True)],
        sink=SinkSpec(NoParts()),
        output=str(tmp_path / "out"),
        settings=RunnerSettings(engine="local", progress="off", max_reject_share=None),
        content_hash=content_hash(settings),
    )
    rows = Ledger(str(tmp_path / "out"), content_hash(settings)).rejects().to_pylist()
    assert result.reasons["internal"] == 0, rows
    assert [row["stage"] for row in rows] == ["split"], [row["message"] for row in rows]
    assert result.status["split"] == result.listed - (rows[0]["level"] == "item"), rows

import shutil

import pytest

from unihand_data.config import SettingsError
from unihand_data.demo.truth import SHIPPED_VIDEO
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.human_config import HumanVideoSettings, checked
from unihand_data.jobs.items import fingerprint, list_units
from unihand_data.jobs.model_files import check_estimator
from unihand_data.jobs.places import check_places
from unihand_data.sources.registry import load_dataset, open_source


def ids(folder):
    return [unit.id for unit in list_units(open_source(str(folder)))]


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "a"
    here.mkdir()
    shutil.copy(SHIPPED_VIDEO, here / "one.mp4")
    return here


def test_a_copied_input_is_the_same_input(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "b")
    assert ids(folder) == ids(tmp_path / "b")


def test_a_file_of_the_same_name_and_size_with_other_content_is_another_item(folder):
    before = ids(folder)
    data = bytearray((folder / "one.mp4").read_bytes())
    data[100] ^= 0xFF
    (folder / "one.mp4").write_bytes(data)
    assert ids(folder) != before


def test_a_file_that_is_not_there_has_no_fingerprint_and_no_traceback(tmp_path):
    assert fingerprint(str(tmp_path / "nothing.mp4")) == "-"


def test_hawor_without_its_checkout_is_refused_before_any_work():
    settings = HumanVideoSettings(hand_estimator="hawor")
    with pytest.raises(SettingsError, match=r"hawor\.repo"):
        checked(settings)


def test_a_checkout_or_a_folder_of_videos_that_is_not_there_is_refused_by_its_name():
    settings = HumanVideoSettings(hand_estimator="hawor", hawor=HaworSettings(repo="/nothere"))
    with pytest.raises(SettingsError, match="/nothere"):
        check_estimator(checked(settings), load_dataset("video_folder"), fetch=False)
    with pytest.raises(SettingsError, match="videos /nothere: no such folder"):
        checked(HumanVideoSettings(videos="/nothere"))


def test_places_that_cannot_be_written_are_refused_with_option_and_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--output .*file/out: cannot be written"):
        check_places(JobArguments("in", str(tmp_path / "file" / "out")))
    with pytest.raises(SettingsError, match=r"--work .*file/work: cannot be written"):
        check_places(JobArguments("in", str(tmp_path / "out"), work=str(tmp_path / "file" / "work")))
    check_places(JobArguments("in", str(tmp_path / "well")))
    assert not [path for path in (tmp_path / "well").rglob("*") if path.is_file()]

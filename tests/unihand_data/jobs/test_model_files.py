"""What model files hold is content; where they lie is not."""

from __future__ import annotations

import os
import shutil

import pytest

from unihand_data.config import SettingsError, content_hash
from unihand_data.errors import DatasetRefused
from unihand_data.hands.hawor_config import HaworSettings
from unihand_data.jobs import model_files
from unihand_data.jobs.human_config import HumanVideoSettings, checked
from unihand_data.sources.registry import dataset_names, load_dataset

PLAIN, HOT3D, EGODEX = (load_dataset(name) for name in ("video_folder", "hot3d", "egodex"))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("UNIHAND_MANO_DIR", "UNIHAND_HAND_MODELS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mano(tmp_path):
    folder = tmp_path / "mano"
    folder.mkdir()
    for side in ("LEFT", "RIGHT"):
        (folder / f"MANO_{side}.pkl").write_bytes(f"numbers of the {side} hand".encode())
    return folder


def job(tmp_path, spec=HOT3D, **settings) -> HumanVideoSettings:
    return model_files.with_model_files(checked(HumanVideoSettings(**settings)), spec)


def test_a_moved_folder_with_the_same_files_is_the_same_content(tmp_path, mano, monkeypatch):
    first = content_hash(job(tmp_path, mano_dir=str(mano)))
    shutil.copytree(mano, tmp_path / "elsewhere")
    assert content_hash(job(tmp_path, mano_dir=str(tmp_path / "elsewhere"))) == first
    monkeypatch.setenv("UNIHAND_MANO_DIR", str(tmp_path / "elsewhere"))
    named = job(tmp_path)
    assert content_hash(named) == first
    assert named.mano_dir == str(tmp_path / "elsewhere"), "workers need not have the driver's environment"


def test_other_files_and_none_are_other_content(tmp_path, mano):
    hashes = {content_hash(job(tmp_path)), content_hash(job(tmp_path, mano_dir=str(mano)))}
    for name in ("MANO_LEFT.pkl", "MANO_RIGHT.pkl"):
        kept, stamp = (mano / name).read_bytes(), (mano / name).stat().st_mtime_ns
        (mano / name).write_bytes(b"other numbers, of another fitting")
        hashes.add(content_hash(job(tmp_path, mano_dir=str(mano))))
        (mano / name).write_bytes(kept)
        os.utime(mano / name, ns=(stamp, stamp))
    assert len(hashes) == 4


@pytest.mark.parametrize("spec", [PLAIN, EGODEX])
def test_a_job_without_use_for_mano_does_not_depend_on_it(tmp_path, mano, spec):
    assert content_hash(job(tmp_path, spec, mano_dir=str(mano))) == content_hash(job(tmp_path, spec))


def test_hands_by_hawor_depend_on_the_folder_they_are_read_with(tmp_path, mano):
    hawor = {"hand_estimator": "hawor", "hawor": {"repo": "/hawor"}}
    own = {"hand_estimator": "hawor", "hawor": {"repo": "/hawor", "read": {"mano_dir": str(mano)}}}
    without = content_hash(job(tmp_path, PLAIN, **hawor))
    with_files = content_hash(job(tmp_path, PLAIN, **hawor, mano_dir=str(mano)))
    assert content_hash(job(tmp_path, PLAIN, **own)) == with_files != without


def test_the_hand_networks_are_in_the_hash_by_their_pinned_sums(tmp_path):
    made = job(tmp_path, PLAIN)
    assert sorted(made.model_files) == ["hands/hand_detector.tflite", "hands/hand_landmarks_detector.tflite"]
    assert content_hash(made) == content_hash(job(tmp_path, PLAIN))


def test_another_bundle_than_the_pinned_one_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.task").write_bytes(b"other networks")
    with pytest.raises(SettingsError, match=r"mine\.task"):
        model_files.check_estimator(
            job(tmp_path, PLAIN, hands={"model_path": str(tmp_path / "mine.task")}), PLAIN, fetch=False
        )


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("hot3d", "PCA coefficients"),
        ("dexycb", "PCA coefficients"),
        ("arctic", "mean hand"),
        ("hoi4d", "transl"),
    ],
)
def test_a_data_set_that_needs_mano_is_refused_up_front_without_it(tmp_path, mano, name, use):
    spec = load_dataset(name)
    with pytest.raises(SettingsError, match=f"{name}.*{use}.*MANO_LEFT") as caught:
        model_files.check_estimator(job(tmp_path, spec), spec, fetch=False)
    assert "\n" not in str(caught.value)
    model_files.check_estimator(job(tmp_path, spec, mano_dir=str(mano)), spec, fetch=False)


def test_only_the_sets_whose_numbers_need_mano_ask_for_it(tmp_path):
    asked = set()
    for name in dataset_names():
        spec = load_dataset(name)
        try:
            model_files.check_estimator(job(tmp_path, spec), spec, fetch=False)
        except SettingsError:
            asked.add(name)
    assert asked == {"arctic", "dexycb", "hoi4d", "hot3d"}


def test_a_named_folder_that_is_not_there_or_lacks_a_side_is_refused(tmp_path, mano):
    with pytest.raises(SettingsError, match="no such folder"):
        job(tmp_path, mano_dir=str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"MANO_LEFT\.pkl and MANO_RIGHT\.pkl not in it"):
        job(tmp_path, mano_dir=str(tmp_path / "empty"))
    (mano / "MANO_LEFT.pkl").unlink()
    with pytest.raises(SettingsError, match=r"MANO_LEFT\.pkl not in it"):
        job(tmp_path, mano_dir=str(mano))
    with pytest.raises(SettingsError, match="model_files"):
        job(tmp_path, model_files={"mano/MANO_LEFT.pkl": "0"})


def test_a_worker_with_other_files_than_the_driver_does_not_work(tmp_path, mano, monkeypatch):
    settings = job(tmp_path, mano_dir=str(mano))
    model_files.check_worker(settings, HOT3D)
    (mano / "MANO_LEFT.pkl").write_bytes(b"an older fitting")
    with pytest.raises(DatasetRefused, match=r"mano/MANO_LEFT\.pkl"):
        model_files.check_worker(settings, HOT3D)
    without = job(tmp_path)
    monkeypatch.setenv("UNIHAND_MANO_DIR", str(mano))
    with pytest.raises(DatasetRefused, match="on none"):
        model_files.check_worker(without, HOT3D)
    hawor = job(tmp_path, PLAIN, hand_estimator="hawor", hawor=HaworSettings(repo="/hawor"))
    (mano / "MANO_RIGHT.pkl").unlink()
    with pytest.raises(DatasetRefused, match=r"MANO_RIGHT\.pkl"):
        model_files.check_worker(hawor)

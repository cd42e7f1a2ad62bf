import json
import shutil
from pathlib import Path

import pytest

from unihand_data.demo.truth import SHIPPED_VIDEO, load_truth
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_bytes, make_id
from unihand_data.jobs.items import files_of, fingerprint
from unihand_data.sources.base import hash_files
from unihand_data.sources.camera_json import parse, read_bytes
from unihand_data.sources.generate.media import write_video
from unihand_data.sources.generate.scene import make_scene
from unihand_data.sources.registry import open_source

GOOD = {"fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480}


def written(tmp_path: Path, data) -> Path:
    path = tmp_path / "a.camera.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def read_camera(path: Path):
    return parse(read_bytes(str(path)), str(path))


def test_the_shipped_clip_brings_its_true_camera():
    source = open_source(str(SHIPPED_VIDEO))
    recording = source.open(next(iter(source.items())))
    fx, _, cx, _ = load_truth().intrinsics
    assert recording.intrinsics is not None
    assert (recording.intrinsics.fx, recording.intrinsics.cx) == pytest.approx((fx, cx))


def test_a_lens_is_read_with_its_coefficients(tmp_path):
    camera = read_camera(written(tmp_path, GOOD | {"model": "kannala_brandt", "distortion": [0.1, 0, 0, 0]}))
    assert camera.model == "kannala_brandt"
    assert camera.distortion == (0.1, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{", Reason.TRUNCATED),
        ("fx: 600", Reason.UNREADABLE),
        ("", Reason.EMPTY),
        (" " * 70_000, Reason.UNSAFE_CONTENT),
        ([1], Reason.WRONG_TYPE),
        ({k: v for k, v in GOOD.items() if k != "cx"}, Reason.MISSING_FIELD),
        (GOOD | {"fx": "600"}, Reason.WRONG_TYPE),
        (GOOD | {"fx": -1.0}, Reason.BAD_VALUE),
        (GOOD | {"focal": 1.0}, Reason.WRONG_TYPE),
        (GOOD | {"model": "fisheye"}, Reason.BAD_VALUE),
        (GOOD | {"model": "radtan"}, Reason.CONTRADICTION),
        (GOOD | {"model": "kannala_brandt", "distortion": [0.1, 0.0]}, Reason.CONTRADICTION),
        (GOOD | {"distortion": [float("nan")], "model": "radtan"}, Reason.WRONG_TYPE),
    ],
)
def test_a_wrong_camera_file_is_rejected_for_its_own_reason(data, reason, tmp_path):
    with pytest.raises(Reject) as error:
        read_camera(written(tmp_path, data))
    assert error.value.reason == reason
    assert "a.camera.json" in error.value.message


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The bytes of a small video."""
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", make_scene(0, frames=4)).read_bytes()


def opened(place: str):
    source = open_source(place)
    items = list(source.items())
    return source, items, [source.open(item) for item in items]


def test_the_camera_is_found_on_disk_in_a_bucket_and_in_archives_and_is_the_same_annotation(tmp_path, clip):
    import fsspec

    camera = json.dumps(GOOD).encode()
    (tmp_path / "disk" / "x").mkdir(parents=True)
    for name, data in (("a.mp4", clip), ("a.camera.json", camera)):
        (tmp_path / "disk" / "x" / name).write_bytes(data)
    for kind in ("zip", "tar", "gztar"):
        shutil.make_archive(str(tmp_path / kind / "packed"), kind, tmp_path / "disk")
    fs = fsspec.filesystem("memory")
    fs.pipe("/cameras/x/a.mp4", clip)
    fs.pipe("/cameras/x/a.camera.json", camera)
    wanted = make_id("files", hash_bytes(camera))
    assert wanted == hash_files((str(tmp_path / "disk/x/a.camera.json"),))
    places = ["disk", "disk/x/a.mp4", "zip", "tar", "gztar", "zip/packed.zip"]
    for place in (*(str(tmp_path / p) for p in places), "memory://cameras", "memory://cameras/x/a.mp4"):
        source, _, (recording,) = opened(place)
        assert recording.intrinsics is not None, place
        assert (recording.intrinsics.fx, recording.intrinsics.source) == (600.0, "given")
        assert recording.extra["annotation_id"] == wanted
        assert source.ignored() == 0


def test_a_camera_that_comes_later_makes_another_input_item(tmp_path, clip):
    import fsspec

    def item_files(place):
        source, (item,), _ = opened(place)
        return [fingerprint(path) for path in files_of(item, source.root)]

    (tmp_path / "a.mp4").write_bytes(clip)
    fs = fsspec.filesystem("memory")
    fs.pipe("/later/a.mp4", clip)
    before = {place: item_files(place) for place in (str(tmp_path), "memory://later")}
    (tmp_path / "a.camera.json").write_text(json.dumps(GOOD))
    fs.pipe("/later/a.camera.json", json.dumps(GOOD).encode())
    for place, files in before.items():
        assert item_files(place) != files, place


def test_a_damaged_camera_in_a_bucket_or_an_archive_is_rejected_by_name(tmp_path, clip):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/damaged/a.mp4", clip)
    fs.pipe("/damaged/a.camera.json", b'{"fx": 1')
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(clip)
    (tmp_path / "in" / "a.camera.json").write_bytes(b'{"fx": 1')
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "in")
    for place in ("memory://damaged", str(tmp_path / "packed.zip")):
        with pytest.raises(Reject, match=r"a\.camera\.json") as caught:
            opened(place)
        assert caught.value.reason == Reason.TRUNCATED


def test_a_camera_file_without_its_video_is_counted_as_ignored(tmp_path, clip):
    (tmp_path / "a.mp4").write_bytes(clip)
    (tmp_path / "b.camera.json").write_text(json.dumps(GOOD))
    source, _, (recording,) = opened(str(tmp_path))
    assert recording.intrinsics is None
    assert source.ignored_by_suffix() == {".json": 1}

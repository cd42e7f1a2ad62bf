import json
from pathlib import Path

import pytest

from unihand_data.demo.truth import SHIPPED_VIDEO, load_truth
from unihand_data.errors import Reason, Reject
from unihand_data.sources.readers.video_folder import read_camera
from unihand_data.sources.registry import open_source

GOOD = {"fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480}


def written(tmp_path: Path, data) -> Path:
    path = tmp_path / "a.camera.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


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
        ("{", Reason.UNREADABLE),
        ([1], Reason.WRONG_TYPE),
        ({k: v for k, v in GOOD.items() if k != "cx"}, Reason.MISSING_FIELD),
        (GOOD | {"fx": "600"}, Reason.WRONG_TYPE),
        (GOOD | {"fx": -1.0}, Reason.BAD_VALUE),
        (GOOD | {"focal": 1.0}, Reason.WRONG_TYPE),
        (GOOD | {"model": "fisheye"}, Reason.BAD_VALUE),
        (GOOD | {"model": "radtan"}, Reason.CONTRADICTION),
        (GOOD | {"distortion": [float("nan")], "model": "radtan"}, Reason.WRONG_TYPE),
    ],
)
def test_a_wrong_camera_file_is_rejected_for_its_own_reason(data, reason, tmp_path):
    with pytest.raises(Reject) as error:
        read_camera(written(tmp_path, data))
    assert error.value.reason == reason
    assert "a.camera.json" in error.value.message

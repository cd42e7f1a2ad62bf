"""Rectification against the published projection formulas (OpenCV's own implementation of them)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.errors import Reject
from unihand_data.values.camera import Intrinsics
from unihand_data.video.undistort import project, rectified_intrinsics, rectify, rectify_map, seen_share

FISHEYE = Intrinsics(620, 615, 955, 542, 1920, 1080, "kannala_brandt", (0.05, -0.02, 0.004, -0.0005))
RADTAN = Intrinsics(900, 905, 640.5, 359.2, 1280, 720, "radtan", (-0.28, 0.09, 0.0007, -0.0003, -0.012))
RATIONAL = Intrinsics(600, 600, 640, 360, 1280, 720, "radtan", (0.5, -2.6, 0.0006, -0.0001, 1.5, 0.37, -2.4, 1.4))


def opencv(points, camera):
    if camera.model == "kannala_brandt":
        out, _ = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), camera.K, np.array(camera.distortion)
        )
    else:
        out, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K, np.array(camera.distortion))
    return out[:, 0]


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.4, 0.4), st.floats(0.1, 10))
def test_projection_follows_the_formula(x, y, z):
    point = np.array([[x * z, y * z, z]])
    for camera in (FISHEYE, RADTAN, RATIONAL):
        np.testing.assert_allclose(project(point, camera), opencv(point, camera), atol=1e-6)


def test_fisheye_formula_by_hand():
    camera = Intrinsics(100, 100, 0, 0, 10, 10, "kannala_brandt", (0.1, 0.0, 0.0, 0.0))
    theta = np.arctan(1.0)
    np.testing.assert_allclose(project(np.array([[2.0, 0, 2.0]]), camera), [[100 * (theta + 0.1 * theta**3), 0]])


@pytest.mark.parametrize("camera", [FISHEYE, RADTAN, RATIONAL], ids=["fisheye", "radtan", "rational"])
def test_every_rectified_pixel_comes_from_where_its_ray_projects(camera):
    pinhole = rectified_intrinsics(camera, hfov_deg=80, size=(320, 180))
    m = rectify_map(camera, pinhole)
    rng = np.random.default_rng(0)
    for u, v in rng.integers([0, 0], [320, 180], (200, 2)):
        ray = np.array([[(u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy, 1.0]])
        np.testing.assert_allclose(m[v, u], opencv(ray, camera)[0], atol=2e-2)


def test_rays_behind_the_camera_or_beyond_the_lens_polynomial_are_nowhere():
    folding = Intrinsics(500, 500, 320, 240, 640, 480, "kannala_brandt", (-0.3, 0.0, 0.0, 0.0))
    assert np.isnan(project(np.array([[5.0, 0, 1.0]]), folding)).all()
    assert np.isfinite(project(np.array([[0.5, 0, 1.0]]), folding)).all()
    barrel = Intrinsics(500, 500, 320, 240, 640, 480, "radtan", (-0.4,))
    assert np.isnan(project(np.array([[2.0, 0, 1.0], [0, 0, -1.0]]), barrel)).all()


def test_the_recorded_pinhole_has_the_asked_field_of_view():
    pinhole = rectified_intrinsics(FISHEYE, hfov_deg=90, size=(640, 360))
    assert (pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy) == (pytest.approx(320), pytest.approx(320), 319.5, 179.5)
    assert pinhole.model == "none"
    assert rectified_intrinsics(FISHEYE, size=(960, 540)).fx == pytest.approx((620 + 615) / 4)
    assert rectified_intrinsics(FISHEYE, focal=300).fx == 300
    with pytest.raises(ValueError, match="180"):
        rectified_intrinsics(FISHEYE, hfov_deg=180)
    with pytest.raises(ValueError, match="not both"):
        rectified_intrinsics(FISHEYE, hfov_deg=90, focal=300)


def test_a_pinhole_rectified_to_itself_is_unchanged():
    camera = Intrinsics(100, 100, 15.5, 11.5, 32, 24)
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    np.testing.assert_array_equal(rectify(picture, camera, camera), picture)
    assert seen_share(camera, camera) == 1.0


def test_what_the_source_does_not_see_is_black_and_counted():
    wide = rectified_intrinsics(FISHEYE, hfov_deg=150, size=(320, 180))
    assert 0.3 < seen_share(FISHEYE, wide) < 0.9
    assert rectify(np.full((1080, 1920), 255, np.uint8), FISHEYE, wide)[0, 160] == 0


def test_maps_are_made_once():
    pinhole = rectified_intrinsics(RADTAN)
    assert rectify_map(RADTAN, pinhole) is rectify_map(RADTAN, pinhole)


def test_bad_coefficients_are_refused():
    with pytest.raises(Reject, match="finite"):
        project(np.ones((1, 3)), Intrinsics(1, 1, 0, 0, 2, 2, "kannala_brandt", (float("nan"),)))
    with pytest.raises(Reject, match="at most 4"):
        project(np.ones((1, 3)), Intrinsics(1, 1, 0, 0, 2, 2, "kannala_brandt", (0.0,) * 5))
    with pytest.raises(ValueError, match="1920x1080"):
        rectify(np.zeros((10, 10), np.uint8), FISHEYE, rectified_intrinsics(FISHEYE))

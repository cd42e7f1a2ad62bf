"""Cuts are found; heads that turn fast are not cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from unihand_data.video.decode import iter_frames
from unihand_data.video.probe import probe
from unihand_data.video.shots import ShotDetector, ShotSettings, thumbnail_size

W, H = 64, 36


def scene(seed: int, size: int = 900) -> np.ndarray:
    """A wide picture with the spectrum of natural ones (amplitude 1/f), random colours and some objects."""
    rng = np.random.default_rng(seed)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    f[0, 0] = 1
    base = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) / f**1.1).real
    base = (base - base.min()) / np.ptp(base)
    colour = rng.uniform(60, 255, 3)
    picture = (base[..., None] * colour).astype(np.uint8)
    for _ in range(60):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        cv2.rectangle(
            picture,
            (x, y),
            (x + int(rng.integers(10, 60)), y + int(rng.integers(10, 60))),
            rng.uniform(0, 255, 3).tolist(),
            -1,
        )
    return picture


def view(picture, x, y, blur=0):
    """Thumbnail of a 320x180 window at (x, y), smeared sideways by ``blur`` pixels."""
    crop = picture[int(y) : int(y) + 180, int(x) : int(x) + 320]
    if blur > 1:
        crop = cv2.blur(crop, (int(blur), 1))
    return cv2.resize(crop, (W, H), interpolation=cv2.INTER_AREA)


def wander(picture, n, seed, speed=6.0):
    rng = np.random.default_rng(seed)
    at, v = np.array([200.0, 300.0]), np.zeros(2)
    for _ in range(n):
        v = 0.8 * v + rng.normal(0, speed, 2)
        at = np.clip(at + v, [0, 0], [570, 710])
        shot = view(picture, *at).astype(int) + rng.normal(0, 2, (H, W, 3))
        yield np.clip(shot, 0, 255).astype(np.uint8)


def find_cuts(frames, settings=None) -> np.ndarray:
    detector = ShotDetector(settings)
    for frame in frames:
        detector.push(frame)
    return detector.cuts()


def test_cuts_between_scenes_are_found_and_nothing_else():
    frames, expected = [], []
    for seed in range(24):
        frames += list(wander(scene(seed), 20, seed))
        expected.append(len(frames))
    assert find_cuts(frames).tolist() == expected[:-1]


@pytest.mark.parametrize("pixels_per_frame", [20, 60, 110, 180])
def test_a_fast_pan_is_not_a_cut(pixels_per_frame):
    """Up to more than half of the picture leaves from one frame to the next, smeared by the motion."""
    for seed in range(6):
        picture = np.hstack([scene(seed), scene(seed + 50)])
        n = min(12, 1400 // pixels_per_frame)
        x = 40 + np.concatenate([np.zeros(8), np.arange(n), np.full(8, n - 1)]) * pixels_per_frame
        blur = np.r_[0, np.abs(np.diff(x)) * 0.5]
        assert find_cuts([view(picture, a, 300, b) for a, b in zip(x, blur)]).size == 0


def test_a_flash_and_a_single_broken_picture_are_not_cuts():
    frames = list(wander(scene(3), 40, 3))
    frames[20] = np.full((H, W, 3), 250, np.uint8)
    assert find_cuts(frames).size == 0


def test_light_switched_on_is_not_a_cut():
    frames = list(wander(scene(4), 40, 4))
    frames[20:] = [np.clip(f * 1.4 + 10, 0, 255).astype(np.uint8) for f in frames[20:]]
    assert find_cuts(frames).size == 0


def test_two_cuts_close_to_each_other_are_both_found():
    frames = list(wander(scene(1), 20, 1)) + list(wander(scene(2), 3, 2)) + list(wander(scene(9), 20, 3))
    assert find_cuts(frames).tolist() == [20, 23]


def test_pictures_without_texture_are_told_apart_by_colour():
    frames = [np.full((H, W, 3), c, np.uint8) for c in [(200, 20, 20)] * 10 + [(20, 20, 200)] * 10]
    assert find_cuts(frames).tolist() == [10]


def test_the_detector_can_be_switched_off_and_takes_few_frames():
    frames = [np.full((H, W, 3), c, np.uint8) for c in [0] * 5 + [255] * 5]
    assert find_cuts(frames, ShotSettings(enabled=False)).size == 0
    assert find_cuts([]).size == 0
    assert find_cuts(frames[:1]).size == 0


def test_real_clips_one_after_the_other(samples):
    """Real egocentric motion, also at a third and a sixth of its rate, has no cut; two clips have one between them."""
    parts = []
    for name in (
        "hawor_video/video_0.mp4",
        "robomind_annotations/TK-OpenTrashBin.mp4",
        "robomind_annotations/UR-PickRoundBread.mp4",
    ):
        if not (samples / name).is_file():
            pytest.skip(f"no {name}")
        info = probe(samples / name)
        assert max(thumbnail_size(info.width, info.height)) == 64
        clip = info.clip(0, 120)
        parts.append([p for _, _, p in iter_frames(clip, size=(W, H))])
    for stride in (1, 3, 6):
        for part in parts:
            assert find_cuts(part[::stride]).size == 0
        joined = [p for part in parts for p in part[::stride]]
        n = len(parts[0][::stride])
        assert find_cuts(joined).tolist() == [n, 2 * n]

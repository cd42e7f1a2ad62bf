"""Structure from motion over followed points with pycolmap, for one clip. Runs in a worker process of its own.

pycolmap and OpenCV must not meet in one process (their bundled PNG libraries collide): this module never imports cv2.

Legend: T frames, K keyframes, N observations, M points. Poses are world-to-camera inside COLMAP and are turned into
camera-to-world on the way out; COLMAP's pixel centres are at 0.5.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_HALF = 0.5
#: global positioning starts from random places and may end in a poor map: so many starts, the best is taken; two that
#: agree are enough
_STARTS = 3
_ALIKE = 0.02
_GOOD_PX = 2.0  # mean reprojection error at which a map is worth nothing


def build(threads: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """For ``KillableWorker``; the request holds the arguments of :func:`reconstruct`."""
    import pycolmap

    pycolmap.logging.minloglevel = 3

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return reconstruct(**request, threads=threads)

    return answer


def reconstruct(
    frame: np.ndarray,
    track: np.ndarray,
    xy: np.ndarray,
    frames: int,
    keyframes: list[int],
    camera: dict[str, float],
    min_tri_angle_deg: float,
    threads: int,
) -> dict[str, Any]:
    """Poses of all frames that can be placed, in the first placed frame's coordinates and an arbitrary scale.

    Args:
        frame, track, xy: observations (N,), (N,), (N, 2) px.
        keyframes: frames the map is built from; the others are placed against the finished points.
        camera: fx, fy, cx, cy, width, height of a pinhole.

    Returns:
        ``pose`` (T, 4, 4) camera-to-world, ``valid`` (T,), ``points`` (M, 3), ``point_track`` (M,),
        ``reprojection_px`` and ``keyframe_ratio`` (registered over all); zero points when nothing could be mapped.
    """
    import pycolmap

    nothing = {
        "pose": np.tile(np.eye(4), (frames, 1, 1)),
        "valid": np.zeros(frames, bool),
        "points": np.zeros((0, 3)),
        "point_track": np.zeros(0, np.int64),
        "reprojection_px": float("nan"),
        "keyframe_ratio": 0.0,
    }
    lens = pycolmap.Camera(
        model="PINHOLE",
        width=int(camera["width"]),
        height=int(camera["height"]),
        params=[camera["fx"], camera["fy"], camera["cx"] + _HALF, camera["cy"] + _HALF],
        camera_id=1,
    )
    lens.has_prior_focal_length = True
    seen = {k: np.flatnonzero(frame == k) for k in keyframes}
    with tempfile.TemporaryDirectory(prefix="unihand-sfm-") as folder:
        database, images = Path(folder) / "map.db", Path(folder) / "images"
        images.mkdir()
        if not _fill(pycolmap, database, lens, keyframes, seen, track, xy):
            return nothing
        maps: list[Any] = []
        for seed in range(_STARTS):
            options = _mapping_options(pycolmap, threads, min_tri_angle_deg, seed)
            pycolmap.set_random_seed(seed)
            maps += pycolmap.global_mapping(str(database), str(images), str(folder), options=options).values()
            if _agree([_worth(m) for m in maps]):
                break
    if not maps:
        return nothing
    best = max(maps, key=_worth)
    out = _dense(pycolmap, best, lens, frames, keyframes, seen, frame, track, xy)
    out["reprojection_px"] = float(best.compute_mean_reprojection_error())
    out["keyframe_ratio"] = best.num_reg_images() / len(keyframes)
    return out


def _worth(found) -> tuple[int, float]:
    """Placed keyframes first, then observations, each the less the further the map is from its pictures."""
    error = found.compute_mean_reprojection_error()
    return found.num_reg_images(), found.compute_num_observations() * max(0.0, 1.0 - error / _GOOD_PX)


def _agree(worths: list[tuple[int, float]]) -> bool:
    best = sorted(worths)[-2:]
    return len(best) == 2 and best[0][0] == best[1][0] and best[1][1] <= best[0][1] * (1 + _ALIKE)


def _mapping_options(pycolmap, threads: int, min_tri_angle_deg: float, seed: int):
    """Global mapping: a head that turns much and travels little leaves no good first pair for an incremental map."""
    options = pycolmap.GlobalPipelineOptions()
    mapper = options.mapper
    options.num_threads = mapper.num_threads = threads
    # the same clip must give the same map: every part draws from a seed and every solver sums in one order
    for part in (options, mapper, mapper.rotation_averaging, mapper.global_positioning, mapper.retriangulation):
        part.random_seed = seed
    mapper.bundle_adjustment.ceres.solver_options.num_threads = threads
    options.multiple_models = False
    options.min_num_matches = 10
    mapper.min_tri_angle_deg = min_tri_angle_deg
    bundle = mapper.bundle_adjustment
    bundle.refine_focal_length = bundle.refine_principal_point = bundle.refine_extra_params = False
    return options


def _name(k: int) -> str:
    return f"{k:06d}.png"


def _fill(pycolmap, path: Path, lens, keyframes, seen, track, xy) -> int:
    """Write camera, keyframes, and the shared points of every pair that agree on one motion; returns how many pairs.

    Pairs are verified here, one after the other from a seed: COLMAP's own verification spreads them over threads, whose
    draws and order change from run to run, and with them the map.
    """
    ransac = pycolmap.TwoViewGeometryOptions()
    ransac.ransac.random_seed = 0
    database = pycolmap.Database.open(str(path))
    database.write_camera(lens, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(lens.sensor_id)
    database.write_rig(rig, use_rig_id=True)
    for number, k in enumerate(keyframes, 1):
        image = pycolmap.Image(name=_name(k), camera_id=1, image_id=number)
        database.write_image(image, use_image_id=True)
        place = pycolmap.Frame(frame_id=number, rig_id=1)
        place.add_data_id(image.data_id)
        database.write_frame(place, use_frame_id=True)
        database.write_keypoints(number, (xy[seen[k]] + _HALF).astype(np.float32))
    pairs = 0
    points = [(xy[seen[k]] + _HALF) for k in keyframes]
    for a in range(len(keyframes)):
        for b in range(a + 1, len(keyframes)):
            if b - a > 4 and (b - a) % 4:  # neighbours, and every fourth for the long baselines
                continue
            _, at_a, at_b = np.intersect1d(track[seen[keyframes[a]]], track[seen[keyframes[b]]], return_indices=True)
            if len(at_a) >= 20:
                matches = np.stack([at_a, at_b], axis=1).astype(np.uint32)
                database.write_matches(a + 1, b + 1, matches)
                found = pycolmap.estimate_calibrated_two_view_geometry(
                    lens, points[a], lens, points[b], matches, ransac
                )
                database.write_two_view_geometry(a + 1, b + 1, found)
                pairs += 1
    database.close()
    return pairs


def _dense(pycolmap, best, lens, frames, keyframes, seen, frame, track, xy) -> dict[str, Any]:
    """Keyframe poses from the map; every other frame by robust absolute pose against the map's points."""
    pose, valid = np.tile(np.eye(4), (frames, 1, 1)), np.zeros(frames, bool)
    number_of = {_name(k): k for k in keyframes}
    point_of: dict[int, np.ndarray] = {}
    for image in best.images.values():
        if not image.has_pose:
            continue
        k = number_of[image.name]
        pose[k, :3] = image.cam_from_world().inverse().matrix()
        valid[k] = True
        for row, point in enumerate(image.points2D):
            if point.has_point3D():
                point_of[int(track[seen[k][row]])] = best.points3D[point.point3D_id].xyz
    ids = np.array(sorted(point_of), np.int64)
    points = np.array([point_of[int(i)] for i in ids]).reshape(-1, 3)
    refine = pycolmap.AbsolutePoseRefinementOptions()
    estimate = pycolmap.AbsolutePoseEstimationOptions()
    estimate.ransac.max_error = 0.006 * max(lens.width, lens.height)
    estimate.ransac.random_seed = 0
    starts = np.searchsorted(frame, np.arange(frames + 1))
    for t in np.flatnonzero(~valid).tolist():
        rows = np.arange(starts[t], starts[t + 1])
        at = np.searchsorted(ids, track[rows])
        known = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == track[rows])
        if known.sum() < 12:
            continue
        found = pycolmap.estimate_and_refine_absolute_pose(
            xy[rows[known]] + _HALF, points[at[known]], lens, estimate, refine
        )
        if found is not None and found["num_inliers"] >= max(10, 0.5 * known.sum()):
            pose[t, :3] = found["cam_from_world"].inverse().matrix()
            valid[t] = True
    return {"pose": pose, "valid": valid, "points": points, "point_track": ids}

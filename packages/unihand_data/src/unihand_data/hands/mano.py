"""MANO through smplx, for people who have its licensed model files.

Legend: T frames, V = 778 vertices, J = 21 keypoints (OpenPose order). Metres, radians.

smplx would read ``MANO_RIGHT.pkl`` with plain pickle. The file is read here through the allow-list unpickler instead
(chumpy arrays and the sparse joint regressor become numpy arrays) and smplx is given the numbers (``data_struct``). It
is built without PCA and with ``flat_hand_mean=True``, so theta is what :class:`~unihand_data.values.hands.HandTrack`
holds: relative to the flat hand, nothing added. The published left model has the x sign of its shape directions wrong
(left is the x-mirror of right only after the sign is turned); :func:`load_mano` turns it where the right model shows
the fault or is not there to compare with.
"""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.errors import Reason, Reject
from unihand_data.values.hands import Side

ENV = "UNIHAND_MANO_DIR"
#: MANO's 16 joints (wrist, then index, middle, pinky, ring, thumb, three each) and 5 tips -> the 21 of track.py
_TO_21 = np.array([0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20])
#: vertices at the finger tips, thumb to pinky (smplx's ``VERTEX_IDS['mano']``)
_TIPS = (744, 320, 443, 554, 671)
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, None),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "kintree_table": (2, 16),
    "f": (None, 3),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}


def mano_dir(setting: str | None = None) -> Path | None:
    """The folder of the model files: the setting, else ``UNIHAND_MANO_DIR``; None when neither is given."""
    named = setting or os.environ.get(ENV)
    return Path(named) if named else None


def read_mano(folder: Path, side: Side) -> dict[str, np.ndarray]:
    """The arrays of ``MANO_RIGHT.pkl`` or ``MANO_LEFT.pkl`` as they are in the file.

    Raises:
        Reject: MISSING_FILE, UNSAFE_CONTENT, MISSING_FIELD, WRONG_TYPE; the message names file and field.
    """
    from unihand_data.untrusted.unpickle import safe_load

    path = folder / f"MANO_{side.upper()}.pkl"
    if not path.is_file():
        raise Reject(Reason.MISSING_FILE, f"{path}: not there (licensed file, from mano.is.tue.mpg.de)")
    data = safe_load(path)
    if not isinstance(data, dict):
        raise Reject(Reason.WRONG_TYPE, f"{path}: a {type(data).__name__} where the model's fields belong")
    out = {}
    for name, shape in _SHAPES.items():
        if name not in data:
            raise Reject(Reason.MISSING_FIELD, f"{path}: no {name}; fetch the file again")
        value = np.asarray(data[name])
        if (
            value.dtype.kind not in "fiu"
            or value.ndim != len(shape)
            or any(want is not None and have != want for have, want in zip(value.shape, shape))
        ):
            raise Reject(Reason.WRONG_TYPE, f"{path}: {name} is {value.dtype} {value.shape}, expected {shape}")
        out[name] = value
    return out


def left_shape_fault(left: dict[str, np.ndarray], right: dict[str, np.ndarray] | None) -> bool:
    """Do the left shape directions point the wrong way in x?

    With the right model at hand: mirrored right directions must look like the left ones; the published fault is that x
    was not mirrored. Without it the fault is assumed: HaWoR turns the sign of every left file it loads.
    """
    if right is None:
        return True
    a, b = left["shapedirs"][:, 0, :10].ravel(), right["shapedirs"][:, 0, :10].ravel()
    return bool(a @ b > 0)


@dataclass
class ManoHand:
    """One side's model.

    Attributes:
        root: (3,) wrist joint of the mean shape, unposed. root_shape: (3, 10) its change per beta.
        fixed_shape: the left sign was turned.
    """

    side: Side
    model: Any
    root: np.ndarray
    root_shape: np.ndarray
    fixed_shape: bool

    def wrist_joint(self, beta: np.ndarray) -> np.ndarray:
        """(3,) m: J0 of a shape (10,). ``wrist_pos`` = ``transl`` + J0, whatever the rotation."""
        return self.root + self.root_shape @ np.asarray(beta, float)

    def forward(
        self, theta: np.ndarray, wrist_pos: np.ndarray, wrist_rot: np.ndarray, beta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posed hands.

        Args:
            theta: (T, 45) relative to the flat hand. wrist_pos: (T, 3) the wrist joint. wrist_rot: (T, 3). beta: (10,).

        Returns: keypoints (T, 21, 3), vertices (T, 778, 3); NaN for frames with a NaN.
        """
        import torch

        frames = len(theta)
        keypoints, vertices = np.full((frames, 21, 3), np.nan), np.full((frames, 778, 3), np.nan)
        ok = np.isfinite(np.concatenate([theta, wrist_pos, wrist_rot], axis=1)).all(1)
        if not ok.any():
            return keypoints, vertices

        def tensor(a: np.ndarray) -> Any:
            return torch.as_tensor(np.ascontiguousarray(a), dtype=torch.float64)

        betas = np.tile(np.asarray(beta, float), (int(ok.sum()), 1))
        with torch.no_grad():
            out = self.model(
                betas=tensor(betas),
                global_orient=tensor(wrist_rot[ok]),
                hand_pose=tensor(theta[ok]),
                transl=tensor(wrist_pos[ok] - self.wrist_joint(beta)),
            )
        v = out.vertices.numpy()
        vertices[ok] = v
        keypoints[ok] = np.concatenate([out.joints.numpy()[:, :16], v[:, _TIPS]], axis=1)[:, _TO_21]
        return keypoints, vertices


def load_mano(side: Side, setting: str | None = None) -> ManoHand | None:
    """The user's MANO of one side, or None when no folder is named (then the generic skeleton is used).

    Raises:
        Reject: a folder is named and its file cannot be used.
    """
    folder = mano_dir(setting)
    if folder is None:
        return None
    data = read_mano(folder, side)
    fault = False
    if side == "left":
        right = read_mano(folder, "right") if (folder / "MANO_RIGHT.pkl").is_file() else None
        fault = left_shape_fault(data, right)
        if fault:
            data["shapedirs"] = data["shapedirs"] * np.array([-1.0, 1.0, 1.0])[None, :, None]
    regressor, shapes = data["J_regressor"][0], data["shapedirs"][:, :, :10]
    return ManoHand(
        side,
        _smplx_model(data, side),
        np.asarray(regressor @ data["v_template"], float),
        np.einsum("v,vck->ck", regressor, shapes),
        fault,
    )


def _smplx_model(data: dict[str, np.ndarray], side: Side) -> Any:
    try:
        import smplx
        import torch
        from smplx.utils import Struct
    except ImportError as error:
        raise Reject(Reason.UNSUPPORTED, f"MANO needs the extra unihand-data[mano] ({error})") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it prints about the number of shape coefficients
        return smplx.MANO(
            model_path="", data_struct=Struct(**data), is_rhand=side == "right", use_pca=False, flat_hand_mean=True,
            create_hand_pose=False, create_betas=False, create_global_orient=False, create_transl=False,
            num_betas=10, dtype=torch.float64,
        )  # fmt: skip

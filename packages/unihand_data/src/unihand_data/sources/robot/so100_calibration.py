"""A data-set file for one SO-100 or SO-101 whose joints were recorded as -100..100, from that robot's calibration.

``python -m unihand_data.sources.robot.so100_calibration CALIBRATION.json OUT.yaml`` writes it; the robot job takes it
with ``--dataset OUT.yaml``. lerobot keeps the calibration of a follower in
``~/.cache/huggingface/lerobot/calibration/robots/<robot type>/<id>.json``, never in the set: one object per motor with
``range_min`` and ``range_max`` (ticks of the servo) and ``drive_mode``.

lerobot's ``MotorsBus._normalize`` (lerobot/motors/motors_bus.py) writes
``200 (ticks - range_min) / (range_max - range_min) - 100`` and turns the sign for ``drive_mode`` 1; with
``use_degrees`` it writes ``360 (ticks - middle) / 4095``. So -100..100 times ``(range_max - range_min) / 200`` ticks is
the angle about mid-range, the frame of ``so101_degrees``. Actions are goals of the same follower and take the same
calibration.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unihand_data.errors import DatasetRefused, Reject
from unihand_data.sources.robot.spec import RobotSpec, load_spec
from unihand_data.untrusted import tables

#: motor of lerobot -> column of the data-set files, base to tip
MOTORS = {
    "shoulder_pan": "pan", "shoulder_lift": "lift", "elbow_flex": "elbow", "wrist_flex": "wrist_flex",
    "wrist_roll": "wrist_roll",
}  # fmt: skip
TICKS_PER_TURN = 4095  # resolution of the STS3215 less one, as lerobot divides


class Motor(BaseModel):
    """One motor of a calibration file; keys that are not needed here (``id``, ``homing_offset``) are let through."""

    model_config = ConfigDict(extra="ignore")

    range_min: int = Field(ge=0, le=TICKS_PER_TURN)
    range_max: int = Field(ge=0, le=TICKS_PER_TURN)
    drive_mode: int = Field(0, ge=0, le=1)

    @model_validator(mode="after")
    def _a_range(self) -> Motor:
        if self.range_min >= self.range_max:
            raise ValueError(f"range_min {self.range_min} is not below range_max {self.range_max}")
        return self

    @property
    def rad_per_unit(self) -> float:
        """rad about mid-range per unit of -100..100."""
        scale = (self.range_max - self.range_min) * 2 * math.pi / (200 * TICKS_PER_TURN)
        return -scale if self.drive_mode else scale


def calibration(path: str | Path) -> dict[str, Motor]:
    """The five joints of a calibration file. Raises ``DatasetRefused`` naming file, motor and mend."""
    try:
        raw = tables.read_json(str(path))
    except (Reject, OSError) as error:
        raise DatasetRefused(f"{path}: not a calibration of lerobot: {error}") from error
    out = {}
    for motor in MOTORS:
        if not isinstance(raw, dict) or not isinstance(raw.get(motor), dict):
            raise DatasetRefused(
                f"{path}: no motor {motor!r}; give the calibration of the follower, as lerobot wrote it."
            )
        try:
            out[motor] = Motor.model_validate(raw[motor])
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join([motor, *map(str, first["loc"])])
            raise DatasetRefused(f"{path}: {at}: {first['msg']}; calibrate the robot again.") from error
    return out


def data_set_file(name: str, motors: dict[str, Motor]) -> dict[str, Any]:
    """The content of ``<name>.yaml``: ``so101_normalised`` with its joints mapped."""
    plain = load_spec("so101_normalised")
    scale = [motors[m].rad_per_unit for m in MOTORS]

    def blocks(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        arm, *rest = given
        kept = {k: v for k, v in arm.items() if k != "unmapped"}
        return [
            {**kept, "columns": [*MOTORS.values()], "slots": "right_arm", "unit": "command", "command_scale": scale},
            *rest,
        ]

    return {
        "extends": "so100_community",
        "name": name,
        "title": f"{plain.title}, calibrated",
        "match": {"layouts": plain.match.layouts, "features": plain.match.features},
        "state": blocks(plain.state),
        "action": blocks(plain.action),
        "quirks": [*plain.quirks],
    }


def write(calibrated: str | Path, out: str | Path) -> RobotSpec:
    """Write the data-set file ``out`` (``.yaml``) for a calibration and return it as it is read back.

    Raises:
        DatasetRefused: the calibration cannot be used, or ``out`` is no YAML name.
    """
    path = Path(out)
    if path.suffix not in (".yaml", ".yml"):
        raise DatasetRefused(f"{path}: a data-set file ends in .yaml.")
    text = yaml.safe_dump(data_set_file(path.stem, calibration(calibrated)), sort_keys=False, width=160)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return load_spec(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m unihand_data.sources.robot.so100_calibration CALIBRATION.json OUT.yaml")
    try:
        write(sys.argv[1], sys.argv[2])
    except DatasetRefused as refused:
        sys.exit(str(refused))
    print(sys.argv[2])

"""All settings of the robot job in one model; ``pipelines/robot_manipulation.yaml`` is the commented default."""

from __future__ import annotations

from unihand_data.config import Settings, runtime_field
from unihand_data.curate.robot.evidence import CheckSettings
from unihand_data.curate.robot.idle import IdleSettings
from unihand_data.curate.robot.masks import OutlierSettings
from unihand_data.curate.tasks import TaskSettings
from unihand_data.jobs.tokenizer import TokenSettings
from unihand_data.runner.settings import RunnerSettings
from unihand_data.video.encode import EncodeSettings
from unihand_data.video.remux import RemuxSettings
from unihand_data.video.worker import VideoWorkerSettings


class RobotVideoSettings(Settings):
    """Packets are copied where they are quick to reach at random, else encoded anew."""

    remux: RemuxSettings = RemuxSettings()
    encode: EncodeSettings = EncodeSettings()
    worker: VideoWorkerSettings = runtime_field(VideoWorkerSettings())


class RobotSettings(Settings):
    """Settings of ``pipelines/robot_manipulation.py``. Content hash and ids depend on everything but runtime fields.

    The paper trains robots on motion generation; the other two task families are for human rows (5.2.2) and off here.
    Every start frame with a known action is listed, to the last (docs/contract.md, section 2): a chunk that runs past
    the end is masked there when it is cut.
    """

    dataset: str | None = runtime_field(None)  # name or path of a data-set YAML; null: found by fingerprint
    checks: CheckSettings = runtime_field(CheckSettings())  # they refuse, and never change what is written
    outliers: OutlierSettings = OutlierSettings()
    idle: IdleSettings = IdleSettings()
    video: RobotVideoSettings = RobotVideoSettings()
    tasks: TaskSettings = TaskSettings(description=False, continuation=False)
    tokens: TokenSettings = runtime_field(TokenSettings())
    runner: RunnerSettings = runtime_field(RunnerSettings())

"""All settings of the vision-text job in one model; ``pipelines/vision_text.yaml`` is the commented default."""

from __future__ import annotations

import os

from pydantic import Field

from unihand_data.config import Settings, SettingsError, runtime_field
from unihand_data.curate.conversations.duplicates import DuplicateSettings
from unihand_data.curate.conversations.films import FilmSettings
from unihand_data.curate.conversations.geometry import GeometrySettings
from unihand_data.curate.conversations.held_out import HeldOut, HeldOutSettings, picture_held_out, refer_held_out
from unihand_data.curate.conversations.images import ImageSettings
from unihand_data.curate.conversations.validators import TextSettings
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.tokenizer import TokenSettings
from unihand_data.runner import paths
from unihand_data.runner.settings import RunnerSettings
from unihand_data.sources.conversations.registry import Corpora


class VisionTextSettings(Settings):
    """Settings of ``pipelines/vision_text.py``.

    ``rows_per_block``: rows that are one unit of work: resumed, retried and written together. ``only_shareable``:
    refuse corpora whose licence does not let derived rows leave this place. ``exclude_licences``: owner's licences to
    leave out.
    """

    dataset: str | None = None  # name of a corpus YAML; null: found by the folder's fingerprint
    rows_per_block: int = Field(default=256, ge=1, le=100_000)
    only_shareable: bool = False
    exclude_licences: list[str] = Field(default_factory=list)
    text: TextSettings = TextSettings()
    images: ImageSettings = ImageSettings()
    video: FilmSettings = FilmSettings()
    geometry: GeometrySettings = GeometrySettings()
    held_out: HeldOutSettings = HeldOutSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    max_reject_share: float | None = runtime_field(0.9, ge=0, le=1)  # of rows; above it the exit code is 3
    tokens: TokenSettings = runtime_field(TokenSettings())
    runner: RunnerSettings = runtime_field(RunnerSettings(units_per_part=8, max_reject_share=None))


def checked(settings: VisionTextSettings, arguments: JobArguments) -> tuple[VisionTextSettings, HeldOut]:
    """The settings with absolute paths and the digest of what is held out, and the held-out pictures themselves.

    Raises:
        SettingsError: a relative path inside a Ray job, an output that cannot be made, a digest given by hand.
        DatasetRefused: a folder of held-out pictures without any.
    """
    wanted = settings.held_out
    if wanted.digest:
        raise SettingsError("held_out.digest is filled in by the job; give held_out.refer or held_out.pictures")
    try:
        refer = paths.job_path(wanted.refer, "held_out.refer") if wanted.refer else None
        folders = [paths.job_path(p, "held_out.pictures") for p in wanted.pictures]
        if not arguments.plan and not paths.is_remote(arguments.output):
            os.makedirs(arguments.output, exist_ok=True)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"--output {arguments.output}: cannot be made ({error.strerror})") from error
    held = HeldOut()
    if refer:
        held = held.joined(refer_held_out(refer))
    if folders:
        held = held.joined(picture_held_out(folders))
    update = {"refer": refer, "pictures": folders, "digest": held.digest}
    return settings.model_copy(update={"held_out": wanted.model_copy(update=update)}), held


def own_held_out(corpora: Corpora) -> HeldOut:
    """Val and test pictures of the REFER sets that are part of the input: they hold for all corpora of it."""
    held = HeldOut()
    for corpus in corpora.corpora:
        if corpus.spec.container == "refer_pickle":
            held = held.joined(refer_held_out(corpus.root))
    return held

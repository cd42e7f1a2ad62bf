"""All settings of the vision-text job in one model; ``pipelines/vision_text.yaml`` is the commented default."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field

from unihand_data.config import Settings, SettingsError, runtime_field
from unihand_data.curate.conversations.duplicates import DuplicateSettings
from unihand_data.curate.conversations.films import FilmSettings
from unihand_data.curate.conversations.geometry import GeometrySettings
from unihand_data.curate.conversations.held_out import HeldOut, HeldOutSettings, picture_held_out, refer_held_out
from unihand_data.curate.conversations.images import ImageSettings
from unihand_data.curate.conversations.splits import SplitSettings
from unihand_data.curate.conversations.validators import TextSettings
from unihand_data.errors import DatasetRefused
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.tokenizer import TokenSettings
from unihand_data.runner import paths
from unihand_data.runner.settings import RunnerSettings
from unihand_data.sources.conversations.box_order import BoxOrderSettings
from unihand_data.sources.conversations.registry import Corpora
from unihand_data.sources.conversations.spec import CorpusSpec


class VisionTextSettings(Settings):
    """Settings of ``pipelines/vision_text.py``.

    ``rows_per_block``: rows that are one unit of work: resumed, retried and written together. ``only_shareable``:
    refuse rows of corpora whose licence does not let derived rows leave this place. ``exclude_licences``: owner's
    licences to leave out. Both also refuse rows of other corpora that show a picture of those.
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
    splits: SplitSettings = SplitSettings()
    box_order: BoxOrderSettings = runtime_field(BoxOrderSettings())
    max_reject_share: float | None = runtime_field(0.9, ge=0, le=1)  # of rows; above it the exit code is 3
    tokens: TokenSettings = runtime_field(TokenSettings())
    runner: RunnerSettings = runtime_field(RunnerSettings(units_per_part=8, max_reject_share=None))

    def barred(self, spec: CorpusSpec) -> str:
        """Why rows of this corpus are not to be written, "" if they are."""
        if spec.licence in self.exclude_licences:
            return f"{spec.name} is under {spec.licence!r}, which is excluded"
        if self.only_shareable and not spec.shareable:
            return f"{spec.name} is under {spec.licence!r}, its rows may not leave"
        return ""


def checked(
    settings: VisionTextSettings, arguments: JobArguments, corpora: Corpora
) -> tuple[VisionTextSettings, HeldOut]:
    """The settings with absolute paths and the digest of what is held out, and the held-out pictures themselves: of
    ``held_out.refer``, ``held_out.pictures``, and the REFER sets that are part of the input.

    Raises:
        SettingsError: a relative path inside a Ray job, an output that cannot be made, a digest given by hand.
        DatasetRefused: a folder of held-out pictures without any; corpora with pictures of COCO, and RefCOCO's val and
            test pictures not known (``held_out.refcoco``).
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
    held = HeldOut(near_bits=wanted.near_bits)
    look = wanted.refcoco != "by_id" and not arguments.plan  # a plan decodes nothing
    for root in ([refer] if refer else []) + _refer_roots(corpora):
        held = held.joined(refer_held_out(root, looks=look))
    if folders:
        held = held.joined(picture_held_out(folders))
    refuse_unknown_benchmark(coco_corpora(corpora), held, wanted.refcoco, pictures=look)
    update = {"refer": refer, "pictures": folders, "digest": held.digest}
    return settings.model_copy(update={"held_out": wanted.model_copy(update=update)}), held


def _refer_roots(corpora: Corpora) -> list[str]:
    return [c.root for c in corpora.corpora if c.spec.container == "refer_pickle"]


def coco_corpora(corpora: Corpora) -> list[str]:
    """Names of the corpora that may hold pictures of COCO's training set."""
    return sorted({c.spec.name for c in corpora.corpora if c.spec.coco})


def refuse_unknown_benchmark(names: list[str], held: HeldOut, rule: str, *, pictures: bool) -> None:
    """Raises ``DatasetRefused``: these corpora may hold RefCOCO's val and test pictures, and they are not all known."""
    if not names or rule == "waived":
        return
    lacks = ""
    if held.missing_sets:
        lacks = f"the val and test splits of {', '.join(held.missing_sets)} are not given"
    elif pictures and held.unseen:
        lacks = f"{len(held.unseen)} of {len(held.coco)} val and test pictures are not there or do not decode"
    if lacks:
        raise DatasetRefused(
            f"{', '.join(names)} may hold pictures on which RefCOCO is evaluated, and {lacks}: name the folder of the "
            "REFER data with its pictures (--set held_out.refer=DIR), or say --set held_out.refcoco=by_id or =waived, "
            "which the report then states."
        )


def held_out_use(names: list[str], held: HeldOut, rule: str) -> dict[str, Any]:
    """What was held out, for summary and report; ``sentence`` says it to people."""
    if not names:
        kind, says = "not needed", "no corpus of the input has pictures of COCO's training set"
    elif rule == "required":
        kind, says = "held out", f"{len(held.coco)} val and test pictures of RefCOCO, + and g, by id and look"
    elif rule == "by_id" and held.coco:
        kind, says = (
            "by id alone",
            "RefCOCO's val and test pictures were held out by COCO id alone; unnamed copies stay",
        )
    else:
        kind, says = "waived", f"WAIVED: RefCOCO's val and test pictures may be among the rows of {', '.join(names)}"
        if held.coco:
            says += f" ({len(held.coco)} known ones were held out)"
    return {
        "refcoco": kind, "corpora": names, "coco_ids": len(held.coco), "looks": len(held.looks),
        "near_bits": held.near_bits, "sentence": says,
    }  # fmt: skip

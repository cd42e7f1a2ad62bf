"""The YAML beside each pipeline page against the settings it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from unihand_data.config import content_hash
from unihand_data.jobs.conversation_config import VisionTextSettings
from unihand_data.jobs.human_config import HumanVideoSettings
from unihand_data.jobs.robot_config import RobotSettings
from unihand_data.recipe.settings import RecipeSettings

FOLDER = Path(__file__).parents[3] / "pipelines"
PAGES = {
    "human_video": HumanVideoSettings,
    "robot_manipulation": RobotSettings,
    "vision_text": VisionTextSettings,
    "build_recipe": RecipeSettings,
}
FILLED_IN_BY_THE_JOB = {"dataset_id", "model_files", "held_out.digest", "tokens.counter"}
pages = pytest.mark.parametrize(("name", "model"), PAGES.items(), ids=list(PAGES))


def _fields(settings: BaseModel, path: str = "", runtime: bool = False) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it is a runtime field or lies in one) of every field, nested models included."""
    for name, info in type(settings).model_fields.items():
        extra = info.json_schema_extra
        run = runtime or (isinstance(extra, dict) and bool(extra.get("runtime")))
        yield path + name, run
        if isinstance(value := getattr(settings, name), BaseModel):
            yield from _fields(value, f"{path}{name}.", run)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(dotted name, comment) of every line of block YAML that has a key."""
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if found := re.match(r'( *)([\w.* -]+):(?: ("[^"]*"|[^#"]|"[^"]*")*)?(?:# (.*))?$', line):
            indent = len(found[1])
            path = [(i, k) for i, k in path if i < indent] + [(indent, found[2])]
            yield ".".join(k for _, k in path), found[4] or ""


def _value(data: dict[str, Any], name: str) -> Any:
    for key in name.split("."):
        data = data[key]
    return data


@pages
def test_the_yaml_beside_a_page_holds_every_setting_with_its_default(name: str, model: type[BaseModel]) -> None:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert model.model_validate(data) == model()
    assert content_hash(model.model_validate(data)) == content_hash(model())
    written = {key for key, _ in _lines((FOLDER / f"{name}.yaml").read_text())}
    fields = {field for field, _ in _fields(model())}
    assert fields - written == FILLED_IN_BY_THE_JOB & fields
    for field in fields & written:
        _value(data, field)  # the lines were read as YAML reads them


@pages
def test_every_setting_in_the_yaml_has_a_comment_that_tells_run_from_content(name: str, model: type[BaseModel]) -> None:
    runtime = dict(_fields(model()))
    for key, comment in _lines((FOLDER / f"{name}.yaml").read_text()):
        if key not in runtime:
            continue  # an entry of a mapping, such as a model's price
        section = any(other.startswith(f"{key}.") for other in runtime)
        assert comment or section, f"{name}.yaml: {key} has no comment"
        assert not comment or comment.startswith("(run)") == runtime[key], f"{name}.yaml: {key}"

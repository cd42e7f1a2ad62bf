"""Every key a data-set YAML may hold is read by some program, and a value nobody would read is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

import unihand_data
from unihand_data.errors import DatasetRefused, Reason, Reject
from unihand_data.sources import spec
from unihand_data.sources.registry import DATASETS, load_dataset, open_source

PACKAGE = Path(unihand_data.__file__).parent
#: what an expression that holds each of the models is called where it is read
CALLED = {
    spec.DatasetSpec: {"spec", "s"},
    spec.HandSpec: {"spec", "hands"},
    spec.CameraSpec: {"spec", "camera"},
    spec.TableSpec: {"spec", "table"},
    spec.Provenance: {"provenance"},
    spec.Peek: {"peek"},
}
#: keys for people, and the one whose only reader is the model's own check
NOT_READ = {"quirks", "licence_class"}


def reads() -> set[tuple[str, str]]:
    """``(a, b)`` for every ``a.b`` and ``x.a.b`` that is read in the rooms that get a data set's YAML."""
    own = [f for f in (PACKAGE / "sources").rglob("*.py") if not {"robot", "conversations"} & set(f.parts)]
    out = set()
    for file in [*own, *(PACKAGE / "jobs").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                held = node.value
                name = held.id if isinstance(held, ast.Name) else held.attr if isinstance(held, ast.Attribute) else ""
                out.add((name, node.attr))
    return out


def test_every_key_of_a_data_set_yaml_is_read_somewhere():
    found = reads()
    unread = [
        f"{model.__name__}.{name}"
        for model, called in CALLED.items()
        for name in model.model_fields
        if name not in NOT_READ and not any((c, name) in found for c in called)
    ]
    assert unread == []


def test_every_part_of_the_spec_is_looked_at():
    parts = {c for c in vars(spec).values() if isinstance(c, type) and issubclass(c, spec.Settings)} - {spec.Settings}
    assert parts == set(CALLED)


def changed(tmp_path: Path, name: str, section: str, **values) -> str:
    data = yaml.safe_load((DATASETS / f"{name}.yaml").read_text())
    data[section] = {**data.get(section, {}), **values}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.mark.parametrize(
    ("name", "section", "values", "said"),
    [
        ("egodex", "hands", {"frame": "camera"}, "hands.frame is world for reader hdf5_skeleton"),
        ("egodex", "hands", {"variant": "keypoints_21"}, "hands.variant"),
        ("vitra_1m", "hands", {"mean": "model"}, "hands.mean"),
        ("taco", "hands", {"min_confidence": 0.5}, "hands.min_confidence is left out"),
        ("video_folder", "hands", {"variant": "matrices"}, "hands is left out"),
        ("egocentric_10k", "camera", {"model": "radtan"}, "camera.model"),
    ],
)
def test_a_convention_that_a_reader_cannot_take_is_refused(tmp_path, name, section, values, said):
    with pytest.raises(DatasetRefused, match=said):
        open_source(str(tmp_path), changed(tmp_path, name, section, **values))


@pytest.mark.parametrize("name", ["hot3d", "dexycb"])
def test_another_number_of_pca_coefficients_than_the_yaml_says_is_a_wrong_type(made, tmp_path, name):
    m = made(name)
    source = open_source(str(m.folder), changed(tmp_path, name, "hands", pca_components=30), m.options())
    with pytest.raises(Reject) as caught:
        source.open(next(iter(source.items())))
    assert caught.value.reason == Reason.WRONG_TYPE


@pytest.mark.parametrize(("name", "values"), [("taco", {"pca_components": 15}), ("hot3d", {"pca_components": None})])
def test_the_number_of_coefficients_belongs_to_pca_alone(tmp_path, name, values):
    with pytest.raises(ValueError, match="pca_components"):
        load_dataset(changed(tmp_path, name, "hands", **values))


def test_the_projects_own_clips_are_simulated_shareable_and_of_the_lab(tmp_path):
    from unihand_data.demo.truth import SHIPPED_VIDEO

    source = open_source(str(SHIPPED_VIDEO), "rendered_clips")
    recording = source.open(next(iter(source.items())))
    assert (recording.origin, recording.setting, recording.licence) == ("sim", "lab", "Apache-2.0")
    assert recording.shareable
    assert recording.intrinsics is not None

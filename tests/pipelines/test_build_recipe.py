"""``pipelines/build_recipe.py`` as a person runs it: shard directories, a simulated build, and refusals."""

from __future__ import annotations

import csv
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml

from unihand_data.ids import make_id
from unihand_data.recipe.reader import RecipeReader
from unihand_data.shards.rows import EpisodeRow, SampleRow
from unihand_data.shards.writer import ShardWriter

PAGE = Path(__file__).parents[2] / "pipelines" / "build_recipe.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the page's own main in this process; exit code, stdout and stderr."""
    import contextlib
    import importlib.util
    import io

    spec = importlib.util.spec_from_file_location("build_recipe_page", PAGE)
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)

    def call(*argv: object) -> tuple[int, str, str]:
        out, err, before = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = [str(PAGE), *map(str, argv)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = page.main_with(page.run, default_config="build_recipe.yaml", description=page.__doc__)
        finally:
            sys.argv = before
        return code, out.getvalue(), err.getvalue()

    return call


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, Path]:
    """A directory of hands and one of a robot, numbers only."""
    root, frames = tmp_path_factory.mktemp("shards"), 60
    slots, mask = np.array([50], np.int16), np.ones((frames, 1), bool)
    values = np.zeros((frames, 1), np.float32)
    out = {}
    for name, embodiment, domain in (("hands", "human_hands", "human"), ("arm", "widowx", "robot")):
        writer = ShardWriter(root / name, content_hash="h", config={})
        row = EpisodeRow(
            make_id(name), f"rec-{name}", name, "", embodiment, "0", domain, "real", "lab", "train", 30.0,
            np.arange(frames) / 30, "base", np.eye(4), slots, slots, values, values, mask, mask, "CC0-1.0", True,
        )  # fmt: skip
        listed = [SampleRow(make_id(name, t), "motion_generation", row.episode_id, start_frame=t) for t in range(50)]
        writer.add(episodes=[row], samples=listed)
        writer.commit(run_id="r")
        out[name] = root / name
    return out


def test_directories_become_a_recipe_with_its_page_and_figures(run, shards, tmp_path):
    code, out, err = run("--input", shards["hands"], shards["arm"], "--output", tmp_path / "r")
    assert code == 0, err
    assert "human: 0.000556 h, 1 of 1 rows, 50 of 50 samples" in out
    recipe = yaml.safe_load((tmp_path / "r/recipe.yaml").read_text())
    assert [d["path"] for d in recipe["directories"]] == [str(shards["hands"]), str(shards["arm"])]
    page = (tmp_path / "r/recipe.html").read_text()
    for word in ("Figure 3", "Figure 4", "Table 1", "WidowX", "305.2", "caps.simulated", recipe["recipe"]):
        assert word in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched
    for name in ("figure3", "figure4_shares", "figure4_scale"):
        assert ET.parse(tmp_path / f"r/{name}.svg").getroot().tag.endswith("svg")
    rows = list(csv.DictReader((tmp_path / "r/table1.csv").open()))
    assert sum(float(r["hours"]) for r in rows if r["hours"]) == pytest.approx(13817.4)
    assert float(next(r for r in rows if r["robot"] == "WidowX")["our_hours"]) == pytest.approx(
        60 / 30 / 3600, abs=1e-5
    )
    with RecipeReader(tmp_path / "r") as reader:
        assert reader.read([0], horizon=4)[0][1].action.shape == (4, 200)
    again = run("--input", shards["hands"], shards["arm"], "--output", tmp_path / "r")
    assert again[0] == 0
    assert "it was here already" in again[1]


def test_a_simulated_build_says_what_it_takes_and_which_figures_are_assumed(run, tmp_path):
    code, out, err = run("--simulate", "--output", tmp_path, "--set", "resolution=448")
    assert code == 0, err
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    hours = {d: v["found"].get("equivalent_hours", v["found"]["hours"]) for d, v in plan["by_domain"].items()}
    assert hours["human"] == 16000
    assert hours["robot"] == pytest.approx(13817.4)
    assert hours["vision_text"] == pytest.approx(5000, rel=0.01)
    assert sum(e["counts"] for e in plan["by_embodiment"].values() if e["domain"] == "robot") == 30
    assert plan["totals"]["weighted"]["simulated_over"]["human_and_robot"] == pytest.approx(0.26, abs=1e-6)
    assert plan["totals"]["robot_frames"]["rate_hz"] == pytest.approx(9.0)
    total = plan["plan"]["total"]
    summed = [s for s in plan["plan"]["stages"] if not s["optional"]]
    for name, value in total.items():
        assert value == pytest.approx(sum(s[name] for s in summed))
    assert all(s["basis"] for s in summed)
    assert "assumed" in out
    assert "measured" in out
    assert "Egocentric-10K" in (tmp_path / "plan.html").read_text()
    assert not (tmp_path / "recipe.yaml").exists()


def test_the_shipped_settings_are_the_defaults(run, tmp_path):
    from unihand_data.recipe.settings import RecipeSettings

    shipped = RecipeSettings.model_validate(yaml.safe_load(PAGE.with_suffix(".yaml").read_text()))
    assert shipped == RecipeSettings()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--input", "{tmp}"], "is not a shard directory"),
        (["--input", "{hands}", "--set", "cap=1"], "cap"),
        (["--input", "{hands}", "--set", "caps.simulated=2"], "caps.simulated"),
        (["--input", "{hands}", "--set", "caps.sources.handz=0.5"], "there are hands"),
        (["--input", "{hands}", "--set", "sources.hands.weight=0"], "nothing to draw"),
        (["--input", "{hands}", "{hands}"], "given twice"),
        (["--input", "{hands}", "--simulate"], "takes no --input"),
        ([], "no --input"),
        (["--input", "{hands}", "--config", "/nowhere.yaml"], "no such file"),
    ],
)
def test_refusals_are_one_sentence_with_exit_code_2_and_leave_no_recipe(run, shards, tmp_path, argv, words):
    places = {"tmp": tmp_path, **shards}
    code, _, err = run(*(a.format(**places) for a in argv), "--output", tmp_path / "r")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("refused: ")
    assert words in err
    assert not (tmp_path / "r/recipe.yaml").exists()
    assert not list(tmp_path.rglob("*.samples"))


def test_a_bucket_is_no_place_for_an_index_and_another_recipe_needs_a_word(run, shards, tmp_path):
    assert "mounted disk" in run("--input", shards["hands"], "--output", "s3://bucket/recipe")[2]
    assert run("--input", shards["hands"], "--output", tmp_path / "r")[0] == 0
    other = ("--input", shards["hands"], "--output", tmp_path / "r", "--set", "seed=5")
    code, _, err = run(*other)
    assert (code, "--new-version" in err) == (2, True)
    assert run(*other, "--new-version")[0] == 0
    assert len(list((tmp_path / "r").glob("recipe-*.yaml"))) == 1

"""The page that follows the paper equation by equation: none is missing, and what it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"unihand_data": ROOT / "packages/unihand_data/src", "": ROOT / "packages/beingh05_model/src/beingh05_model"}
PAGE = (ROOT / "docs/model.md").read_text().partition("## The paper, equation by equation")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def defined(path, name):
    """Whether a file defines a function, a class or a method of a class."""
    body = ast.parse(path.read_text()).body
    for part in name.split("."):
        body = next((node.body for node in body if getattr(node, "name", None) == part), None)
        if body is None:
            return False
    return True


def test_every_equation_has_one_row_and_they_stand_in_order():
    numbers = [int(row[0].removeprefix("eq. ")) for row in ROWS if row[0].startswith("eq")]
    assert numbers == list(range(1, 25))


def test_every_row_names_a_place_that_is_there():
    for paper, _, where in ROWS[2:]:
        places = re.findall(r"`([\w/]+\.py):([\w.]+)`", where)
        assert places, paper
        for file, name in places:
            root = PACKAGES.get(file.partition("/")[0], PACKAGES[""])
            assert defined(root / file, name), f"{paper}: {file}:{name}"

"""Every number among the settings of the human-video job has bounds, and pairs have an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unihand_data.jobs.human_config import HumanVideoSettings

SCHEMA = HumanVideoSettings.model_json_schema()
#: what a mapping of settings needs besides the number under test
BESIDE = {"prices.models": {"input": 1.0, "output": 1.0}}


def _kinds(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node and what it may be instead, references followed."""
    if "$ref" in node:
        yield from _kinds(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
        return
    yield node
    for other in node.get("anyOf", []):
        yield from _kinds(other)


def _numbers(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path, ``number`` | ``integer`` | ``pair``) of every numeric setting below a node; ``*`` is any key."""
    for kind in _kinds(node):
        if kind.get("type") in ("number", "integer"):
            yield path, kind["type"]
        elif kind.get("type") == "array" and all(
            k.get("type") in ("number", "integer") for part in kind.get("prefixItems", []) for k in _kinds(part)
        ):
            yield path, "pair"
        for name, child in kind.get("properties", {}).items():
            yield from _numbers(child, (*path, name))
        if isinstance(kind.get("additionalProperties"), dict):
            yield from _numbers(kind["additionalProperties"], (*path, "*"))


NUMBERS = list(_numbers(SCHEMA))


def _with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for i in range(len(path) - 1, -1, -1):
        beside = BESIDE.get(".".join(path[1:i]), {}) if i and path[i - 1] == "*" else {}
        value = {**beside, "low" if path[i] == "*" else path[i]: value}
    return value


def _refused(path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        HumanVideoSettings.model_validate(_with(path, value))
    said = [e for e in caught.value.errors() if ".".join(map(str, e["loc"])).startswith(path[0])]
    assert said, f"{path} = {value}: {caught.value}"


def test_the_walk_finds_the_numbers_of_every_room():
    rooms = {path[0] for path, _ in NUMBERS}
    assert rooms >= {"video", "hands", "hawor", "camera", "motion", "relevance", "language", "tasks", "runner"}
    assert len(NUMBERS) > 100
    assert [path for path, kind in NUMBERS if kind == "pair"] == [("video", "encode", "size"), ("motion", "depth_m")]


@pytest.mark.parametrize(("path", "kind"), NUMBERS, ids=[".".join(path) for path, _ in NUMBERS])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_number_may_be_negative_or_not_a_number(path, kind, data):
    below = st.integers(max_value=-1) if kind == "integer" else st.floats(max_value=-1e-6, allow_infinity=False)
    value = data.draw(below | st.sampled_from([float("nan"), float("inf"), float("-inf")]))
    _refused(path, [value, 64] if kind == "pair" else value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("motion.depth_m", [2, 1]),
        ("motion.depth_m", [1, 1]),
        ("motion.max_gap_s", -3),
        ("motion.min_seen_ratio", 1.2),
        ("relevance.min_score", 7),
        ("relevance.model_weight", {"low": 0.3, "medium": 0.6, "hihg": 0.9}),
        ("relevance.model_weight", {"low": 0.3, "medium": 0.6, "high": 9}),
        ("tasks.min_future_s", -1),
        ("language.max_chunk_s", -1),
        ("language.max_chunk_s", 60),
        ("language.retry", {"initial_s": 90, "max_s": 60}),
        ("language.thinking_budget", -1),
        ("video.segment.max_seconds", 60),  # the paper's clips last at most 10 s
        ("video.segment", {"min_seconds": 3, "max_seconds": 2}),
        ("video.encode.crf", 60),
        ("video.encode.size", [640, 100_000]),
        ("hawor", {"overlap_s": 15, "max_window_s": 20}),
    ],
)
def test_a_value_beyond_its_meaning_and_a_pair_in_the_wrong_order_are_refused(setting, value):
    _refused(tuple(setting.split(".")), value)


@pytest.mark.parametrize("path", [path for path, _ in NUMBERS], ids=".".join)
def test_shares_and_angles_end_where_they_end(path):
    if path[-1].endswith(("_ratio", "_share", "_confidence")):
        _refused(path, 1.01)
    if path[-1].endswith("_deg"):
        _refused(path, 361)


def test_the_edges_are_taken():
    edges = {
        "motion": {"depth_m": [0, 0.5], "max_gap_s": 0, "min_seen_ratio": 1},
        "video": {"segment": {"max_seconds": 10, "min_seconds": 10}},
        "tasks": {"min_future_s": 0},
        "language": {"max_chunk_s": 10, "temperature": 2},
        "relevance": {"min_score": 0},
    }
    assert HumanVideoSettings.model_validate(edges).motion.depth_m == (0, 0.5)

"""Every shipped data-set file on a generated set in its documented format: recognised as itself, accounted for, not
contradicted. That every column comes back from the shard is shown by the whole job (tests/pipelines)."""

from __future__ import annotations

import re

import pytest

from helpers.robots import contradicted, unaccounted
from unihand_data.sources.robot.registry import matches, proposal
from unihand_data.sources.robot.spec import load_spec, spec_names

#: one folder of OXE-AugE serves all its robots
AUGMENTED = "oxe_auge_panda"
NAMES = [n for n in spec_names() if not n.startswith("oxe_auge_") or n == AUGMENTED]
#: robots of RoboCOIN share their blocks and the RLDS sets are judged by the whole job, so these are enough
_COVERED = {n for n in NAMES if "robocoin" in n} - {"robocoin_aida_l"} | {"agibot_world_state"}
JUDGED = [n for n in NAMES if load_spec(n).container != "rlds" and n not in _COVERED]


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_set_is_recognised_as_itself_and_nothing_else(made, name):
    source, triples, _ = made(name)
    assert [one.refused for one in source.sets if one.refused] == []
    if name != AUGMENTED:
        assert {spec.name for spec, _, _ in triples} == {name}
        assert f"is {name}:" in proposal(source.sets[0].found)
    assert all(len(matches(one.found)) == 1 for one in source.sets)
    assert source.ignored() == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_column_and_camera_is_used_or_left_out_with_a_reason(made, name):
    source, triples, _ = made(name)
    if load_spec(name).container == "rlds":  # its reader hands over what a file takes, so the find says the rest
        assert unaccounted(source.sets[0].found.features, triples[0][0]) == []
    for spec, e, motion in triples:
        assert unaccounted(e.columns, spec) == []
        assert e.losses == []
        assert e.texts
        assert e.views
        assert all(any(re.fullmatch(v.key, key) for v in spec.views) for key in e.views)
        assert motion.action_mask.any()
        if spec.rate_hz is not None:
            assert motion.rate_hz == spec.rate_hz


@pytest.mark.parametrize("name", JUDGED)
def test_the_data_driven_checks_find_nothing_against_the_file(made, name):
    assert contradicted(made(name)[1]) == {}

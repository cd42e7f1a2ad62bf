"""Frames, hash sub-sampling and weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unihand_data.config import SettingsError
from unihand_data.recipe.frames import picked, solve, taken
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.recipe.weights import Mass, weigh

RATES = st.dictionaries(
    st.sampled_from([1.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0]), st.integers(1, 10**9), min_size=1
)


@given(frames=RATES, wanted=st.floats(0.05, 1.0))
@settings(max_examples=100, deadline=None)
def test_the_rate_keeps_the_wanted_share_or_the_floor_wins(frames, wanted):
    found = solve(frames, wanted, 3.0)
    rates = np.array(list(frames))
    kept = (np.array(list(frames.values())) * found.kept(rates)).sum() / sum(frames.values())
    assert kept == pytest.approx(found.share, rel=1e-9)
    if found.floor_wins:
        assert found.rate_hz == 3.0
        assert kept > wanted
    else:
        assert kept == pytest.approx(wanted, rel=1e-9)
    assert (rates * found.kept(rates) >= np.minimum(rates, 3.0) - 1e-9).all()


def test_every_frame_is_kept_when_no_share_is_asked_for():
    assert (solve({30.0: 100}, None, 3.0).kept(np.array([3.0, 30.0])) == 1).all()


@given(episode=st.integers(0, 2**64 - 1), share=st.floats(0.02, 1.0), smaller=st.floats(0.1, 1.0))
@settings(max_examples=100, deadline=None)
def test_kept_frames_are_spread_evenly_and_a_smaller_share_is_a_subset(episode, share, smaller):
    frame = np.arange(2000)
    owner = np.full(2000, episode, np.uint64)
    on = picked(owner, frame, np.full(2000, share))
    assert abs(on.mean() - share) < 0.01
    gaps = np.unique(np.diff(np.flatnonzero(on)))
    assert len(gaps) <= 3  # the three-distance theorem
    assert not (picked(owner, frame, np.full(2000, share * smaller)) & ~on).any()


def test_hash_sub_sampling_takes_the_fraction_and_grows_by_inclusion():
    items = np.arange(20_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    half, third = taken(items, 0.5), taken(items, 0.3)
    assert half.mean() == pytest.approx(0.5, abs=0.02)
    assert not (third & ~half).any()
    assert taken(items, 1.0).all()


def mass(
    name, domain="robot", *, samples=1000, hours=10.0, simulated=False, pillar="", task="motion_generation", **more
):
    values = {"source": name, "tokens": samples * 70} | more
    return Mass(name, values["source"], domain, pillar, simulated, task, samples, hours, values["tokens"])


@st.composite
def strata(draw):
    out = []
    for i in range(draw(st.integers(2, 8))):
        samples, hours = draw(st.integers(1, 10**6)), draw(st.floats(0.01, 1e4))
        domain = draw(st.sampled_from(["human", "robot"]))
        out.append(
            mass(f"s{i}", domain, samples=samples, hours=hours, simulated=domain == "robot" and draw(st.booleans()))
        )
    return [*out, mass("real", "human")]


@given(data=strata(), cap=st.floats(0.01, 0.9))
@settings(max_examples=60, deadline=None)
def test_simulated_data_stay_under_their_cap_in_weighted_hours(data, cap):
    found = weigh(data, RecipeSettings(caps={"simulated": cap}))
    simulated = np.array([m.simulated for m in data])
    free = weigh(data, RecipeSettings(caps={"simulated": None}))
    assert found.weighted_hours[simulated].sum() / found.weighted_hours.sum() <= cap + 1e-6
    assert found.share.sum() == pytest.approx(1)
    if free.weighted_hours[simulated].sum() / free.weighted_hours.sum() <= cap:
        assert np.allclose(found.share, free.share)  # a cap that holds changes nothing
    real = found.visits[~simulated]
    assert np.allclose(real, real[0])  # and what is outside keeps its weights against each other


def test_without_bounds_each_sample_is_drawn_once_a_pass():
    found = weigh([mass("a", samples=10), mass("b", "human", samples=990)], RecipeSettings())
    assert np.allclose(found.visits, 1)
    assert found.share.tolist() == pytest.approx([0.01, 0.99])


def test_caps_and_floors_hold_together():
    data = [
        mass("ego", "human", hours=100.0), mass("oxe", hours=50.0), mass("agibot", hours=30.0),
        mass("meta", hours=200.0, simulated=True),
        mass("fine", "vision_text", pillar="general", task="vision_text", hours=90.0),
        mass("refs", "vision_text", pillar="grounding", task="vision_text", hours=5.0),
        mass("plan", "vision_text", pillar="planning", task="vision_text", hours=1.0),
    ]  # fmt: skip
    given_settings = RecipeSettings(
        caps={"simulated": 0.26, "sources": {"oxe": 0.2}, "pillars": {"general": 0.5}},
        floors={"pillars": {"planning": 0.1}, "domains": {"vision_text": 0.2}},
    )
    found = weigh(data, given_settings)
    hours = dict(zip([m.name for m in data], found.weighted_hours))
    robot, text = hours["oxe"] + hours["agibot"] + hours["meta"], hours["fine"] + hours["refs"] + hours["plan"]
    assert hours["meta"] / (robot + hours["ego"]) <= 0.26 + 1e-6
    assert hours["oxe"] / robot <= 0.2 + 1e-6
    assert hours["fine"] / text <= 0.5 + 1e-6
    assert hours["plan"] / text >= 0.1 - 1e-6
    assert text / sum(hours.values()) >= 0.2 - 1e-6
    assert {b["name"] for b in found.bounds} == {  # the shipped one for OXE-AugE has nothing to bound here
        "caps.simulated", "caps.sources.oxe", "caps.pillars.general", "floors.pillars.planning",
        "floors.domains.vision_text",
    }  # fmt: skip


def test_temperature_levels_sources_within_their_domain_only():
    data = [mass("big", samples=10_000), mass("small", samples=100), mass("ego", "human", samples=5000)]
    found = weigh(data, RecipeSettings(temperature={"robot": 0.5}))
    assert found.share[0] / found.share[1] == pytest.approx(10)
    assert found.share[2] == pytest.approx(5000 / 15_100)
    assert weigh(data, RecipeSettings(temperature={"robot": 0})).share[0] == pytest.approx(5050 / 15_100)


def test_source_and_task_weights_and_the_basis():
    data = [mass("a", hours=1.0), mass("b", hours=3.0, task="motion_description")]
    assert weigh(data, RecipeSettings(sources={"a": {"weight": 3}})).share.tolist() == pytest.approx([0.75, 0.25])
    assert weigh(data, RecipeSettings(tasks={"motion_description": 3})).share.tolist() == pytest.approx([0.25, 0.75])
    assert weigh(data, RecipeSettings(basis="hours")).share.tolist() == pytest.approx([0.25, 0.75])


def test_bounds_that_cannot_hold_are_refused_with_their_name():
    only = [mass("meta", simulated=True)]
    with pytest.raises(SettingsError, match=r"caps.simulated 0.26 cannot hold.*nothing else"):
        weigh(only, RecipeSettings())
    weigh(only, RecipeSettings(caps={"simulated": None}))
    with pytest.raises(SettingsError, match=r"floors.domains.human 0.5 cannot hold"):
        weigh([mass("a")], RecipeSettings(floors={"domains": {"human": 0.5}}))
    with pytest.raises(SettingsError, match="cannot all hold"):
        weigh([mass("a"), mass("b", "human")], RecipeSettings(caps={"domains": {"robot": 0.2, "human": 0.2}}))
    with pytest.raises(SettingsError, match="nothing to draw"):
        weigh([mass("a")], RecipeSettings(sources={"a": {"weight": 0}}))


def test_names_that_nothing_has_are_refused():
    with pytest.raises(SettingsError, match=r"sources.bridg: no directory has this source; there are bridge"):
        weigh([mass("bridge")], RecipeSettings(sources={"bridg": {"weight": 2}}))
    with pytest.raises(SettingsError, match=r"caps.sources.oxe"):
        weigh([mass("bridge")], RecipeSettings(caps={"sources": {"oxe": 0.1}}))


@pytest.mark.parametrize(
    "wrong",
    [{"cap": 1}, {"caps": {"simulated": 1.5}}, {"caps": {"domains": {"robots": 0.5}}}, {"floor_hz": 0},
     {"robot_frame_share": 0}, {"temperature": {"robot": 2}}, {"sources": {"a": {"fraction": 0}}},
     {"caps": {"domains": {"robot": 0.3}}, "floors": {"domains": {"robot": 0.4}}},
     {"floors": {"domains": {"robot": 0.6, "human": 0.6}}}],
)  # fmt: skip
def test_settings_out_of_range_or_unknown_are_refused(wrong):
    with pytest.raises(ValidationError):
        RecipeSettings.model_validate(wrong)


def test_a_pattern_caps_what_matches_it_together_and_null_switches_a_shipped_cap_off():
    data = [mass("oxe_auge", hours=50.0), mass("bridge", hours=50.0), mass("ego", "human")]
    capped = weigh(data, RecipeSettings())
    assert capped.weighted_hours[0] / capped.weighted_hours[:2].sum() == pytest.approx(0.05)
    free = weigh(data, RecipeSettings(caps={"sources": {"oxe_auge*": None}}))
    assert np.allclose(free.visits, 1)


def test_a_rate_above_a_source_rate_is_a_plain_number():
    """A recipe file holds numbers of YAML, not of numpy."""
    assert type(solve({20.0: 100, 80.0: 1000}, 0.3, 3.0).rate_hz) is float


def test_a_data_set_file_that_hints_at_a_cap_has_it_unless_the_settings_say_something_about_that_source():
    data = [mass("redrawn", hours=50.0), mass("bridge", hours=50.0), mass("ego", "human")]
    hinted = weigh(data, RecipeSettings(), None, {"redrawn": 0.1, "elsewhere": 0.1})
    assert hinted.weighted_hours[0] / hinted.weighted_hours[:2].sum() == pytest.approx(0.1)
    assert [b["name"] for b in hinted.bounds if "max_weight" in b["name"]] == ["max_weight of redrawn"]
    for said, share in ((0.3, 0.3), (None, 0.5)):
        found = weigh(data, RecipeSettings(caps={"sources": {"red*": said}}), None, {"redrawn": 0.1})
        assert found.weighted_hours[0] / found.weighted_hours[:2].sum() == pytest.approx(share)

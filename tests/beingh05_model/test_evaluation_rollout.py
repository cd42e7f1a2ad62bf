"""The rollout loop, with a world small enough to know what must happen: a point that has to reach a goal."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from beingh05_model.evaluation.rollout import Episode, Rollout, summary
from beingh05_model.inference.policy import Observation

REACH, STRIDE = 0.011, 0.01


@dataclass
class Point:
    """A point on a line; the goal is in its state's second slot. Counts what is done to it."""

    task: str
    log: list = field(default_factory=list)
    closed: bool = False
    at: float = 0.0
    goal: float = 0.0

    def reset(self, seed, trial):
        draw = np.random.default_rng([seed, trial])
        self.at, self.goal = 0.0, float(draw.uniform(0.05, 0.3))
        self.log.append(("reset", seed, trial))

    def step(self, action):
        self.at += float(np.clip(action[0], -STRIDE, STRIDE))
        self.log.append(("step", self.at))

    @property
    def success(self):
        return abs(self.at - self.goal) < REACH

    def close(self):
        assert not self.closed
        self.closed = True

    def observe(self):
        self.log.append(("observe",))
        state = np.zeros(200)
        state[:2] = self.at, self.goal
        return Observation({}, self.task, state, state != 0, "metaworld")


class Walker:
    """Walks to the goal, seen; adds noise of the observation's own seed."""

    def __init__(self, chunk=6, noise=0.0, sign=1.0):
        self.chunk, self.noise, self.sign, self.asked = chunk, noise, sign, []

    def act(self, observations):
        self.asked.append(list(observations))
        out = np.zeros((len(observations), self.chunk, 200))
        for chunk, seen in zip(out, observations, strict=True):
            shake = np.random.default_rng(seen.seed).normal(size=self.chunk) * self.noise
            chunk[:, 0] = self.sign * np.clip((seen.state[1] - seen.state[0]) / self.chunk, -STRIDE, STRIDE) + shake
            if seen.delay:
                chunk[: seen.delay] = seen.committed[: seen.delay]
        return out


def rolled(policy, episodes, **options):
    made = []

    def make(task):
        made.append(Point(task))
        return made[-1]

    return Rollout(policy, **options).run(episodes, make), made


def plan(n, task="reach", most=60):
    return [Episode(task, 100 + i, most, trial=i) for i in range(n)]


def test_a_policy_that_walks_to_the_goal_succeeds_and_one_that_walks_away_fails():
    good, made = rolled(Walker(), plan(5), execute=3)
    bad, _ = rolled(Walker(sign=-1), plan(5), execute=3)
    assert all(o.success for o in good)
    assert not any(o.success for o in bad)
    assert {o.steps for o in bad} == {60}
    assert all(m.closed for m in made)


@pytest.mark.parametrize("together", [1, 2, 3, 50])
def test_episodes_do_not_depend_on_those_beside_them(together):
    """Noise follows task, seed and trial, so batches of any size give the same episodes, in the order of the plan."""
    episodes = [e for pair in zip(plan(4, "a"), plan(4, "b"), strict=True) for e in pair]
    alone, _ = rolled(Walker(noise=0.004), episodes, execute=2, together=1)
    found, made = rolled(Walker(noise=0.004), episodes, execute=2, together=together)
    assert found == alone
    assert [(o.task, o.seed, o.trial) for o in found] == [(e.task, e.seed, e.trial) for e in episodes]
    assert len({o.steps for o in found}) > 1
    assert all(m.closed for m in made)


def test_running_episodes_share_a_forward_pass_and_simulators_are_used_again():
    policy = Walker()
    _, made = rolled(policy, plan(7), execute=4, together=3)
    assert max(len(a) for a in policy.asked) == 3
    assert len(made) == 3
    assert sum(entry[0] == "reset" for m in made for entry in m.log) == 7


def test_so_many_steps_of_a_chunk_are_executed_and_no_more():
    for execute in (1, 4, 6):
        policy = Walker(sign=-1)
        (outcome,), (point,) = rolled(policy, plan(1, most=12), execute=execute)
        assert outcome.chunks == len(policy.asked) == 12 // execute
        assert sum(entry[0] == "step" for entry in point.log) == outcome.steps == 12
        assert sum(entry[0] == "observe" for entry in point.log) == outcome.chunks  # a picture is rendered per chunk


def test_an_episode_ends_at_its_success_in_the_middle_of_a_chunk():
    (outcome,), (point,) = rolled(Walker(chunk=40), plan(1), execute=40)
    needed = int(np.ceil((point.goal - REACH) / (point.goal / 40)))
    assert outcome.success
    assert abs(outcome.steps - needed) <= 1 < 40
    assert outcome.chunks == 1


def test_a_delay_keeps_what_the_last_chunk_promised():
    policy = Walker(chunk=6, noise=0.002)
    rolled(policy, plan(1), execute=3, delay=2)
    first, second = policy.asked[0][0], policy.asked[1][0]
    assert (first.delay, first.committed) == (0, None)
    assert second.delay == 2
    again = Walker(chunk=6, noise=0.002).act([first])[0]
    assert np.array_equal(second.committed, again[3:])


def test_chunks_that_cannot_be_executed_are_refused_and_simulators_closed():
    made = []

    def make(task):
        made.append(Point(task))
        return made[-1]

    with pytest.raises(ValueError, match="needs at least 9 steps"):
        Rollout(Walker(chunk=8), execute=7, delay=2).run(plan(2), make)
    with pytest.raises(ValueError, match="not finite"):
        Rollout(Walker(noise=np.inf), execute=2).run(plan(2), make)
    assert made
    assert all(m.closed for m in made)
    with pytest.raises(ValueError, match="at least 1"):
        Rollout(Walker(), execute=0)


def test_a_summary_counts_by_task_and_pools_episodes():
    good, _ = rolled(Walker(), plan(6, "easy"), execute=3)
    bad, _ = rolled(Walker(sign=-1), plan(2, "hard"), execute=3)
    found = summary([*good, *bad])
    assert found["tasks"]["easy"]["value"] == 1.0
    assert found["tasks"]["hard"]["value"] == 0.0
    assert found["pooled"]["value"] == 0.75
    assert found["pooled"]["n"] == 8
    assert found["mean_of_tasks"] == 0.5
    assert len(found["episodes"]) == 8

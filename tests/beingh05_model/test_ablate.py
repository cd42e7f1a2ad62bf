"""The ablations: every arm is what its table says, takes a step, goes on where it was, and ends in the right cell."""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from beingh05_model import cli
from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.held_out import HeldOutSettings
from beingh05_model.evaluation.mwds import MwdsSettings
from beingh05_model.evaluation.rollout import Outcome
from beingh05_model.experiments import ablate, ablation_data, few_shot, one_arm, printed, summary
from beingh05_model.experiments.ablation_data import FAMILIES, Sources, held_out
from beingh05_model.experiments.ablation_report import Report
from beingh05_model.experiments.arms import FROZEN, HUMAN_CHUNK, Arms, Choice, Places, final, frozen_layers
from beingh05_model.motion_tokens import layout
from beingh05_model.motion_tokens import tokenizer as motion_tokens
from beingh05_model.motion_tokens.settings import TokenizerSettings
from beingh05_model.network.count import count
from beingh05_model.network.model import BeingH
from beingh05_model.sequence import tokenizer
from beingh05_model.training.engine import process_group
from beingh05_model.training.parts import part_of
from helpers import human_shards
from unihand_data.config import SettingsError
from unihand_data.ids import make_id
from unihand_data.recipe import recipe_file
from unihand_data.recipe.build import build
from unihand_data.recipe.settings import RecipeSettings
from unihand_data.shards import staging, writer
from unihand_data.shards.rows import ConversationRow, LanguageRow, SampleRow
from unihand_data.space import load_embodiment

pytestmark = pytest.mark.timeout(300)  # several short trainings

TASK = "handle-press"  # the shortest of the tasks
#: train_demo.yaml, so small that a step takes a moment
CHANGES = {
    "model": {
        "backbone": {
            "heads": 2, "kv_heads": 1, "head_dim": 8, "vocab": 512,
            "und": {"width": 16, "ffn": 24}, "act": {"width": 16, "ffn": 24},
        },
        "vision": {"image_size": 28, "width": 16, "ffn": 24, "heads": 2},
    },
    "data": {"workers": 0, "views": 1, "draws": 1},
    "packing": {"rows": 1, "tokens": 260, "held": 1},
    "optimiser": {"warmup": 0},
    "stage": 1,
    "log_every": 1,
}  # fmt: skip


def choice(study, **changes):
    small = {"tasks": (TASK,), "seeds": 1, "steps": 1, "pretrain_steps": 1, "rollouts": 1, "size": 32, "max_steps": 4}
    return Choice(study=study, **{**small, "execute": 2, "changes": CHANGES, **changes})


# ---- data -----------------------------------------------------------------------------------------------------------


def robot(seed, media):
    """A demonstration of Meta-World's hand, in its own slots."""
    robot = load_embodiment("metaworld")
    states, actions = (np.sort(np.array(robot.slots(kind), np.int16)) for kind in ("state", "action"))
    random, frames = np.random.default_rng(seed), 40
    return human_shards.episode(
        seed, media, frames=frames, episode_id=make_id("robot", seed), domain="robot", embodiment="metaworld",
        rate_hz=80.0, timestamps=np.arange(frames) / 80, state_slots=states, action_slots=actions, split="train",
        state=random.normal(size=(frames, len(states))).astype(np.float32) * 0.1,
        action=random.normal(size=(frames, len(actions))).astype(np.float32) * 0.01,
        state_mask=np.ones((frames, len(states)), bool), action_mask=np.ones((frames, len(actions)), bool),
        language=[LanguageRow("task", 0.0, frames / 80, "press the handle")], source="robots",
    )  # fmt: skip


def talk(number, media):
    turns = [{"role": "user", "text": f"<image>\nWhat is {number}?"}, {"role": "assistant", "text": "A cup."}]
    row = ConversationRow(
        make_id("talk", number), "talks", "general", [{"media_id": media.media_id, "times": []}], turns, [], "CC0-1.0",
        "train", 6, 3, True,
    )  # fmt: skip
    sample = SampleRow(
        make_id(row.conversation_id), "vision_text", conversation_id=row.conversation_id, tokens_text=6,
        tokens_answer=3,
    )  # fmt: skip
    return row, sample


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Shards of a robot, of people and of vision-text, their recipes and tokenizers."""
    folder = tmp_path_factory.mktemp("data")
    media = human_shards.picture()
    robots = [robot(seed, media) for seed in (70, 71)]
    people = [human_shards.episode(seed, media) for seed in range(3)]
    people.append(human_shards.episode(9, media, split="test"))
    talks = [talk(n, media) for n in range(6)]

    def shards(name, episodes=(), conversations=()):
        index = [s for e in episodes for s in human_shards.samples(e)] + [s for _, s in conversations]
        staging.write_part(
            folder / name / "staging", episodes, [media], index, conversations=[c for c, _ in conversations]
        )
        writer.commit(folder / name / "staging", folder / name, content_hash="h", config={}, run_id="r", clean=True)
        return str(folder / name)

    def recipe(name, *inputs):
        settings = RecipeSettings(duplicates={"near_distance": None, "conversations": False}, robot_frame_share=None)
        (folder / name).mkdir()
        recipe_file.write(folder / name, build(list(inputs), folder / name, settings), new_version=False)
        return str(folder / name)

    robots, people, talks = shards("robots", robots), shards("people", people), shards("talks", (), talks)
    (folder / "words").mkdir()
    tokenizer.small(["press the handle", "fold the towel"], 300).save(folder / "words" / "tokenizer.json")
    sizes = TokenizerSettings(chunk=HUMAN_CHUNK, width=16, code_width=8, depth=1, levels=2, codes=8)
    torch.manual_seed(0)
    motion_tokens.save(folder / "motion", motion_tokens.MotionTokenizer(sizes), {})
    both = recipe("human", people, talks)
    return Places(
        tokenizer=str(folder / "words"), text=recipe("text", talks), human=both,
        robot={TASK: recipe("few", robots)}, joint=recipe("joint", robots, people),
        motion_tokenizer=str(folder / "motion"), motion_sizes=layout.motion_config(sizes),
        judged=MwdsSettings(rows=HeldOutSettings(recipe=both, starts=6), least_m=0.001),
    )  # fmt: skip


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Shared by the studies, so that they share their pre-training."""
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture(scope="module")
def group():
    with process_group():
        yield


def made_up(asked, checkpoint):
    """Outcomes that no simulator gave: only where the arm's training is what a test looks at."""
    assert (checkpoint / "config.json").is_file()
    return [Outcome(task, mw.FIRST_SEED, 0, True, 3, 1) for task in asked.tasks]


@pytest.fixture
def not_rolled_out(monkeypatch):
    monkeypatch.setattr(one_arm, "roll_out", made_up)


def weights(train, ending=""):
    return load_file(f"{train.output}/step-{train.steps:07d}{ending}/model.safetensors")


def moved(arm):
    """Parts of which any number changed since the arm's start, and parts of which any stayed bit for bit."""
    before, after = load_file(f"{arm.train.start}/model.safetensors"), weights(arm.train)
    same = {name: torch.equal(before[name], after[name]) for name in after}
    still = {part_of(name) for name, equal in same.items() if equal}
    return {part_of(name) for name, equal in same.items() if not equal}, still, same


# ---- the four studies -----------------------------------------------------------------------------------------------


def test_freeze_holds_still_what_its_tables_name_and_trains_the_action_expert(places, output, group, not_rolled_out):
    study = ablate.Study(choice("freeze"), places, output, one_arm.carry_out)
    report = study.run()
    seen = set()
    for arm in study.arms.values():
        parts, start = FROZEN[arm.labels["frozen"]], arm.labels["start"]
        seen.add((arm.labels["frozen"], start))
        assert arm.train.freeze == parts
        assert f"pretraining/{start}-mof/seed-0" in arm.train.start
        changed, _, _ = moved(arm)
        assert not changed & set(parts)
        assert {"action", "heads", "vision", "connector", "understanding"} - set(parts) <= changed
        average = weights(arm.train, "-ema")
        assert all(torch.equal(average[n], v) for n, v in weights(arm.train).items() if part_of(n) in parts)
    assert seen == set(printed.TABLE_6) == set(printed.TABLE_7)
    assert report.rows["Und Only", "human"]["Avg."].seeds == {0: 1.0}
    learning = [
        one_arm.read(f)["parameters"]["learning"] for f, a in study.arms.items() if a.labels["start"] == "human"
    ]
    assert learning[0] < learning[1] < learning[2] < learning[-1]  # of None > Und > Und + ViT > Und + Proj + ViT


def test_a_native_start_saw_vision_text_alone_and_its_action_expert_nothing(places, output, group, not_rolled_out):
    study = ablate.Study(choice("freeze"), places, output, one_arm.carry_out)
    study.run()
    native, human = sorted(study.before.values(), key=lambda arm: arm.train.data.recipe != places.text)
    assert native.train.data.recipe == places.text
    assert human.train.data.recipe == places.human
    assert native.train.steps == human.train.steps
    torch.manual_seed(0)
    first, after, human_after = BeingH(native.train.model).state_dict(), weights(native.train), weights(human.train)
    for part in ("action", "heads"):
        names = [name for name in after if part_of(name) == part]
        assert all(torch.equal(first[name], after[name]) for name in names)
        assert not all(torch.equal(first[name], human_after[name]) for name in names)
    assert any(not torch.equal(first[n], after[n]) for n in after if part_of(n) == "understanding")


def test_what_is_complete_is_not_run_again_and_other_settings_are_refused(places, output, group, not_rolled_out):
    again = []
    ablate.Study(choice("freeze"), places, output, one_arm.carry_out).run()
    study = ablate.Study(choice("freeze"), places, output, again.append)
    lost = list(study.arms)[3]
    (lost / one_arm.RESULT).unlink()
    study.run()
    assert again == [lost]
    at = (lost / "run/log.jsonl").read_text()
    one_arm.carry_out(lost)  # its training is complete: only the judgement is made again
    assert one_arm.done(lost)
    assert (lost / "run/log.jsonl").read_text() == at
    with pytest.raises(SettingsError, match="another arm was begun here"):
        ablate.Study(choice("freeze", steps=2), places, output, again.append).run()


def test_an_arm_that_fails_in_its_process_stops_the_study(tmp_path):
    with pytest.raises(SettingsError, match=r"log\.txt: the run ended with"):
        ablate.Processes().run(tmp_path)
    assert "settings.yaml" in (tmp_path / "log.txt").read_text()


STUDY = """
import signal, sys
from pathlib import Path
from beingh05_model.experiments import ablate
from beingh05_model.experiments.arms import Choice, Places
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ablate.Study(Choice.model_validate_json(sys.argv[1]), Places.model_validate_json(sys.argv[2]), Path(sys.argv[3])).run()
"""


def test_no_arm_outlives_a_study_that_is_stopped(places, tmp_path):
    words = [sys.executable, "-c", STUDY, choice("mof").model_dump_json(), places.model_dump_json(), str(tmp_path)]
    study = subprocess.Popen(words)
    while not (arms := processes_of(tmp_path / "pretraining")):
        assert study.poll() is None
        time.sleep(0.1)
    study.terminate()
    assert study.wait() == 143
    assert not [arm for arm in arms if arm in processes_of(tmp_path / "pretraining")]


def processes_of(folder):
    """Numbers of the processes whose last argument lies below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = path.read_bytes().rstrip(b"\0").split(b"\0")
            found += [int(path.parent.name)] if words[-1].startswith(f"{folder}/".encode()) else []
    return found


def test_layers_freeze_the_vlm_and_the_first_action_layers_only(places, output, group, not_rolled_out):
    study = ablate.Study(choice("layers"), places, output, one_arm.carry_out)
    report = study.run()
    kinds = {tuple(arm.labels.values()) for arm in study.arms.values()}
    assert kinds == {(e, s, str(n)) for e in ("dense", "mof") for s in ("native", "human") for n in (0, 1, 2, 3)}
    for arm in study.arms.values():
        layers = int(arm.labels["frozen layers"])
        assert (arm.train.model.mof is None) == (arm.labels["expert"] == "dense")
        changed, _, same = moved(arm)
        assert not changed & set(FROZEN["Und + Proj + ViT"])
        assert "heads" in changed
        of_act = {n: equal for n, equal in same.items() if n.startswith("backbone.layers.") and part_of(n) == "action"}
        assert all(equal for name, equal in of_act.items() if int(name.split(".")[2]) < layers)
        assert layers == 3 or any(not equal for name, equal in of_act.items() if int(name.split(".")[2]) >= layers)
    assert len(report.gains) == 8


def test_mof_and_dense_have_equal_active_parameters_and_usage_is_told(places, output, group, not_rolled_out):
    study = ablate.Study(choice("mof"), places, output, one_arm.carry_out)
    report = study.run()
    dense, mof = (count(arm.train.model) for arm in study.arms.values())
    assert mof.active - dense.active == mof.parts["router"]
    assert mof.total > dense.total
    usage = report.as_dict()["experts"]
    assert set(usage) <= {"metaworld", "human_hands"}
    assert usage
    for layers in usage.values():
        assert all(sum(shares) == pytest.approx(1, abs=1e-3) for shares in layers.values())
    assert "router is the difference" in report.markdown()


def test_mask_differs_in_one_weight_and_is_judged_on_people_it_never_saw(places, output, group):
    study = ablate.Study(choice("mask"), places, output, one_arm.carry_out)
    report = study.run()
    hybrid, without = study.arms.values()
    assert (hybrid.train.loss.motion, without.train.loss.motion) == (0.1, 0.0)
    plain = [a.train.model_dump(exclude={"loss", "output"}) for a in (hybrid, without)]
    assert plain[0] == plain[1]
    assert hybrid.train.data.chunk.rate_hz == 15
    assert list(report.as_dict()["splits"]) == ["lab"]
    assert "one split only: lab" in report.markdown()
    assert report.rows["hybrid",].keys() == report.rows["without mask loss",].keys()
    assert {"MWDS lab", "right_eef_position mm"} <= set(report.rows["hybrid",])
    assert ("last motion",) in report.rows
    told = [json.loads((f / "run/log.jsonl").read_text().splitlines()[-1]) for f in study.arms]
    assert told[0]["motion"] > 0
    before, (after, other) = (
        load_file(f"{hybrid.train.start}/model.safetensors"),
        map(weights, (hybrid.train, without.train)),
    )
    assert not torch.equal(before["motion_head.weight"], after["motion_head.weight"])
    decayed = before["motion_head.weight"] * (1 - without.train.optimiser.rate * without.train.optimiser.decay)
    assert torch.allclose(other["motion_head.weight"], decayed, atol=1e-7)  # no gradient: the decay alone


def test_an_arm_acts_in_the_simulator_on_the_widened_range(places, output, group, renderer, tmp_path):
    arms = Arms(choice("freeze"), places, output)
    for folder, arm in arms.pretraining().items():
        one_arm.lay_out(folder, arm)
        one_arm.carry_out(folder)
    arm = next(iter(arms.arms().values()))
    arm = arm.model_copy(update={"train": arm.train.model_copy(update={"output": str(tmp_path / "run")})})
    one_arm.lay_out(tmp_path, arm)
    one_arm.carry_out(tmp_path)
    (outcome,) = one_arm.read(tmp_path)["outcomes"]
    assert outcome["task"] == f"{TASK}@widened"
    assert outcome["seed"] == mw.FIRST_SEED
    assert (outcome["steps"], outcome["chunks"]) == (4, 2)
    assert not (tmp_path / "run/state").exists()


# ---- settings and data ----------------------------------------------------------------------------------------------


def test_a_model_for_each_task_learns_from_that_task_alone(places, tmp_path):
    tasks = (TASK, "drawer-open")
    where = places.model_copy(update={"robot": {TASK: "press", "drawer-open": "open", f"{TASK}+drawer-open": "both"}})
    single = Arms(choice("freeze", tasks=tasks, single=True, seeds=2), where, tmp_path).arms()
    assert len(single) == 2 * 10 * 2
    for arm in single.values():
        assert arm.closed_loop.tasks == (f"{arm.labels['task']}@widened",)
        assert arm.train.data.recipe == {TASK: "press", "drawer-open": "open"}[arm.labels["task"]]
    together = Arms(choice("freeze", tasks=tasks), where, tmp_path).arms()
    assert {arm.train.data.recipe for arm in together.values()} == {"both"}
    assert not set(single) & set(together)


def test_arms_of_a_seed_share_their_start_and_seeds_do_not(places, tmp_path):
    arms = Arms(choice("layers", seeds=3), places, tmp_path)
    starts = {str(final(arm.train)) for arm in arms.pretraining().values()}
    assert len(starts) == 4 * 3
    assert {arm.train.start for arm in arms.arms().values()} == starts
    assert all(f"seed-{arm.seed}/" in arm.train.start for arm in arms.arms().values())


@pytest.mark.parametrize(
    ("layers", "wanted"), [(28, [0, 7, 14, 28]), (4, [0, 1, 2, 4]), (3, [0, 1, 2, 3]), (1, [0, 1])]
)
def test_quarters_of_the_action_layers_as_the_paper_froze_them(layers, wanted):
    assert frozen_layers(layers) == wanted


def recording(folder, count):
    """The outer form of a recorder's folder; contents do not matter here."""
    features = {"observation.images.a": {"dtype": "video", "shape": [32, 32, 3]}, "action": {"dtype": "float32"}}
    info = {
        "features": features, "chunks_size": 1000, "data_path": "data/{episode_index}.parquet",
        "video_path": "videos/{video_key}/{episode_index}.mp4", "total_episodes": count,
    }  # fmt: skip
    (folder / "meta").mkdir(parents=True)
    (folder / few_shot.INFO).write_text(json.dumps(info))
    (folder / "meta/tasks.jsonl").write_text("{}\n")
    lines = [
        {"episode_index": n, "task_id": (TASK, "drawer-open")[n % 2], "range": ("stock", "widened")[n // 2 % 2],
         "success": n != 3, "seed": count - n, "length": 10 + n}
        for n in range(count)
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for name in ("episodes.jsonl", "episodes_stats.jsonl"):
        (folder / "meta" / name).write_text(text)
    return folder


def test_few_demonstrations_are_the_first_widened_ones_of_a_task_by_seed(tmp_path):
    whole = recording(tmp_path / "whole", 16)
    few = few_shot.cut(whole, TASK, 2, tmp_path / "few")
    kept = [json.loads(line)["episode_index"] for line in (few / "meta/episodes.jsonl").read_text().splitlines()]
    assert kept == [10, 14]  # seeds fall with the number: 14 has the smallest of 2, 6, 10, 14
    assert json.loads((few / few_shot.INFO).read_text())["total_frames"] == 44
    assert os.readlink(few / "data/14.parquet") == str(whole / "data/14.parquet")
    with pytest.raises(SettingsError, match="4 widened demonstrations of handle-press, 5 are needed"):
        few_shot.cut(whole, TASK, 5, tmp_path / "many")
    with pytest.raises(SettingsError, match="give a folder of the recorder"):
        few_shot.cut(tmp_path, TASK, 5, tmp_path / "many")


def test_motion_tokens_are_measured_on_recordings_they_are_not_learned_from(places, tmp_path):
    assert held_out(places.human) == {"held_out": "split"}
    media = human_shards.picture()
    several = human_shards.recipe(tmp_path, [human_shards.episode(seed, media) for seed in range(4)], [media])
    found = held_out(several)
    assert found["held_out"] == "hash"
    assert 0 < found["held_out_share"] < 1


# ---- from results to a table ----------------------------------------------------------------------------------------


def result(labels, seed, won, of=10, task=TASK):
    outcomes = [Outcome(f"{task}@widened", n, n, n < won, 9, 1) for n in range(of)]
    return {"labels": labels, "seed": seed, "outcomes": [asdict(o) for o in outcomes]}


def test_seeds_give_students_interval_and_rollouts_wilsons():
    """By hand: 0.2, 0.4, 0.6 have mean 0.4 and s 0.2; t(2, 97.5 %) = 4.3027; 0.2 / sqrt(3) * t = 0.49683: from below
    zero, where no success is, to 0.89683."""
    rows = summary.successes([result({"x": "a"}, seed, won) for seed, won in enumerate((2, 4, 6))], ("x",))
    cell = rows["a",][TASK]
    assert cell.mean.value == pytest.approx(0.4)
    assert (cell.mean.low, cell.mean.high) == pytest.approx((0, 0.89683), abs=1e-4)
    assert summary.over_seeds([0.2, 0.4, 0.6]).low == pytest.approx(-0.09683, abs=1e-4)  # of what has no bounds
    assert (cell.rollouts.low, cell.rollouts.high, cell.rollouts.n) == pytest.approx((0.2459, 0.5768, 30), abs=1e-4)
    assert summary.over_seeds([0.5]).low is None
    assert summary.over_seeds([0.5, 0.5, 0.5]).low is None


def test_success_stays_between_none_and_all_and_says_so():
    rates = {("native", 0): 1, ("native", 1): 2, ("native", 2): 6, ("human", 0): 20, ("human", 1): 19, ("human", 2): 17}
    results = [result({"frozen": "Und Only", "start": start}, seed, won, of=20) for (start, seed), won in rates.items()]
    text = Report(choice("freeze", seeds=3), results, 6).markdown()
    assert "| Und Only | native | 15.0 [0.0, 47.9] (" in text  # 5, 10 and 30 %: t alone would say -17.9
    assert "| Und Only | human | 93.3 [74.4, 100.0] (" in text
    assert "| Und Only | gain | +78.3 [26.6, 100.0] |" in text
    assert "cut at 0 and 100 per cent" in text


def judged(objective, seed, policy, last=0.29):
    """An arm's report on people: MWDS of the arm and of a baseline on five episodes, wrist errors on two."""
    few = {"low": None, "high": None, "n": 2, "level": 0.95}

    def of(value):
        return {"value": value, "low": value - 0.1, "high": value + 0.2, "n": 5, "level": 0.95, "samples": 9}

    lab = {"episodes": 5, "hands": 9, "left_out": {}, "mwds": {"policy": of(policy), "last motion": of(last)}}
    wrist = {"unit": "mm", "contenders": {"policy": {"mean": {"value": 40 + policy, **few}}}}
    return {
        "labels": {"objective": objective}, "seed": seed, "mwds": {"splits": {"lab": lab}},
        "open_loop": {"embodiments": {"hands": {"groups": {"right_eef_position": wrist}}}},
    }  # fmt: skip


def test_mwds_has_an_interval_by_seed_and_one_by_episode_and_baselines_only_the_second():
    values = {("hybrid", 0): 0.1, ("hybrid", 1): 0.3, ("without mask loss", 0): 0.2, ("without mask loss", 1): 0.2}
    results = [judged(objective, seed, value) for (objective, seed), value in values.items()]
    report = Report(choice("mask", seeds=2), results, 4)
    text = report.markdown()
    # by hand: s = 0.1 sqrt(2), t(1, 97.5 %) = 12.706, half 1.2706, cut at what a cosine can be
    assert "| hybrid | 0.200 [-1.000, 1.000] (0.100, 0.400) | 40.200 [38.929, 41.471] (no interval) |" in text
    assert "| without mask loss | 0.200 [seeds alike] (0.100, 0.400) |" in text
    assert "| last motion | 0.290 (0.190, 0.490) |" in text
    assert "by seed" in text
    plain = next(one for one in report.as_dict()["rows"] if one["labels"] == ["last motion"])["columns"]["MWDS lab"]
    assert (plain["mean"]["low"], plain["episodes"]["n"]) == (None, 5)


@given(st.integers(0, 500), st.integers(1, 500), st.sampled_from(sorted(FAMILIES)))
def test_no_clip_is_trained_on_and_judged_and_the_judged_stay(clips, judged, family):
    sources = Sources(clips=clips, judged=judged)
    trained, apart = (ablation_data.clips(sources, family, judged=judged) for judged in (False, True))
    assert (len(trained), len(apart)) == (clips, judged)
    others = [seed for name in FAMILIES if name != family for seed in ablation_data.clips(sources, name, judged=True)]
    assert not set(trained) & {*apart, *others}
    assert apart == ablation_data.clips(Sources(judged=judged), family, judged=True)


def test_by_default_eight_clips_of_a_family_are_judged_and_tasks_need_looking():
    assert Sources().judged >= 8
    assert set(Choice(study="freeze").tasks) == {"drawer-open", "window-close", "button-press-topdown", "window-open"}


def test_an_average_is_over_tasks_and_waits_for_all_of_them():
    results = [result({"x": "a"}, 0, 10), result({"x": "a"}, 0, 1, 5, "drawer-open"), result({"x": "a"}, 1, 5)]
    rows = summary.successes(results, ("x",))
    assert rows["a",]["Avg."].seeds == {0: pytest.approx((1 + 0.2) / 2)}
    assert rows["a",][TASK].seeds == {0: 1.0, 1: 0.5}
    assert rows["a",]["Avg."].rollouts.n == 15


def test_gains_are_paired_by_seed_and_stand_beside_the_papers():
    table = {("native", 0): 2, ("human", 0): 5, ("native", 1): 4, ("human", 1): 6, ("human", 2): 9}
    results = [result({"frozen": "Und + ViT", "start": s}, seed, won) for (s, seed), won in table.items()]
    report = Report(choice("freeze", seeds=3), results, 6)
    gain = report.gains["Und + ViT", "native"]["Avg."]
    assert gain.seeds == {0: pytest.approx(0.3), 1: pytest.approx(0.2)}
    text = report.markdown()
    assert "Incomplete: 5 of 6 arms" in text
    assert "| Und + ViT | native | 30.0 [" in text
    assert "| Und + ViT | gain | +25.0 [" in text
    assert "+8.3" in text  # of Table 7: 76.6 - 68.3
    assert "68.3" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("| -")}) == 1
    assert report.text().count("Und + ViT") == 3


def test_printed_averages_are_those_of_their_suites():
    """One row differs by more than its rounding: native, Und Only of Table 7 prints 72.8 for 72.75."""
    for table in (printed.TABLE_6, printed.TABLE_7):
        for *suites, average in table.values():
            assert average == pytest.approx(np.mean(suites), abs=0.11)


def test_experts_that_two_embodiments_share_or_do_not():
    usage = {"a": {"1": [0.5, 0.5, 0.0]}, "b": {"1": [0.0, 0.5, 0.5]}}
    assert summary.apart(usage) == {"1": pytest.approx(0.5)}
    assert summary.apart({"a": usage["a"]}) == {"1": 0.0}


def test_a_plan_names_the_arms_and_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablate.plan, "measure", lambda train, words: ablate.plan.Speed(1.0, 0.0))
    assert cli.main(["ablate", "mof", "--plan", "--output", str(tmp_path), "--steps", "1800", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 arms x seeds 0 = 2 runs, after 2 pre-trainings" in said
    assert "4,800 steps at 1.00 s" in said
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_refused_in_one_sentence(tmp_path, capsys):
    labels = (
        "there are frozen=Und + Proj + ViT | Und + ViT | Und Only | Proj + ViT | None (Full FT); start=native | human"
    )
    for words, said in (
        (["--tasks", "fold"], "no 'fold'"),
        (["--seeds", "0"], "seeds"),
        (["--only", "start=none"], f"no arm of the study freeze has start=none; {labels}"),
        (["--only", "expert=mof"], labels),
    ):
        for plan in (["--plan"], []):
            assert cli.main(["ablate", "freeze", *plan, "--output", str(tmp_path), *words]) == 2
            assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []  # refused before data is made


def test_a_part_of_a_table_takes_only_the_starts_that_it_needs(places, tmp_path):
    made = Arms(choice("layers", only={"expert": "mof", "start": "human"}), places, tmp_path)
    assert {(arm.labels["expert"], arm.labels["start"]) for arm in made.arms().values()} == {("mof", "human")}
    assert [arm.labels["pretraining"] for arm in made.pretraining().values()] == ["human-mof"]
    with pytest.raises(SettingsError, match="no arm of the study layers"):
        Arms(choice("layers", only={"expert": "none"}), places, tmp_path).arms()


def test_settings_of_every_arm_can_be_changed_from_the_command_line(tmp_path, capsys):
    words = ["ablate", "mof", "--plan", "--output", str(tmp_path), "--set", "model.backbone.layers=4"]
    assert cli.main([*words, "--set", "data.workers=0", "--set", "packing.rows=1"]) == 0
    assert "4 layers" in capsys.readouterr().out

"""Each job that builds samples says who counted their words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unihand_data.jobs.arguments import main_with
from unihand_data.language.templates import render, without_placeholders
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.tokens import ESTIMATE, TokenCounter
from unihand_data.sources.conversations.generate.catalogue import generate as generate_corpus
from unihand_data.sources.robot.generate.catalogue import generate as generate_robots

FOLDER = Path(__file__).parents[2] / "pipelines"
MODELS = {
    "human_video": "HumanVideoSettings",
    "robot_manipulation": "RobotSettings",
    "vision_text": "VisionTextSettings",
}
TOKENIZER = (
    '{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, '
    '"pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null, '
    '"model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}'
)


def run(job, name: str, source, output) -> int:
    """The page in this process, as its last lines call it."""
    page = job.load(FOLDER / f"{name}.py", f"{name}_page")
    chosen = [x for s in job.FAST for x in ("--set", s)] if name == "human_video" else []
    before, sys.argv = sys.argv, [str(FOLDER / f"{name}.py")]
    try:
        argv = ["--input", str(source), "--output", str(output), "--engine", "local", *chosen]
        model = getattr(page, MODELS[name])
        return main_with(model, page.run, default_config=f"{name}.yaml", description=page.__doc__, argv=argv)
    finally:
        sys.argv = before


def source_of(name: str, folder: Path, one_recording: Path) -> Path:
    if name == "robot_manipulation":
        generate_robots("metaworld_experts", folder, seed=1, episodes=1)
    elif name == "vision_text":
        generate_corpus("refspatial", folder, rows=2)
    else:
        return one_recording
    return folder


@pytest.mark.parametrize("name", list(MODELS))
def test_the_job_counts_with_the_tokenizer_it_is_given_and_says_so(
    job, tmp_path, monkeypatch, capsys, one_recording, name
):
    pytest.importorskip("tokenizers")
    source = source_of(name, tmp_path / "in", one_recording)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "tokenizer.json").write_text(TOKENIZER)
    monkeypatch.setenv("UNIHAND_TOKENIZER", str(tmp_path / "words"))
    assert run(job, name, source, tmp_path / "out") == 0
    counter = TokenCounter(tmp_path / "words")
    with ShardReader(str(tmp_path / "out")) as reader:
        assert reader.manifest.tokenizer == counter.name
        samples = [reader.sample(i) for i in reader.samples()["sample_id"].to_pylist()]
        for s in samples if name != "vision_text" else ():
            row = reader.episode(s.episode_id)
            line = row.language[s.language_ref]
            question, _ = render(s.question_template_id, line.text, hand=line.hand)
            assert s.tokens_text == counter.count(without_placeholders(question))
    assert samples
    assert not inspect(str(tmp_path / "out"))["tokens"]["estimate"]
    # what is stored was counted by another: a run without that tokenizer is refused
    monkeypatch.delenv("UNIHAND_TOKENIZER")
    capsys.readouterr()
    assert run(job, name, source, tmp_path / "out") == 2
    assert f"would count with {ESTIMATE}" in capsys.readouterr().err

"""Paths of a job and configuration files that cannot be read."""

from __future__ import annotations

import argparse

import pytest

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments, parse, settings_from
from unihand_data.jobs.human_config import HumanVideoSettings


def test_jobs_that_share_a_work_folder_keep_their_encoded_clips_apart():
    one, two = (JobArguments("/in", out, work="/shared") for out in ("/out/a", "/out/b"))
    assert one.media_dir != two.media_dir
    assert one.media_dir.startswith("/shared/media/")
    assert one.media_dir == JobArguments("/elsewhere", "/out/a", work="/shared").media_dir


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00bad"])
def test_a_config_that_is_no_text_file_is_refused_by_name(tmp_path, content):
    config = tmp_path / "my.yaml"
    config.mkdir() if content is None else config.write_bytes(content)
    default = tmp_path / "default.yaml"
    default.write_text("{}")
    names = argparse.Namespace(config=str(config), set=[], dataset=None, engine=None, new_version=False)
    with pytest.raises(SettingsError, match=r"my\.yaml"):
        settings_from(HumanVideoSettings, default, names)


@pytest.mark.parametrize(
    ("config", "given", "words"),
    [
        ("{}", ["motion.max_gap=1"], "--set motion.max_gap=1: motion.max_gap: "),
        ("{}", ["motion=5"], "--set motion=5: motion: "),
        ("{}", ["mirror=perhaps"], "--set mirror=perhaps: mirror: "),
        ("motion: {max_gap: 1}", ["mirror=false"], "my.yaml: motion.max_gap: "),
    ],
)
def test_an_error_of_a_setting_names_what_set_it(tmp_path, config, given, words):
    (tmp_path / "my.yaml").write_text(config)
    (tmp_path / "default.yaml").write_text("{}")
    named = argparse.Namespace(
        config=str(tmp_path / "my.yaml"), set=given, dataset=None, engine=None, new_version=False
    )
    with pytest.raises(SettingsError) as caught:
        settings_from(HumanVideoSettings, tmp_path / "default.yaml", named)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("source", "output", "work", "words"),
    [
        ("in", "in", None, "--output"),
        ("in", "in/shards", None, "--output"),
        ("in", "link/shards", None, "--output"),
        ("out/raw", "out", None, "--input"),
        ("in", "out", "in/work", "--work"),
        ("s3://b/in", "s3://b/in/shards", None, "--output"),
    ],
)
def test_places_to_write_that_lie_in_the_input_or_around_it_are_refused(tmp_path, source, output, work, words):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")

    def full(path: str) -> str:
        return path if "://" in path else str(tmp_path / path)

    argv = ["--input", full(source), "--output", full(output), *(["--work", full(work)] if work else [])]
    with pytest.raises(SettingsError) as caught:
        parse(argv, "")
    assert str(caught.value).startswith(f"{words} ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "output"), [("/a/in", "/a/in2"), ("/a/in/x.mp4", "/a/in/shards"), ("s3://b/in", "/b/in/shards")]
)
def test_places_beside_each_other_are_taken(source, output):
    assert parse(["--input", source, "--output", output], "")[0].output == output

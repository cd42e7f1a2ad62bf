"""Paths of a job and configuration files that cannot be read."""

from __future__ import annotations

import argparse

import pytest

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments, settings_from
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

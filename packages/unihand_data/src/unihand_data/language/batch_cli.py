"""``python -m unihand_data.language.batch_cli submit|poll|collect --config JOB.yaml --directory DIR``

The three steps of a batch outside the data job; each is short and may be repeated. ``--config`` is the job's YAML: its
``language`` section is used. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unihand_data import yaml_text
from unihand_data.language.annotator import build_client
from unihand_data.language.batch import GeminiBatches
from unihand_data.language.batch_spool import RequestSpool, answers_of
from unihand_data.language.cache import AnswerCache
from unihand_data.language.config import LanguageSettings


def step(name: str, settings: LanguageSettings, directory: str | Path, *, api_key: str | None = None) -> dict[str, Any]:
    """Runs one step and returns what it did. Raises the vendor's errors: a step that failed is simply run again."""
    from unihand_data.language.gemini import GeminiClient

    client = build_client(settings, api_key=api_key)
    if not isinstance(client, GeminiClient):
        raise ValueError("language.backend must be gemini: only Gemini batches are supported")
    try:
        cache = AnswerCache(settings.cache_dir or answers_of(directory))
        batches = GeminiBatches(client, settings, directory, cache)
        if name == "submit":
            return asdict(batches.submit(list(RequestSpool(directory).requests().values())))
        if name == "poll":
            return {"jobs": batches.poll()}
        return asdict(batches.collect())
    finally:
        client.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m unihand_data.language.batch_cli")
    parser.add_argument("step", choices=("submit", "poll", "collect"))
    parser.add_argument("--config", required=True, help="the job's YAML")
    parser.add_argument("--directory", required=True, help="the job's batch directory")
    args = parser.parse_args(argv)
    try:
        data = yaml_text.loads(Path(args.config).read_text()) or {}
        settings = LanguageSettings.model_validate(data.get("language", {}))
        result = step(args.step, settings, args.directory)
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as error:
        sys.stderr.write(f"{args.config}: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

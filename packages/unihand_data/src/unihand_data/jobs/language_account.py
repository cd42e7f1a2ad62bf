"""Money of a job: what is checked before the first call, and what was spent in all runs of a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from unihand_data.config import SettingsError
from unihand_data.jobs.arguments import JobArguments
from unihand_data.jobs.batches import remember
from unihand_data.language.config import LanguageSettings
from unihand_data.runner import paths


def check_language(arguments: JobArguments, language: LanguageSettings) -> str:
    """Refuse before any work, and before a plan, what would fail on every clip or could spend more than the budget; of
    a job with batches its settings are laid where ``unihand batch`` finds them.

    Returns:
        For a plan, which needs no key: what would still refuse the run; else nothing.

    Raises:
        SettingsError: no key, a budget without a price, a prompt that is not here, or a budget that several machines
            could not see together.
    """
    if language.backend == "none":
        return ""
    from unihand_data.language.annotator import Annotator, build_client
    from unihand_data.language.cache import AnswerCache
    from unihand_data.language.cost import need_price
    from unihand_data.language.prompts import PROMPT_VERSION
    from unihand_data.language.spend import SpendLedger

    if language.prompt_version != PROMPT_VERSION:
        raise SettingsError(
            f"language.prompt_version {language.prompt_version!r}: this release has {PROMPT_VERSION!r} alone"
        )
    missing = ""
    try:
        if language.budget is not None:
            need_price(language)
        try:
            Annotator(build_client(language), language, AnswerCache(), SpendLedger(limit=language.budget)).close()
        except ValueError as error:
            if not arguments.plan:
                raise
            missing = str(error)
    except ValueError as error:
        raise SettingsError(f"language: {error}") from error
    if paths.is_remote(arguments.output) and not arguments.work and os.environ.get("RAY_ADDRESS"):
        raise SettingsError(
            "with a bucket as output each machine of the cluster would keep its own answers and its own account, and a "
            "budget would count for each of them: give a folder that all machines share with --work"
        )
    if language.batch and not arguments.plan:
        remember(arguments, language)
    return missing


def language_account(work_dir: str, language: LanguageSettings) -> dict[str, Any]:
    """What all runs that shared ``work_dir`` spent, one by one and in batches; empty where no model was called."""
    from unihand_data.language.spend import SpendLedger

    out: dict[str, Any] = {}
    for path in (Path(work_dir, "spend.jsonl"), Path(work_dir, "batch", "spend.jsonl")):
        if not path.is_file():
            continue
        account = SpendLedger(path).account()
        usage = account.usage
        _add(
            out,
            {
                "calls": account.calls,
                "money": account.spent,
                "reserved": account.reserved,
                "unpriced_calls": account.unpriced_calls,
                "input_tokens": usage.input,
                "output_tokens": usage.output,
                "thinking_tokens": usage.thinking,
                "cached_input_tokens": usage.cached_input,
                "damaged_lines": account.damaged_lines,
            },
        )
        for name in ("by_status", "by_model"):
            _add(out.setdefault(name, {}), getattr(account, name))
    if out:
        out |= {"currency": language.prices.currency, "prices_as_of": language.prices.as_of}
    return out


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        total[key] = total.get(key, 0) + value

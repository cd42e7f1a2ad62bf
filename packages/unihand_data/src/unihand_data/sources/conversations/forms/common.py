"""What the row forms share: roles, turns of the LLaVA kind, typed access to a row's keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from unihand_data.errors import Reason, Reject
from unihand_data.sources.conversations.geometry_text import refuse_unread, take_out
from unihand_data.sources.conversations.pictures import Finder
from unihand_data.sources.conversations.spec import CorpusSpec
from unihand_data.sources.conversations.talk import Role, Talk, Turn
from unihand_data.untrusted.tables import need

ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "system": "system",
}  # fmt: skip

#: ``form(row, spec, finder, where)``; ``where`` names file and row in messages
Form = Callable[[dict[str, Any], CorpusSpec, Finder, str], Talk]


def text(value: Any, where: str, what: str) -> str:
    """A string as it is. Raises ``Reject``: WRONG_TYPE."""
    if not isinstance(value, str):
        raise Reject(Reason.WRONG_TYPE, f"{where}: {what} is {type(value).__name__} where text belongs")
    return value


def listed(value: Any, where: str, what: str) -> list[Any]:
    """A list. Raises ``Reject``: WRONG_TYPE."""
    if not isinstance(value, list):
        raise Reject(Reason.WRONG_TYPE, f"{where}: {what} is {type(value).__name__} where a list belongs")
    return value


def column(spec: CorpusSpec, name: str) -> str:
    return spec.columns_of.get(name, name)


def talk(spec: CorpusSpec, key: Any, turns: list[Turn]) -> Talk:
    return Talk(spec.name, spec.pillar, str(key)[:200], turns)


def turn(role: Role, value: str, spec: CorpusSpec, where: str) -> Turn:
    """A turn with its geometry taken out and, in a question, format instructions of the corpus left out.

    Raises:
        Reject: as :func:`take_out` and :func:`refuse_unread`.
    """
    if role == "user":
        for expression in spec.strip:
            value = re.sub(expression, "", value)
        value = value.rstrip() if spec.strip else value
    parts = take_out(value, spec.geometry, where)
    for form in spec.geometry_also:
        parts = [p for part in parts for p in (take_out(part, form, where) if isinstance(part, str) else [part])]
    refuse_unread(parts, where)
    return Turn(role, parts)


def turns_of(conversations: Any, spec: CorpusSpec, where: str) -> list[Turn]:
    """``[{from, value}]`` or ``[{role, content}]``, or the dict of parallel lists that Arrow makes of it.

    Raises:
        Reject: WRONG_TYPE, EMPTY (no turn), ROLE_UNKNOWN, MISSING_FIELD.
    """
    if isinstance(conversations, dict):
        names = {k: listed(v, where, f"conversations.{k}") for k, v in conversations.items()}
        if len({len(v) for v in names.values()}) > 1:
            raise Reject(Reason.WRONG_TYPE, f"{where}: the parallel lists of conversations have different lengths")
        conversations = [dict(zip(names, row)) for row in zip(*names.values())]
    out = []
    for i, entry in enumerate(listed(conversations, where, "conversations")):
        at = f"{where}, turn {i}"
        if not isinstance(entry, dict):
            raise Reject(Reason.WRONG_TYPE, f"{at}: {type(entry).__name__} where a turn belongs")
        name = need(entry, "role" if "role" in entry else "from", at)
        value = text(need(entry, "content" if "content" in entry else "value", at), at, "the text")
        if not isinstance(name, str) or name.lower() not in ROLES:
            raise Reject(Reason.ROLE_UNKNOWN, f"{at}: role {str(name)[:40]!r}; known are {', '.join(sorted(ROLES))}")
        out.append(turn(ROLES[name.lower()], value, spec, at))
    if not out:
        raise Reject(Reason.EMPTY, f"{where}: no turns")
    return out

"""The spend ledger: one append-only JSONL file per job that several workers write, with a limit none of them passes.

A call first *reserves* the most it can cost and afterwards *settles* what it did cost. A reservation that does not fit
under the limit is refused. A worker that dies leaves its reservation standing: money that may have been spent counts as
spent until the call is settled. The same file is the account: every settled line carries the vendor's token counts.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unihand_data.language.backends import Usage

log = logging.getLogger(__name__)


@dataclass
class Account:
    """Totals of a ledger. ``reserved``: money of calls that were begun and not settled."""

    calls: int = 0
    spent: float = 0.0
    reserved: float = 0.0
    usage: Usage = field(default_factory=Usage)
    by_status: dict[str, int] = field(default_factory=dict)
    by_model: dict[str, float] = field(default_factory=dict)
    unpriced_calls: int = 0
    damaged_lines: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class SpendLedger:
    """Budget and account of one job.

    Args:
        path: file shared by the workers of a machine (flock); None keeps the account in this process.
        limit: money in all, None without a limit. It covers the file's whole history: a resumed job goes on counting.
    """

    def __init__(self, path: str | Path | None = None, limit: float | None = None):
        self._path = Path(path) if path is not None else None
        self.limit = limit
        self._lock = threading.Lock()
        self._offset = 0
        self._open: dict[str, float] = {}
        self._settled: set[str] = set()
        self._account = Account()
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)

    def reserve(self, call_id: str, amount: float | None) -> bool:
        """Whether the call may be made. Reserving an open call again changes nothing (a resumed worker)."""
        with self._transaction() as write:
            if call_id in self._open:
                return True
            if self.limit is not None:
                if amount is None:
                    raise ValueError("a budget needs a price: list the model under language.prices.models")
                if self._account.spent + sum(self._open.values()) + amount > self.limit:
                    return False
            write({"reserve": call_id, "amount": amount or 0.0})
            return True

    def settle(self, call_id: str, *, cost: float | None, usage: Usage, model: str, status: str) -> None:
        """What a call came to. Settling twice counts once."""
        with self._transaction() as write:
            if call_id in self._settled:
                return
            write({"settle": call_id, "cost": cost, "usage": asdict(usage), "model": model, "status": status})

    def account(self) -> Account:
        """Totals now, of every writer."""
        with self._transaction():
            self._account.reserved = sum(self._open.values())
            return Account(**{**self._account.__dict__, "by_status": dict(self._account.by_status),
                              "by_model": dict(self._account.by_model)})  # fmt: skip

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock:
            if self._path is None:
                yield self._apply
                return
            with open(self._path, "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    torn = self._read(file)
                    pending: list[dict[str, Any]] = []
                    yield pending.append
                    if pending:
                        # a line torn by a killed writer must not swallow the next one
                        text = ("\n" if torn else "") + "".join(json.dumps(line) + "\n" for line in pending)
                        file.write(text.encode())
                        file.flush()
                        self._read(file)
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)

    def _read(self, file: Any) -> bool:
        """Takes in what others wrote; True when the file ends in a torn line."""
        file.seek(self._offset)
        data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        for line in data[:end].splitlines():
            if not line.strip():
                continue
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._account.damaged_lines += 1
                log.warning("%s: damaged line left out of the account: %s", self._path, error)
        return end < len(data)

    def _apply(self, line: dict[str, Any]) -> None:
        account = self._account
        if "reserve" in line:
            if line["reserve"] not in self._settled:
                self._open[line["reserve"]] = float(line["amount"])
            return
        call_id, usage, cost = line["settle"], Usage(**line["usage"]), line["cost"]
        self._open.pop(call_id, None)
        if call_id in self._settled:
            return
        self._settled.add(call_id)
        account.calls += 1
        account.spent += cost or 0.0
        account.unpriced_calls += cost is None
        account.usage += usage
        account.by_status[line["status"]] = account.by_status.get(line["status"], 0) + 1
        account.by_model[line["model"]] = account.by_model.get(line["model"], 0.0) + (cost or 0.0)

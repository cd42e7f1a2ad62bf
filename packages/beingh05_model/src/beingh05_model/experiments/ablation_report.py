"""Tables of an ablation: for a terminal, for docs (markdown), and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from beingh05_model.evaluation.intervals import Interval
from beingh05_model.experiments import printed, summary
from beingh05_model.experiments.arms import Choice
from beingh05_model.experiments.summary import Cell, Result, Rows

#: labels that name a row, by study
ROW = {
    "freeze": ("frozen", "start"),
    "layers": ("expert", "start", "frozen layers"),
    "mof": ("expert",),
    "mask": ("objective",),
}
READING = (
    "Values are means over seeds. [seed interval: Student's t, 95 %, over the seeds' means, cut at 0 and 100 per cent "
    "(differences at -100 and 100), none where all seeds are alike]; "
    "(rollout interval: Wilson, 95 %, all rollouts of all seeds together). "
)


class Report:
    """A study's results so far."""

    def __init__(self, choice: Choice, results: Iterable[Result], wanted: int) -> None:
        self.choice, self.results, self.wanted = choice, list(results), wanted
        make = summary.motion if choice.study == "mask" else summary.successes
        self.rows: Rows = make(self.results, ROW[choice.study])
        self.gains: Rows = summary.gains(self.rows, _better(choice.study))

    def as_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "study": self.choice.study,
            "choice": self.choice.model_dump(mode="json"),
            "arms": {"complete": len(self.results), "wanted": self.wanted},
            "rows": [_plain(labels, cells) for labels, cells in self.rows.items()],
            "gains": [_plain(labels, cells) for labels, cells in self.gains.items()],
        }
        if self.choice.study == "mof":
            usage = summary.experts(self.results)
            out |= {"experts": usage, "experts apart": summary.apart(usage), "parameters": self._parameters()}
        if self.choice.study == "mask":
            out["splits"] = self._splits()
        return out

    # ---- text -------------------------------------------------------------------------------------------------------

    def markdown(self) -> str:
        """The table, what stands beside it in the paper, and what must be said of it."""
        c = self.choice
        scale, digits = (1.0, 3) if c.study == "mask" else (100.0, 1)
        columns = list(dict.fromkeys(name for cells in self.rows.values() for name in cells))
        beside = self._printed()
        head = [*ROW[c.study], *columns, *beside[0]]
        lines = [head, ["---"] * len(head)]
        for labels, cells in self.rows.items():
            values = [_text(cells.get(name), scale, digits) for name in columns]
            lines.append([*labels, *values, *beside[1](labels)])
        for labels, cells in self.gains.items():
            values = [_text(cells.get(name), scale, digits, sign=True) for name in columns]
            first = {"freeze": ("gain", ""), "layers": ("gain", "")}.get(c.study, ("difference",))
            names = [labels[0], "gain", *labels[2:]] if len(labels) > 1 else [*first]
            lines.append([*names, *values, *self._printed_gain(labels)])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join([self._title(), table, *self._words()])

    def text(self) -> str:
        """The same for a terminal: columns of equal width."""
        out = []
        for part in self.markdown().split("\n\n"):
            if not part.startswith("|"):
                out.append(part)
                continue
            cells = [[word.strip() for word in line.strip("|").split("|")] for line in part.splitlines()]
            cells = [line for line in cells if set(line) != {"---"}]
            widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
            rows = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
            out.append("\n".join(rows))
        return "\n\n".join(out)

    def _title(self) -> str:
        c = self.choice
        what = {
            "freeze": f"Shape of Table {6 if c.single else 7}: success in per cent, "
            f"{'one model per task' if c.single else 'one model for all tasks'}",
            "layers": "Shape of Figures 11 and 12: success in per cent, the whole VLM frozen",
            "mof": "Dense against Mixture of Flow, joint training: success in per cent",
            "mask": "Shape of Table 8: MWDS and open-loop wrist errors on people that were not trained on",
        }[c.study]
        size = f"{c.seeds} seeds, {c.steps} steps after {c.pretrain_steps} of pre-training"
        if c.study != "mask":
            size += f", {c.demonstrations} demonstrations and {c.rollouts} rollouts per task (widened range)"
        short = "" if len(self.results) == self.wanted else f" Incomplete: {len(self.results)} of {self.wanted} arms."
        return f"**{what}** ({size}).{short}"

    def _words(self) -> list[str]:
        """What a reader must know beside the table."""
        c = self.choice
        if c.study == "freeze":
            return [READING + "Paper: LIBERO, 2B, 10 k steps; shapes compare, values do not. A gain is human-centric "
                    "minus native, paired by seed."]  # fmt: skip
        if c.study == "layers":
            return [READING + f"Paper (LIBERO, text of Figures 11 and 12): {printed.FIGURE_11}."]
        if c.study == "mof":
            usage = summary.experts(self.results)
            lines = [
                f"{name}, layer {layer}: {', '.join(f'{share:.2f}' for share in shares)}"
                for name, of in usage.items()
                for layer, shares in of.items()
            ]
            distances = ", ".join(f"layer {n} {d:.2f}" for n, d in summary.apart(usage).items())
            sizes = ", ".join(
                f"{name} {found['total']:,} in all, {found['active']:,} active (the router is the difference)"
                for name, found in self._parameters().items()
            )
            return [
                READING + "The difference is MoF minus dense, paired by seed.",
                f"Parameters: {sizes}.",
                f"Share of the choices by expert: {'; '.join(lines)}. Distance between embodiments: {distances}.",
            ]
        splits = self._splits()
        only = "" if len(splits) > 1 else f" The rows have one split only: {', '.join(splits) or 'none'}."
        counts = "; ".join(f"{name}: {n['hands']} hands of {n['episodes']} episodes" for name, n in splits.items())
        return [
            "Values are means over seeds. [seed interval: Student's t, 95 %, over seeds, cut at what a value can be]; "
            "(episode interval, 95 %, over the judged recordings, the mean of the seeds' own: bootstrap, below 10 "
            "episodes Student's t, below 3 none). Rows that are not trained have no seed interval. The difference is "
            f"hybrid minus without, paired by seed. {counts}.{only} Paper, Table 8 (lab, wild): hybrid 0.33, 0.20; "
            "without 0.35, 0.28 (its text says the opposite of these numbers)."
        ]  # fmt: skip

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _printed(self) -> tuple[list[str], Callable[[tuple[str, ...]], list[str]]]:
        if self.choice.study == "freeze":
            table = printed.TABLE_6 if self.choice.single else printed.TABLE_7
            return ["paper, Avg."], lambda labels: [f"{table[labels[0], labels[1]][-1]:.1f}"]
        if self.choice.study == "mask":
            return [
                "paper, lab",
                "paper, wild",
            ], lambda labels: [f"{value:.2f}" for value in printed.TABLE_8.get(labels[0], ())] or ["", ""]
        return [], lambda labels: []

    def _printed_gain(self, labels: Sequence[str]) -> list[str]:
        if self.choice.study == "freeze":
            table = printed.TABLE_6 if self.choice.single else printed.TABLE_7
            return [f"{table[labels[0], 'human'][-1] - table[labels[0], 'native'][-1]:+.1f}"]
        if self.choice.study == "mask":
            both = zip(printed.TABLE_8["hybrid"], printed.TABLE_8["without mask loss"], strict=True)
            return [f"{a - b:+.2f}" for a, b in both]
        return []

    def _parameters(self) -> dict[str, dict[str, int]]:
        return {result["labels"]["expert"]: result["parameters"] for result in self.results}

    def _splits(self) -> dict[str, dict[str, Any]]:
        """What each split of people holds; the same for every arm."""
        found = [result["mwds"]["splits"] for result in self.results]
        keys = ("episodes", "hands", "left_out")
        return {name: {key: of[key] for key in keys} for one in found[:1] for name, of in one.items()}


def _better(study: str) -> Callable[[tuple[str, ...]], tuple[str, ...] | None]:
    """The row that a row is subtracted from."""

    def better(labels: tuple[str, ...]) -> tuple[str, ...] | None:
        if study in ("freeze", "layers"):
            return (labels[0], "human", *labels[2:]) if labels[1] == "native" else None
        if study == "mof":
            return ("mof",) if labels[0] == "dense" else None
        return ("hybrid",) if labels[0] == "without mask loss" else None

    return better


def _plain(labels: tuple[str, ...], cells: dict[str, Cell]) -> dict[str, Any]:
    return {"labels": list(labels), "columns": {name: cell.as_dict() for name, cell in cells.items()}}


def _text(cell: Cell | None, scale: float, digits: int, sign: bool = False) -> str:
    """``61.7 [40.1, 83.2] (52.1, 70.4)``; the first only where there is something trained."""
    if cell is None:
        return ""
    mean = cell.mean
    out = [f"{mean.value * scale:{'+' if sign else ''}.{digits}f}"]
    if cell.trained:
        out.append(_ends(mean, scale, digits, "[]", "one seed" if mean.n == 1 else "seeds alike"))
    for within in (cell.rollouts, cell.episodes):
        if within is not None:
            out.append(_ends(within, scale, digits, "()", "no interval"))
    return " ".join(out)


def _ends(interval: Interval, scale: float, digits: int, brackets: str, none: str) -> str:
    if interval.low is None or interval.high is None:
        return f"{brackets[0]}{none}{brackets[1]}"
    return f"{brackets[0]}{interval.low * scale:.{digits}f}, {interval.high * scale:.{digits}f}{brackets[1]}"

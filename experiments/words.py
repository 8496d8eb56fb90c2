"""How results are said in the docs: tables, numbers, and how a result was got."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

YES_NO = {True: "yes", False: "**no**", None: "-"}


def table(head: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; `head` has its columns between bars.

    >>> table("a | b", [(1, "x")])
    ['| a | b |', '| --- | --- |', '| 1 | x |']
    """
    lines = [f"| {head} |", f"|{' --- |' * (head.count('|') + 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [line.replace("|  |", "| |") for line in lines]


def short(value: float) -> str:
    """Three digits that count.

    >>> short(0.01234), short(12345.6), short(1e-16), short(1.2e-9)
    ('0.0123', '12,346', '0', '1.2e-09')
    """
    size = abs(value)
    if size < 1e-12:  # what rounding leaves of 0
        return "0"
    if not size >= 1e-4:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def plain(text: str) -> str:
    """A model's text as it can stand between backticks on one line of a table."""
    return "".join(mark if mark.isprintable() and mark not in "`|" else " " for mark in text)


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def provenance(run: Mapping[str, Any]) -> str:
    """A recorded result's first line in the docs."""
    return f"{origin(run)} Pass line: {run['pass_line']}. Passed: {'yes' if run['passed'] else '**no**'}."


def origin(run: Mapping[str, Any]) -> str:
    """How a recorded result was got: machine, commit, seeds, hours, command."""
    hours = f", {_core_time(run['hours'])} of one core" if run.get("hours", 0.0) > 1 / 60 else ""
    beside = f" ({run['beside']})" if run.get("beside") else ""
    seeds = [run["seed"]] if "seed" in run else run.get("seeds", [])
    said = f", seed{'s' if len(seeds) > 1 else ''} {_span(seeds)}" if seeds else ""
    return f"{run['machine']}; commit {run['commit']}{said}{hours}{beside}. Command: `{run['command']}`."


def _core_time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 0.95 else f"{60 * hours:.0f} minutes"


def _span(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))

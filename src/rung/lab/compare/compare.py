"""A comparison from beginning to end, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.lab.compare.page import page
from rung.lab.compare.plan import PAGE, PLAN, Comparison, claim
from rung.lab.compare.results import write_result
from rung.lab.compare.runs import Say, run_all
from rung.runs.lock import RunLock
from rung.runs.run import handed
from rung.runs.stopping import STOPPED_BY_SIGNAL
from rung.runs.unstarted import gated
from rung.whole_files import write_whole


def compare(
    comparison: Comparison, folder: Path, *, jobs: int, say: Say, plan: Sequence[str] = ()
) -> tuple[dict[str, Any], int]:
    """Says the plan, runs what is missing of the comparison, then writes comparison.json and comparison.html.

    Returns what comparison.json holds, and the exit code: 0, 1 when a run failed, 75 when it was stopped by a signal
    (the result is then of the runs so far). Raises SettingsError when the folder is in use or holds something else.
    """
    from rung.runs.recipes.tiny import tiny_for

    if not (folder / PLAN).is_file():
        _through_the_gate(comparison, say)
    folder.mkdir(parents=True, exist_ok=True)
    with RunLock(folder, "comparison is being made"):
        goes_on = claim(comparison, folder)
        for line in plan:
            say(line)
        if goes_on:
            say(f"going on with the comparison in {folder}")
        settings = next(iter(comparison.settings.values()))
        if settings.model == "tiny":
            tiny_for(settings.task)  # warmed up once, before the runs that all begin with it
        finished = run_all(comparison, folder, jobs=jobs, say=say)
        data = write_result(comparison, folder)
        write_whole(folder / PAGE, page(data).encode("utf-8"))
    if not finished:
        return data, STOPPED_BY_SIGNAL
    return data, int(any(row["failed"] for row in data["methods"]))


def _through_the_gate(comparison: Comparison, say: Say) -> None:
    """What is known of every run before the first of them. SettingsError with each method's problems."""
    problems: list[str] = []
    for name, settings in comparison.settings.items():
        try:
            for note in gated(settings, comparison.handed or handed()):
                say(f"{name}: {note}")
        except (SettingsError, DataError) as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)

"""`rung view` and `rung diagnose`: look inside runs in a page on this machine, and what is wrong with one in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rung.commands.options import AsJson, argument, option
from rung.commands.output import say, show, tell
from rung.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from rung.lab.run_page.opened_run import OpenedRun

MOST_RUNS = 6
"""As many colours can be told apart."""


def view(
    runs: Annotated[list[Path], argument("view.runs")],
    port: Annotated[int, option("port")] = 0,
) -> None:
    """Look inside runs in a page on this machine, also while they train.

    Curves with their healthy ranges, every step's samples, each token's numbers, which prompts are solved, and where
    the time goes. Nothing is written to the runs.
    """
    opened = _opened(runs)
    try:
        from rung.lab.pages import PageServer
        from rung.lab.run_page.viewer_page import ViewerPage
    except ModuleNotFoundError as error:
        raise MissingExtra("the viewer", "pages") from error

    page = ViewerPage(opened)
    with PageServer(
        page.routes(), people=["viewer"], port=port, refused=lambda words: tell(f"warning: {words}")
    ) as server:
        say(f"{', '.join(str(run.folder) for run in opened)}: {server.links['viewer']}")
        say("the page follows a run that is still training; Ctrl-C stops it, and touches no run")
        server.run()


def diagnose(folder: Annotated[Path, argument("diagnose.folder")], as_json: AsJson = False) -> None:
    """Say what is wrong with a run.

    From its folder alone, also while it trains: the evidence, the likely cause, the setting to change.
    """
    from rung.lab.diagnosis.rules import diagnose as diagnosed

    found = diagnosed(folder)
    show(found.as_data(), found.lines, as_json)


def _opened(folders: list[Path]) -> list[OpenedRun]:
    """Raises SettingsError with everything that is wrong with the folders."""
    from rung.lab.run_page.opened_run import OpenedRun

    problems: list[str] = []
    opened: list[OpenedRun] = []
    for folder in folders:
        try:
            opened.append(OpenedRun(folder))
        except SettingsError as error:
            problems += str(error).splitlines()
    places = [run.folder.resolve() for run in opened]
    problems += [f"RUN: {place} is given twice" for place in sorted(set(places)) if places.count(place) > 1]
    if len(folders) > MOST_RUNS:
        problems.append(f"RUN: got {len(folders)} runs, expected at most {MOST_RUNS} in one page")
    if problems:
        raise SettingsError(problems)
    return opened

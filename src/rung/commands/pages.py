"""What looks at runs and people's labels: `rung view` and `rung label`, pages on this machine; `rung diagnose` and
`rung list`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rung.commands.shared import AsJson, argument, counted, option, say, show, tell
from rung.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from rung.lab.labels.comparison_rows import ComparisonFile
    from rung.lab.labels.store import LabelStore
    from rung.lab.run_page.opened_run import OpenedRun


MOST_RUNS = 200
"""In one page, which shows six of them at once: as many colours can be told apart."""


def view(
    runs: Annotated[list[Path], argument("view.runs")],
    port: Annotated[int, option("port")] = 0,
    terminal: Annotated[bool, option("view.terminal")] = False,
) -> None:
    """Look inside runs in a page on this machine, also while they train.

    A folder that holds runs gives all of them, as a table to choose from. Curves with their healthy ranges, every
    step's samples, each token's numbers, which prompts are solved, and where the time goes. Nothing is written to the
    runs.
    """
    opened = _opened(runs)
    if terminal:
        from rung.lab.terminal_view import view as in_terminal

        if len(opened) != 1:
            raise SettingsError(f"RUN: got {len(opened)} runs, expected one with --terminal; rung list shows several")
        in_terminal(opened[0])
        return
    try:
        from rung.lab.pages import PageServer
        from rung.lab.run_page.viewer_page import ViewerPage
    except ModuleNotFoundError as error:
        raise MissingExtra("the viewer", "pages") from error

    page = ViewerPage(opened)
    with PageServer(
        page.routes(), people=["viewer"], port=port, refused=lambda words: tell(f"warning: {words}")
    ) as server:
        shown = ", ".join(map(str, runs if len(opened) > len(runs) else [run.folder for run in opened]))
        say(f"{shown}: {server.links['viewer']}")
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
    from rung.lab.runs_table import runs_in

    problems: list[str] = []
    opened: list[OpenedRun] = []
    for folder in (run for given in folders for run in (list(runs_in(given)) or [given])):
        try:
            opened.append(OpenedRun(folder))
        except SettingsError as error:
            problems += str(error).splitlines()
    places = [run.folder.resolve() for run in opened]
    problems += [f"RUN: {place} is given twice" for place in sorted(set(places)) if places.count(place) > 1]
    if len(opened) > MOST_RUNS:
        problems.append(f"RUN: got {len(opened)} runs, expected at most {MOST_RUNS} in one page")
    if problems:
        raise SettingsError(problems)
    return opened


def listing(
    runs: Annotated[list[Path] | None, argument("list.runs")] = None,
    sort: Annotated[str, option("list.sort")] = "run",
    reverse: Annotated[bool, option("list.reverse")] = False,
    as_json: AsJson = False,
) -> None:
    """List runs as a table: method, task, steps, score with its interval, state, time, what is wrong.

    Folders are searched for runs; without a name, runs/.
    """
    from rung.lab.runs_table import lines_of, runs_table

    rows = runs_table(runs or [Path("runs")], sort, reverse=reverse)
    show({"runs": [asdict(row) for row in rows]}, lambda: lines_of(rows), as_json)


def label(
    pairs: Annotated[Path, argument("label.pairs")],
    port: Annotated[int, option("port")] = 0,
    labeller: Annotated[list[str] | None, option("label.labeller")] = None,
    votes_per_pair: Annotated[int, option("label.votes_per_pair")] = 1,
    question: Annotated[str, option("label.question")] = "Which one is better?",
    labels: Annotated[Path | None, option("label.labels")] = None,
    export: Annotated[Path | None, option("label.export")] = None,
    votes: Annotated[Path | None, option("label.votes")] = None,
) -> None:
    """Label pairs in a page on this machine, or export the labels.

    Votes are on the disk before the page says so; stop and start again at any time. The exported choice is the answer
    that most people gave; ties, even votes and can't-tells are left out and counted.
    """
    from rung.lab.labels.comparison_rows import read_comparisons
    from rung.lab.labels.store import LabelStore

    people = labeller or ["labeller"]
    _check(people, votes_per_pair, pairs, [("--export", export), ("--votes", votes)])
    file = read_comparisons(pairs)
    with LabelStore(labels or pairs.with_name(f"{pairs.name}.labels")) as store:
        _take_in(store, file)
        if export is not None or votes is not None:
            _export(store, export, votes)
        else:
            _serve(store, file, people=people, port=port, wanted=votes_per_pair, question=question)


def _check(people: list[str], wanted: int, pairs: Path, targets: list[tuple[str, Path | None]]) -> None:
    """Raises SettingsError with everything that is wrong, before a file is made."""
    from rung.lab.labels.comparison import LONGEST_NAME

    problems = [
        f"--labeller: got {name!r}, expected a name of 1 to {LONGEST_NAME} characters that can be seen"
        for name in people
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable()
    ]
    if len(set(people)) < len(people):
        problems.append("--labeller: the same name is given twice; people are told apart by their names")
    for flag, target in targets:
        if target is not None and target.resolve() == pairs.resolve():
            problems.append(f"{flag}: {target} is the file of the pairs itself; name another")
    if problems:
        raise SettingsError(problems)
    if wanted > len(people) and not any(target for _, target in targets):
        links = f"there is a link for {len(people)}; give --labeller NAME once for each"
        tell(f"warning: --votes-per-pair {wanted} needs {wanted} people, and {links}")


def _take_in(store: LabelStore, file: ComparisonFile) -> None:
    new = store.take_in(file)
    missing = store.count() - len(file.pairs)
    say(f"{file.path}: {file.in_words()}" + (f", {new:,} of them new" if 0 < new < len(file.pairs) else ""))
    if missing:
        tell(f"warning: {store.file.path} has {missing:,} more, which are not in {file.path} any more; they stay in it")


def _export(store: LabelStore, export: Path | None, votes: Path | None) -> None:
    from rung.lab.labels.comparison import RULE, agreement_of
    from rung.lab.labels.store import export_labelled, export_votes

    if votes is not None:
        say(f"{votes}: {export_votes(store, votes)} with {counted(len(store.votes()), 'vote')}")
    if export is not None:
        say(f"{export}: {export_labelled(store, export)}")
        say(f"chosen is {RULE}")
        say(f"agreement: {agreement_of(store.standing()).in_words()}")


def _serve(
    store: LabelStore, file: ComparisonFile, *, people: list[str], port: int, wanted: int, question: str
) -> None:
    try:
        from rung.lab.labels.labelling_page import LabellingPage
        from rung.lab.pages import PageServer
    except ModuleNotFoundError as error:
        raise MissingExtra("the labelling page", "pages") from error
    from rung.lab.labels.comparison import left_share

    page = LabellingPage(store=store, folder=file.path.parent, wanted=wanted, question=question)
    with PageServer(page.routes(), people=people, port=port, refused=lambda words: tell(f"warning: {words}")) as server:
        for name, link in server.links.items():
            say(f"{name}: {link}")
        say(f"votes go to {store.file.path}; Ctrl-C stops, and the same command goes on")
        server.run()
    standing = store.standing()
    labelled = len({vote.pair for vote in standing})
    said = f"{counted(len(standing), 'vote')} on {labelled:,} of {store.count():,} pairs"
    say(f"{said}; left preferred: {left_share(standing)}")
    if labelled:
        say(f"for training: rung label {file.path} --export FILE.jsonl")

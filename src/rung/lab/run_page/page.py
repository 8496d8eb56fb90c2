"""report.html: the viewer's page in one file, with the run's data inside it, that asks the network for nothing.

`curves_page` is the same for a notebook: the curves alone.

Everything a model or a data file wrote is inert: it travels as JSON, the scripts set it as text, and the page's own
policy forbids every script but ours and every request. A large run is thinned to a page that a browser opens at once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rung.errors import DataError
from rung.lab.one_file import encoded, in_one_file
from rung.lab.run_page.opened_run import SOLVED_COLUMNS, OpenedRun, solved_row
from rung.lab.run_page.shown import FILM, MOST_ROWS, STEP_COLUMNS, TOKEN_COLUMNS, meanings, shown_step, shown_tokens
from rung.runs.metrics import in_environment
from rung.runs.record.visible import visible
from rung.whole_files import write_whole

STATIC = Path(__file__).with_name("static")
MOST_STEPS = 24
"""Steps whose samples are in the page: first, last, and evenly between."""
LARGEST_STEP = 2_000_000
"""Bytes of one step's samples and tokens."""
LARGEST_SAMPLES = 8_000_000
"""Bytes of all samples."""
LARGEST_ROWS = 2_000_000
"""Bytes of metrics, and of timings."""
MOST_MAPPED = 200
"""Steps in the map of prompts."""
LARGEST_FILM = 3_000_000
"""Bytes of a film that is shown within the page; a larger one stays beside it."""

T = TypeVar("T")


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from what is in the folder and returns its path.

    Works on a run that is unfinished, has no evaluation or holds damaged files (the page says so). Raises
    `SettingsError` when the folder holds no run.
    """
    run = OpenedRun(Path(folder))
    target = run.folder / "report.html"
    write_whole(target, page(run).encode("utf-8"))
    return target


def page(run: OpenedRun) -> str:
    """The whole page as text."""
    state, seen, problems = run.state(), run.overview(), list[str]()
    metrics, timings = run.rows("metrics"), run.rows("timings")
    kept = {"metrics": _bounded(metrics, _is_evaluated), "timings": _bounded(timings)}
    steps = _samples(run, state["steps"], problems)
    named: set[str] = set()
    read = _read(run, spread(state["steps"], MOST_MAPPED), SOLVED_COLUMNS, problems)
    mapped = _bounded([solved_row(step, rows, named) for step, rows in read])
    film = ""  # as an address that holds it; empty where there is none or it is too large
    if seen["film"] is not None and seen["film"]["bytes"] <= LARGEST_FILM:
        film = f"data:image/gif;base64,{base64.b64encode((run.folder / FILM).read_bytes()).decode('ascii')}"
    names = dict.fromkeys(name for row in (*metrics, *timings) for name in row)
    data = {
        "name": run.name,
        "state": {**state, "steps": list(steps)},
        "overview": seen,
        "film": film,
        "grown": {
            **{what: {**_table(rows), "problem": run.problem(what)} for what, rows in kept.items()},
            "solved": {"rows": mapped, "problem": "\n".join(problems)},
        },
        "meanings": meanings(names, environment=run.in_environment()),
        "left_out": _left_out(
            [
                ("steps with samples", len(steps), len(state["steps"])),
                ("rows of metrics", len(kept["metrics"]), len(metrics)),
                ("steps in the map of prompts", len(mapped), len(state["steps"])),
            ]
        ),
    }
    islands = {"run-data": encoded(data), **{f"step-{step}": text for step, text in steps.items()}}
    return in_one_file((STATIC / "page.html").read_text(encoding="utf-8"), [STATIC], islands)


def curves_page(metrics: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]] = ()) -> str:
    """A page in one file with the curves of these rows (of metrics.jsonl and timings.jsonl) and nothing else."""
    seconds = {row.get("step"): row for row in timings}
    rows = [{**seconds.get(row.get("step"), {}), **row} for row in metrics]
    named = [{visible(name, limit=120): value for name, value in row.items()} for row in rows]
    seen = _table(_bounded(named, _is_evaluated))
    data = {
        "name": "run",
        "grown": {"metrics": {**seen, "problem": ""}},
        "meanings": meanings(seen["names"], environment=in_environment(metrics)),
    }
    html = (STATIC / "only_curves.html").read_text(encoding="utf-8")
    return in_one_file(html, [STATIC], {"run-data": encoded(data)})


def spread(of: Sequence[T], count: int) -> list[T]:
    """The first, the last, and `count` - 2 evenly between.

    >>> spread(range(1, 101), 4)
    [1, 34, 67, 100]
    """
    if len(of) <= count:
        return list(of)
    return [of[round(i * (len(of) - 1) / (count - 1))] for i in range(count)]


def _samples(run: OpenedRun, steps: Sequence[int], problems: list[str]) -> dict[int, str]:
    """Each step's samples and their tokens as JSON, for as many steps as fit."""
    columns = tuple(dict.fromkeys(STEP_COLUMNS + TOKEN_COLUMNS))
    found = {step: _step(rows) for step, rows in _read(run, spread(steps, MOST_STEPS), columns, problems)}
    while sum(map(len, found.values())) > LARGEST_SAMPLES and len(found) > 2:
        found = {step: found[step] for step in spread(list(found), (len(found) + 2) // 2)}
    return found


def _step(rows: Sequence[dict[str, Any]]) -> str:
    size, tokens = 0, list[str]()
    for row in rows[:MOST_ROWS]:
        tokens.append(encoded(shown_tokens(row)))
        size += len(tokens[-1]) + len(row["completion"] or "") + len(row["prompt"] or "")
        if size > LARGEST_STEP and len(tokens) > 1:
            tokens.pop()
            break
    return f'{{"shown":{encoded(shown_step(rows, most=len(tokens)))},"tokens":[{",".join(tokens)}]}}'


def _read(
    run: OpenedRun, steps: Sequence[int], columns: Sequence[str], problems: list[str]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The rows of each step that can be read; a sentence in `problems` for each of the others."""
    for step in steps:
        try:
            yield step, run.stored.read(step, columns)
        except (DataError, OSError) as error:
            problem = visible(str(error), limit=300)
            problems += [problem] if problem not in problems else []


def _is_evaluated(row: dict[str, Any]) -> bool:
    return row.get("held_out/score") is not None


def _bounded(rows: list[dict[str, Any]], keep: Callable[[dict[str, Any]], bool] = lambda _: False) -> list[Any]:
    """The rows, thinned evenly to fit; those that `keep` names are always kept."""
    size = len(encoded(rows))
    if size <= LARGEST_ROWS:
        return rows
    some = {id(row) for row in spread(rows, max(2, len(rows) * LARGEST_ROWS // size))}
    return [row for row in rows if id(row) in some or keep(row)]


def _table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows without their names repeated: `{"names": ["step", ...], "rows": [[1, ...], ...]}`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {"names": names, "rows": [[row.get(name) for name in names] for row in rows]}


def _left_out(parts: Sequence[tuple[str, int, int]]) -> str:
    said = [f"{kept:,} of {all_:,} {what}" for what, kept, all_ in parts if kept < all_]
    if not said:
        return ""
    return f"This page holds {' and '.join(said)}, evenly spread. The run's folder has all: rung view RUN shows them."

"""All runs of a comparison as one result: a method a row, every pair of methods, the verdict. comparison.json."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import DataError, SettingsError
from rung.lab.compare import seed_statistics
from rung.lab.compare.page import page
from rung.lab.compare.plan import PAGE, PLAN, RESULT, Comparison, RunName, claim, flat, run_folder
from rung.lab.compare.reading import read_run
from rung.lab.compare.runs import Outcome, Say, outcomes, run_all
from rung.lab.compare.seed_statistics import ALPHA, RULE, Pair, verdict
from rung.methods import METHODS
from rung.methods.explain import difference
from rung.runs.folder import RunLock
from rung.runs.loop import STOPPED_BY_SIGNAL
from rung.runs.plan import gated
from rung.runs.recipes.sft import tiny_for
from rung.runs.record.machine import machine
from rung.runs.run import handed
from rung.runs.statistics import are_shares
from rung.tasks.load import load_task
from rung.tasks.task import TextTask
from rung.trainers.budget import AXES, in_words
from rung.whole_files import write_whole

Array = npt.NDArray[np.float64]
_ITEM_SCORES = ("item_scores", "item_scores_at_start")
Runs = Mapping[RunName, Mapping[str, Any]]
"""What `read_run` found in each run that has finished."""


def compare(
    comparison: Comparison, folder: Path, *, jobs: int, say: Say, plan: Sequence[str] = ()
) -> tuple[dict[str, Any], int]:
    """Says the plan, runs what is missing of the comparison, then writes comparison.json and comparison.html.

    Returns what comparison.json holds, and the exit code: 0, 1 when a run failed, 75 when it was stopped by a signal
    (the result is then of the runs so far). Raises SettingsError when the folder is in use or holds something else.
    """
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


def write_result(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Reads the runs that have finished and writes comparison.json; returns what it holds."""
    data = result(comparison, folder)
    write_whole(folder / RESULT, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())
    return data


def result(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """What comparison.json holds. Only what is called `seconds` or `clock` depends on the clock or the machine, unless
    the budget is of seconds."""
    ended = outcomes(comparison, folder)
    runs = {
        name: read_run(run_folder(folder, name), comparison.run_settings(name))
        for name in comparison.names()
        if name in ended and ended[name].finished
    }
    common = common_items(comparison)
    rows = [_row(comparison, method, runs, ended, common) for method in comparison.settings]
    pairs = pairs_of(comparison, runs, common)
    first = next(iter(comparison.settings.values()))
    words = in_words(comparison.axis, environment=_in_environment(runs))
    return {
        "task": first.task.as_data(),
        "model": first.model,
        "budget": {"axis": comparison.axis, "limit": comparison.limit, "words": words},
        "axes": _axes(runs, comparison.axis),
        "seeds": list(comparison.seeds),
        "common_items": common,
        "shares": all(are_shares(_scores([run], key)) for run in runs.values() for key in _ITEM_SCORES),
        "verdict": _verdict(rows, pairs),
        "rule": RULE,
        "methods": rows,
        "pairs": pairs,
        "differences": [differences_of(comparison, method) for method in comparison.settings],
        "settings_that_differ": _settings_that_differ(comparison),
        "start_differs": _start_differs(comparison, runs),
        "clock": {"machine": machine()},
    }


def common_items(comparison: Comparison) -> bool:
    """Whether every seed is evaluated on the same held-out items. Items that are made from the seed are not, and the
    start states of an environment never are."""
    settings = next(iter(comparison.settings.values()))
    prompts: list[list[Any]] = []
    for seed in comparison.seeds[:2]:
        task = load_task(settings.task.name, seed=seed, **settings.task.options())
        if not isinstance(task, TextTask):
            return False
        count = min(settings.evaluation.num_items, len(task.held_out))
        prompts.append([(task.held_out[index].prompt, task.held_out[index].columns) for index in range(count)])
    return all(one == prompts[0] for one in prompts)


def pairs_of(comparison: Comparison, runs: Runs, common: bool) -> list[dict[str, Any]]:
    """Every two methods on the seeds that both have, with Holm's correction over all pairs."""
    found: list[dict[str, Any]] = []
    tested: list[seed_statistics.SeedDifference | None] = []
    comparisons = math.comb(len(comparison.settings), 2)
    for before, after in itertools.combinations(comparison.settings, 2):
        seeds = [s for s in comparison.seeds if RunName(before, s) in runs and RunName(after, s) in runs]
        if not seeds:
            continue
        before_SN, after_SN = (_scores([runs[RunName(method, seed)] for seed in seeds]) for method in (before, after))
        tested.append(
            seed_statistics.seed_difference(after_SN, before_SN, common_items=common, comparisons=comparisons)
        )
        chance = seed_statistics.probability_better(after_SN, before_SN, common_items=common)
        found.append({"before": before, "after": after, "seeds": seeds, "probability": vars(chance)})
    adjusted = iter(seed_statistics.holm([one.p for one in tested if one is not None]))
    for row, one in zip(found, tested, strict=True):
        row["difference"] = None if one is None else vars(one)
        row["p_adjusted"] = None if one is None else next(adjusted)
    return found


def differences_of(comparison: Comparison, method: str) -> dict[str, Any]:
    """What a method, as it ran, changes from its nearest ancestor in the comparison, or else from its parent as
    defined: their fields compared."""
    here = comparison.settings[method].resolved_method()
    above = here.parent
    while above in METHODS and above not in comparison.settings and METHODS[above].parent is not None:
        above = METHODS[above].parent
    there = comparison.settings[above].resolved_method() if above in comparison.settings else METHODS.get(above or "")
    changes = [] if there is None else [change.words() for change in difference(there, here)]
    known = None if there is None else above
    return {"method": method, "summary": here.summary, "paper": here.paper, "from": known, "changes": changes}


def _row(
    comparison: Comparison, method: str, runs: Runs, ended: Mapping[RunName, Outcome], common: bool
) -> dict[str, Any]:
    names = [RunName(method, seed) for seed in comparison.seeds]
    mine = {name.seed: runs[name] for name in names if name in runs}
    failed = {n.seed: ended[n].error for n in names if n in ended and not ended[n].finished}
    row: dict[str, Any] = {
        "method": method,
        "score": None,
        "interval": None,
        "gain": None,
        "seeds": list(mine),
        "failed": [{"seed": seed, "error": error} for seed, error in failed.items()],
        "not_run": [name.seed for name in names if name not in ended],
        "runs": [{"seed": seed, **run} for seed, run in mine.items()],
    }
    if not mine:
        return row
    scores_SN, start_SN = (_scores(list(mine.values()), key) for key in _ITEM_SCORES)
    score = seed_statistics.score_interval(scores_SN, common_items=common)
    gain = seed_statistics.seed_difference(scores_SN, start_SN, common_items=common)
    drawn = [run["drawn_pairs"] for run in mine.values() if run["drawn_pairs"] is not None]
    by_seed = {seed: run["score"] for seed, run in mine.items()}
    worst = min(by_seed, key=lambda seed: by_seed[seed])
    return row | {
        "score": score.value,
        "interval": [score.low, score.high],
        "start": seed_statistics.interquartile_mean([run["start"] for run in mine.values()]),
        "gain": None if gain is None else vars(gain),
        "worst_seed": {"seed": worst, "score": by_seed[worst]},
        **{part: _means([run[part] for run in mine.values()]) for part in ("spent", "stability", "samples", "clock")},
        "drawn_pairs": {**_means(drawn), "settings": comparison.settings[method].pairs.as_data()} if drawn else None,
        "overspent": max((run["overspent"] for run in mine.values() if run["overspent"] is not None), default=None),
        "steps": _mean_of([run["steps"] for run in mine.values()]),
    }


def _verdict(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = {row["method"]: row["score"] for row in rows if row["score"] is not None}
    tested = [pair for pair in pairs if pair["difference"] is not None]
    seen = [Pair(pair["after"], pair["before"], pair["difference"]["value"], pair["p_adjusted"]) for pair in tested]
    seeds = min((len(row["seeds"]) for row in rows if row["score"] is not None), default=0)
    said = verdict(scores, seen, seeds=seeds)
    details = [*said.details, *_more_seeds(tested), *_reservations(rows)]
    return {"headline": said.headline, "best": list(said.best), "details": details}


def _more_seeds(pairs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many seeds would tell apart what is not, at the difference and the spread seen."""
    for pair in pairs:
        needed, seeds = pair["difference"]["seeds_needed"], pair["difference"]["seeds"]
        if pair["p_adjusted"] < ALPHA or pair["difference"]["value"] == 0:
            continue
        names = f"{pair['after']} and {pair['before']}"
        if needed is None:
            yield f"{names}: as far apart as here, no number of seeds up to 1,000 is likely to tell them apart."
        elif needed > seeds:
            more = f"{needed} seeds ({needed - seeds} more)"
            yield f"{names}: at the difference and spread seen, {more} would tell them apart four times in five."


def _reservations(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a reader must know before believing the numbers."""
    for row in rows:
        failed, over = row["failed"], row.get("overspent")
        if failed:
            seeds = ", ".join(str(one["seed"]) for one in failed)
            yield f"{row['method']}: the run of seed {seeds} failed; what is said is of the others."
        if row["not_run"]:
            yield f"{row['method']}: not run yet with seed {', '.join(map(str, row['not_run']))}."
        if over is not None and over > 0.1:
            yield f"{row['method']} went up to {over:.0%} over the budget, because one of its steps is that large."
        if over is not None and over < 0:
            yield f"{row['method']} ended before it had spent the budget: at `steps`, or with nothing to learn from."
        barren = [str(run["seed"]) for run in row["runs"] if run["drawn_pairs"] and not run["drawn_pairs"]["drawn"]]
        if barren:
            why = "no prompt gave a pair, so nothing was learnt: it is the model at the start"
            yield f"{row['method']}: with seed {', '.join(barren)} {why}."
    unshown = [row["method"] for row in rows if row["gain"] is not None and row["gain"]["low"] <= 0]
    if unshown:
        yield f"Not shown to be better than the model at the start: {', '.join(unshown)}."


def _axes(runs: Runs, budget: str) -> dict[str, str]:
    """The axes on which anything was spent, in words; an environment's tokens are its steps, and one of them is left
    out."""
    environment = _in_environment(runs)
    spent = [axis for axis in AXES if any(run["spent"][axis] for run in runs.values())]
    twice = {"steps" if budget == "tokens" else "tokens"} if environment else set[str]()
    return {axis: in_words(axis, environment=environment) for axis in spent if axis not in twice}


def _in_environment(runs: Runs) -> bool:
    return any(run["spent"]["steps"] for run in runs.values())


def _scores(runs: Sequence[Mapping[str, Any]], key: str = "item_scores") -> Array:
    return np.array([[np.nan if v is None else v for v in run[key]] for run in runs], dtype=np.float64)


def _means(parts: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return {key: _mean_of([part[key] for part in parts]) for key in parts[0]}


def _mean_of(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _settings_that_differ(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Settings outside the method that the methods do not share: recipes of environments are made for the method."""
    by_method = {method: flat(settings.as_data()) for method, settings in comparison.settings.items()}
    apart = ("method.", "pairs.")  # told with the methods, and with what those drew that learn from pairs
    keys = [key for key in dict.fromkeys(itertools.chain(*by_method.values())) if not key.startswith(apart)]
    rows = {key: {method: of.get(key) for method, of in by_method.items()} for key in keys}
    return {key: row for key, row in rows.items() if any(value != next(iter(row.values())) for value in row.values())}


def _start_differs(comparison: Comparison, runs: Runs) -> list[int]:
    """Seeds on which the methods did not begin with the same scores on the same items."""
    starts: dict[int, list[Any]] = {seed: [] for seed in comparison.seeds}
    for name, run in runs.items():
        starts[name.seed].append(run["item_scores_at_start"])
    return [seed for seed, found in starts.items() if any(start != found[0] for start in found)]

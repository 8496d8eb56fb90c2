"""`rung compare`: which method is worth it for this model, this task and this budget?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rung.commands.shared import (
    AsJson,
    Config,
    Model,
    Recipe,
    Rewards,
    Sets,
    Task,
    argument,
    columns,
    counted,
    estimated,
    only_the_result,
    option,
    say,
    show,
    tell,
)
from rung.errors import SettingsError
from rung.runs.folder import new_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rung.lab.compare.plan import Comparison

Methods = Annotated[list[str] | None, argument("compare.methods")]
Budget = Annotated[str | None, option("compare.budget")]
SetsFor = Annotated[list[str] | None, option("compare.sets_for")]
Resume = Annotated[Path | None, option("compare.resume")]
Out = Annotated[Path | None, option("compare.out")]
Seeds = Annotated[int, option("compare.seeds")]
Jobs = Annotated[int | None, option("compare.jobs")]

OPTIONS = {"methods": "METHOD", "sets": "--set", "sets_for": "--set-for", "rewards": "--reward"}
"""As they are typed, where that is not the parameter's own name."""


def compare(
    methods: Methods = None,
    model: Model = None,
    task: Task = None,
    budget: Budget = None,
    seeds: Seeds = 3,
    config: Config = None,
    recipe: Recipe = None,
    sets: Sets = None,
    sets_for: SetsFor = None,
    rewards: Rewards = None,
    out: Out = None,
    resume: Resume = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods on one task: same prompts, same held-out items, same budget, several seeds.

    Without arguments: the ladder on the tiny model and arithmetic. The same command with the same --out goes on where
    it stopped. The result is comparison.json and comparison.html in the folder.
    """
    from rung.lab.compare.plan import comparison_of, jobs_for, read_plan
    from rung.lab.compare.results import compare as run_comparison
    from rung.runs.loop import STOPPED_BY_SIGNAL

    asked: dict[str, Any] = {"methods": methods, "model": model, "task": task, "budget": budget, "config": config}
    asked |= {"recipe": recipe, "sets": sets, "sets_for": sets_for, "rewards": rewards}
    if resume is not None:
        wrong = [OPTIONS.get(name, f"--{name}") for name, value in {**asked, "out": out}.items() if value]
        if wrong:
            raise SettingsError([f"{name}: --resume takes everything from the folder; leave it out" for name in wrong])
        comparison, folder = read_plan(resume), resume
    else:
        comparison = comparison_of(**asked, seeds=seeds)
        folder = out or new_folder("compare", next(iter(comparison.settings.values())).task)
    with only_the_result(as_json):
        at_once = jobs_for(comparison, jobs)
        plan = plan_lines(comparison, folder, at_once)
        data, code = run_comparison(comparison, folder, jobs=at_once, say=tell if as_json else say, plan=plan)
    show(data, lambda: result_lines(data, folder, stopped=code == STOPPED_BY_SIGNAL), as_json)
    raise typer.Exit(code)


def plan_lines(comparison: Comparison, folder: Path, jobs: int) -> list[str]:
    """The plan, as it is printed before the first run."""
    from rung.lab.compare.seed_statistics import resolution

    first = next(iter(comparison.settings.values()))
    methods, seeds = list(comparison.settings), comparison.seeds
    return [
        f"compares {', '.join(methods)}",
        f"  on        {first.task.name} with {first.model}",
        f"  budget    {comparison.axis} = {comparison.limit:,.12g} a run; the first step that reaches it is its last",
        f"  runs      {counted(len(methods), 'method')} x {counted(len(seeds), 'seed')}, {jobs} at a time",
        f"  seeds     {resolution(len(seeds))}",
        *_pairs_line(comparison),
        "  settings  each method's own and its recipe's, untuned, and what you set",
        f"  folder    {folder}; stopped or killed, it goes on with: rung compare --resume {folder}",
        *_warnings(comparison),
    ]


def _warnings(comparison: Comparison) -> Iterator[str]:
    """Warnings about the settings, each once, with the methods concerned."""
    from rung.trainers.choose import kind_for

    about: dict[str, list[str]] = {}
    for method, settings in comparison.settings.items():
        resolved = settings.resolved_method()
        for warning in kind_for(settings, resolved).doubts(settings, resolved):
            about.setdefault(warning, []).append(method)
    for warning, methods in about.items():
        whose = "" if len(methods) == len(comparison.settings) else f"{', '.join(methods)}: "
        yield f"  warning   {whose}{warning}"


def _pairs_line(comparison: Comparison) -> list[str]:
    """Where the methods that learn from pairs get them."""
    from rung.trainers.choose import kind_for

    drawing = {
        method: settings.pairs
        for method, settings in comparison.settings.items()
        if kind_for(settings, settings.resolved_method()).draws_pairs
    }
    if not drawing:
        return []
    who, one = ", ".join(drawing), next(iter(drawing.values()))
    if any(other != one for other in drawing.values()):
        return [f"  pairs     {who}: from the model's own samples, as the settings of each say"]
    ends = {
        "tokens": f"all of the budget buys pairs, then {one.passes} passes over them",
        "seconds": f"{one.seconds_share:.0%} of the budget for drawing, the rest for training",
    }.get(comparison.axis, f"as many as leave the budget for {one.passes} passes over them")
    return [f"  pairs     {who}: from the model's own samples, {one.k} answers a prompt; {ends}"]


def result_lines(data: Mapping[str, Any], folder: Path, *, stopped: bool = False) -> list[str]:
    """The result for people."""
    ranked = sorted(data["methods"], key=lambda row: (row["score"] is None, -(row["score"] or 0)))
    rows = {row["method"]: _row(row) for row in ranked}
    return [
        f"score, 95 % interval over seeds and items, and what a run spent ({data['task']['name']}):",
        *columns(rows, indent="  "),
        *(data["verdict"]["headline"], *(f"  {detail}" for detail in data["verdict"]["details"])),
        *([f"stopped with everything saved; go on with: rung compare --resume {folder}"] if stopped else []),
        f"page: {folder / 'comparison.html'}",
    ]


def _row(row: Mapping[str, Any]) -> str:
    from rung.lab.compare.runs import reason

    failed = "; ".join(f"seed {one['seed']} FAILED: {reason(one['error'])}" for one in row["failed"])
    if row["score"] is None:
        return failed or "not run yet"
    spent = row["spent"]
    seeds = f"{counted(len(row['seeds']), 'seed')}, worst {row['worst_seed']['score']:.3f}"
    drawn = "environment steps" if spent["steps"] else "tokens"
    cost = f"{spent['tokens']:,.0f} {drawn}, {spent['seconds']:,.0f} s"
    return f"{estimated(row['score'], *row['interval'])}  {seeds}  {cost}  {failed}".rstrip()

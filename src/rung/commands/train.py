"""`rung train`, `rung check` and `rung resume`: a run from the command line, its plan, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import (
    AsJson,
    Config,
    Model,
    Out,
    Quiet,
    Recipe,
    Rewards,
    Seed,
    Sets,
    SkipBadRows,
    Task,
    with_skipping,
)
from rung.commands.output import print_json, say
from rung.errors import SettingsError
from rung.runs.folders import new_folder
from rung.runs.planning import planned

Method = Annotated[str | None, typer.Argument(metavar="METHOD", help="A method's name (rung methods).")]


def train(
    method: Method = None,
    model: Model = None,
    task: Task = None,
    config: Config = None,
    recipe: Recipe = None,
    sets: Sets = None,
    rewards: Rewards = None,
    out: Out = None,
    seed: Seed = None,
    skip_bad_rows: SkipBadRows = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a task. Later settings win: recipe, --config, the flags, --set."""
    plan = planned(_flags(method, model, task, seed), config, recipe, with_skipping(sets, skip_bad_rows), rewards, out)
    folder = out or new_folder(plan.method.name, plan.settings.task)
    from rung.library import train as start
    from rung.runs.plan_text import plan_lines

    lines = [*plan_lines(plan), f"  folder    {folder}"]
    raise typer.Exit(start(plan.settings, folder, quiet=quiet, plan=lines).exit_code)


def check(
    method: Method = None,
    model: Model = None,
    task: Task = None,
    config: Config = None,
    recipe: Recipe = None,
    sets: Sets = None,
    rewards: Rewards = None,
    out: Out = None,
    seed: Seed = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Print a run's plan without starting it.

    Takes the arguments of `rung train`; no model is loaded.
    """
    plan = planned(_flags(method, model, task, seed), config, recipe, with_skipping(sets, skip_bad_rows), rewards, out)
    if as_json:
        print_json(plan.as_data())
        return
    from rung.runs.plan_text import plan_lines

    for line in plan_lines(plan):
        say(line)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The run's folder.")],
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Go on with a stopped run.

    It starts from the newest good checkpoint. --set steps=N changes its length.
    """
    from rung.settings import read_settings
    from rung.trainers.reading import read_changes

    file = folder / "settings.yaml"
    if not file.is_file():
        raise SettingsError([f"{folder}: holds no run (there is no {file})"])
    changes = read_changes(read_settings(file), sets or ())
    from rung.library import resume as go_on

    raise typer.Exit(go_on(folder, changes, quiet=quiet).exit_code)


def _flags(method: str | None, model: str | None, task: str | None, seed: str | None) -> dict[str, str | None]:
    return {"method": method, "model": model, "task": task, "seed": seed}

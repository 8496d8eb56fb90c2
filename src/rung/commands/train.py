"""`rung train`, `rung check` and `rung resume`: a run from the command line, its plan, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rung.commands.options import (
    AsJson,
    Config,
    Model,
    Out,
    OwnMethod,
    Parts,
    Quiet,
    Recipe,
    Rewards,
    Seed,
    Sets,
    SkipBadRows,
    Task,
    Tools,
    after,
    argument,
    with_skipping,
)
from rung.commands.output import show
from rung.errors import SettingsError
from rung.runs.folders import new_folder
from rung.runs.own_code import OwnCode, own_code


def planned_from(
    method: Annotated[str | None, argument("train.method")] = None,
    model: Model = None,
    task: Task = None,
    config: Config = None,
    recipe: Recipe = None,
    sets: Sets = None,
    rewards: Rewards = None,
    out: Out = None,
    seed: Seed = None,
    parts: Parts = None,
    own_method: OwnMethod = None,
    tools: Tools = None,
    skip_bad_rows: SkipBadRows = False,
) -> tuple[OwnCode, Any, Path | None]:
    """What the flags name of the user's own files, the plan, and the folder that was asked for."""
    from rung.runs.planning import planned

    if method is not None and own_method is not None:
        raise SettingsError([f"--method: got {own_method}, and METHOD {method} before it; give one of them"])
    own = own_code({"method": method or own_method, "model": model, "task": task, "seed": seed}, parts, tools or ())
    return own, planned(own.flags, config, recipe, with_skipping(sets, skip_bad_rows), rewards, out, own), out


@after(planned_from)
def train(own: OwnCode, plan: Any, out: Path | None, quiet: Quiet = False) -> None:
    """Train a model on a task. Later settings win: recipe, --config, the flags, --set."""
    from rung.library import train as start
    from rung.runs.plan import plan_lines

    folder = out or new_folder(plan.method.name, plan.settings.task)
    lines = [*plan_lines(plan), f"  folder    {folder}"]
    ended = start(plan.settings, folder, quiet=quiet, plan=lines, **own.keywords())
    raise typer.Exit(ended.exit_code)


@after(planned_from)
def check(own: OwnCode, plan: Any, out: Path | None, as_json: AsJson = False) -> None:
    """Print a run's plan without starting it.

    Takes the arguments of `rung train`, and tries what can be tried before the first step: the model is loaded, sampled
    from, and saved to nowhere.
    """
    from rung.runs.plan import checked, plan_lines
    from rung.runs.run import handed

    plan = plan if plan.task.environment else checked(plan, handed(objects=own.objects))
    show(plan.as_data(), lambda: plan_lines(plan), as_json)


def resume(
    folder: Annotated[Path, argument("resume.folder")],
    sets: Sets = None,
    parts: Parts = None,
    own_method: OwnMethod = None,
    task: Task = None,
    tools: Tools = None,
    quiet: Quiet = False,
) -> None:
    """Go on with a stopped run.

    It starts from the newest good checkpoint. --set steps=N changes its length. A run with parts, a method or a task of
    your own is given them again: --parts FILE.py, --method FILE.py:NAME, --task FILE.py:TASK; so are its --tools.
    """
    from rung.library import resume as go_on
    from rung.runs.folder import run_settings
    from rung.trainers.reading import read_changes

    own = own_code({"method": own_method, "task": task}, parts, tools or ())
    changes = read_changes(run_settings(folder, own.parts), sets or ())
    ended = go_on(folder, changes, parts=own.parts, quiet=quiet, **own.keywords())
    raise typer.Exit(ended.exit_code)

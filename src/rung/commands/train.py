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
    with_skipping,
)
from rung.commands.output import show
from rung.errors import SettingsError
from rung.runs.folders import new_folder
from rung.runs.own_code import OwnCode, own_code
from rung.runs.planning import planned

Method = Annotated[
    str | None, typer.Argument(metavar="METHOD", help="A method's name (rung methods), or FILE.py:NAME.")
]


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
    parts: Parts = None,
    own_method: OwnMethod = None,
    tools: Tools = None,
    skip_bad_rows: SkipBadRows = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a task. Later settings win: recipe, --config, the flags, --set."""
    own = _own(method, own_method, model, task, seed, parts, tools)
    plan = planned(own.flags, config, recipe, with_skipping(sets, skip_bad_rows), rewards, out, own)
    folder = out or new_folder(plan.method.name, plan.settings.task)
    from rung.library import train as start
    from rung.runs.plan import plan_lines

    lines = [*plan_lines(plan), f"  folder    {folder}"]
    ended = start(plan.settings, folder, quiet=quiet, plan=lines, **own.keywords())
    raise typer.Exit(ended.exit_code)


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
    parts: Parts = None,
    own_method: OwnMethod = None,
    tools: Tools = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Print a run's plan without starting it.

    Takes the arguments of `rung train`, and tries what can be tried before the first step: the model is loaded, sampled
    from, and saved to nowhere.
    """
    own = _own(method, own_method, model, task, seed, parts, tools)
    plan = planned(own.flags, config, recipe, with_skipping(sets, skip_bad_rows), rewards, out, own)
    if not plan.task.environment:
        from rung.runs.plan import checked
        from rung.runs.run import handed

        plan = checked(plan, handed(objects=own.objects))
    from rung.runs.plan import plan_lines

    show(plan.as_data(), lambda: plan_lines(plan), as_json)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The run's folder.")],
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


def _own(
    method: str | None,
    option: str | None,
    model: str | None,
    task: str | None,
    seed: str | None,
    parts: str | None,
    tools: list[str] | None,
) -> OwnCode:
    """The flags, with what they name of the user's own files."""
    if method is not None and option is not None:
        raise SettingsError([f"--method: got {option}, and METHOD {method} before it; give one of them"])
    return own_code({"method": method or option, "model": model, "task": task, "seed": seed}, parts, tools or ())

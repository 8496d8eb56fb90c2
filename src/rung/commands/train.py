"""Training from the command line: `rung train`, `check` and `resume`; `sft`, fine-tuning; `pairs`, preference pairs;
and `rlhf`, both with reward model and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rung.commands.shared import (
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
    estimated,
    option,
    say,
    show,
    tell,
    with_skipping,
)
from rung.errors import SettingsError
from rung.runs.folder import new_folder, problems_with
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

    It starts from the newest good checkpoint. --set steps=N changes its length. A run with parts, a method or a
    Gymnasium task of your own is given them again: --parts FILE.py, --method FILE.py:NAME, --task FILE.py:TASK. So are
    tools that are commands: --tools mcp:COMMAND.
    """
    from rung.library import resume as go_on
    from rung.runs.folder import run_settings
    from rung.trainers.reading import read_changes

    own = own_code({"method": own_method, "task": task}, parts, tools or ())
    began = run_settings(folder, own.parts)
    changes = read_changes(began, sets or ())
    if task is not None and not own.keywords() and task != began.task.name:
        raise SettingsError([f"--task: got {task}, but the run's task is {began.task.name}; leave --task out"])
    ended = go_on(folder, changes, parts=own.parts, quiet=quiet, **own.keywords())
    raise typer.Exit(ended.exit_code)


def sft(
    model: Model = None,
    task: Task = None,
    config: Config = None,
    sets: Sets = None,
    out: Out = None,
    seed: Seed = None,
    skip_bad_rows: SkipBadRows = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a model on a task's worked examples. Later settings win: --config, the flags, --set."""
    from rung.settings import read_sft

    reading = read_sft(
        config=config, flags={"model": model, "task": task, "seed": seed}, sets=with_skipping(sets, skip_bad_rows)
    )
    settings = reading.required(problems_with(out, resumable=False) if out is not None else ())
    folder = out or new_folder("sft", settings.task)
    from rung.runs.recipes.sft import sft as tune

    summary = tune(settings, folder, quiet=quiet, say=say)
    if settings.steps:
        say(f"loss {summary.loss:.3f} nats a token")
    if summary.before is None or summary.after is None:
        say(f"nothing judges answers to {settings.task.name}, so none were scored")
    else:
        before, after = (estimated(one.value, one.low, one.high) for one in (summary.before, summary.after))
        say(f"held out {before} before, {after} after, on {summary.after.items} items")
    say(f"the model is in {folder / 'final'}")


def pairs(
    out: Annotated[Path, option("pairs.out")],
    model: Model = None,
    task: Task = None,
    k: Annotated[str | None, option("pairs.k")] = None,
    unlabelled: Annotated[bool, option("pairs.unlabelled")] = False,
    config: Config = None,
    rewards: Rewards = None,
    sets: Sets = None,
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Make preference pairs from a model's own samples: of two answers, the one with the higher reward is chosen.

    --set prompts=1000 asks for more prompts, --set pairs_per_prompt=2 for more pairs of each.
    """
    from rung.settings import read_pairs

    flags = {"model": model, "task": task, "k": k, "seed": seed}
    settings = read_pairs(config=config, flags=flags, rewards=rewards or (), sets=sets or ()).required()
    from rung.runs.recipes.pairs import make_pairs, model_to_name

    made = make_pairs(settings, out, unlabelled=unlabelled, say=(lambda line: None) if quiet else tell)
    for line in made.lines():
        say(line)
    say(f"the pairs are in {out}")
    if unlabelled:
        say(f"label them: rung label {out}")
    else:
        say(f"learn from them: rung train dpo --model {model_to_name(settings)} --task {out}")


def rlhf(
    model: Annotated[str, option("rlhf.model")],
    task: Annotated[str, option("rlhf.task")],
    out: Annotated[Path, option("rlhf.out")],
    method: Annotated[str, option("rlhf.method")] = "ppo@lm-human-preferences",
    pairs: Annotated[str | None, option("rlhf.pairs")] = None,
    reward_models: Annotated[int, option("rlhf.reward_models")] = 1,
    seed: Annotated[int, option("rlhf.seed")] = 0,
    sets: Annotated[list[str] | None, option("rlhf.sets")] = None,
    quiet: Quiet = False,
) -> None:
    """Learn from preferences, the whole way: fine-tune, make pairs, train a reward model, train the policy on it.

    The policy's held-out score is the task's own, which it never sees: when it falls while the reward rises, the
    reward model is being gamed.
    """
    from rung.lab.watching import watching
    from rung.runs.recipes.rlhf import RLHF
    from rung.runs.recipes.rlhf import rlhf as go

    asked = RLHF(
        model=model,
        task=task,
        method=method,
        seed=seed,
        pairs=pairs,
        reward_models=reward_models,
        sets=tuple(sets or ()),
    )
    raise typer.Exit(go(asked, out, quiet=quiet, say=say, observers=watching()))

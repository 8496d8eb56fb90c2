"""`rung sft`, `rung pairs`, `rung rlhf`: fine-tuning, preference pairs, and both with reward model and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import (
    Config,
    Model,
    Out,
    Quiet,
    Rewards,
    Seed,
    Sets,
    SkipBadRows,
    Task,
    option,
    with_skipping,
)
from rung.commands.output import estimated, say, tell
from rung.runs.folder import problems_with
from rung.runs.folders import new_folder


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

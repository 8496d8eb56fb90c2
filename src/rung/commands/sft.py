"""`rung sft`: supervised fine-tuning on a task's worked examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rung.commands.options import Config, Model, Out, Quiet, Seed, Sets, SkipBadRows, Task, with_skipping
from rung.commands.output import say
from rung.runs.folders import new_folder, problems_with

if TYPE_CHECKING:
    from rung.runs.statistics import Estimate


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
        say(f"held out {_words(summary.before)} before, {_words(summary.after)} after, on {summary.after.items} items")
    say(f"the model is in {folder / 'final'}")


def _words(score: Estimate) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"

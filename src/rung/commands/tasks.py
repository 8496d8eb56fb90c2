"""`rung tasks` and `rung explain-metric`: what there is to train on, and what a number means."""

from __future__ import annotations

from typing import Annotated

import typer

from rung.commands.options import AsJson
from rung.commands.output import columns, print_json, say


def tasks(as_json: AsJson = False) -> None:
    """The tasks that have a name."""
    from rung.tasks.load import available_tasks

    found = available_tasks()
    if as_json:
        print_json({"tasks": [{"name": name, "about": about} for name, about in found]})
        return
    for line in columns(dict(found)):
        say(line)
    say("FILE.jsonl or FILE.parquet: rows with `prompt` and `answer`, or with any columns that your reward reads")
    say("CartPole-v1 and any other Gymnasium environment whose observations are numbers: no model is needed")


def explain_metric(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in metrics.jsonl, such as kl/start.")],
    as_json: AsJson = False,
) -> None:
    """What a metric means.

    Also its healthy range, and what to do outside it.
    """
    from rung.runs.metrics.registry import explain_metric as explained

    metric = explained(name)
    if as_json:
        print_json(vars(metric))
    else:
        say(metric.text())

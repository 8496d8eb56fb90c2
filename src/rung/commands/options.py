"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings from a YAML file.")]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Packaged settings under your own; the model 'tiny' brings 'tiny' unless you say 'none', which also "
        "leaves a method's numbers as they are.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, as steps=50 or learning_rate=1e-5 (a key's unique end is enough). Repeatable.",
    ),
]
Rewards = Annotated[
    list[str] | None,
    typer.Option(
        "--reward",
        metavar="FILE.py:FUNCTION[=WEIGHT]",
        help="Your reward, or the folder of a reward model, in place of the task's own ('task' keeps that one as "
        "well). The task's own counts as accuracy where it is kept, else the first; --set "
        "rewarding.accuracy=NAME names another. Repeatable.",
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A Hugging Face folder or hub id, a .gguf file, or 'tiny'.")
]
Task = Annotated[
    str | None,
    typer.Option(metavar="TASK", help="A task's name (rung tasks), a .jsonl or .parquet file, or FILE.py:TASK."),
]
Parts = Annotated[
    str | None,
    typer.Option("--parts", metavar="FILE.py", help="Your own parts: the classes that settings name as `part`."),
]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="FILE.py:FUNCTION",
        help="A Python function with types and a docstring, or a class of them, that the model may call. Repeatable.",
    ),
]
OwnMethod = Annotated[
    str | None, typer.Option("--method", metavar="METHOD", help="As the argument METHOD: a name, or FILE.py:NAME.")
]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Keys every random number.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; default runs/METHOD-TASK-N.")]
SkipBadRows = Annotated[
    bool,
    typer.Option(
        "--skip-bad-rows", help="Leave out rows of a data file that cannot be used, and say how many. Else an error."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print warnings and the result only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def with_skipping(sets: list[str] | None, skip_bad_rows: bool) -> list[str]:
    """The `--set` texts, and the one that `--skip-bad-rows` stands for."""
    return [*(sets or ()), *(["task.skip_bad_rows=true"] if skip_bad_rows else ())]

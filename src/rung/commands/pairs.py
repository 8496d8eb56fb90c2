"""`rung pairs`: preference pairs from a model's own samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import Config, Model, Quiet, Rewards, Seed, Sets, Task
from rung.commands.output import say, tell

File = Annotated[Path, typer.Option("--out", metavar="FILE", help="The .jsonl or .parquet file to write.")]


def pairs(
    out: File,
    model: Model = None,
    task: Task = None,
    k: Annotated[str | None, typer.Option("--k", metavar="K", help="Samples a prompt; 4.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Judge nothing: write the answers for people to compare (rung label).")
    ] = False,
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

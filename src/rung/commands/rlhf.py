"""`rung rlhf`: fine-tuning, pairs, reward model and policy as one recipe of resumable stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import Quiet
from rung.commands.output import say

Stages = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="A setting of one stage (sft, pairs, reward_model, policy), as policy.steps=50. Repeatable.",
    ),
]


def rlhf(
    model: Annotated[str, typer.Option(metavar="MODEL", help="A Hugging Face folder or hub id, or 'tiny'.")],
    task: Annotated[str, typer.Option(metavar="TASK", help="A task's name, or a file of prompts.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of all stages; named again, they go on.")],
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="How the policy learns, as grpo or rloo.")
    ] = "ppo@lm-human-preferences",
    pairs: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labelled pairs, in place of the model's own samples.")
    ] = None,
    reward_models: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many reward models; the mean of several is the reward.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Keys every random number.")] = 0,
    sets: Stages = None,
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

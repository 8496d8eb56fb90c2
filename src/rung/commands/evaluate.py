"""`rung eval`: mean@k, pass@k and maj@k of a model on a task, paired with another model when one is named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rung.commands.options import AsJson, Rewards, Seed, Sets, Task
from rung.commands.output import columns, only_the_result, print_json, say, tell


def evaluate(
    run_or_model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL", help="A run's folder, a model's folder or hub id, a .gguf file, or 'tiny'."
        ),
    ],
    task: Task = None,
    k: Annotated[str | None, typer.Option("--k", metavar="K", help="Completions an item; 8.")] = None,
    base: Annotated[
        str | None, typer.Option(metavar="RUN_OR_MODEL", help="Compare with this one, item by item.")
    ] = None,
    items: Annotated[str | None, typer.Option(metavar="N", help="The first N items; 256.")] = None,
    temperature: Annotated[str | None, typer.Option(metavar="T", help="Of the samples; 1.")] = None,
    max_new_tokens: Annotated[
        str | None, typer.Option(metavar="N", help="Tokens of a completion at most; 128.")
    ] = None,
    seed: Seed = None,
    split: Annotated[str | None, typer.Option(metavar="held_out|train", help="Which items; held_out.")] = None,
    rewards: Rewards = None,
    step: Annotated[
        int | None, typer.Option(metavar="N", help="The run's checkpoint of step N, in place of its end.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every completion with its rewards (.jsonl, .parquet).")
    ] = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a task's held-out items. With a run, task, limits and seed are the run's unless you say so.

    Completions are judged by --reward; else as in the run, by its own rewards; for another task, or a model alone, by
    the task's. With --base, the KL of whole completions to the base is told too.
    """
    flags = {
        "task": task,
        "k": k,
        "items": items,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
        "split": split,
    }
    with only_the_result() if as_json else contextlib.nullcontext():
        data = _evaluated(run_or_model, base, flags, rewards or (), sets or (), step, samples)
    if as_json:
        print_json(data)
        return
    for line in result_lines(data):
        say(line)


def _evaluated(
    run_or_model: str,
    base: str | None,
    flags: Mapping[str, str | None],
    rewards: Sequence[str],
    sets: Sequence[str],
    step: int | None,
    samples: Path | None,
) -> dict[str, Any]:
    if samples is not None:
        from rung.tasks.rows import require_new_file

        require_new_file(samples, "--samples")
    from rung.runs.evaluating import evaluated

    result = evaluated(run_or_model, base=base, step=step, flags=flags, rewards=rewards, sets=sets, say=tell)
    if samples is not None:
        from rung.tasks.rows import write_rows

        write_rows(result.samples, samples, "--samples")
    return {"model": run_or_model, "task": result.task, "split": result.split, **result.as_data()}


def result_lines(data: Mapping[str, Any]) -> list[str]:
    """A result for people, each estimate with its interval."""
    k, low, high = data["k"], *data["interval"]
    rows = {f"mean@{k}": _words({"value": data["score"], "low": low, "high": high})}
    parts = data.get("parts") or {}
    if len(parts) > 1:
        rows |= {n: f"{_number(one['mean'])}, deviation {_number(one['deviation'])}" for n, one in parts.items()}
    named = {f"pass@{k}": "pass_at_k", f"maj@{k}": "maj_at_k", "base": "base", "gain": "paired"}
    named["KL to base"] = "kl_to_base"
    rows |= {label: _words(data[name]) for label, name in named.items() if data.get(name) is not None}
    lines = [f"{data['model']} on {data['task']}: {data['items']:,} items, {k} samples each"]
    if data["not_judged"]:
        lines.append(f"{data['not_judged']:,} samples could not be judged and are left out")
    return [*lines, *columns(rows, indent="  ")]


def _words(estimate: Mapping[str, Any]) -> str:
    value, low, high = (_number(estimate[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"

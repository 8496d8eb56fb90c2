"""`rung eval`: mean@k, pass@k and maj@k of a model on a task, paired with another model when one is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from rung.commands.options import AsJson, Rewards, Seed, Sets, Task, Tools, argument, option
from rung.commands.output import columns, estimated, number, only_the_result, show, tell
from rung.runs.own_code import own_code


def evaluate(
    run_or_model: Annotated[str, argument("eval.run_or_model")],
    task: Task = None,
    k: Annotated[str | None, option("eval.k")] = None,
    base: Annotated[str | None, option("eval.base")] = None,
    items: Annotated[str | None, option("eval.items")] = None,
    temperature: Annotated[str | None, option("eval.temperature")] = None,
    max_new_tokens: Annotated[str | None, option("eval.max_new_tokens")] = None,
    seed: Seed = None,
    split: Annotated[str | None, option("eval.split")] = None,
    rewards: Rewards = None,
    tools: Tools = None,
    step: Annotated[int | None, option("eval.step")] = None,
    samples: Annotated[Path | None, option("eval.samples")] = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a task's held-out items. With a run, task, limits and seed are the run's unless you say so.

    Completions are judged by --reward; else as in the run, by its own rewards; for another task, or a model alone, by
    the task's. With --base, the KL of whole completions to the base is told too.
    """
    flags = {"task": task, "k": k, "items": items, "split": split, "seed": seed}
    flags |= {"temperature": temperature, "max_new_tokens": max_new_tokens}
    objects = own_code({"task": task}, tools=tools or ()).keywords()
    flags |= {"task": None} if "task" in objects else {}
    from rung.tasks.rows import require_new_file, write_rows

    if samples is not None:
        require_new_file(samples, "--samples")
    from rung.runs.evaluate import evaluated

    with only_the_result(as_json):
        result = evaluated(
            run_or_model,
            base=base,
            step=step,
            flags=flags,
            rewards=rewards or (),
            sets=sets or (),
            say=tell,
            **objects,
        )
    if samples is not None:
        write_rows(result.samples, samples, "--samples")
    data = {"model": run_or_model, "task": result.task, "split": result.split, **result.as_data()}
    show(data, lambda: result_lines(data), as_json)


def result_lines(data: Mapping[str, Any]) -> list[str]:
    """A result for people, each estimate with its interval."""
    k, low, high = data["k"], *data["interval"]
    rows = {f"mean@{k}": estimated(data["score"], low, high)}
    parts = data.get("parts") or {}
    if len(parts) > 1:
        rows |= {n: f"{number(one['mean'])}, deviation {number(one['deviation'])}" for n, one in parts.items()}
    named = {f"pass@{k}": "pass_at_k", f"maj@{k}": "maj_at_k", "base": "base", "gain": "paired"}
    named["KL to base"] = "kl_to_base"
    told = {label: data[name] for label, name in named.items() if data.get(name) is not None}
    rows |= {label: estimated(one["value"], one["low"], one["high"]) for label, one in told.items()}
    lines = [f"{data['model']} on {data['task']}: {data['items']:,} items, {k} samples each"]
    if data["not_judged"]:
        lines.append(f"{data['not_judged']:,} samples could not be judged and are left out")
    return [*lines, *columns(rows, indent="  ")]

"""From value-based to policy-based, on one text task: DQN beside REINFORCE and GRPO, the alphabet from 8 to 256.

The task is `copying`: say a string of 3 symbols again, over an alphabet of V symbols; the outputs are V + 5 (`=`, the
end, three that never help). The score is the share of right places in answers to held-out strings, by the token of the
highest output each time. All methods begin with the same untrained transformer (two layers of 64, one for each V and
seed) and end with the first step that has generated 40,000 tokens.

Methods: `reinforce_baseline` and `grpo` (without its reference: there is nothing to stay near), 8 samples of 8 prompts
a step; `dqn` with a target that is made of the next token's value, as DQN's is; and `dqn` with the completion's whole
return, as the recipe `tiny_values` has it. Chosen at V = 8 on seeds 100 to 107, which are not used here: learning rate
1e-3 (3e-3 was worse for both policy gradients, which had 0.36 and 0.54), whole returns (0.98 against 0.33 with one
step), a target network every 50 updates.

Pass lines, fixed before the run:
1. Fair: at step 0 all methods of one V and seed have the same score, and each has generated 40,000 to 41,000 tokens.
2. DQN with whole returns reads a language model's outputs as values and learns: a mean score of at least 0.9 at V = 8.
3. A larger vocabulary costs every method: its mean score at V = 256 is lower than at V = 8 by more than the half-widths
   of both intervals.
Who is ahead at which V is no line: it is what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, evaluations, metrics, seconds
from intervals import mean
from pictures import GREY, panels, say
from words import table

from rung.models.language.tiny import tiny_model
from rung.tasks.load import load_text_task

SIZES = (8, 16, 32, 64, 128, 256)
LENGTH, TOKENS, MOST_TOKENS = 3, 40_000, 41_000
LEARNS = 0.9
TASK = {"length": LENGTH, "held_out": 80}
COMMON = (
    *(f"task.{name}={value}" for name, value in TASK.items()),
    *(f"max_new_tokens={LENGTH + 1}", f"budget.tokens={TOKENS}", "steps=10000", "evaluation.every=20"),
    *("evaluation.num_items=80", "evaluation.num_samples=1", "evaluation.temperature=0", "reporting.kl_rows=0"),
    *("learner.threads=1", "method.optimizer.learning_rate=1e-3"),
)
GRADIENTS = ("prompts_per_step=8", "method.samples_per_prompt=8", "method.optimizer.warmup_steps=0")
ARMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "dqn, whole returns": ("dqn", "tiny_values", (f"method.value_target.steps={LENGTH + 1}",)),
    "dqn, one step": ("dqn", "tiny_values", ("method.value_target.steps=1",)),
    "reinforce_baseline": ("reinforce_baseline", "tiny", GRADIENTS),
    "grpo": ("grpo", "tiny", (*GRADIENTS, "method.reference_kl=null")),
}
"""Method, recipe, settings."""


def model_of(work: Work, size: int, seed: int) -> Path:
    return work.folder / "models" / f"{size}-{seed}"


def models(work: Work) -> None:
    """The untrained models that all methods of a vocabulary and seed begin with."""
    for size, seed in ((size, seed) for size in SIZES for seed in work.seeds):
        if not (model_of(work, size, seed) / "tokenizer.json").exists():
            characters = load_text_task("copying", symbols=size, **TASK).characters
            assert characters is not None
            tiny_model(seed, characters=characters, layers=2, width=64).save(model_of(work, size, seed))


def run_of(work: Work, arm: str, size: int, seed: int) -> Run:
    method, recipe, settings = ARMS[arm]
    more = ("--model", str(model_of(work, size, seed)), "--recipe", recipe)
    return Run(method, "copying", seed, (*COMMON, *settings, f"task.symbols={size}"), more)


def of_run(folder: Path) -> dict[str, Any]:
    """One run's curve and what it cost."""
    rows = metrics(folder)
    drawn, trained = (
        np.cumsum([row.get(f"tokens/{kind}") or 0.0 for row in rows]) for kind in ("generated", "trained")
    )
    tokens = dict(zip((row["step"] for row in rows), drawn, strict=True))
    curve = [[int(tokens[row["step"]]), row["held_out/score"]] for row in evaluations(folder)]
    ends = {"start": curve[0][1], "final": curve[-1][1], "tokens": curve[-1][0]}
    return {**ends, "trained_tokens": float(trained[-1]), "seconds": seconds(folder), "curve": curve}


def lines_held(arms: Mapping[str, Mapping[int, Any]]) -> dict[str, bool]:
    """Each pass line, and whether it holds."""
    every = [one for by_size in arms.values() for found in by_size.values() for one in found["runs"].values()]
    starts = [
        {arms[arm][size]["runs"][seed]["start"] for arm in arms}
        for size in SIZES
        for seed in next(iter(arms.values()))[size]["runs"]
    ]
    first, last = SIZES[0], SIZES[-1]
    return {
        "fair": all(len(one) == 1 for one in starts) and all(TOKENS <= one["tokens"] <= MOST_TOKENS for one in every),
        "dqn learns": arms["dqn, whole returns"][first]["mean"] >= LEARNS,
        "a larger vocabulary costs": all(
            found[first]["mean"] - found[last]["mean"] > found[first]["half"] + found[last]["half"]
            for found in arms.values()
        ),
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    arms: dict[str, dict[int, Any]] = {arm: {} for arm in ARMS}
    for arm, size in ((arm, size) for arm in ARMS for size in SIZES):
        found = {seed: of_run(folders[arm, size, seed]) for seed in work.seeds}
        over = mean([one["final"] for one in found.values()])
        arms[arm][size] = {"mean": over.value, "half": over.half, "runs": found}
    settings = {arm: [method, recipe, *some, *COMMON] for arm, (method, recipe, some) in ARMS.items()}
    return {"sizes": list(SIZES), "tokens": TOKENS, "lines": lines_held(arms), "settings": settings, "arms": arms}


def title(run: Result) -> str:
    ends = [
        "; ".join(f"{arm} {by_size[str(size)]['mean']:.2f}" for arm, by_size in run["arms"].items())
        for size in (run["sizes"][0], run["sizes"][-1])
    ]
    return f"Right places at {run['sizes'][0]} symbols: {ends[0]}. At {run['sizes'][-1]}: {ends[1]}"


def picture(run: Result) -> Any:
    """Left the last score against V, a line a method; right the curves at the smallest V."""
    figure, (left, right) = panels(1, 2, size=(11, 4.5), sharey=True)
    sizes = run["sizes"]
    for arm, by_size in run["arms"].items():
        means, halves = (np.array([by_size[str(size)][name] for size in sizes]) for name in ("mean", "half"))
        (line,) = left.plot(sizes, means, marker="o", linewidth=1.5, label=arm)
        low, high = np.clip([means - halves, means + halves], 0, 1)
        left.fill_between(sizes, low, high, alpha=0.15, linewidth=0, color=line.get_color())
        for one in by_size[str(sizes[0])]["runs"].values():
            tokens, scores = zip(*one["curve"], strict=True)
            right.plot(np.array(tokens) / 1000, scores, linewidth=1.2, color=line.get_color())
    left.plot(sizes, [1 / (size + 5) for size in sizes], **GREY, label="chance")
    left.set_xscale("log", base=2)
    left.set_xticks(sizes, [str(size) for size in sizes])
    title = f"after {run['tokens']:,} tokens, mean of {len(run['seeds'])} seeds, 95 % interval"
    say(left, "symbols of the alphabet", "share of right places, held out", title, legend=True)
    say(right, "generated tokens, thousands", title=f"{sizes[0]} symbols, each seed")
    return figure


def lines(run: Result) -> Iterator[str]:
    yield (
        "A score is the mean of the seeds ± half a 95 % interval; in brackets the tokens that went through updates, "
        "which the methods do not have in common."
    )
    yield ""
    sizes = [str(size) for size in run["sizes"]]
    rows: list[tuple[str, ...]] = []
    for arm, by_size in run["arms"].items():
        trained = np.mean([one["trained_tokens"] for one in by_size[sizes[0]]["runs"].values()])
        scores = (f"{by_size[size]['mean']:.2f} ± {by_size[size]['half']:.2f}" for size in sizes)
        rows.append((f"{arm} ({trained / 1000:,.0f} thousand)", *scores))
    yield from table(f"symbols | {' | '.join(sizes)}", rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(3),
    pass_line="the same start and tokens for all; at 8 symbols DQN with whole returns at 0.9 or more; every method "
    "lower at 256 symbols than at 8, beyond both intervals",
    prepare=models,
    runs=lambda work: {(a, v, s): run_of(work, a, v, s) for s in work.seeds for v in SIZES for a in ARMS},
    shows="The last score against the alphabet's size, and curves at 8 symbols",
)

if __name__ == "__main__":
    EXPERIMENT.main()

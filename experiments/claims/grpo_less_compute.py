"""GRPO optimises language models with less compute: with a critic and without, all else equal, and beside PPO.

On the tiny model and arithmetic. Three arms are one method, apart from who says what an answer is worth: GRPO's group,
a value layer on the policy (GAE, whitened: PPO with one update a rollout), or a critic network of its own. A fourth is
PPO as it first trained language models (`ppo@lm-human-preferences`: a value layer, 4 epochs), with its own settings.

1. A step: operations of one rollout and its update as torch counts them, and the bytes that stay from step to step
   (weights, gradients, optimiser, reference). A busy machine changes neither. 3 seeds; the bytes are exact, and in no
   rule, because the article speaks of compute.
2. The score: every arm is trained on 80,000 generated tokens, 5 seeds. Held-out scores at equal tokens, and at equal
   operations (as rung estimates them): each arm's curve read off where the run that spent least ended.
Seconds a step are printed and enter no rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from claim import HOLDS, Claim, Result, not_here, numbers, only_when
from experiment import Run, Work, evaluations, metrics
from in_process import collected, kept_bytes, operations, parts_of
from intervals import Number, geometric_mean, mean
from pictures import panels, say
from words import table

from rung.runs.recipes.sft import tiny_for
from rung.runs.record.files import read_rows
from rung.settings import TaskSettings
from rung.trainers.budget import seconds_of

SEEDS = (41, 42, 43, 44, 45)
COUNTED = 3
"""Seeds whose operations are counted."""
TOKENS = 80_000
MORE = 1.05
"""Less than five per cent more counts as the same."""
COMMON = ("reporting.kl_rows=0", "learner.threads=1")
RUN = ("steps=100000", f"budget.tokens={TOKENS}", "evaluation.num_items=200", "evaluation.every=10")
WITH_CRITIC = (
    *("method.critic=ValueFunction", "method.advantage=GAE", "method.advantage.discount=1.0"),
    *("method.advantage.lam=0.95", "method.whiten=Whiten"),
)
OWN, LAYER, PPO, GRPO = "a critic of its own", "a value layer", "ppo@lm-human-preferences", "grpo"
ARMS: dict[str, tuple[str, tuple[str, ...]]] = {
    GRPO: ("grpo", ()),
    LAYER: ("grpo", (*WITH_CRITIC, "method.critic.separate=false")),
    OWN: ("grpo", (*WITH_CRITIC, "method.critic.separate=true")),
    PPO: ("ppo@lm-human-preferences", ()),
}


def less(times: Number) -> bool:
    """Whether an arm that takes so many times GRPO's operations takes more."""
    return times.low > MORE


def verdict(own: bool, layer: bool, at_equal: Mapping[str, Number]) -> str:
    """Whether GRPO's step takes less than that with each critic, and GRPO's score less each other arm's at equal
    operations."""
    if not own:
        return not_here("a step with a critic of its own takes no more")
    better = [arm for arm, found in at_equal.items() if found.high < 0]
    if better:
        return only_when(f"the cost of a step is meant; at equal operations {' and '.join(better)} scored higher")
    if layer:
        return HOLDS
    return only_when("the critic is a network of its own; a value layer on the policy costs no more than 5 %")


def of_step(arm: str, seed: int) -> dict[str, Any]:
    """One rollout and its update, in this process."""
    method, sets = ARMS[arm]
    parts = parts_of(method, "arithmetic", model="tiny", seed=seed, sets=(*COMMON, *sets))
    batches: list[Any] = []
    drawing = operations(lambda: batches.append(collected(parts)))
    learning = operations(lambda: parts.learner.update(batches[0], 1))
    parts.collector.close()
    return {"drawing": drawing, "learning": learning, "bytes": kept_bytes(parts)}


def curve(folder: Path) -> dict[str, list[float]]:
    """Each evaluation with the operations and generated tokens before it."""
    tokens, spent = 0.0, {}
    for row in metrics(folder):
        tokens += row.get("tokens/generated") or 0.0
        spent[row["step"]] = (row.get("flops") or 0.0, tokens)
    rows = evaluations(folder)
    return {
        "flops": [spent[row["step"]][0] for row in rows],
        "tokens": [spent[row["step"]][1] for row in rows],
        "score": [row["held_out/score"] for row in rows],
    }


def read_off(curve: Mapping[str, Sequence[float]], axis: str, at: float) -> float:
    """The score where so much was spent, between evaluations on a straight line.

    >>> read_off({"flops": [0.0, 10.0], "score": [0.2, 0.4]}, "flops", 5.0)
    0.30000000000000004
    """
    return float(np.interp(at, curve["flops"] if axis == "flops" else curve["tokens"], curve["score"]))


def step_seconds(folder: Path) -> float:
    rows = [row for row in read_rows(folder / "timings.jsonl").rows if row.get("step")]
    return median(seconds_of(row) for row in rows)


def runs(work: Work) -> dict[Any, Run]:
    return {
        (arm, seed): Run(method, "arithmetic", seed, (*COMMON, *RUN, *sets), more=("--model", "tiny"))
        for seed in work.seeds
        for arm, (method, sets) in ARMS.items()
    }


def scores_of(folders: Mapping[Any, Path], seeds: Sequence[int]) -> dict[str, Any]:
    """By arm: curves, the last score, the score at equal operations, and both less GRPO's sign-turned."""
    curves = {key: curve(folder) for key, folder in folders.items()}
    least = {seed: min(curves[arm, seed]["flops"][-1] for arm in ARMS) for seed in seeds}
    return {
        arm: {
            "last": [curves[arm, seed]["score"][-1] for seed in seeds],
            "at_equal_operations": [read_off(curves[arm, seed], "flops", least[seed]) for seed in seeds],
            "seconds_a_step": [step_seconds(folders[arm, seed]) for seed in seeds],
            "curves": [curves[arm, seed] for seed in seeds],
        }
        for arm in ARMS
    }


def paired(scores: Mapping[str, Any], arm: str, key: str) -> Number:
    """GRPO's score less the arm's, by seed."""
    return mean([g - other for g, other in zip(scores[GRPO][key], scores[arm][key], strict=True)])


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    scores = scores_of(folders, work.seeds)
    steps = {arm: [of_step(arm, seed) for seed in work.seeds[:COUNTED]] for arm in ARMS}
    total = {arm: [one["drawing"] + one["learning"] for one in found] for arm, found in steps.items()}
    kept = {arm: sum(found[0]["bytes"].values()) for arm, found in steps.items()}
    others = [arm for arm in ARMS if arm != GRPO]
    ratios = {arm: geometric_mean([a / b for a, b in zip(total[arm], total[GRPO], strict=True)]) for arm in others}
    equal = {arm: paired(scores, arm, "at_equal_operations") for arm in others}
    return {
        "number": vars(ratios[OWN]),
        "verdict": verdict(less(ratios[OWN]), less(ratios[LAYER]), equal),
        "ratios": {arm: {"operations": vars(ratios[arm]), "bytes": kept[arm] / kept[GRPO]} for arm in others},
        "steps": steps,
        "scores": scores,
        "less_at_equal_operations": numbers(equal),
        "less_at_equal_tokens": numbers({arm: paired(scores, arm, "last") for arm in others}),
        "tokens": TOKENS,
    }


def picture(run: Result) -> Any:
    figure, axes = panels(1, 2, size=(10, 3.6), sharey=True)
    for panel, axis in zip(axes, ("tokens", "flops"), strict=True):
        for arm, found in run["scores"].items():
            spent = np.linspace(0, min(curve[axis][-1] for curve in found["curves"]), 60)
            values = [np.interp(spent, curve[axis], curve["score"]) for curve in found["curves"]]
            panel.plot(spent, np.mean(values, axis=0), label=arm)
        say(panel, "generated tokens" if axis == "tokens" else "floating-point operations")
    say(axes[0], y="held-out score, mean over seeds", legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    rows: list[Sequence[str]] = []
    for arm, found in run["scores"].items():
        cost, apart = ("1", "1"), ("0", "0")
        if arm != GRPO:
            ratios = run["ratios"][arm]
            cost = (Number.of(ratios["operations"]).words("times"), f"{ratios['bytes']:.2f} times")
            both = (run[f"less_at_equal_{what}"][arm] for what in ("tokens", "operations"))
            apart = tuple(Number.of(one, 100).words("points") for one in both)
        seconds, last = f"{np.mean(found['seconds_a_step']):.2f}", f"{100 * np.mean(found['last']):.1f} %"
        rows.append((f"`{arm}`" if arm in (GRPO, PPO) else arm, *cost, seconds, last, *apart))
    yield from table(
        "who says what an answer is worth | operations of a step | bytes kept | seconds a step | last score | "
        "GRPO's score less this one's: equal tokens | equal operations",
        rows,
    )


EXPERIMENT = Claim.here(
    globals(),
    seeds=SEEDS,
    sentence="GRPO optimises language models with less compute",
    measured="operations of a step with a critic of its own over those of GRPO's, all else equal",
    unit="times",
    rule="less than an arm: that arm's step takes over 5 % more operations, the whole interval. Not less than a critic "
    "of its own: does not hold here. Else, some arm scores higher at equal operations (paired difference, whole "
    "interval): holds here only for a step. Else less than a value layer too: holds; if not: holds here only where the "
    "critic is a network of its own.",
    prepare=lambda work: tiny_for(TaskSettings(name="arithmetic")),
)

if __name__ == "__main__":
    EXPERIMENT.main()

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

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from claim import HOLDS, Claim, Measured, Number, geometric_mean, mean, not_here, only_when
from in_process import collected, kept_bytes, operations, parts_of
from running import Run, evaluations, metrics, plots, run_all, save_picture

from rung.runs.record.json_lines import read_rows
from rung.trainers.budget import seconds_of

SEEDS = (41, 42, 43, 44, 45)
COUNTED = 3
"""Seeds whose operations are counted."""
TOKENS = 80_000
MORE = 1.05
"""Less than five per cent more counts as the same."""
TASK = ("--model", "tiny", "--task", "arithmetic")
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
CLAIM = Claim(
    name="grpo_less_compute",
    sentence="GRPO optimises language models with less compute",
    measured="operations of a step with a critic of its own over those of GRPO's, all else equal",
    unit="times",
    rule="less than an arm: that arm's step takes over 5 % more operations, the whole interval. Not less than a critic "
    "of its own: does not hold here. Else, some arm scores higher at equal operations (paired difference, whole "
    "interval): holds here only for a step. Else less than a value layer too: holds; if not: holds here only where the "
    "critic is a network of its own.",
)


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


def runs_of(seeds: Sequence[int]) -> list[Run]:
    return [
        Run(
            f"{arm}-{seed}",
            *("train", method, *TASK, "--seed", str(seed)),
            settings=(*COMMON, *RUN, *sets),
        )
        for seed in seeds
        for arm, (method, sets) in ARMS.items()
    ]


def scores_of(folders: Mapping[tuple[int, str], Path], seeds: Sequence[int]) -> dict[str, Any]:
    """By arm: curves, the last score, the score at equal operations, and both less GRPO's sign-turned."""
    curves = {key: curve(folder) for key, folder in folders.items()}
    least = {seed: min(curves[seed, arm]["flops"][-1] for arm in ARMS) for seed in seeds}
    return {
        arm: {
            "last": [curves[seed, arm]["score"][-1] for seed in seeds],
            "at_equal_operations": [read_off(curves[seed, arm], "flops", least[seed]) for seed in seeds],
            "seconds_a_step": [step_seconds(folders[seed, arm]) for seed in seeds],
            "curves": [curves[seed, arm] for seed in seeds],
        }
        for arm in ARMS
    }


def paired(scores: Mapping[str, Any], arm: str, key: str) -> Number:
    """GRPO's score less the arm's, by seed."""
    return mean([g - other for g, other in zip(scores[GRPO][key], scores[arm][key], strict=True)])


def measure(seeds: Sequence[int]) -> Measured:
    run_all([runs_of(seeds)[0]], CLAIM.runs)  # the first makes the tiny model, once
    folders = run_all(runs_of(seeds), CLAIM.runs)
    keys = [(seed, arm) for seed in seeds for arm in ARMS]
    scores = scores_of(dict(zip(keys, folders, strict=True)), seeds)
    steps = {arm: [of_step(arm, seed) for seed in seeds[:COUNTED]] for arm in ARMS}
    total = {arm: [one["drawing"] + one["learning"] for one in found] for arm, found in steps.items()}
    kept = {arm: sum(found[0]["bytes"].values()) for arm, found in steps.items()}
    others = [arm for arm in ARMS if arm != GRPO]
    ratios = {
        arm: {
            "operations": geometric_mean([a / b for a, b in zip(total[arm], total[GRPO], strict=True)]),
            "bytes": kept[arm] / kept[GRPO],
        }
        for arm in others
    }
    equal = {arm: paired(scores, arm, "at_equal_operations") for arm in others}
    cheaper = {arm: less(found["operations"]) for arm, found in ratios.items()}
    result = {
        "ratios": {arm: {**found, "operations": vars(found["operations"])} for arm, found in ratios.items()},
        "steps": steps,
        "scores": scores,
        "less_at_equal_operations": {arm: vars(found) for arm, found in equal.items()},
        "less_at_equal_tokens": {arm: vars(paired(scores, arm, "last")) for arm in others},
        "tokens": TOKENS,
    }
    said = verdict(cheaper[OWN], cheaper[LAYER], equal)
    return Measured(number=ratios[OWN]["operations"], verdict=said, result=result)


def picture(result: Mapping[str, Any]) -> None:
    figure, axes = plots().subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for panel, axis in zip(axes, ("tokens", "flops"), strict=True):
        for arm, found in result["scores"].items():
            ends = min(curve[axis][-1] for curve in found["curves"])
            spent = np.linspace(0, ends, 60)
            lines = [np.interp(spent, curve[axis], curve["score"]) for curve in found["curves"]]
            panel.plot(spent, np.mean(lines, axis=0), label=arm)
        panel.set_xlabel("generated tokens" if axis == "tokens" else "operations")
    axes[0].set_ylabel("held-out score, mean over seeds")
    axes[0].legend(fontsize=8)
    save_picture(figure, CLAIM.picture)


def words() -> str:
    return CLAIM.words(lines_of)


def lines_of(run: Mapping[str, Any]) -> list[str]:
    lines = [
        "| who says what an answer is worth | operations of a step | bytes kept | seconds a step | last score | "
        "GRPO's score less this one's: equal tokens | equal operations |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm, found in run["scores"].items():
        cost = "1 | 1"
        less_ = "0 | 0"
        if arm != GRPO:
            ratios = run["ratios"][arm]
            cost = f"{Number(**ratios['operations']).words('times')} | {ratios['bytes']:.2f} times"
            both = (run[f"less_at_equal_{what}"][arm] for what in ("tokens", "operations"))
            less_ = " | ".join(Number(**{k: 100 * v for k, v in one.items()}).words("points") for one in both)
        name = f"`{arm}`" if arm in (GRPO, PPO) else arm
        second, last = np.mean(found["seconds_a_step"]), 100 * np.mean(found["last"])
        lines.append(f"| {name} | {cost} | {second:.2f} | {last:.1f} % | {less_} |")
    return lines


def main() -> None:
    found = measure(SEEDS)
    picture(found.result)
    CLAIM.record(found, seeds=SEEDS, runs_in=[CLAIM.runs / run.name for run in runs_of(SEEDS)])


if __name__ == "__main__":
    main()

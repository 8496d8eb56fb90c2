"""Over-optimisation: the learnt reward and the true one as PPO climbs the learnt one (as Gao et al. 2022 plot it).

    python experiments/over_optimisation.py     runs what is missing, two at a time: 12 minutes on two idle cores
    python docs/generate.py                     prints it into docs/experiments.md

Model, language and oracle are those of dpo_frontier.py. Here the labels are few and noisy: 1,200 pairs, each labelled
as Bradley and Terry have it from the oracle's scores at a scale of 0.25, so that about one label in seven is wrong. The
reward model learnt from them is the proxy, the oracle itself the gold reward. PPO climbs the proxy with next to no KL
penalty (0.05). Six times along each run, 8 endings of each of 60 held-out prompts are drawn and judged by both; each
reward is standardised by its mean and deviation over the start's endings. KL is that of whole endings to the start.

Scaled down from the paper (1.2 billion parameters, 100,000 comparisons): the model, the language, and one size of
reward model. Step sizes, lengths, the number of pairs and the noise were chosen on seed 100, which is not reported:
the fourth set tried.

Pass lines, fixed before the run:
1. The proxy is a fair one: it puts the right ending first in at least 80 % of held-out pairs that were labelled without
   noise, in the mean over seeds.
2. Climbing it helps at first: in the mean over seeds the gold reward is at least 1 deviation above the start at a point
   whose KL is at most 10.
3. Then it does not: the gap, proxy less gold, grows with the KL. The slope of a line through a run's points is positive
   with its whole 95 % interval over seeds (Student's t).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from running import PICTURES, ROOT, Run, evaluations, plots, provenance, record, recorded, run_all, save_picture
from stages import ENDED, GOLD, TASK, TOKENS, from_pairs, pairs_file, points, start_model

from rung.lab.compare.seed_statistics import reach

RUNS = ROOT / "runs" / "over_optimisation"
SEEDS = range(5)
POINTS = (0, 5, 10, 15, 20, 30, 40)
FAIR, RISE, NEAR = 0.8, 1.0, 10.0
REWARD = ("steps=120", "method.pairs_per_step=32", "method.optimizer.learning_rate=5e-4", "saving.every=0")
CLIMB = (
    *(f"steps={POINTS[-1]}", "prompts_per_step=8", f"max_new_tokens={TOKENS}", "saving.every=5"),
    *("evaluation.num_items=16", "method.reference_kl.target=null", "method.reference_kl.coefficient=0.05"),
    "method.optimizer.learning_rate=1e-4",
)


def pairs(seed: int) -> Path:
    return pairs_file(f"noisy_pairs-{seed}", seed=seed, prompts=240, a_prompt=5, oracle="noisy")


def reward_model(seed: int) -> Path:
    return RUNS / f"reward-{seed}"


def reward_run(seed: int) -> Run:
    words = ("train", "reward_model", *from_pairs(pairs(seed)), "--seed", str(seed))
    return Run(reward_model(seed).name, *words, settings=(*ENDED, "evaluation.num_items=480", *REWARD))


def policy(seed: int) -> Path:
    return RUNS / f"policy-{seed}"


def policy_run(seed: int) -> Run:
    words = ("train", "ppo@lm-human-preferences", *TASK, "--model", str(start_model()), "--recipe", "tiny")
    rewards = ("--reward", str(reward_model(seed)), "--reward", f"{GOLD}=0", "--seed", str(seed))
    return Run(policy(seed).name, *words, *rewards, settings=(*ENDED, *CLIMB))


def standardised(found: Sequence[Mapping[str, Any]], proxy: str) -> list[dict[str, float]]:
    """Each point's KL, and both rewards in deviations of the first point's, above its mean."""
    first = found[0]["parts"]
    return [
        {
            "kl": float(one["kl"]),
            **{
                name: (one["parts"][part]["mean"] - first[part]["mean"]) / first[part]["deviation"]
                for name, part in (("proxy", proxy), ("gold", "gold"))
            },
        }
        for one in found
    ]


def slope(curve: Sequence[Mapping[str, float]]) -> float:
    """Of the gap against the KL, by least squares.

    >>> round(slope([{"kl": 0, "proxy": 0, "gold": 0}, {"kl": 2, "proxy": 3, "gold": 2}]), 3)
    0.5
    """
    gaps = [one["proxy"] - one["gold"] for one in curve]
    return float(np.polyfit([one["kl"] for one in curve], gaps, 1)[0])


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean over seeds and its 95 % interval by Student's t."""
    half = reach(0.95, len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    mean = float(np.mean(values))
    return mean, mean - half, mean + half


def mean_curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Each point's mean over seeds."""
    return [
        {name: float(np.mean([one[name] for one in at])) for name in ("kl", "proxy", "gold")}
        for at in zip(*curves, strict=True)
    ]


def lines_held(accuracies: Sequence[float], curves: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Each pass line with what was measured."""
    near = [one["gold"] for one in mean_curve(curves) if one["kl"] <= NEAR]
    mean, low, high = interval([slope(curve) for curve in curves])
    return {
        "fair proxy": {"accuracy": float(np.mean(accuracies)), "passed": bool(np.mean(accuracies) >= FAIR)},
        "gold rises": {"deviations": max(near), "passed": max(near) >= RISE},
        "gap grows": {"slope": mean, "interval": [low, high], "passed": low > 0},
    }


def picture(curves: Sequence[Sequence[Mapping[str, float]]], path: Path) -> None:
    """Both rewards against the KL: thin the seeds, thick their mean."""
    figure, panel = plots().subplots(figsize=(8, 4.5))
    for number, name in enumerate(("proxy", "gold")):
        for curve in curves:
            panel.plot(*zip(*((one["kl"], one[name]) for one in curve), strict=True), color=f"C{number}", linewidth=0.7)
        mean = [(one["kl"], one[name]) for one in mean_curve(curves)]
        panel.plot(*zip(*mean, strict=True), color=f"C{number}", linewidth=2.5, marker="o", markersize=4, label=name)
    panel.set_xlabel("KL to the start, nats an ending")
    panel.set_ylabel("above the start, in its deviations")
    panel.legend(fontsize=9)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("over_optimisation")
    if run is None:
        return "Not recorded yet."
    fair, rise, gap = (run["lines"][name] for name in ("fair proxy", "gold rises", "gap grows"))
    best = max(run["mean"], key=lambda one: one["gold"])
    last = run["mean"][-1]
    low, high = gap["interval"]
    lines = [
        "![The learnt and the true reward against the KL](pictures/over_optimisation.png)",
        "",
        provenance(run),
        "",
        f"The proxy is right about {100 * fair['accuracy']:.0f} % of held-out pairs. The gold reward rises by "
        f"{rise['deviations']:.2f} deviations at KL up to {NEAR:g}; it is highest at KL {best['kl']:.1f} "
        f"({best['gold']:.2f}, where the proxy says {best['proxy']:.2f}) and ends at {last['gold']:.2f} with KL "
        f"{last['kl']:.1f}, where the proxy says {last['proxy']:.2f}. The gap grows by {gap['slope']:.3f} deviations a "
        f"nat ({low:.3f} to {high:.3f}).",
        "",
        "| step | KL | proxy | gold | an ending of the first seed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for step, one, sample in zip(POINTS, run["mean"], run["samples"], strict=True):
        said = "".join(mark if mark.isprintable() and mark not in "`|" else " " for mark in sample)
        lines.append(f"| {step} | {one['kl']:.1f} | {one['proxy']:.2f} | {one['gold']:.2f} | `{said}` |")
    return "\n".join(lines)


def main() -> None:
    start_model()
    rewards = run_all([reward_run(seed) for seed in SEEDS], RUNS)
    policies = run_all([policy_run(seed) for seed in SEEDS], RUNS)
    asked = [(policy(seed), step, (str(reward_model(seed)),)) for seed in SEEDS for step in POINTS]
    found = points(asked)
    by_seed = [found[n * len(POINTS) : (n + 1) * len(POINTS)] for n in range(len(SEEDS))]
    curves = [standardised(some, reward_model(seed).name) for seed, some in zip(SEEDS, by_seed, strict=True)]
    accuracies = [evaluations(folder)[-1]["held_out/score"] for folder in rewards]
    held = lines_held(accuracies, curves)
    result = {
        "seeds": list(SEEDS),
        "pass_line": "the reward model's held-out accuracy at least 0.8; gold up by at least 1 deviation at a KL of at "
        "most 10; the gap of proxy and gold grows with the KL, with its whole interval over seeds",
        "lines": held,
        "passed": all(one["passed"] for one in held.values()),
        "accuracies": accuracies,
        "mean": mean_curve(curves),
        "curves": {str(seed): curve for seed, curve in zip(SEEDS, curves, strict=True)},
        "samples": [one["samples"][0] for one in by_seed[0]],
        "settings": {"reward_model": REWARD, "policy": CLIMB, "all": ENDED},
    }
    record("over_optimisation", result, runs_in=[*rewards, *policies])
    picture(curves, PICTURES / "over_optimisation.png")


if __name__ == "__main__":
    main()

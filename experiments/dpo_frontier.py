"""Reward against KL: DPO beside PPO, fine-tuning on preferred answers, and unlikelihood (the DPO paper's figure 2).

    python experiments/dpo_frontier.py              runs what is missing, two at a time: 25 minutes on two idle cores
    python experiments/dpo_frontier.py --smollm2    and three points on SmolLM2-135M: about 15 minutes more
    python docs/generate.py                         prints it into docs/experiments.md

A transformer of 0.2 million parameters learns to write reviews (reviews.py); the oracle is VADER, which reads how kind
an ending is (sentiment.py). Of the model's own endings 1,920 pairs are labelled by the oracle, anew for each seed. All
arms start at that model: DPO with four betas, fine-tuning on the chosen endings (unlikelihood with alpha 0) and
unlikelihood learn from the pairs; PPO climbs a reward model learnt from the same pairs, or the oracle itself, less a
KL with one of three coefficients. Three times along each run, 8 endings of each of 60 held-out prompts are drawn: the
oracle's mean, and the KL of whole endings to the start, exact over the vocabulary at each token.

Scaled down from the paper (GPT-2-large, IMDb, 25,000 prompts, 22 runs of one seed): the model and the language; three
coefficients in place of four targets of the KL, two alphas in place of four, three points a run. Step sizes, lengths
and coefficients were chosen on seed 100, which is not reported.

A family's frontier is the concave hull of the start (KL 0) and its points, each a mean over seeds; it is flat beyond
its best point. What lies on a chord is reached as well, by drawing from either end's policy: the reward of the mixture
lies on the chord, and its KL not above it.

Pass lines, fixed before the run:
1. The KL at the end falls as beta grows: four means over seeds, each lower than the one before.
2. DPO's frontier is above that of preferred fine-tuning, and above that of unlikelihood, at every KL of 0.1, 0.2, 0.5,
   1, 2, 4 and 8 nats that both families reach; at least one.
3. The area between DPO's frontier and the start's reward, up to the largest KL that both reach, is at least that of
   PPO with the reward model less 5 %.
PPO with the oracle's own reward has no line: it is reported whichever way it falls. So are the points on SmolLM2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from running import (
    PICTURES,
    ROOT,
    Run,
    evaluations,
    plots,
    provenance,
    record,
    recorded,
    run_all,
    save_picture,
    seconds,
)
from stages import ENDED, GOLD, TASK, TOKENS, from_pairs, pairs_file, points, start_model

RUNS = ROOT / "runs" / "dpo_frontier"
SEEDS = range(3)
BETAS = (0.05, 0.1, 1.0, 5.0)
BINS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
SLACK = 0.05
PAIR_STEPS, PPO_STEPS = 150, 30
DPO, SFT, UNLIKELIHOOD = "DPO", "preferred fine-tuning", "unlikelihood"
LEARNT, TRUE = "PPO, reward model", "PPO, true reward"
PAIRED = (f"steps={PAIR_STEPS}", "method.pairs_per_step=16", "method.optimizer.learning_rate=3e-5", "saving.every=15")
REWARD = ("steps=250", "method.pairs_per_step=16", "method.optimizer.learning_rate=7e-4", "saving.every=0")
CLIMB = (
    *(f"steps={PPO_STEPS}", "prompts_per_step=8", f"max_new_tokens={TOKENS}", "saving.every=10"),
    *("evaluation.num_items=16", "method.reference_kl.target=null"),
)
PAIR_POINTS, PPO_POINTS = (30, 75, 150), (10, 20, 30)


@dataclass(frozen=True)
class Arm:
    """One setting of one family. Example: `Arm("DPO", 0.1)`."""

    family: str
    number: float
    """Beta, alpha, or the KL's coefficient."""

    @property
    def steps(self) -> tuple[int, ...]:
        return PPO_POINTS if self.family in (LEARNT, TRUE) else PAIR_POINTS

    def folder(self, seed: int) -> Path:
        return RUNS / f"{self.family.replace(', ', '-').replace(' ', '_')}-{self.number:g}-{seed}"

    def run(self, seed: int) -> Run:
        name, keyed = self.folder(seed).name, ("--seed", str(seed))
        if self.family in (LEARNT, TRUE):
            given = ("--reward", str(reward_model(seed)), "--reward", f"{GOLD}=0")
            words = (*TASK, "--model", str(start_model()), "--recipe", "tiny")
            words += given if self.family == LEARNT else ("--reward", GOLD)
            coefficient = f"method.reference_kl.coefficient={self.number}"
            settings = (*ENDED, *CLIMB, coefficient)
            return Run(name, "train", "ppo@lm-human-preferences", *words, *keyed, settings=settings)
        method, key = ("dpo", "beta") if self.family == DPO else ("unlikelihood", "alpha")
        settings = (*ENDED, *PAIRED, f"method.loss.{key}={self.number}")
        return Run(name, "train", method, *from_pairs(pairs(seed)), *keyed, settings=settings)


ARMS = (
    *(Arm(DPO, beta) for beta in BETAS),
    *(Arm(UNLIKELIHOOD, alpha) for alpha in (0.1, 0.5)),
    Arm(SFT, 0.0),
    *(Arm(TRUE, coefficient) for coefficient in (0.03, 0.1, 0.3)),
    *(Arm(LEARNT, coefficient) for coefficient in (0.2, 0.6, 2.0)),
)
FAMILIES = tuple(dict.fromkeys(arm.family for arm in ARMS))


def pairs(seed: int) -> Path:
    return pairs_file(f"pairs-{seed}", seed=seed, prompts=240, a_prompt=8)


def reward_model(seed: int) -> Path:
    return RUNS / f"reward-{seed}"


def reward_run(seed: int) -> Run:
    words = ("train", "reward_model", *from_pairs(pairs(seed)), "--seed", str(seed))
    settings = (*ENDED, "evaluation.num_items=480", *REWARD)
    return Run(reward_model(seed).name, *words, settings=settings)


Point = tuple[float, float]
"""(KL in nats, reward)."""


def hull(found: Sequence[Point], start: float) -> list[Point]:
    """The concave hull of (0, start) and the points, left to right, up to the highest reward.

    >>> hull([(1.0, 0.5), (2.0, 0.4), (4.0, 0.8), (2.0, 0.7)], start=0.0)
    [(0.0, 0.0), (1.0, 0.5), (2.0, 0.7), (4.0, 0.8)]
    """
    kept: list[Point] = []
    for kl, reward in sorted([(0.0, start), *found], key=lambda one: (one[0], -one[1])):
        if kept and reward <= max(one[1] for one in kept):
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-2], (kl, reward)):
            kept.pop()
        kept.append((kl, reward))
    return kept


def _slope(one: Point, other: Point) -> float:
    return (other[1] - one[1]) / max(other[0] - one[0], 1e-12)


def height(frontier: Sequence[Point], kl: float) -> float:
    """The frontier's reward at a KL; flat beyond its end.

    >>> height([(0.0, 0.0), (2.0, 0.5)], 1.0)
    0.25
    """
    return float(np.interp(kl, *zip(*frontier, strict=True)))


def area(frontier: Sequence[Point], upto: float) -> float:
    """Between the frontier and the start's reward, from KL 0 to `upto`.

    >>> area([(0.0, 1.0), (2.0, 2.0)], 4.0)
    3.0
    """
    kls = sorted({0.0, upto, *(kl for kl, _ in frontier if kl < upto)})
    return float(np.trapezoid([height(frontier, kl) - frontier[0][1] for kl in kls], kls))


def reach(found: Sequence[Point]) -> float:
    """The largest KL of the points."""
    return max(kl for kl, _ in found)


def lines_held(families: Mapping[str, Sequence[Point]], ends: Sequence[float], start: float) -> dict[str, Any]:
    """Each pass line with what was measured. `ends`: DPO's last KL by growing beta."""
    fronts = {name: hull(found, start) for name, found in families.items()}
    held: dict[str, Any] = {
        "KL falls as beta grows": {"kl": list(ends), "passed": all(a > b for a, b in pairwise(ends))}
    }
    for name in (SFT, UNLIKELIHOOD):
        shared = [kl for kl in BINS if kl <= min(reach(families[DPO]), reach(families[name]))]
        heights = [[kl, height(fronts[DPO], kl), height(fronts[name], kl)] for kl in shared]
        passed = bool(heights) and all(mine > theirs for _, mine, theirs in heights)
        held[f"above {name}"] = {"heights": heights, "passed": passed}
    for name in (LEARNT, TRUE):
        upto = min(reach(families[DPO]), reach(families[name]))
        mine, theirs = area(fronts[DPO], upto), area(fronts[name], upto)
        found: dict[str, Any] = {"upto": upto, "dpo": mine, "ppo": theirs}
        if name == LEARNT:
            found["passed"] = mine >= (1 - SLACK) * theirs
        held[f"area beside {name}"] = found
    return held


def measured(arms: Sequence[Arm], seeds: Sequence[int]) -> dict[tuple[Arm, int], list[dict[str, Any]]]:
    """Each run's points."""
    asked = [(arm, seed, step) for arm in arms for seed in seeds for step in arm.steps]
    found = points([(arm.folder(seed), step, ()) for arm, seed, step in asked])
    by_run: dict[tuple[Arm, int], list[dict[str, Any]]] = {}
    for (arm, seed, _), one in zip(asked, found, strict=True):
        by_run.setdefault((arm, seed), []).append(one)
    return by_run


def mean_points(by_run: Mapping[tuple[Arm, int], Sequence[Mapping[str, Any]]], arm: Arm) -> list[Point]:
    """An arm's points, each the mean over seeds."""
    each = [found for (one, _), found in by_run.items() if one == arm]
    at = list(zip(*each, strict=True))
    return [(float(np.mean([p["kl"] for p in some])), float(np.mean([p["reward"] for p in some]))) for some in at]


def summary(by_run: Mapping[tuple[Arm, int], Sequence[Mapping[str, Any]]], seeds: Sequence[int]) -> dict[str, Any]:
    means = {arm: mean_points(by_run, arm) for arm in ARMS}
    families = {name: [p for arm in ARMS if arm.family == name for p in means[arm]] for name in FAMILIES}
    start = float(np.mean([found[0]["start"] for found in by_run.values()]))
    held = lines_held(families, [means[Arm(DPO, beta)][-1][0] for beta in BETAS], start)
    return {
        "seeds": list(seeds),
        "start": start,
        "pass_line": "the last KL falls as beta grows; DPO's frontier above preferred fine-tuning and unlikelihood at "
        "every shared KL; its area at least that of PPO with the reward model less 5 %",
        "lines": held,
        "passed": all(one.get("passed", True) for one in held.values()),
        "reward_model": [evaluations(reward_model(seed))[-1]["held_out/score"] for seed in seeds],
        "arms": [
            {
                "family": arm.family,
                "number": arm.number,
                "points": means[arm],
                "runs": {str(seed): by_run[arm, seed] for seed in seeds},
                "seconds": float(np.mean([seconds(arm.folder(seed)) for seed in seeds])),
            }
            for arm in ARMS
        ],
        "settings": {"pairs": PAIRED, "reward_model": REWARD, "ppo": CLIMB, "all": ENDED},
    }


def picture(result: Mapping[str, Any], path: Path) -> None:
    """Every point, a colour a family, and each family's frontier."""
    figure, panel = plots().subplots(figsize=(9, 5))
    for number, name in enumerate(FAMILIES):
        arms = [arm for arm in result["arms"] if arm["family"] == name]
        every = [(p["kl"], p["reward"]) for arm in arms for run in arm["runs"].values() for p in run]
        panel.scatter(*zip(*every, strict=True), s=9, alpha=0.35, color=f"C{number}", linewidths=0)
        front = hull([tuple(p) for arm in arms for p in arm["points"]], result["start"])
        panel.plot(*zip(*front, strict=True), color=f"C{number}", marker="o", markersize=4, label=name)
    panel.set_xscale("symlog", linthresh=1.0)
    panel.set_xlabel("KL to the start, nats an ending (linear up to 1)")
    panel.set_ylabel("the oracle's mean on held-out prompts")
    panel.legend(fontsize=8)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("dpo_frontier")
    return "Not recorded yet." if run is None else "\n".join([*_lines(run), *_table(run), *_samples(run), *_large(run)])


def _lines(run: Mapping[str, Any]) -> Iterator[str]:
    yield from ("![Reward against KL to the start, a colour a family](pictures/dpo_frontier.png)", "", provenance(run))
    yield (
        f"The start's reward is {run['start']:.2f}. The reward models put the right ending of a held-out pair first in "
        f"{100 * np.mean(run['reward_model']):.0f} % of pairs."
    )
    yield from ("", "| line | measured | passed |", "| --- | --- | --- |")
    for name, held in run["lines"].items():
        if "kl" in held:
            said = ", ".join(f"{kl:.2f}" for kl in held["kl"])
        elif "heights" in held:
            said = "; ".join(f"at {kl:g}: {mine:.2f} against {theirs:.2f}" for kl, mine, theirs in held["heights"])
        else:
            said = f"{held['dpo']:.2f} against {held['ppo']:.2f}, up to KL {held['upto']:.1f}"
        passed = {True: "yes", False: "**no**", None: "no line"}[held.get("passed")]
        yield f"| {name} | {said or 'no shared KL'} | {passed} |"
    yield ""


def _table(run: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| arm | KL at the end | reward | seconds a run |", "| --- | --- | --- | --- |")
    for arm in run["arms"]:
        kl, reward = arm["points"][-1]
        yield f"| {arm['family']} {arm['number']:g} | {kl:.2f} | {reward:.2f} | {arm['seconds']:.0f} |"
    yield ""


def _samples(run: Mapping[str, Any]) -> Iterator[str]:
    yield from ("What they write at the end (the first seed, one ending of the first held-out prompt):", "")
    for arm in run["arms"]:
        last = next(iter(arm["runs"].values()))[-1]
        yield f"- {arm['family']} {arm['number']:g}, KL {last['kl']:.1f}: `{_plain(last['samples'][0])}`"


def _large(run: Mapping[str, Any]) -> Iterator[str]:
    found = run.get("smollm2")
    if not found:
        return
    yield from ("", f"On SmolLM2-135M, dequantised from 4 bit, {found['minutes']:.0f} minutes:", "")
    yield from ("| DPO's beta | KL at the end | reward before | after |", "| --- | --- | --- | --- |")
    for one in found["points"]:
        yield f"| {one['beta']:g} | {one['kl']:.2f} | {one['start']:.2f} | {one['reward']:.2f} |"
    yield ""
    yield from (f"- beta {one['beta']:g}: `{_plain(one['samples'][0])}`" for one in found["points"])


def _plain(text: str) -> str:
    """A model's text as it can stand between backticks on one line."""
    return "".join(mark if mark.isprintable() and mark != "`" else " " for mark in text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--smollm2", action="store_true", help="three points on SmolLM2-135M too")
    large = parser.parse_args().smollm2
    start_model()
    run_all([reward_run(seed) for seed in SEEDS], RUNS)
    folders = run_all([arm.run(seed) for seed in SEEDS for arm in ARMS], RUNS)
    result = summary(measured(ARMS, SEEDS), SEEDS)
    before = recorded("dpo_frontier") or {}
    if large:
        from frontier_on_smollm2 import three_points

        result["smollm2"] = three_points()
    elif "smollm2" in before:
        result["smollm2"] = before["smollm2"]
    folders += [reward_model(seed) for seed in SEEDS]
    record(
        "dpo_frontier",
        result,
        runs_in=folders,
        command=" ".join(["python", "experiments/dpo_frontier.py", *sys.argv[1:]]),
    )
    picture(result, PICTURES / "dpo_frontier.png")


if __name__ == "__main__":
    main()

"""Reward against KL: DPO beside PPO, fine-tuning on preferred answers, and unlikelihood (the DPO paper's figure 2).

25 minutes on two idle cores; with --smollm2 three points on SmolLM2-135M beside, about 15 minutes more.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, evaluations, recorded, seconds
from pictures import panels, say
from stages import (
    ENDED,
    GOLD,
    climb,
    from_pairs,
    make_held_out_pairs,
    make_pairs,
    make_start,
    points,
    reward_run,
)
from words import plain, table

BETAS = (0.05, 0.1, 1.0, 5.0)
BINS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
SLACK = 0.05
PAIR_STEPS, PPO_STEPS = 150, 30
DPO, SFT, UNLIKELIHOOD = "DPO", "preferred fine-tuning", "unlikelihood"
LEARNT, TRUE = "PPO, reward model", "PPO, true reward"
PAIRED = (f"steps={PAIR_STEPS}", "method.pairs_per_step=16", "method.optimizer.learning_rate=3e-5", "saving.every=15")
REWARD = ("steps=250", "method.pairs_per_step=16", "method.optimizer.learning_rate=7e-4")
CLIMB = (
    *(f"steps={PPO_STEPS}", "prompts_per_step=8", "saving.every=10"),
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

    def run(self, work: Work, seed: int) -> Run:
        if self.family in (LEARNT, TRUE):
            rewards = [str(work.folder / f"reward-{seed}"), f"{GOLD}=0"] if self.family == LEARNT else [GOLD]
            return climb(work, seed, rewards, *CLIMB, f"method.reference_kl.coefficient={self.number}")
        method, key = ("dpo", "beta") if self.family == DPO else ("unlikelihood", "alpha")
        return from_pairs(work, method, f"pairs-{seed}", seed, *PAIRED, f"method.loss.{key}={self.number}")


ARMS = (
    *(Arm(DPO, beta) for beta in BETAS),
    *(Arm(UNLIKELIHOOD, alpha) for alpha in (0.1, 0.5)),
    Arm(SFT, 0.0),
    *(Arm(TRUE, coefficient) for coefficient in (0.03, 0.1, 0.3)),
    *(Arm(LEARNT, coefficient) for coefficient in (0.2, 0.6, 2.0)),
)
FAMILIES = tuple(dict.fromkeys(arm.family for arm in ARMS))


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


def furthest(found: Sequence[Point]) -> float:
    """The largest KL of the points."""
    return max(kl for kl, _ in found)


def lines_held(families: Mapping[str, Sequence[Point]], ends: Sequence[float], start: float) -> dict[str, Any]:
    """Each pass line with what was measured. `ends`: DPO's last KL by growing beta."""
    fronts = {name: hull(found, start) for name, found in families.items()}
    held: dict[str, Any] = {
        "KL falls as beta grows": {"kl": list(ends), "passed": all(a > b for a, b in pairwise(ends))}
    }
    for name in (SFT, UNLIKELIHOOD):
        shared = [kl for kl in BINS if kl <= min(furthest(families[DPO]), furthest(families[name]))]
        heights = [[kl, height(fronts[DPO], kl), height(fronts[name], kl)] for kl in shared]
        passed = bool(heights) and all(mine > theirs for _, mine, theirs in heights)
        held[f"above {name}"] = {"heights": heights, "passed": passed}
    for name in (LEARNT, TRUE):
        upto = min(furthest(families[DPO]), furthest(families[name]))
        mine, theirs = area(fronts[DPO], upto), area(fronts[name], upto)
        found: dict[str, Any] = {"upto": upto, "dpo": mine, "ppo": theirs}
        if name == LEARNT:
            found["passed"] = mine >= (1 - SLACK) * theirs
        held[f"area beside {name}"] = found
    return held


def prepare(work: Work) -> None:
    make_start(work)
    make_held_out_pairs(work)
    for seed in work.seeds:
        make_pairs(work, f"pairs-{seed}", seed=seed, prompts=240, a_prompt=8)


def runs(work: Work) -> dict[Any, Run]:
    rewards = {("reward", seed): reward_run(work, f"pairs-{seed}", seed, *REWARD) for seed in work.seeds}
    return rewards | {(a.family, f"{a.number:g}", s): a.run(work, s) for s in work.seeds for a in ARMS}


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    keys = [(arm, seed, step) for arm in ARMS for seed in work.seeds for step in work.points(arm.steps)]
    asked = [(folders[arm.family, f"{arm.number:g}", seed], step, ()) for arm, seed, step in keys]
    by_run: dict[tuple[Arm, int], list[dict[str, Any]]] = {}
    for (arm, seed, _), one in zip(keys, points(work, asked), strict=True):
        by_run.setdefault((arm, seed), []).append(one)
    right = [evaluations(folders["reward", seed])[-1]["held_out/score"] for seed in work.seeds]
    took = {arm: [seconds(folders[arm.family, f"{arm.number:g}", seed]) for seed in work.seeds] for arm in ARMS}
    large = (recorded("dpo_frontier") or {}).get("smollm2")
    if work.asked.smollm2:
        from frontier_on_smollm2 import three_points

        large = three_points(work)
    flag = {"command": f"{EXPERIMENT.command} --smollm2"} if work.asked.smollm2 else {}
    return {**summary(by_run, right, took), **({"smollm2": large} if large else {}), **flag}


def mean_points(by_run: Mapping[tuple[Arm, int], Sequence[Mapping[str, Any]]], arm: Arm) -> list[Point]:
    """An arm's points, each the mean over seeds."""
    each = [found for (one, _), found in by_run.items() if one == arm]
    at = list(zip(*each, strict=True))
    return [(float(np.mean([p["kl"] for p in some])), float(np.mean([p["reward"] for p in some]))) for some in at]


def summary(
    by_run: Mapping[tuple[Arm, int], Sequence[Mapping[str, Any]]],
    right: Sequence[float],
    took: Mapping[Arm, Sequence[float]],
) -> dict[str, Any]:
    """`right`: the reward models' scores; `took`: seconds of each arm's runs."""
    means = {arm: mean_points(by_run, arm) for arm in ARMS}
    families = {name: [p for arm in ARMS if arm.family == name for p in means[arm]] for name in FAMILIES}
    start = float(np.mean([found[0]["start"] for found in by_run.values()]))
    return {
        "start": start,
        "lines": lines_held(families, [means[Arm(DPO, beta)][-1][0] for beta in BETAS], start),
        "reward_model": list(right),
        "arms": [
            {
                "family": arm.family,
                "number": arm.number,
                "points": means[arm],
                "runs": {str(seed): found for (one, seed), found in by_run.items() if one == arm},
                "seconds": float(np.mean(took[arm])),
            }
            for arm in ARMS
        ],
        "settings": {"pairs": PAIRED, "reward_model": REWARD, "ppo": CLIMB, "all": ENDED},
    }


def title(run: Result) -> str:
    area = run["lines"]["area beside PPO, reward model"]
    return (
        f"Reward under the frontier up to a KL of {area['upto']:.1f} nats: "
        f"DPO {area['dpo']:.2f}, PPO with a reward model {area['ppo']:.2f}"
    )


def picture(run: Result) -> Any:
    """Every point, a colour a family, and each family's frontier."""
    figure, panel = panels(size=(9, 5))
    for number, name in enumerate(FAMILIES):
        arms = [arm for arm in run["arms"] if arm["family"] == name]
        every = [(p["kl"], p["reward"]) for arm in arms for one in arm["runs"].values() for p in one]
        panel.scatter(*zip(*every, strict=True), s=9, alpha=0.35, color=f"C{number}", linewidths=0)
        front = hull([tuple(p) for arm in arms for p in arm["points"]], run["start"])
        panel.plot(*zip(*front, strict=True), color=f"C{number}", marker="o", markersize=4, label=name)
    panel.set_xscale("symlog", linthresh=1.0)
    say(panel, "KL to the start, nats an ending (linear up to 1)", "the oracle's mean on held-out prompts", legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    yield (
        f"The start's reward is {run['start']:.2f}. The reward models put the right ending of a held-out pair first in "
        f"{100 * np.mean(run['reward_model']):.0f} % of pairs."
    )
    rows: list[Sequence[str]] = []
    for name, held in run["lines"].items():
        if "kl" in held:
            said = ", ".join(f"{kl:.2f}" for kl in held["kl"])
        elif "heights" in held:
            said = "; ".join(f"at {kl:g}: {mine:.2f} against {theirs:.2f}" for kl, mine, theirs in held["heights"])
        else:
            said = f"{held['dpo']:.2f} against {held['ppo']:.2f}, up to KL {held['upto']:.1f}"
        rows.append((name, said or "no shared KL", {True: "yes", False: "**no**", None: "no line"}[held.get("passed")]))
    yield from ("", *table("line | measured | passed", rows), "")
    ends = [(arm, *arm["points"][-1]) for arm in run["arms"]]
    rows = [(f"{a['family']} {a['number']:g}", f"{kl:.2f}", f"{r:.2f}", f"{a['seconds']:.0f}") for a, kl, r in ends]
    yield from (*table("arm | KL at the end | reward | seconds a run", rows), "")
    yield from (*_samples(run), *_large(run))


def _samples(run: Mapping[str, Any]) -> Iterator[str]:
    yield from ("What they write at the end (the first seed, one ending of the first held-out prompt):", "")
    for arm in run["arms"]:
        last = next(iter(arm["runs"].values()))[-1]
        yield f"- {arm['family']} {arm['number']:g}, KL {last['kl']:.1f}: `{plain(last['samples'][0])}`"


def _large(run: Mapping[str, Any]) -> Iterator[str]:
    found = run.get("smollm2")
    if not found:
        return
    yield from ("", f"On SmolLM2-135M, dequantised from 4 bit, {found['minutes']:.0f} minutes:", "")
    yield from ("| DPO's beta | KL at the end | reward before | after |", "| --- | --- | --- | --- |")
    for one in found["points"]:
        yield f"| {one['beta']:g} | {one['kl']:.2f} | {one['start']:.2f} | {one['reward']:.2f} |"
    yield ""
    yield from (f"- beta {one['beta']:g}: `{plain(one['samples'][0])}`" for one in found["points"])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--smollm2", action="store_true", help="three points on SmolLM2-135M too")


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(3),
    pass_line="the last KL falls as beta grows; DPO's frontier above preferred fine-tuning and unlikelihood at every "
    "shared KL; its area at least that of PPO with the reward model less 5 %",
    shows="Reward against KL to the start, a colour a family",
    tried_steps=3,
)

if __name__ == "__main__":
    EXPERIMENT.main()

"""Over-optimisation: the learnt reward and the true one as PPO climbs the learnt one (as Gao et al. 2022 plot it).

12 minutes on two idle cores.

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
That the gold reward falls again, as it does in the paper, is no line: how far it falls from its highest point to the
end is printed with its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, evaluations
from intervals import Number, mean
from pictures import panels, say
from stages import ENDED, GOLD, climb, make_held_out_pairs, make_pairs, make_start, points, reward_run
from words import plain, table

POINTS = (0, 5, 10, 15, 20, 30, 40)
FAIR, RISE, NEAR = 0.8, 1.0, 10.0
REWARD = ("steps=120", "method.pairs_per_step=32", "method.optimizer.learning_rate=5e-4")
CLIMB = (
    *(f"steps={POINTS[-1]}", "prompts_per_step=8", "saving.every=5"),
    *("evaluation.num_items=16", "method.reference_kl.target=null", "method.reference_kl.coefficient=0.05"),
    "method.optimizer.learning_rate=1e-4",
)


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


def mean_curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Each point's mean over seeds."""
    return [
        {name: float(np.mean([one[name] for one in at])) for name in ("kl", "proxy", "gold")}
        for at in zip(*curves, strict=True)
    ]


def lines_held(accuracies: Sequence[float], curves: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Each pass line with what was measured."""
    near = [one["gold"] for one in mean_curve(curves) if one["kl"] <= NEAR]
    gap = mean([slope(curve) for curve in curves])
    return {
        "fair proxy": {"accuracy": float(np.mean(accuracies)), "passed": bool(np.mean(accuracies) >= FAIR)},
        "gold rises": {"deviations": max(near), "passed": max(near) >= RISE},
        "gap grows": {"slope": gap.value, "interval": [gap.low, gap.high], "passed": gap.low > 0},
    }


def fall(curves: Sequence[Sequence[Mapping[str, float]]]) -> Number:
    """How much lower the gold reward is at the end than where its mean over seeds is highest, by seed.

    >>> fall([[{"kl": 0, "proxy": 0, "gold": g} for g in golds] for golds in ([0, 3, 1], [0, 2, 2])]).value
    1.0
    """
    golds = [one["gold"] for one in mean_curve(curves)]
    best = golds.index(max(golds))
    return mean([curve[best]["gold"] - curve[-1]["gold"] for curve in curves])


def prepare(work: Work) -> None:
    make_start(work)
    make_held_out_pairs(work)
    for seed in work.seeds:
        make_pairs(work, f"noisy_pairs-{seed}", seed=seed, prompts=240, a_prompt=5, oracle="noisy")


def runs(work: Work) -> dict[Any, Run]:
    return {
        **{("reward", s): reward_run(work, f"noisy_pairs-{s}", s, *REWARD) for s in work.seeds},
        **{("policy", s): climb(work, s, [str(work.folder / f"reward-{s}"), f"{GOLD}=0"], *CLIMB) for s in work.seeds},
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    at = work.points(POINTS)
    asked = [(folders["policy", s], step, (str(folders["reward", s]),)) for s in work.seeds for step in at]
    found = points(work, asked)
    by_seed = {s: found[n * len(at) : (n + 1) * len(at)] for n, s in enumerate(work.seeds)}
    curves = [standardised(some, folders["reward", seed].name) for seed, some in by_seed.items()]
    accuracies = [evaluations(folders["reward", seed])[-1]["held_out/score"] for seed in work.seeds]
    return {
        "lines": lines_held(accuracies, curves),
        "accuracies": accuracies,
        "mean": mean_curve(curves),
        "curves": {str(seed): curve for seed, curve in zip(by_seed, curves, strict=True)},
        "samples": [one["samples"][0] for one in by_seed[work.seeds[0]]],
        "settings": {"reward_model": REWARD, "policy": CLIMB, "all": ENDED},
    }


WORDS = {"proxy": "the learnt reward (proxy)", "gold": "the true reward (gold)"}


def title(run: Result) -> str:
    grows, best = run["lines"]["gap grows"], max(run["mean"], key=lambda at: at["gold"])
    low, high = grows["interval"]
    return (
        f"The learnt reward runs ahead of the true one, by {grows['slope']:.3f} deviations a nat "
        f"({low:.3f} to {high:.3f}); the true one is highest at a KL of {best['kl']:.1f}"
    )


def picture(run: Result) -> Any:
    """Both rewards against the KL: thin the seeds, thick their mean."""
    figure, panel = panels(size=(8, 4.5))
    for number, name in enumerate(("proxy", "gold")):
        for one in (*run["curves"].values(), run["mean"]):
            thick = (
                {"linewidth": 2.5, "marker": "o", "markersize": 4, "label": WORDS[name]}
                if one is run["mean"]
                else {"linewidth": 0.7}
            )
            panel.plot([at["kl"] for at in one], [at[name] for at in one], color=f"C{number}", **thick)
    say(panel, "KL to the start, nats an ending", "above the start, in its deviations")
    panel.legend(fontsize=9)
    return figure


def lines(run: Result) -> Iterator[str]:
    fair, rise, gap = (run["lines"][name] for name in ("fair proxy", "gold rises", "gap grows"))
    best, last = max(run["mean"], key=lambda one: one["gold"]), run["mean"][-1]
    low, high = gap["interval"]
    fell = fall(list(run["curves"].values()))
    shown = "so it falls" if fell.low > 0 else "so a gap is shown here, and no fall of the gold reward"
    yield from (
        "",
        f"The proxy is right about {100 * fair['accuracy']:.0f} % of held-out pairs. The gold reward rises by "
        f"{rise['deviations']:.2f} deviations at KL up to {NEAR:g}; it is highest at KL {best['kl']:.1f} "
        f"({best['gold']:.2f}, where the proxy says {best['proxy']:.2f}) and ends at {last['gold']:.2f} with KL "
        f"{last['kl']:.1f}, where the proxy says {last['proxy']:.2f}. The gap grows by {gap['slope']:.3f} deviations a "
        f"nat ({low:.3f} to {high:.3f}). From its highest point to the end the gold reward is lower by "
        f"{fell.value:.2f} ({fell.low:.2f} to {fell.high:.2f}), {shown}.",
        "",
    )
    rows = [
        (step, f"{one['kl']:.1f}", f"{one['proxy']:.2f}", f"{one['gold']:.2f}", f"`{plain(sample)}`")
        for step, one, sample in zip(POINTS, run["mean"], run["samples"], strict=True)
    ]
    yield from table("step | KL | proxy | gold | an ending of the first seed", rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(5),
    pass_line="the reward model's held-out accuracy at least 0.8; gold up by at least 1 deviation at a KL of at most "
    "10; the gap of proxy and gold grows with the KL, with its whole interval over seeds",
    shows="The learnt and the true reward against the KL",
    tried_steps=len(POINTS) - 1,
)

if __name__ == "__main__":
    EXPERIMENT.main()

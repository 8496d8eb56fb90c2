"""REINFORCE does not converge stably and efficiently: steps until CartPole is solved, what comes after, and the noise.

1. Efficient: environment steps until the held-out score is 475, REINFORCE over PPO, from the recorded runs of
   experiments/cartpole.py (each method's own settings, 5 seeds).
2. Stable: the share of the later evaluations of the same runs that are below 475 again.
3. Why: the noise of the gradient itself, which no optimiser and no number of epochs blurs. At policies that PPO has
   trained a little (3 seeds, 2 stages, with their critics) the same 96 batches of 16 episodes go through four
   advantages, all else equal. Noise scale: tr Cov(g) / |E g|², times the steps of a batch: so many environment steps
   must a batch hold until noise and signal are equally large. |E g|² is taken without bias (less tr Cov / batches).
   It is printed and enters no rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from claim import HOLDS, Claim, Result, not_here, only_when
from experiment import Run, Work, required
from intervals import Number, difference, geometric_mean, ratio
from pictures import dots, panels, say
from words import table

from rung.methods import PolicyGradient
from rung.methods.parts.advantages import GAE, NStep
from rung.methods.parts.critics import ValueFunction
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE
from rung.models.small.network import SmallPolicy
from rung.rollouts.environments.whole_episodes import EpisodeCollector
from rung.tasks.environment import environment_task

SEEDS = (21, 22, 23)
"""Of the noise; the runs until 475 are the recorded ones."""
STAGES = {"early": 1, "half way": 3}
"""Of a PPO run: rollouts of 2048 steps before the policy is taken."""
BATCHES, EPISODES = 96, 16
SOLVED = 475.0
PPOS = "GAE and a critic (PPO's)"
ADVANTAGES: dict[str, PolicyGradient] = {
    "the return (`reinforce`)": REINFORCE,
    "less the other episodes' mean (`reinforce_baseline`)": REINFORCE_BASELINE,
    "5 steps, then a critic (`actor_critic`)": REINFORCE.changed(
        advantage=NStep(discount=0.99, steps=5), critic=ValueFunction()
    ),
    PPOS: REINFORCE.changed(advantage=GAE(discount=0.99, lam=0.95), critic=ValueFunction()),
}


def verdict(steps: Number, below: Number) -> str:
    """`steps`: the ratio until 475; `below`: the difference of the shares of later evaluations below 475."""
    inefficient, unstable = steps.low > 1, below.low > 0
    if inefficient and unstable:
        return HOLDS
    if inefficient:
        return only_when("efficiency is meant; once solved it is not told apart from PPO in staying solved")
    if unstable:
        return only_when("stability is meant; it needs no more steps than PPO that could be told")
    return not_here("neither more steps nor less stable than PPO by more than the seeds' spread")


def below_after(curve: Sequence[Mapping[str, float]]) -> float:
    """Of the evaluations after the first that reached 475, the share below it. 1 where it was never reached."""
    first = next((index for index, point in enumerate(curve) if point["score"] >= SOLVED), None)
    if first is None:
        return 1.0
    later = [point["score"] < SOLVED for point in curve[first + 1 :]]
    return sum(later) / len(later) if later else 0.0


def converged(cartpole: Mapping[str, Any]) -> dict[str, Any]:
    """By method: steps until 475 and the share below it afterwards, a value a seed."""
    return {
        name: {
            "first_at": [float(steps) for steps in method["first_at"].values()],
            "below": [below_after(curve) for curve in method["curves"].values()],
        }
        for name, method in cartpole["methods"].items()
        if name in ("reinforce", "reinforce_baseline", "actor_critic", "trpo", "ppo")
        and None not in method["first_at"].values()
    }


def gradient(method: PolicyGradient, policy: SmallPolicy, batch: Any) -> torch.Tensor:
    """∂loss/∂θ of the policy alone, [P], as the learner would take it."""
    weights = [p for name, p in policy.trainable().items() if name.startswith("policy.")]
    batch = method.with_advantages(batch)
    losses_BT = method.losses(batch, policy(batch).log_probs_BT)
    loss = (method.weights(batch, lambda count: count) * losses_BT).sum()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)]).double()


def noise_scale(gradients: Sequence[torch.Tensor], steps: float) -> float:
    """Environment steps at which a batch's noise is as large as its signal; `steps` is what a batch has.

    >>> round(noise_scale([torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0])], steps=10), 6)
    5.0
    """
    g_MP = torch.stack(list(gradients))
    noise = float(g_MP.var(0).sum())
    signal = float(g_MP.mean(0).square().sum()) - noise / len(g_MP)
    return noise / signal * steps if signal > 0 else float("inf")


def noise_at(folder: Path, seed: int, num_batches: int) -> dict[str, float]:
    """The noise scale of every advantage at the policy in a run's folder, on the same episodes."""
    policy = SmallPolicy.load(folder / "final")
    collector = EpisodeCollector(environment_task("CartPole-v1"), num_environments=EPISODES, seed=seed)
    batches = [collector.collect_episodes(policy, EPISODES, 1).batch for _ in range(num_batches)]
    collector.close()
    steps = sum(int(batch.action_mask_BT.sum()) for batch in batches) / num_batches
    scales = {
        name: noise_scale([gradient(method, policy, batch) for batch in batches], steps)
        for name, method in ADVANTAGES.items()
    }
    return {"steps": steps, **scales}


def runs(work: Work) -> dict[Any, Run]:
    return {
        ("ppo", stage, seed): Run("ppo", "CartPole-v1", seed, (f"steps={steps}",))
        for seed in work.seeds
        for stage, steps in STAGES.items()
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    cartpole = required("cartpole")
    found = converged(cartpole)
    below = difference(found["reinforce"]["below"], found["ppo"]["below"])
    steps = ratio(found["reinforce"]["first_at"], found["ppo"]["first_at"])
    return {
        "number": vars(steps),
        "verdict": verdict(steps, below),
        "converged": found,
        "below": vars(below),
        "noise": {
            folder.name: noise_at(folder, 1000, work.few(range(BATCHES), 4)[-1] + 1) for folder in folders.values()
        },
        "cartpole_commit": cartpole["commit"],
    }


def picture(run: Result) -> Any:
    figure, (left, right) = panels(1, 2, size=(11, 3.6))
    dots(left, {name: [v / 1000 for v in found["first_at"]] for name, found in run["converged"].items()}, fontsize=7)
    say(left, y="thousand environment steps until 475", yscale="log")
    names = ["return", "less others' mean", "5 steps, critic", "GAE"]
    dots(right, {name: [one[name] for one in run["noise"].values()] for name in ADVANTAGES}, names, fontsize=8)
    say(right, y="noise scale, environment steps", yscale="log")
    return figure


def lines(run: Result) -> Iterator[str]:
    rows: list[Sequence[str]] = []
    for name, found in run["converged"].items():
        first = sorted(value / 1000 for value in found["first_at"])
        below = 100 * sum(found["below"]) / len(found["below"])
        rows.append((f"`{name}`", f"{first[0]:.0f}, {first[len(first) // 2]:.0f}, {first[-1]:.0f}", f"{below:.0f} %"))
    head = "method | steps until 475, thousands: fastest, median, slowest seed | evaluations below 475 afterwards"
    yield from table(head, rows)
    yield from (
        "",
        f"REINFORCE's share below 475 less PPO's: {Number.of(run['below'], 100).words('points')}. The runs are those "
        f"of [CartPole-v1](experiments.md#cartpole-v1), commit {run['cartpole_commit']}.",
        "",
    )
    times = {n: geometric_mean([one[n] / one[PPOS] for one in run["noise"].values()]) for n in ADVANTAGES if n != PPOS}
    head = f"advantage, on the same episodes | its gradient's noise, as a multiple of that of {PPOS}"
    yield from table(head, [(name, number.words("times")) for name, number in times.items()])


EXPERIMENT = Claim.here(
    globals(),
    seeds=SEEDS,
    sentence="REINFORCE does not converge stably and efficiently",
    measured="environment steps until CartPole is solved, REINFORCE over PPO",
    unit="times",
    rule="not efficient: that ratio's interval is above 1. Not stable: of the evaluations after the first 475, more "
    "are below 475 than of PPO's, the difference's interval above 0. Both: holds; one: holds here only for that one; "
    "none: does not hold here.",
)

if __name__ == "__main__":
    EXPERIMENT.main()

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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from claim import HOLDS, Claim, Measured, Number, difference, geometric_mean, not_here, only_when, ratio
from running import Run, plots, recorded, run_all, save_picture

from rung.methods import REINFORCE, REINFORCE_BASELINE, PolicyGradient
from rung.methods.parts.advantages import GAE, NStep
from rung.methods.parts.critics import ValueFunction
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
CLAIM = Claim(
    name="reinforce_unstable",
    sentence="REINFORCE does not converge stably and efficiently",
    measured="environment steps until CartPole is solved, REINFORCE over PPO",
    unit="times",
    rule="not efficient: that ratio's interval is above 1. Not stable: of the evaluations after the first 475, more "
    "are below 475 than of PPO's, the difference's interval above 0. Both: holds; one: holds here only for that one; "
    "none: does not hold here.",
)


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


def noise_at(folder: Path, seed: int) -> dict[str, float]:
    """The noise scale of every advantage at the policy in a run's folder, on the same episodes."""
    policy = SmallPolicy.load(folder / "final")
    collector = EpisodeCollector(environment_task("CartPole-v1"), num_environments=EPISODES, seed=seed)
    batches = [collector.collect_episodes(policy, EPISODES, 1).batch for _ in range(BATCHES)]
    collector.close()
    steps = sum(int(batch.action_mask_BT.sum()) for batch in batches) / BATCHES
    scales = {
        name: noise_scale([gradient(method, policy, batch) for batch in batches], steps)
        for name, method in ADVANTAGES.items()
    }
    return {"steps": steps, **scales}


def runs_of(seeds: Sequence[int]) -> list[Run]:
    return [
        Run(f"ppo-{stage}-{seed}", *f"train ppo --task CartPole-v1 --seed {seed}".split(), settings=(f"steps={steps}",))
        for seed in seeds
        for stage, steps in STAGES.items()
    ]


def measure(seeds: Sequence[int]) -> Measured:
    cartpole = recorded("cartpole")
    if cartpole is None:
        raise SystemExit("experiments/cartpole.py has no recorded result; run it first: this claim reads its runs")
    found = converged(cartpole)
    steps = ratio(found["reinforce"]["first_at"], found["ppo"]["first_at"])
    below = difference(found["reinforce"]["below"], found["ppo"]["below"])
    runs = runs_of(seeds)
    folders = run_all(runs, CLAIM.runs)
    noise = {run.name: noise_at(folder, seed=1000) for run, folder in zip(runs, folders, strict=True)}
    result = {"converged": found, "below": vars(below), "noise": noise, "cartpole_commit": cartpole["commit"]}
    return Measured(number=steps, verdict=verdict(steps, below), result=result)


def picture(result: Mapping[str, Any]) -> None:
    figure, (left, right) = plots().subplots(1, 2, figsize=(11, 3.6))
    for place, found in enumerate(result["converged"].values()):
        left.plot([place] * len(found["first_at"]), [v / 1000 for v in found["first_at"]], "o", alpha=0.6)
    left.set_yscale("log")
    left.set_xticks(range(len(result["converged"])), list(result["converged"]), fontsize=7)
    left.set_ylabel("thousand environment steps until 475")
    for place, name in enumerate(ADVANTAGES):
        right.plot([place] * len(result["noise"]), [one[name] for one in result["noise"].values()], "o", alpha=0.6)
    right.set_yscale("log")
    right.set_xticks(range(len(ADVANTAGES)), ["return", "- others' mean", "5 steps + critic", "GAE"], fontsize=8)
    right.set_ylabel("noise scale, environment steps")
    save_picture(figure, CLAIM.picture)


def words() -> str:
    return CLAIM.words(lines_of)


def lines_of(run: Mapping[str, Any]) -> list[str]:
    lines = [
        "| method | steps until 475, thousands: fastest, median, slowest seed | evaluations below 475 afterwards |",
        "| --- | --- | --- |",
    ]
    for name, found in run["converged"].items():
        first = sorted(value / 1000 for value in found["first_at"])
        below = 100 * sum(found["below"]) / len(found["below"])
        lines.append(f"| `{name}` | {first[0]:.0f}, {first[len(first) // 2]:.0f}, {first[-1]:.0f} | {below:.0f} % |")
    below = Number(*(100 * run["below"][key] for key in ("value", "low", "high")))
    lines += [
        "",
        f"REINFORCE's share below 475 less PPO's: {below.words('points')}. The runs are those of "
        f"[CartPole-v1](experiments.md#cartpole-v1), commit {run['cartpole_commit']}.",
        "",
        f"| advantage, on the same episodes | its gradient's noise, as a multiple of that of {PPOS} |",
        "| --- | --- |",
    ]
    for name in ADVANTAGES:
        if name != PPOS:
            times = geometric_mean([one[name] / one[PPOS] for one in run["noise"].values()])
            lines.append(f"| {name} | {times.words('times')} |")
    return lines


def main() -> None:
    found = measure(SEEDS)
    picture(found.result)
    CLAIM.record(found, seeds=SEEDS, runs_in=[CLAIM.runs / run.name for run in runs_of(SEEDS)])


if __name__ == "__main__":
    main()

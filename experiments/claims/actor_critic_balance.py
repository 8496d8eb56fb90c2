"""An actor-critic's bias and variance are hard to balance, and its policy can collapse: the λ sweep, measured.

1. Bias and variance of the advantage. At policies and critics that an actor-critic has trained for a while (3 seeds),
   24 states of their own episodes are returned to; from each, both actions are followed by 256 rollouts of 400 steps.
   GAE with each λ is computed on all of them. The truth is the mean of discounted returns; an offset that both actions
   of a state share is taken out of every mean, because no policy gradient sees it. Bias² is of the mean over rollouts
   (its sampling error subtracted), variance that of a single rollout; both over the mean squared true advantage.
2. The score. An actor-critic with that λ (stretches of 16 steps of 16 environments, else the method's own settings),
   5 seeds each, 768,000 steps of CartPole (3,000 updates: RMSprop begins with an average of 1, and
   takes about a thousand to forget it); a run's score is the mean of the second half of its evaluations.
3. Collapse. A run falls when an evaluation is under a quarter of the best one before it, which was at least 200.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claim import HOLDS, Check, Claim, Result, not_apart, not_here, not_told, only_when
from experiment import Run, Work, evaluations, metrics
from intervals import Number, share
from pictures import dots, panels, say
from words import short, table

from rung.formulas.returns import gae
from rung.lab.compare.seed_statistics import score_interval
from rung.models.small.network import SmallPolicy
from rung.rollouts.environments.rows import open_rows
from rung.tasks.environment import environment_task

SEEDS = (31, 32, 33, 34, 35)
SWEEP = (0.0, 0.5, 0.9, 0.95, 1.0)
STEPS, HORIZON, ENVIRONMENTS = 3000, 16, 16
STUDIED, STUDIED_STEPS = 3, 800
"""Seeds whose policy and critic are studied, and the updates they had by then: on the way, for where the task is solved
either action leads to the same return, and there is no advantage to be wrong about."""
STATES, ROLLOUTS, LENGTH, DISCOUNT = 24, 256, 400, 0.99
NEAR, FALL, FROM = 0.9, 0.25, 200.0


def verdict(scores: Mapping[float, float], fell: int) -> str:
    """`scores`: by λ, over seeds; `fell`: runs that did."""
    best = max(scores.values())
    hard = 2 * sum(score >= NEAR * best for score in scores.values()) < len(scores)
    if hard and fell >= 2:
        return HOLDS
    if fell >= 2:
        return only_when("collapse is meant; at least half of the λ tried score about as well as the best")
    if hard:
        return only_when("the balance is meant; no policy collapsed")
    return not_here("at least half of the λ tried score about as well as the best, and no policy collapsed")


def fell(scores: Sequence[float]) -> bool:
    """Whether any score is under a quarter of the best before it, which was at least 200.

    >>> fell([20, 300, 74]), fell([20, 300, 80, 500]), fell([199, 10])
    (True, False, False)
    """
    best = np.maximum.accumulate(scores)
    return any(score < FALL * before and before >= FROM for before, score in zip(best, scores[1:], strict=False))


def second_half(scores: Sequence[float]) -> float:
    return float(np.mean(scores[len(scores) // 2 :]))


# --- bias and variance, at a fixed policy and critic ---------------------------------------------------------------


def walked(policy: SmallPolicy, seed: int, count: int) -> list[tuple[int, np.ndarray]]:
    """`count` states of the policy's own episodes, each as the reset's seed and the actions that lead to it."""
    draw = np.random.Generator(np.random.PCG64([seed, 1]))
    rows = open_rows(environment_task("CartPole-v1"), 1)
    found: list[tuple[int, np.ndarray]] = []
    for episode in range(count):
        rows.reset(0, seed * 10_000 + episode)
        actions: list[int] = []
        over = False
        while not over:
            action_1, _ = policy.actor()(rows.observations_BO, draw.random(1))
            actions.append(int(action_1[0]))
            _, ended_1, cut_1 = rows.step(action_1, (0,))
            over = bool(ended_1[0] | cut_1[0])
        found.append((seed * 10_000 + episode, np.array(actions[: draw.integers(len(actions))])))
    rows.close()
    return found


def rollouts(policy: SmallPolicy, start: tuple[int, np.ndarray], luck: np.random.Generator) -> dict[str, Any]:
    """Both actions from one state, ROLLOUTS times each, then the policy: what `gae` takes, rows of action 0 first."""
    count = 2 * ROLLOUTS
    rows = open_rows(environment_task("CartPole-v1", max_episode_steps=1_000_000), count)
    for row in range(count):
        rows.reset(row, start[0])
    for action in start[1]:
        rows.step(np.full(count, action), range(count))
    at_start_BO = rows.observations_BO[:1].copy()
    values_BT, discounts_BT = np.zeros((count, LENGTH)), np.ones((count, LENGTH))
    own_BT = np.zeros((count, LENGTH), bool)
    going_B = np.ones(count, bool)
    for t in range(LENGTH):
        seen_BO = rows.observations_BO.copy()
        values_BT[:, t], own_BT[:, t] = policy.values(seen_BO), going_B
        drawn_B, _ = policy.actor()(seen_BO, luck.random(count))
        actions_B = np.repeat([0, 1], ROLLOUTS) if t == 0 else drawn_B
        _, ended_B, _ = rows.step(actions_B, range(count))
        discounts_BT[ended_B & going_B, t] = 0.0
        going_B &= ~ended_B
    bootstrap_BT, cut_BT = np.zeros((count, LENGTH)), np.zeros((count, LENGTH), bool)
    bootstrap_BT[:, -1], cut_BT[:, -1] = policy.values(rows.observations_BO), going_B
    rows.close()
    names = ("rewards_BT", "values_BT", "discounts_BT", "cut_BT", "bootstrap_BT", "mask_BT")
    arrays = (own_BT.astype(float), values_BT, discounts_BT, cut_BT, bootstrap_BT, own_BT)
    return {"start": at_start_BO, **{name: torch.from_numpy(a) for name, a in zip(names, arrays, strict=True)}}


def advantages(found: Mapping[str, Any], lam: float) -> np.ndarray:
    """[2, R] GAE of the first step of every rollout."""
    arrays = [found[n] for n in ("rewards_BT", "values_BT", "discounts_BT", "cut_BT", "bootstrap_BT", "mask_BT")]
    lambda_B = torch.full((2 * ROLLOUTS,), lam, dtype=torch.float64)
    return gae(*arrays, DISCOUNT, lambda_B)[:, 0].numpy().reshape(2, ROLLOUTS)


def centred(of_action_2R: np.ndarray, probs_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[2] each action's mean less the policy's own mean over actions, and the variance of that estimate."""
    means_2, errors_2 = of_action_2R.mean(1), of_action_2R.var(1, ddof=1) / of_action_2R.shape[1]
    apart = means_2[1] - means_2[0]
    shares_2 = np.array([-probs_2[1], probs_2[0]])
    return shares_2 * apart, shares_2**2 * errors_2.sum()


def bias_and_variance(policy: SmallPolicy, seed: int, states: int) -> dict[str, dict[str, float]]:
    """By λ: bias² and variance, over the mean squared true advantage."""
    luck = np.random.Generator(np.random.PCG64([seed, 2]))
    sums = {lam: np.zeros(2) for lam in SWEEP}
    signal = 0.0
    for start in walked(policy, seed, states):
        found = rollouts(policy, start, luck)
        _, log_prob_1 = policy.actor()(found["start"], np.zeros(1))  # 0 draws the first action
        first = float(np.exp(log_prob_1[0]))
        probs_2 = np.array([first, 1 - first])
        true_2R = advantages(found, 1.0)
        truth_2, error_2 = centred(true_2R, probs_2)
        signal += float((probs_2 * (truth_2**2 - error_2)).sum())
        for lam in SWEEP:
            of_2R = advantages(found, lam)
            off_2, off_error_2 = centred(of_2R - true_2R, probs_2)
            bias = float((probs_2 * (off_2**2 - off_error_2)).sum())
            sums[lam] += (bias, float((probs_2 * of_2R.var(1, ddof=1)).sum()))
    return {str(lam): {"bias": float(b / signal), "variance": float(v / signal)} for lam, (b, v) in sums.items()}


# --- the claim -----------------------------------------------------------------------------------------------------


def sweep_run(lam: float, seed: int, steps: int) -> Run:
    sets = (f"steps={steps}", "evaluation.every=150", f"method.horizon={HORIZON}", f"num_environments={ENVIRONMENTS}")
    lambdas = ("method.advantage=GAE", f"method.advantage.lam={lam}", f"method.advantage.discount={DISCOUNT}")
    return Run("actor_critic", "CartPole-v1", seed, (*sets, *lambdas))


def runs(work: Work) -> dict[Any, Run]:
    """The sweep, and the policies that are studied."""
    return {
        **{("lambda", lam, seed): sweep_run(lam, seed, STEPS) for seed in work.seeds for lam in SWEEP},
        **{("studied", seed): sweep_run(0.95, seed, STUDIED_STEPS) for seed in work.seeds[:STUDIED]},
    }


def of_lambda(folders: Sequence[Path]) -> dict[str, Any]:
    curves = [[row["held_out/score"] for row in evaluations(folder)] for folder in folders]
    scores = [second_half(curve) for curve in curves]
    interval = score_interval(np.array(scores)[:, None], common_items=False)
    return {
        "score": interval.value,
        "interval": [interval.low, interval.high],
        "scores": scores,
        "fell": sum(fell(curve) for curve in curves),
        "ended_low": sum(curve[-1] < 0.5 * max(curve) for curve in curves),
        "entropy": [metrics(folder)[-1]["entropy"] for folder in folders],
        "curves": curves,
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    lambdas = {lam: of_lambda([folders["lambda", lam, seed] for seed in work.seeds]) for lam in SWEEP}
    total = sum(found["fell"] for found in lambdas.values())
    states = 2 if work.small else STATES
    return {
        "number": asdict(Number.of(vars(share(total, len(SWEEP) * len(work.seeds))), 100)),
        "verdict": verdict({lam: found["score"] for lam, found in lambdas.items()}, total),
        "lambdas": {str(lam): found for lam, found in lambdas.items()},
        "study": [
            bias_and_variance(SmallPolicy.load(folders["studied", seed] / "final"), seed, states)
            for seed in work.seeds[:STUDIED]
        ],
    }


def checks(run: Result) -> Iterator[Check]:
    """The rule counts λ whose score is near the best one's; the intervals say whether they can be told from it. Runs
    that did not learn show neither."""
    scores = {lam: Number(found["score"], *found["interval"]) for lam, found in run["lambdas"].items()}
    best = max(one.value for one in scores.values())
    if best < FROM:
        said = f"the best λ scores {best:.0f}, and a fall is counted from a score of {FROM:.0f} on"
        yield Check(f"{said}: these runs are too short to have learnt", not_told("no λ's runs learnt enough to fall"))
        return
    near, falls = not_apart(scores), sum(found["fell"] for found in run["lambdas"].values())
    hard = 2 * sum(one.value >= NEAR * best for one in scores.values()) < len(scores)
    if hard and 2 * (1 + len(near)) >= len(scores):
        left = (
            only_when("collapse is meant; that the balance is hard is not shown")
            if falls >= 2
            else not_here("no policy collapsed, and that the balance is hard is not shown")
        )
        said = f"of the other {len(scores) - 1} λ, {len(near)} have an interval that overlaps that of the best one"
        yield Check(
            f"{said}: which λ is best, and so that few do as well, these {len(run['seeds'])} seeds do not tell", left
        )


def picture(run: Result) -> Any:
    figure, (left, right) = panels(1, 2, size=(10, 3.6))
    for what in ("bias", "variance"):
        values = np.array([[one[str(lam)][what] for lam in SWEEP] for one in run["study"]])
        left.plot(range(len(SWEEP)), np.maximum(values.mean(0), 1e-4), "o-", label="bias²" if what == "bias" else what)
    left.set_ylabel("over the squared true advantage (0.0001: or less)", fontsize=8)
    left.set_xticks(range(len(SWEEP)), [str(lam) for lam in SWEEP])
    say(left, "λ", yscale="log", legend=True)
    dots(right, {lam: found["scores"] for lam, found in run["lambdas"].items()})
    say(right, "λ", "score of each seed's run")
    return figure


def lines(run: Result) -> Iterator[str]:
    rows: list[Sequence[str]] = []
    for lam, found in run["lambdas"].items():
        bias, variance = (
            short(float(np.mean([one[lam][what] for one in run["study"]]))) for what in ("bias", "variance")
        )
        low, high = found["interval"]
        runs = f"{found['fell']} of {len(found['scores'])}"
        entropy = f"{np.mean(found['entropy']):.2f}"
        rows.append((lam, bias, variance, f"{found['score']:.0f}", f"{low:.0f} to {high:.0f}", runs, entropy))
    head = "λ | bias² of the advantage | variance of a rollout | score, IQM | interval | runs that fell | entropy"
    yield from table(head, rows)
    low = sum(found["ended_low"] for found in run["lambdas"].values())
    yield from ("", f"Runs whose last evaluation was under half of their best: {low}.")


EXPERIMENT = Claim.here(
    globals(),
    seeds=SEEDS,
    sentence="Actor-critic's bias and variance are hard to balance and its policy can collapse",
    measured=f"share of runs whose score fell under a quarter of its best, over λ {', '.join(map(str, SWEEP))}",
    unit="%",
    rule="hard to balance: fewer than half of the five λ score within 10 % of the best one. Can collapse: at least 2 "
    "runs fell. Both: holds; one: holds here only for that one; none: does not hold here.",
)

if __name__ == "__main__":
    EXPERIMENT.main()

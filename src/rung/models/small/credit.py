"""What a rollout of stretches gives to learn from, and what is told of its one update: compiled loops."""

from __future__ import annotations

import numpy as np

from rung.compiled import compiled
from rung.formulas import slopes
from rung.models.small.passes import Aim, Array, Said, Steps

gae_before = compiled(slopes.gae_before)


@compiled
def credited(
    rewards_BT: Array,
    values_BT: Array,
    discounts_BT: Array,
    bootstrap_BT: Array,
    cut_BT: Array,
    discount: float,
    lam: float,
) -> tuple[Array, Array]:
    """[N] float64, row by row: the advantages of whole rows by `returns.gae`, and the critic's targets."""
    rows, length = rewards_BT.shape
    advantages_N, targets_N = np.empty(rows * length), np.empty(rows * length)
    for b in range(rows):
        advantage = value = 0.0
        for t in range(length - 1, -1, -1):
            after = bootstrap_BT[b, t] if cut_BT[b, t] else value
            error = rewards_BT[b, t] + discount * discounts_BT[b, t] * after - values_BT[b, t]
            advantage = gae_before(error, discounts_BT[b, t], cut_BT[b, t], advantage, discount, lam)
            value = values_BT[b, t]
            advantages_N[b * length + t], targets_N[b * length + t] = advantage, advantage + value
    return advantages_N, targets_N


@compiled
def told(steps: Steps, said: Said, values_N: Array, sampled_N: Array, aim: Aim) -> Array:
    """The loss −A log π − bonus · H + coefficient · ½ (V − y)² in its mean, the mean entropy, the mean and the largest
    distance from the sampler's log π, the mean |A|, and the critic's explained variance, which is none where the
    targets are all equal."""
    policy_N = -steps.advantages_N * said.log_probs_N - aim.entropy_bonus * said.entropy_N
    critic_N = 0.5 * aim.value_coefficient * (said.values_N - steps.targets_N) ** 2
    loss = (steps.policy_weights_N * policy_N + steps.critic_weights_N * critic_N).sum()
    gap_N = np.abs(said.log_probs_N - sampled_N)
    explained = 1.0 - (steps.targets_N - values_N).var() / steps.targets_N.var()
    size = np.abs(steps.advantages_N).mean()
    return np.array([loss, said.entropy_N.mean(), gap_N.mean(), gap_N.max(), size, explained])

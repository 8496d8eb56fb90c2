"""Writes origins.json: what verl, OpenRLHF, NeMo RL and prime-rl make of a few numbers, by their formulas.

    python tests/methods/origin_numbers.py

These libraries need a cluster's worth of packages, so their code is not run here. Each formula is written out again in
plain Python, a token at a time, from the file that is named beside it, with its gradient by hand; nothing of rung is
used. So a slip in our parts and the same slip here would have to be made twice. verl's and OpenRLHF's own functions
were run once on these inputs and agree to 1e-9.
"""

from __future__ import annotations

import json
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "origins.json"
TRL_FILE = Path(__file__).parent / "trl_1_16_0.json"
Rows = list[list[float]]
SOURCES = {
    "grpo@verl": "verl 0.9.1: verl/trainer/ppo/core_algos.py, compute_grpo_outcome_advantage, "
    "compute_policy_loss_vanilla, agg_loss (token-mean)",
    "grpo@openrlhf": "openrlhf 0.11.2: openrlhf/trainer/ppo_utils/experience_maker.py (group_norm), "
    "openrlhf/models/utils.py (compute_reward, compute_approx_kl), openrlhf/models/loss.py (PolicyLoss)",
    "grpo@nemo-rl": "NVIDIA-NeMo/RL v0.6.0: nemo_rl/algorithms/utils.py (calculate_baseline_and_std_per_prompt, "
    "calculate_kl), advantage_estimator.py, loss/loss_functions.py (ClippedPGLossFn)",
    "grpo@prime-rl": "PrimeIntellect-ai/prime-rl v0.6.0: src/prime_rl/trainer/rl/loss.py (default_loss_fn, DPPO+KL), "
    "packages/prime-rl-configs/src/prime_rl/configs/trainer.py (DefaultLossConfig)",
    "clip_cov": "verl 0.9.1: verl/trainer/ppo/core_algos.py, compute_policy_loss_clip_cov; the draw left out: as many "
    "tokens may be drawn as there are candidates",
    "kl_cov": "verl 0.9.1: verl/trainer/ppo/core_algos.py, compute_policy_loss_kl_cov",
}


def inputs() -> dict[str, Any]:
    """The numbers that TRL's parity is taken on; the old log-probs are the sampler's too."""
    given = json.loads(TRL_FILE.read_text(encoding="utf-8"))["inputs"]
    return {**given, "cov_share": 0.2, "cov_above": 0.05, "cov_below": 0.6}


class Numbers:
    """The inputs, and sums over them."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.size = given, given["group_size"]
        self.rewards: list[float] = given["rewards"]
        self.now, self.old = given["log_probs"], given["old_log_probs"]
        self.reference = given["reference_log_probs"]
        self.places = [(i, t) for i, length in enumerate(given["lengths"]) for t in range(length)]

    def group(self, i: int) -> list[int]:
        first = i // self.size * self.size
        return list(range(first, first + self.size))

    def ratio(self, i: int, t: int) -> float:
        return exp(self.now[i][t] - self.old[i][t])

    def zeros(self) -> Rows:
        return [[0.0] * len(row) for row in self.now]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def sample_deviation(values: list[float]) -> float:
    middle = mean(values)
    return sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


def normalised(numbers: Numbers, epsilon: float) -> list[float]:
    """(R - mean) / (sample deviation + ε) in each group."""
    found = []
    for i, reward in enumerate(numbers.rewards):
        siblings = [numbers.rewards[j] for j in numbers.group(i)]
        found.append((reward - mean(siblings)) / (sample_deviation(siblings) + epsilon))
    return found


def clipped(ratio: float, advantage: float, dual: float | None) -> tuple[float, float]:
    """A token's loss under a clip of 0.2, and its derivative by the log-probability."""
    inside = min(max(ratio, 0.8), 1.2)
    loss = max(-advantage * ratio, -advantage * inside)
    slope = -advantage * ratio if -advantage * ratio >= -advantage * inside else 0.0
    if dual is not None and advantage < 0 and loss > -advantage * dual:
        return -advantage * dual, 0.0
    return loss, slope


def token_mean(numbers: Numbers, of_token: Any) -> dict[str, Any]:
    """Loss and gradient of a mean over all tokens; `of_token(i, t)` gives a token's loss and derivative."""
    loss, gradient = 0.0, numbers.zeros()
    for i, t in numbers.places:
        value, slope = of_token(i, t)
        loss += value / len(numbers.places)
        gradient[i][t] = slope / len(numbers.places)
    return {"loss": loss, "gradient": gradient}


def verl(numbers: Numbers) -> dict[str, Any]:
    advantages = normalised(numbers, 1e-6)
    return token_mean(numbers, lambda i, t: clipped(numbers.ratio(i, t), advantages[i], 3.0))


def openrlhf(numbers: Numbers) -> dict[str, Any]:
    """The KL, of the log-probs before the update, comes off each token's reward after the group's normalisation."""
    scores = normalised(numbers, 1e-9)

    def advantage(i: int, t: int) -> float:
        later = range(t, numbers.given["lengths"][i])
        return scores[i] - 0.01 * sum(numbers.old[i][k] - numbers.reference[i][k] for k in later)

    return token_mean(numbers, lambda i, t: clipped(numbers.ratio(i, t), advantage(i, t), None))


def nemo(numbers: Numbers) -> dict[str, Any]:
    def advantage(i: int) -> float:
        others = [numbers.rewards[j] for j in numbers.group(i) if j != i]
        centred, deviation = numbers.rewards[i] - mean(others), sample_deviation(others)
        return centred / (deviation + 1e-6) if deviation > 0 else centred

    def of_token(i: int, t: int) -> tuple[float, float]:
        loss, slope = clipped(numbers.ratio(i, t), advantage(i), None)
        gap = numbers.reference[i][t] - numbers.now[i][t]
        return loss + 0.01 * (exp(gap) - 1 - gap), slope + 0.01 * (1 - exp(gap))

    return token_mean(numbers, of_token)


def prime(numbers: Numbers) -> dict[str, Any]:
    def of_token(i: int, t: int) -> tuple[float, float]:
        advantage = numbers.rewards[i] - mean([numbers.rewards[j] for j in numbers.group(i)])
        moved = exp(numbers.now[i][t]) - exp(numbers.old[i][t])
        dropped = moved > 0.2 if advantage > 0 else moved < -0.2
        gain = 0.0 if dropped else advantage * numbers.ratio(i, t)
        away = log(numbers.ratio(i, t))
        return -gain + 1e-3 * away**2, -gain + 2e-3 * away

    return token_mean(numbers, of_token)


def covariances(numbers: Numbers, advantages: list[float]) -> dict[tuple[int, int], float]:
    places = numbers.places
    middle_a = mean([advantages[i] for i, _ in places])
    middle_l = mean([numbers.now[i][t] for i, t in places])
    return {(i, t): (advantages[i] - middle_a) * (numbers.now[i][t] - middle_l) for i, t in places}


def clip_cov(numbers: Numbers) -> dict[str, Any]:
    advantages = normalised(numbers, 1e-6)
    cov = covariances(numbers, advantages)
    low, high = numbers.given["cov_above"], numbers.given["cov_below"]

    def of_token(i: int, t: int) -> tuple[float, float]:
        loss, slope = clipped(numbers.ratio(i, t), advantages[i], None)
        binds = -advantages[i] * min(max(numbers.ratio(i, t), 0.8), 1.2) > -advantages[i] * numbers.ratio(i, t)
        return (0.0, 0.0) if low < cov[i, t] < high and not binds else (loss, slope)

    return token_mean(numbers, of_token)


def kl_cov(numbers: Numbers) -> dict[str, Any]:
    advantages = normalised(numbers, 1e-6)
    cov = covariances(numbers, advantages)
    count = max(1, int(len(cov) * numbers.given["cov_share"]))
    chosen = set(sorted(cov, key=lambda place: -cov[place])[:count])

    def of_token(i: int, t: int) -> tuple[float, float]:
        gain, away = advantages[i] * numbers.ratio(i, t), log(numbers.ratio(i, t))
        held, pull = (abs(away), 1.0 if away > 0 else -1.0) if (i, t) in chosen else (0.0, 0.0)
        return -gain + held, -gain + pull

    return token_mean(numbers, of_token)


def by_formula() -> dict[str, Any]:
    """The whole content of the file."""
    numbers = Numbers(inputs())
    made = {
        "grpo@verl": verl(numbers),
        "grpo@openrlhf": openrlhf(numbers),
        "grpo@nemo-rl": nemo(numbers),
        "grpo@prime-rl": prime(numbers),
        "clip_cov": clip_cov(numbers),
        "kl_cov": kl_cov(numbers),
    }
    return {"inputs": numbers.given, "cases": {name: {"source": SOURCES[name], **case} for name, case in made.items()}}


if __name__ == "__main__":
    FILE.write_text(json.dumps(by_formula(), separators=(",", ":")) + "\n", encoding="utf-8")

"""Two turns with an environment that answers at random: expected gradients by enumeration against the truth.

The policy says one of three digits, the environment tosses a coin (the same for all samples of an item, as it comes
from their seed), answers by it, and the policy says a digit again. Both turns are rewarded, and the second reward
depends on all three. Episodes are played, judged and assembled as a run does it, holes and all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rung.batch import Batch, Episode
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GAE, EpisodeReturn, OthersInGroup, ProcessNormalized, RewardToGo
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.turn_advantages import StateGroups, TurnNormalized, TurnRewardToGo
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.ppo import PPO
from rung.methods.reinforce import REINFORCE, RLOO
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.judged import judged, turn_rewards
from rung.rollouts.turns import answers
from rung.tasks.turns import Step, turn_task
from rung.trainers.assemble import assemble

EXACT, WORDS, HEADS = 1e-9, 3, 0.3
DRAW = np.random.Generator(np.random.PCG64(5))
FIRST_AC = DRAW.standard_normal((WORDS, 2))
SECOND_ACA = DRAW.standard_normal((WORDS, 2, WORDS))
LOGITS_SV = torch.from_numpy(DRAW.standard_normal((1 + 2 * WORDS, WORDS)))
"""A row for the start and one for each (first word, coin)."""
PAIRS = list(itertools.product(range(WORDS), range(WORDS)))
Row = tuple[int, int, int]


class Coin:
    luck, filler = 0, ""

    def reset(self, item: Any, seed: int) -> str:
        self.said = list[int]()
        return "0:"

    def step(self, reply: str) -> Step:
        self.said.append(int(reply))
        if len(self.said) == 1:
            return Step(f"{self.luck}{self.filler}\n", reward=float(FIRST_AC[self.said[0], self.luck]))
        first, second = self.said
        return Step(reward=float(SECOND_ACA[first, self.luck, second]), done=True)


class Script:
    """Sample s says the words of PAIRS[s]."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def deliver(self, weights: Any, version: int) -> None: ...

    def sample(self, prompts: Sequence[Any], *, samples_per_prompt: int, **_: Any) -> list[Episode]:
        rows = [(p, s) for p in prompts for s in range(samples_per_prompt)]
        first = samples_per_prompt > 1
        return [
            Episode(
                item=p.item,
                group=p.group,
                sample=s,
                context=p.ids,
                actions=self.policy.encode(f"{(word := PAIRS[s if first else p.group][0 if first else 1])}\n")[1:],
                action_mask=np.ones(2, bool),
                log_probs=np.zeros(2, np.float32),
                terminated=True,
                truncated=False,
                text=f"{word}\n",
            )
            for p, s in rows
        ]


@cache
def everything(filler: str = "") -> tuple[Batch, tuple[Row, ...]]:
    """One row for each (first word, coin, second word), as a run would have it."""
    policy, task = tiny_model(0, layers=1, width=16), turn_task("coin", Coin)
    episodes: list[Episode] = []
    rows: list[Row] = []
    for Coin.luck in (0, 1):
        Coin.filler = filler
        played = answers(
            Script(policy),
            policy,
            task,
            [task.train[0]],
            samples_per_prompt=len(PAIRS),
            max_new_tokens=4,
            temperature=1.0,
            stream=Stream(0, 1, "train"),
        )
        with Judge(task.rewards) as judge:
            for episode, judgement in zip(
                played, judged(judge, policy, [task.train[0]] * len(played), played), strict=True
            ):
                episodes.append(replace(episode, judgement=judgement, step_rewards=turn_rewards(judge, episode)))
        rows += [(a, Coin.luck, b) for a, b in PAIRS]
    return assemble(episodes), tuple(rows)


def log_probs(batch: Batch, rows: Sequence[Row], logits_SV: Tensor) -> Tensor:
    """[R, T] of every own token; the line end that closes a turn is certain. NaN wherever nothing may be read."""
    logs_SV = logits_SV.log_softmax(-1)
    found = torch.full(batch.actions_BT.shape, torch.nan, dtype=torch.float64)
    for row, (first, coin, second) in enumerate(rows):
        own = batch.action_mask_BT[row].nonzero()[:, 0].tolist()
        assert len(own) == 4
        found[row, own[1]] = found[row, own[3]] = 0.0
        found[row, own[0]], found[row, own[2]] = logs_SV[0, first], logs_SV[1 + 2 * first + coin, second]
    return found


def true_gradient() -> Tensor:
    """∇E[R], the world summed over."""
    logits_SV = LOGITS_SV.clone().requires_grad_()
    logs_SV, total = logits_SV.log_softmax(-1), torch.zeros((), dtype=torch.float64)
    for first, coin, second in itertools.product(range(WORDS), (0, 1), range(WORDS)):
        chance = (logs_SV[0, first] + logs_SV[1 + 2 * first + coin, second]).exp() * (HEADS if coin else 1 - HEADS)
        total = total + chance * float(FIRST_AC[first, coin] + SECOND_ACA[first, coin, second])
    return torch.autograd.grad(total, logits_SV)[0]


def expected_gradient(
    method: PolicyGradient, samples: int, seen_as: Callable[[Batch], Batch] = lambda batch: batch, filler: str = ""
) -> Tensor:
    """E[-∇loss] over every coin and every group that could be drawn after it."""
    batch, rows = everything(filler)
    logits_SV = LOGITS_SV.clone().requires_grad_()
    logs_RT = log_probs(batch, rows, logits_SV)
    batch = seen_as(batch.changed(old_log_probs_BT=logs_RT.detach(), reference_log_probs_BT=logs_RT.detach()))
    table_RT = logs_RT.detach().requires_grad_()
    chance_R = torch.where(batch.action_mask_BT, logs_RT.detach(), 0.0).sum(1).exp()
    loss = torch.zeros((), dtype=torch.float64)
    for coin, group in itertools.product((0, 1), itertools.product(range(len(PAIRS)), repeat=samples)):
        picked = torch.tensor([coin * len(PAIRS) + n for n in group])
        chance = float(chance_R[picked].prod()) * (HEADS if coin else 1 - HEADS)
        some = method.with_advantages(batch.rows(picked))
        losses_BT = method.losses(some, table_RT[picked])
        loss = loss + chance * (method.weights(some, lambda count: count) * losses_BT).sum()
    (by_token_RT,) = torch.autograd.grad(loss, table_RT)
    assert (by_token_RT[~batch.action_mask_BT] == 0).all(), "a hole received a gradient"
    return -torch.autograd.grad(logs_RT, logits_SV, by_token_RT)[0]


def off(found: Tensor) -> float:
    true = true_gradient()
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize(
    ("method", "samples"),
    [
        (REINFORCE, 1),
        (REINFORCE.changed(advantage=EpisodeReturn()), 2),
        (REINFORCE.changed(advantage=RewardToGo()), 2),
        (RLOO.changed(reference_kl=None), 2),
        (RLOO.changed(reference_kl=None), 3),
        (REINFORCE.changed(advantage=TurnRewardToGo()), 2),
        (RLOO.changed(reference_kl=None, advantage=TurnRewardToGo(baseline=OthersInGroup())), 2),
    ],
)
def test_unbiased_methods_have_the_true_gradient_over_turns(method: PolicyGradient, samples: int) -> None:
    assert off(expected_gradient(method, samples)) < EXACT


def values(*, exact: bool) -> Callable[[Batch], Batch]:
    """A critic of what was said so far: any numbers, or the policy's own values."""
    batch, rows = everything()
    by_state_S = torch.from_numpy(np.random.Generator(np.random.PCG64(1)).standard_normal(1 + 2 * WORDS))
    after_A = torch.zeros(WORDS, dtype=torch.float64)
    if exact:
        chance_SV = LOGITS_SV.softmax(-1)
        second_AC = torch.from_numpy(SECOND_ACA)
        later_AC = (chance_SV[1:].reshape(WORDS, 2, WORDS) * second_AC).sum(-1)
        coin_C = torch.tensor([1 - HEADS, HEADS], dtype=torch.float64)
        after_A = ((torch.from_numpy(FIRST_AC) + later_AC) * coin_C).sum(-1)
        by_state_S = torch.cat([(chance_SV[0] * after_A).sum()[None], later_AC.flatten()])
    values_RT = torch.full(batch.actions_BT.shape, torch.nan, dtype=torch.float64)
    for row, (first, coin, second) in enumerate(rows):
        own = batch.action_mask_BT[row].nonzero()[:, 0].tolist()
        state = 1 + 2 * first + coin
        end = float(SECOND_ACA[first, coin, second])
        values_RT[row, own] = torch.tensor(
            [by_state_S[0], after_A[first] if exact else 0.7, by_state_S[state], end if exact else -0.4],
            dtype=torch.float64,
        )
    return lambda batch: batch.changed(values_BT=values_RT)


def critic(lam: float) -> PolicyGradient:
    return PPO.changed(advantage=GAE(discount=1.0, lam=lam), whiten=None, aggregation=PerEpisode(), reference_kl=None)


def test_ppo_with_any_critic_has_the_true_gradient_where_the_whole_return_counts() -> None:
    assert off(expected_gradient(critic(1.0), 1, values(exact=False))) < EXACT
    assert off(expected_gradient(critic(0.5), 1, values(exact=False))) > 0.05  # the negative control


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_the_true_critic_may_be_trusted_across_a_hole(lam: float) -> None:
    """The value after a turn is the mean over the coin, the next turn's knows it: nothing is read between."""
    assert off(expected_gradient(critic(lam), 1, values(exact=True))) < EXACT


def by_hand(normalized: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    """∑ over coins and pairs of P · mean over samples of the mean over 4 own tokens of A ∇log π."""
    logits_SV = LOGITS_SV.clone().requires_grad_()
    logs_SV, total = logits_SV.log_softmax(-1), torch.zeros((), dtype=torch.float64)
    for coin, (one, other) in itertools.product((0, 1), itertools.product(PAIRS, PAIRS)):
        logs = [[logs_SV[0, a], logs_SV[1 + 2 * a + coin, b]] for a, b in (one, other)]
        chance = float(torch.stack(logs[0] + logs[1]).detach().sum().exp()) * (HEADS if coin else 1 - HEADS)
        first = np.array([FIRST_AC[a, coin] for a, _ in (one, other)])
        second = np.array([SECOND_ACA[a, coin, b] for a, b in (one, other)])
        for row, (weights, terms) in enumerate(zip(normalized(first, second), logs, strict=True)):
            assert row < 2
            total = total + chance * sum(float(w) * t for w, t in zip(weights, terms, strict=True)) / 2 / 4
    return torch.autograd.grad(total, logits_SV)[0]


def grpo(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total = first + second
    advantage = (total - total.mean()) / (total.std() + 1e-6)
    return np.stack([advantage, advantage], 1)


def by_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    every = np.concatenate([first, second])
    one, two = (first - every.mean()) / (every.std() + 1e-6), (second - every.mean()) / (every.std() + 1e-6)
    return np.stack([one + two, two], 1)


def normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() + 1e-6)


def mt_grpo(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first turn among first turns and half of the outcome; the last turn has the outcome alone."""
    return np.stack([normal(first) + 0.5 * normal(second), normal(second)], 1)


def gigpo(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Both samples begin alike and hear one coin: each turn's state has two turns."""
    whole = normal(first + second)
    return np.stack([whole + 2 * normal(first + 0.9 * second), whole + 2 * normal(second)], 1)


def discounted(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first + 0.9 * second, second], 1)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        (GRPO.changed(reference_kl=None), grpo),
        (GRPO.changed(reference_kl=None, advantage=ProcessNormalized()), by_turn),
        (GRPO.changed(reference_kl=None, advantage=TurnNormalized(outcome_weight=0.5)), mt_grpo),
        (GRPO.changed(reference_kl=None, advantage=StateGroups(turn_discount=0.9, state_weight=2.0)), gigpo),
        (GRPO.changed(reference_kl=None, advantage=TurnRewardToGo(turn_discount=0.9)), discounted),
    ],
    ids=["grpo", "grpo by turn", "mt-grpo", "gigpo", "discount by turn"],
)
def test_grpo_over_turns_is_its_formula_over_own_tokens(method: PolicyGradient, rule: Any) -> None:
    """Four own tokens an episode, whatever the holes hold; by turn a step's reward stands where its turn ends."""
    found, wanted = expected_gradient(method, 2), by_hand(rule)
    assert float((found - wanted).norm()) < 1e-8 * float(wanted.norm())
    true = true_gradient()
    assert float((found * true).sum()) > 0.5 * float(found.norm() * true.norm())


@pytest.mark.parametrize("method", [RLOO.changed(reference_kl=None), GRPO.changed(reference_kl=None)])
def test_a_longer_hole_changes_nothing(method: PolicyGradient) -> None:
    assert everything("9" * 40)[0].actions_BT.shape[1] == everything()[0].actions_BT.shape[1] + 40
    torch.testing.assert_close(expected_gradient(method, 2), expected_gradient(method, 2, filler="9" * 40))

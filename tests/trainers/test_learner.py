"""One update: the same gradient however the batch is cut, padded or spread out; nothing non-finite passes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from episodes import random_episodes
from table_policy import TablePolicy

from rung.batch import Batch
from rung.errors import NonFiniteError
from rung.formulas.masked import last_step
from rung.methods import METHODS
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import PassAtK
from rung.methods.parts.aggregations import PerConstantLength, PerPrompt, PerToken
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE, RLOO
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner

VARIANTS = [
    *(
        m
        for m in METHODS.values()
        if isinstance(m, PolicyGradient) and not isinstance(m.optimizer, NaturalGradient) and m.name != "pass_at_k"
    ),
    METHODS["pass_at_k"].changed(advantage=PassAtK(k=2)),  # the batch has no group of five
    GRPO.changed(name="token", aggregation=PerToken()),
    GRPO.changed(name="constant", aggregation=PerConstantLength(length=8)),
    GRPO.changed(name="prompt", aggregation=PerPrompt()),
]


STEP = 51
"""Of the run, at which every method's policy learns: VAPO's critic is alone for the first 50."""
OTHERS = {"reference": TablePolicy(seed=1), "teacher": TablePolicy(seed=2)}


def gradient(method: PolicyGradient, batch: Batch, *, tokens: int) -> torch.Tensor:
    """The gradient of one update, before the norm bound and the step."""
    policy = TablePolicy(critic=method.critic is not None)
    learner = Learner(policy, method, micro_batch_tokens=tokens, **OTHERS)
    kept: list[torch.Tensor] = []
    step = learner.optimizer.step
    learner.optimizer.step = lambda: kept.append(flat_gradient(learner)) or step()  # type: ignore[method-assign]
    learner.update(batch, STEP)
    return kept[0]


def flat_gradient(learner: Learner) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in learner.optimized.parameters])


def unbounded(method: PolicyGradient) -> PolicyGradient:
    return dataclasses.replace(method, optimizer=dataclasses.replace(method.optimizer, max_grad_norm=1e9))


@pytest.mark.parametrize("method", VARIANTS, ids=lambda m: m.name)
@pytest.mark.parametrize("tokens", [1, 7, 20])
def test_any_micro_batch_split_gives_the_same_gradient(method: PolicyGradient, tokens: int) -> None:
    batch = assemble(random_episodes())
    whole = gradient(unbounded(method), batch, tokens=10_000)
    assert whole.abs().max() > 5e-6
    torch.testing.assert_close(gradient(unbounded(method), batch, tokens=tokens), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", VARIANTS, ids=lambda m: m.name)
def test_padding_and_what_stands_in_it_change_nothing(method: PolicyGradient) -> None:
    batch = assemble(random_episodes())
    whole = gradient(unbounded(method), batch, tokens=50)
    wide = {
        name: torch.nn.functional.pad(value, (0, 5), value=fill)
        for name, fill in (("rewards_BT", 1e6), ("discounts_BT", 1e6), ("sampler_log_probs_BT", float("nan")))
        for value in (getattr(batch, name),)
    }
    for name in ("actions_BT", "action_mask_BT", "cut_BT", "bootstrap_BT"):
        wide[name] = torch.nn.functional.pad(getattr(batch, name), (0, 5))
    torch.testing.assert_close(
        gradient(unbounded(method), batch.changed(**wide), tokens=50), whole, rtol=1e-9, atol=1e-9
    )


def test_a_normaliser_taken_per_micro_batch_would_be_seen() -> None:
    """Negative control: the invariance above can fail."""
    batch = assemble(random_episodes())
    method = unbounded(GRPO.changed(name="wrong", aggregation=PerToken(), reference_kl=None))
    whole = gradient(method, batch, tokens=10_000)
    halves = [gradient(method, batch.rows(rows), tokens=10_000) / 2 for rows in torch.arange(len(batch)).split(6)]
    assert not torch.allclose(sum(halves), whole, rtol=1e-3)


def test_an_excluded_episode_leaves_every_denominator() -> None:
    episodes = random_episodes()
    failed = dataclasses.replace(
        episodes[4], judgement=dataclasses.replace(episodes[4].judgement, total=None, status="correct: timeout")
    )
    with_failed = assemble([*episodes[:4], failed, *episodes[5:]])
    without = assemble([*episodes[:4], *episodes[5:]])
    for method in VARIANTS:
        torch.testing.assert_close(
            gradient(unbounded(method), with_failed, tokens=40), gradient(unbounded(method), without, tokens=40)
        )


def test_rows_that_teach_nothing_need_no_backward_pass() -> None:
    """Skipping them is exact: the same gradient as when every row goes through the backward pass."""
    batch = assemble(random_episodes(groups=5))
    equal = batch.changed(
        rewards_BT=torch.where(batch.group_ids_B[:, None] < 2, 0 * batch.rewards_BT, batch.rewards_BT)
    )
    method = unbounded(GRPO.changed(name="no-kl", reference_kl=None))
    advantages = method.with_advantages(equal)
    assert method.learns_from(advantages).tolist() == (equal.group_ids_B >= 2).tolist()
    always = dataclasses.replace(method, name="always")
    object.__setattr__(always, "learns_from", lambda b: b.counted_B())
    torch.testing.assert_close(
        gradient(method, equal, tokens=30), gradient(always, equal, tokens=30), rtol=0, atol=1e-15
    )


def test_all_equal_rewards_leave_the_weights_alone_apart_from_the_kl() -> None:
    batch = assemble(random_episodes())
    flat = batch.changed(rewards_BT=torch.where(last_step(batch.action_mask_BT), 0.3, 0.0))
    method = unbounded(GRPO.changed(name="no-kl", reference_kl=None))
    policy = TablePolicy()
    update = Learner(policy, method).update(flat, 1)
    assert update.loss == 0.0 and update.grad_norm == 0.0
    assert torch.equal(policy.table_VV, TablePolicy().table_VV)


@pytest.mark.parametrize("num_minibatches", [1, 4])
def test_every_completion_excluded_skips_the_update_and_says_so(num_minibatches: int) -> None:
    batch = assemble(random_episodes())
    empty = batch.without(torch.ones(len(batch), dtype=torch.bool))
    policy = TablePolicy()
    learner = Learner(policy, GRPO.changed(name="cut", num_minibatches=num_minibatches), reference=TablePolicy(seed=1))
    update = learner.update(empty, 1)
    assert update.loss is None and update.grad_norm is None and learner.updates == 0
    assert update.metrics()["episodes/trained"] == 0
    assert torch.equal(policy.table_VV, TablePolicy().table_VV)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_no_non_finite_value_reaches_the_weights(poison: float) -> None:
    batch = assemble(random_episodes())
    policy = TablePolicy()
    learner = Learner(policy, REINFORCE)
    with pytest.raises(NonFiniteError, match="advantages"):
        learner.update(batch.changed(rewards_BT=batch.rewards_BT * poison), 1)
    huge = batch.changed(rewards_BT=batch.rewards_BT * 1e38)
    with pytest.raises(NonFiniteError):
        Learner(_Spoilt(policy, poison), REINFORCE).update(huge, 1)
    assert torch.equal(policy.table_VV, TablePolicy().table_VV)


class _Spoilt:
    """A policy whose log-probs go bad."""

    def __init__(self, policy: TablePolicy, poison: float) -> None:
        self.policy, self.poison = policy, poison

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return self.policy.trainable()

    def __call__(self, batch: Batch, **options: object):
        outputs = self.policy(batch, **options)
        return outputs._replace(log_probs_BT=outputs.log_probs_BT * self.poison)


def test_several_updates_a_rollout_use_the_log_probs_of_before_the_first() -> None:
    batch = assemble(random_episodes(groups=6))
    step = dataclasses.replace(GRPO.optimizer, learning_rate=0.3)
    method = GRPO.changed(name="many", num_epochs=2, num_minibatches=3, optimizer=step)
    learner = Learner(TablePolicy(), method, reference=TablePolicy(seed=1))
    before = learner.log_probs(learner.policy, batch)
    update = learner.update(batch, 1)
    assert learner.updates == 6
    torch.testing.assert_close(update.log_probs_BT, before)
    assert update.diagnostics["clip/share"] > 0
    assert update.diagnostics["clip/share"] == pytest.approx(
        update.diagnostics["clip/low"] + update.diagnostics["clip/high"]
    )
    clipped_BT, mask_BT = update.batch.clipped_BT, batch.action_mask_BT
    assert clipped_BT is not None and not bool((clipped_BT & ~mask_BT).any())
    share = float(clipped_BT.sum() / mask_BT.sum())  # in either epoch, where clip/share is the mean of both
    assert update.diagnostics["clip/share"] <= share <= 2 * update.diagnostics["clip/share"]
    assert update.batch.old_log_probs_BT is update.log_probs_BT and update.batch.entropy_BT is update.entropy_BT


def test_nothing_is_clipped_at_the_first_update_and_an_objective_without_a_bound_says_none() -> None:
    batch = assemble(random_episodes(groups=3))
    one = Learner(TablePolicy(), GRPO, reference=TablePolicy(seed=1)).update(batch, 1)
    assert one.batch.clipped_BT is not None and not bool(one.batch.clipped_BT.any())
    assert Learner(TablePolicy(), REINFORCE).update(batch, 1).batch.clipped_BT is None


def test_the_learner_needs_a_reference_when_the_method_does() -> None:
    with pytest.raises(AssertionError, match="reference"):
        Learner(TablePolicy(), RLOO)

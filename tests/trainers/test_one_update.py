"""A rollout learnt from in numbers is what the general way learns, and autograd, and what is told of it."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small_policies import SHAPES, batch_of, loud

from rung.batch import Batch
from rung.compiled import uncompiled
from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.advantages import GAE, NStep
from rung.methods.parts.aggregations import Whiten
from rung.models.small import credit, passes
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.policy_gradient.compiled_epoch import CompiledEpochs
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.one_update import InNumbers, OneUpdate

WAYS = ("in numbers", "epochs", "autograd", "source")
METHOD = METHODS["a2c@sb3"]
assert isinstance(METHOD, PolicyGradient)
SOURCE = uncompiled(passes.__name__)
CREDIT = (credit, uncompiled(credit.__name__))
CASES = {
    "λ 1": METHOD,
    "λ 0.9 and entropy": METHOD.changed(advantage=GAE(discount=0.9, lam=0.9), entropy_bonus=0.1),
    "n steps": METHODS["actor_critic"],
}


def rollout(shape: SmallShape, policy: SmallPolicy) -> Batch:
    """Two rows of five steps, with an end, a cut and both within one row."""
    generator = torch.Generator().manual_seed(3)
    size, batch = (2, 5), batch_of(shape)
    cut_BT = torch.tensor([[False, True, False, False, True], [False, False, False, False, True]])
    ended_BT = torch.tensor([[False, False, False, True, False], [False, False, True, False, False]])
    with torch.no_grad():
        said = policy(batch, with_values=True)
    return batch.changed(
        rewards_BT=torch.randn(size, generator=generator).double(),
        discounts_BT=1.0 - ended_BT.double(),
        cut_BT=cut_BT,
        bootstrap_BT=torch.randn(size, generator=generator).double(),
        sampler_log_probs_BT=said.log_probs_BT + 0.01 * torch.randn(size, generator=generator),
        values_BT=said.values_BT,
    )


def learnt(method: Any, shape: SmallShape, way: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], Batch]:
    """The weights after three updates, the last one's metrics and its batch."""
    policy = loud(shape)
    learner = Learner(policy, method, temperature=0.9)
    with (
        patch.object(OneUpdate, "__call__", OneUpdate.__call__ if way in ("in numbers", "source") else nothing),
        patch.object(CompiledEpochs, "of", CompiledEpochs.of if way == "epochs" else nothing),
        patch.object(passes, "epoch", (SOURCE if way == "source" else passes).epoch),
        patch.multiple(credit, **{name: getattr(CREDIT[way == "source"], name) for name in ("credited", "told")}),
    ):
        for step in range(1, 4):
            update = learner.update(rollout(shape, policy), step)
            assert isinstance(update, InNumbers) == (way in ("in numbers", "source")), "else nothing is tested"
    assert learner.updates == 3 and update.batch is not None
    return {name: weight.clone() for name, weight in policy.weights().items()}, update.metrics(), update.batch


def nothing(*_: Any) -> None:
    return None


@SHAPES
@pytest.mark.parametrize("case", list(CASES))
def test_every_way_learns_and_tells_the_same(case: str, shape: SmallShape) -> None:
    weights, metrics, batch = learnt(CASES[case], shape, "in numbers")
    for way in WAYS[1:]:
        expected, told, other = learnt(CASES[case], shape, way)
        for name, weight in weights.items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6, msg=f"{way}: {name}")
        assert {name for name, value in metrics.items() if value is None} == {n for n, v in told.items() if v is None}
        known = {name: value for name, value in told.items() if value is not None}
        assert {name: metrics[name] for name in known} == pytest.approx(known, rel=1e-4, abs=1e-6), way
        for name in ("advantages_BT", "value_targets_BT", "entropy_BT"):
            found, right = getattr(batch, name), getattr(other, name)
            torch.testing.assert_close(found.double(), right.double(), rtol=1e-5, atol=1e-6, msg=f"{way}: {name}")


def test_another_lambda_learns_otherwise() -> None:
    """The comparison above can fail."""
    shape = SmallShape(observations=3, choices=4)
    weights, *_ = learnt(METHOD, shape, "in numbers")
    others, *_ = learnt(METHOD.changed(advantage=GAE(lam=0.99)), shape, "autograd")
    assert not all(torch.allclose(weight, others[name], rtol=1e-5, atol=1e-6) for name, weight in weights.items())


@dataclasses.dataclass(frozen=True)
class OwnAdvantage(GAE):
    def __call__(self, batch: Batch) -> torch.Tensor:
        return 2 * super().__call__(batch)


KNOWN_NOT = {
    "rows longer than n": METHODS["actor_critic"].changed(advantage=NStep(steps=4)),
    "whitened": METHOD.changed(whiten=Whiten()),
    "an own advantage": METHOD.changed(advantage=OwnAdvantage()),
    "several updates": METHODS["ppo@sb3"].changed(num_minibatches=2, num_epochs=2),
    "a critic alone first": METHOD.changed(critic=dataclasses.replace(METHOD.critic, warmup_steps=2)),  # type: ignore[type-var]
}


@pytest.mark.parametrize("why", list(KNOWN_NOT))
def test_what_it_does_not_know_goes_the_general_way(why: str) -> None:
    method = KNOWN_NOT[why]
    assert isinstance(method, PolicyGradient) and method.in_numbers(5) is None
    shape = SmallShape(observations=3, choices=4)
    policy = loud(shape)
    assert not isinstance(Learner(policy, method).update(rollout(shape, policy), 3), InNumbers)


def test_advantages_that_are_no_numbers_change_nothing() -> None:
    from rung.errors import NonFiniteError

    shape = SmallShape(observations=3, choices=4)
    policy = loud(shape)
    before = {name: weight.clone() for name, weight in policy.weights().items()}
    batch = rollout(shape, policy)
    rewards_BT = batch.rewards_BT.clone()
    rewards_BT[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="advantages"):
        Learner(policy, METHOD).update(batch.changed(rewards_BT=rewards_BT), 1)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.weights().items())

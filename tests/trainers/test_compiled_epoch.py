"""A compiled epoch is autograd's, and a method with a part whose slope is not known goes to autograd."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch

from rung.batch import Batch
from rung.errors import NonFiniteError
from rung.methods import METHODS
from rung.methods.parts.corrections import TruncatedImportance
from rung.methods.parts.objectives import ClippedSurrogate, ClippedWeight
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.policy_gradient import PolicyGradient
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.policy_gradient.compiled_epoch import CompiledEpochs
from rung.trainers.policy_gradient.learner import Learner

SHAPES = {"choice": SmallShape(observations=3, choices=4), "vector": SmallShape(observations=3, dimensions=2)}
COMPILED = ("ppo", "ppo_kl", "ppo@sb3", "actor_critic", "a2c@sb3", "reinforce", "reinforce_baseline")


def method_of(name: str) -> PolicyGradient:
    method = METHODS[name]
    assert isinstance(method, PolicyGradient)
    return method.changed(num_minibatches=2, num_epochs=2) if method.updates_per_rollout() > 1 else method


def batch_of(shape: SmallShape, *, holes: bool) -> Batch:
    generator = torch.Generator().manual_seed(11)
    size = (4, 6)
    mask_BT = torch.rand(size, generator=generator) < 0.7 if holes else torch.ones(size, dtype=torch.bool)
    if shape.choices:
        actions_BT = torch.randint(0, shape.choices, size, generator=generator)
    else:
        actions_BT = torch.randn(*size, shape.dimensions or 0, generator=generator)
    rewards_BT = torch.randn(size, generator=generator)
    return Batch(
        contexts=torch.randn(*size, shape.observations, generator=generator),
        actions_BT=actions_BT,
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=torch.full(size, -1.4),
        rewards_BT=rewards_BT,
        discounts_BT=(torch.rand(size, generator=generator) < 0.8).float(),
        cut_BT=torch.zeros(size, dtype=torch.bool),
        bootstrap_BT=torch.zeros(size),
        group_ids_B=torch.tensor([0, 0, 1, 1]),
        scores_B=rewards_BT.sum(1),
        truncated_B=torch.zeros(4, dtype=torch.bool),
    )


def updated(method: PolicyGradient, shape: SmallShape, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights after three steps, and the last one's metrics."""
    policy = SmallPolicy(shape, seed=1)
    learner = Learner(policy, method, reference=policy.reference(), temperature=0.9, seed=3)
    for step in range(1, 4):
        metrics = learner.update(batch, step).metrics()
    return {name: weight.clone() for name, weight in policy.weights().items()}, metrics


@contextmanager
def counted(*, off: bool = False) -> Iterator[list[bool]]:
    """Whether each batch went the compiled way; `off`: none does."""
    seen: list[bool] = []
    whole = CompiledEpochs.of

    def counting(learner: Any, batch: Batch) -> CompiledEpochs | None:
        found = None if off else whole(learner, batch)
        seen.append(found is not None)
        return found

    with patch.object(CompiledEpochs, "of", counting):
        yield seen


def alike(found: Mapping[str, Any], expected: Mapping[str, Any], *, rel: float, few: float) -> None:
    assert {name for name, value in found.items() if value is None} == {n for n, v in expected.items() if v is None}
    known = {name: value for name, value in expected.items() if value is not None}
    assert {name: found[name] for name in known} == pytest.approx(known, rel=rel, abs=few)


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("kind", list(SHAPES))
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_epoch_is_autograds(name: str, kind: str, holes: bool) -> None:
    method, batch = method_of(name), batch_of(SHAPES[kind], holes=holes)
    with counted() as seen:
        weights, metrics = updated(method, SHAPES[kind], batch)
    assert seen == [True] * 3, "else nothing is tested"
    with counted(off=True):
        expected, expected_metrics = updated(method, SHAPES[kind], batch)
    for weight, found in weights.items():
        torch.testing.assert_close(found, expected[weight], rtol=1e-4, atol=2e-6, msg=weight)
    assert metrics["loss"] is not None
    alike(metrics, expected_metrics, rel=1e-3, few=1e-5)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("kind", list(SHAPES))
def test_a_natural_steps_compiled_critic_is_autograds(kind: str, holes: bool, count: int) -> None:
    whole, batch = METHODS["trpo"], batch_of(SHAPES[kind], holes=holes)
    assert isinstance(whole, PolicyGradient) and isinstance(whole.optimizer, NaturalGradient)
    method = whole.changed(optimizer=dataclasses.replace(whole.optimizer, num_critic_minibatches=count))
    with counted() as seen:
        weights, metrics = updated(method, SHAPES[kind], batch)
    assert seen == [True] * 3
    with counted(off=True):
        expected, expected_metrics = updated(method, SHAPES[kind], batch)
    # three steps of conjugate gradients enlarge float32's rounding, more on some processors than on others: 4e-6 seen
    for weight, found in weights.items():
        torch.testing.assert_close(found, expected[weight], rtol=1e-4, atol=1e-5, msg=weight)
    assert metrics["critic/explained_variance"] == pytest.approx(
        expected_metrics["critic/explained_variance"], rel=1e-3
    )


def test_groups_that_stay_together_are_weighed_as_autograd_weighs_them() -> None:
    """Minibatches of whole rows, whose steps do not weigh alike."""
    grpo, batch = METHODS["grpo"], batch_of(SHAPES["choice"], holes=True)
    assert isinstance(grpo, PolicyGradient)
    method = grpo.changed(reference_kl=None, num_minibatches=2, num_epochs=2, samples_per_prompt=2)
    with counted() as seen:
        weights, metrics = updated(method, SHAPES["choice"], batch)
    assert seen == [True] * 3
    with counted(off=True):
        expected, expected_metrics = updated(method, SHAPES["choice"], batch)
    for weight, found in weights.items():
        torch.testing.assert_close(found, expected[weight], rtol=1e-4, atol=2e-6, msg=weight)
    alike(metrics, expected_metrics, rel=1e-3, few=1e-5)


GENERAL = {
    "a dual clip": METHODS["ppo"].changed(objective=ClippedSurrogate(dual=3.0)),
    "a clipped value": METHODS["ppo@baselines"],
    "a KL in the loss": METHODS["grpo"],
    "a correction": METHODS["ppo"].changed(correction=TruncatedImportance()),
    "another objective": METHODS["ppo"].changed(objective=ClippedWeight()),
}


@pytest.mark.parametrize("why", list(GENERAL))
def test_what_has_no_slope_goes_to_autograd(why: str) -> None:
    method = GENERAL[why]
    assert isinstance(method, PolicyGradient) and method.beyond_slopes()
    method = method.changed(num_minibatches=1, num_epochs=1)
    with counted() as seen:
        _, metrics = updated(method, SHAPES["choice"], batch_of(SHAPES["choice"], holes=False))
    assert seen and not any(seen)
    assert metrics["loss"] is not None


def test_a_number_that_is_none_leaves_the_weights_as_they_were() -> None:
    shape = SHAPES["vector"]
    policy, batch = SmallPolicy(shape, seed=1), batch_of(shape, holes=False)
    learner = Learner(policy, method_of("a2c@sb3"), seed=3)
    before = {name: weight.clone() for name, weight in policy.weights().items()}
    contexts = batch.contexts.clone()  # type: ignore[union-attr]
    contexts[0, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"NaN or infinite|gradient's norm"):
        learner.update(batch.changed(contexts=contexts), 1)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.weights().items())

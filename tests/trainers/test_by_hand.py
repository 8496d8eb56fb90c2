"""A small network's update without autograd is the update with it, and what is not known by hand goes to autograd."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from rung.batch import Batch
from rung.errors import NonFiniteError
from rung.methods import METHODS
from rung.methods.parts.filters import TruncatedImportance
from rung.methods.parts.objectives import ClippedSurrogate, ClippedWeight
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.policy_gradient import PolicyGradient
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.policy_gradient import learner as learner_module
from rung.trainers.policy_gradient import natural_step
from rung.trainers.policy_gradient.learner import Learner

SHAPES = {"choice": SmallShape(observations=3, choices=4), "vector": SmallShape(observations=3, dimensions=2)}
METHODS_BY_HAND = ("ppo", "ppo_kl", "ppo@sb3", "actor_critic", "a2c@sb3", "reinforce", "reinforce_baseline")


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


def counted(
    patch: pytest.MonkeyPatch, module: Any = learner_module, name: str = "by_hand", *, off: bool = False
) -> list[bool]:
    """Whether each pass went by hand; `off`: none does."""
    seen: list[bool] = []
    whole = getattr(module, name)

    def counting(*given: Any, **more: Any) -> Any:
        outputs = None if off else whole(*given, **more)
        seen.append(outputs is not None)
        return outputs

    patch.setattr(module, name, counting)
    return seen


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("kind", list(SHAPES))
@pytest.mark.parametrize("name", METHODS_BY_HAND)
def test_an_update_by_hand_is_autograds(name: str, kind: str, holes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = method_of(name), batch_of(SHAPES[kind], holes=holes)
    with monkeypatch.context() as patch:
        seen = counted(patch)
        weights, metrics = updated(method, SHAPES[kind], batch)
        assert seen and all(seen), "else nothing is tested"
    with monkeypatch.context() as patch:
        counted(patch, off=True)
        expected, expected_metrics = updated(method, SHAPES[kind], batch)
    for weight, found in weights.items():
        torch.testing.assert_close(found, expected[weight], rtol=1e-4, atol=2e-6, msg=weight)
    assert metrics.keys() == expected_metrics.keys() and metrics["loss"] is not None
    none = {name for name, value in metrics.items() if value is None}
    assert none == {name for name, value in expected_metrics.items() if value is None}
    known = {name: value for name, value in expected_metrics.items() if value is not None}
    assert {name: metrics[name] for name in known} == pytest.approx(known, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("kind", list(SHAPES))
def test_a_natural_steps_critic_by_hand_is_autograds(
    kind: str, holes: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, batch = METHODS["trpo"], batch_of(SHAPES[kind], holes=holes)
    assert isinstance(whole, PolicyGradient) and isinstance(whole.optimizer, NaturalGradient)
    method = whole.changed(optimizer=dataclasses.replace(whole.optimizer, num_critic_minibatches=count))
    critics = (natural_step, "critic_by_hand")
    with monkeypatch.context() as patch:
        seen = counted(patch, *critics)
        weights, metrics = updated(method, SHAPES[kind], batch)
    assert len(seen) == 3 * 5 * count and all(seen)
    with monkeypatch.context() as patch:
        counted(patch, *critics, off=True)
        expected, expected_metrics = updated(method, SHAPES[kind], batch)
    # three steps of conjugate gradients enlarge float32's rounding, more on some processors than on others: 4e-6 seen
    for weight, found in weights.items():
        torch.testing.assert_close(found, expected[weight], rtol=1e-4, atol=1e-5, msg=weight)
    assert metrics["critic/explained_variance"] == pytest.approx(
        expected_metrics["critic/explained_variance"], rel=1e-3
    )


NOT_BY_HAND = {
    "a dual clip": METHODS["ppo"].changed(objective=ClippedSurrogate(dual=3.0)),
    "a clipped value": METHODS["ppo@baselines"],
    "a KL in the loss": METHODS["grpo"],
    "a correction": METHODS["ppo"].changed(correction=TruncatedImportance()),
    "another objective": METHODS["ppo"].changed(objective=ClippedWeight()),
}


@pytest.mark.parametrize("why", list(NOT_BY_HAND))
def test_what_is_not_known_by_hand_goes_to_autograd(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = NOT_BY_HAND[why]
    assert isinstance(method, PolicyGradient) and method.by_hand() is None
    seen = counted(monkeypatch)
    method = method.changed(num_minibatches=1, num_epochs=1)
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

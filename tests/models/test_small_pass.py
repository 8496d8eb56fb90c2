"""A small network's way back by hand: distributions, gradients of weights, and where autograd does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_policies import HOLES, SHAPES, batch_of, loud
from torch import Tensor

from rung.models.language.distributions import Categorical, Distribution, Gaussian
from rung.models.small.heads import Choice, Vector
from rung.models.small.network import SmallPolicy, SmallShape

N = 6
PULLS = torch.Generator().manual_seed(5)
LOG_PROB_N, ENTROPY_N = torch.randn(N, generator=PULLS), torch.randn(N, generator=PULLS)


def heads(kind: str) -> tuple[Choice | Vector, Distribution, Tensor, list[Tensor]]:
    """A head by hand, the same distribution by autograd, the actions, and the distribution's leaves."""
    generator = torch.Generator().manual_seed(3)
    out_NV = torch.randn(N, 4, generator=generator).requires_grad_()
    if kind == "choice":
        actions_N = torch.randint(0, 4, (N,), generator=generator)
        return Choice(out_NV.detach().numpy(), actions_N.numpy()), Categorical.of_logits(out_NV), actions_N, [out_NV]
    log_std_A = torch.randn(4, generator=generator).requires_grad_()
    actions_NA = torch.randn(N, 4, generator=generator)
    by_hand = Vector(out_NV.detach().numpy(), log_std_A.detach().numpy(), actions_NA.numpy())
    return by_hand, Gaussian(out_NV, log_std_A), actions_NA, [out_NV, log_std_A]


@pytest.mark.parametrize("with_entropy", [False, True])
@pytest.mark.parametrize("kind", ["choice", "vector"])
def test_a_head_is_the_law_and_its_slopes_are_autograds(kind: str, with_entropy: bool) -> None:
    head, distribution, actions_N, leaves = heads(kind)
    torch.testing.assert_close(torch.from_numpy(head.log_probs_N), distribution.log_prob(actions_N).detach())
    torch.testing.assert_close(torch.from_numpy(head.entropy_N), distribution.entropy().detach())
    pulled = (LOG_PROB_N * distribution.log_prob(actions_N)).sum()
    entropy_N = ENTROPY_N.numpy() if with_entropy else None
    if with_entropy:
        pulled = pulled + (ENTROPY_N * distribution.entropy()).sum()
    expected = torch.autograd.grad(pulled, leaves)
    found = [head.slope(LOG_PROB_N.numpy(), entropy_N)]
    if isinstance(head, Vector):
        found.append(head.log_std_slope(LOG_PROB_N.numpy(), entropy_N))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-5, atol=1e-6)
        assert one.dtype == np.float32


def test_a_choice_that_is_never_made_has_no_slope() -> None:
    logits_NV, actions_N = np.array([[0.0, -np.inf, 1.0]], np.float32), np.array([2])
    with np.errstate(invalid="raise"):
        head = Choice(logits_NV, actions_N)
        slope_NV = head.slope(np.ones(1, np.float32), np.ones(1, np.float32))
    assert np.isfinite(slope_NV).all() and slope_NV[0, 1] == 0.0
    assert head.entropy_N[0] == pytest.approx(0.582203, abs=1e-6), "that of the two others"


def filled(policy: SmallPolicy) -> SmallPolicy:
    for parameter in policy.trainable().values():
        parameter.grad = torch.full_like(parameter, torch.nan)
    return policy


@SHAPES
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("mask", [None, HOLES], ids=["whole", "holes"])
def test_the_weights_gradients_are_autograds(
    shape: SmallShape, mask: list[list[bool]] | None, temperature: float
) -> None:
    batch = batch_of(shape, mask, junk=float("nan"))
    own_BT = batch.action_mask_BT
    pulls_BT = [torch.randn(own_BT.shape, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    policy = loud(shape)
    asked = policy(batch, temperature=temperature, with_entropy=True, with_values=True)
    assert asked.entropy_BT is not None and asked.values_BT is not None
    heard = (asked.log_probs_BT, asked.entropy_BT, asked.values_BT)
    sum((pull_BT * one_BT).sum() for pull_BT, one_BT in zip(pulls_BT, heard, strict=True)).backward()
    expected = {name: parameter.grad for name, parameter in policy.trainable().items()}

    given = filled(policy).to_learn(batch, temperature=temperature, with_values=True)
    assert given is not None
    torch.testing.assert_close(torch.from_numpy(given.head.log_probs_N), asked.log_probs_BT[own_BT].detach())
    torch.testing.assert_close(torch.from_numpy(given.values_N), asked.values_BT[own_BT].detach())
    given.back(*(pull_BT[own_BT].numpy() for pull_BT in pulls_BT))
    for name, parameter in policy.trainable().items():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_arrays_follow_weights_that_move_elsewhere() -> None:
    shape = SmallShape(observations=3, choices=4)
    policy, batch = filled(loud(shape)), batch_of(shape)
    before = policy.to_learn(batch)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.data = parameter.data.clone() * 2
            parameter.grad = torch.zeros_like(parameter)
    after = policy.to_learn(batch)
    assert before is not None and after is not None
    expected_N = policy(batch).log_probs_BT.detach().flatten()
    torch.testing.assert_close(torch.from_numpy(after.head.log_probs_N), expected_N)
    assert not np.allclose(before.head.log_probs_N, after.head.log_probs_N)
    after.back(np.ones(10, np.float32), None, None)
    gradient = policy.trainable()["policy.0.weight"].grad
    assert gradient is not None and gradient.any()


def test_autograd_is_left_to_do_what_cannot_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SmallShape(observations=3, choices=4)
    policy, batch = loud(shape), batch_of(shape)
    assert policy.to_learn(batch) is None, "there are no gradients yet"
    assert filled(policy).to_learn(batch) is not None
    policy.trainable()["critic.1.bias"].grad = None
    assert policy.to_learn(batch) is not None
    assert policy.to_learn(batch, with_values=True) is None
    assert policy.to_learn(batch_of(shape, [[False] * 5] * 2)) is None, "nothing to learn from"
    monkeypatch.setattr("rung.models.small.network.FEW_ROWS", 9)
    assert policy.to_learn(batch) is None

"""TRPO's step against the dense Fisher matrix, for a policy small enough to write it down."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest.mock import Mock, patch

import pytest
import torch
from episodes import random_episodes
from small_policies import HOLES, batch_of, loud
from table_policy import TablePolicy
from torch.utils.flop_counter import FlopCounterMode

from rung.batch import Batch
from rung.formulas.natural_gradient import conjugate_gradient
from rung.methods.parts.advantages import RewardToGo
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.trpo import TRPO
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.minibatches import minibatches
from rung.trainers.policy_gradient.natural_step import fisher_product, natural_update
from rung.trainers.policy_gradient.record import UpdateRecord

EXACT = NaturalGradient(fisher_share=1.0, damping=1e-3, iterations=60)


def learner_of(step: NaturalGradient = EXACT, tokens: int = 20) -> Learner:
    return Learner(TablePolicy(critic=True), TRPO.changed(name="t", optimizer=step), micro_batch_tokens=tokens)


def dense_fisher(policy: TablePolicy, batch: Batch) -> torch.Tensor:
    """F = E[∑_v π_v ∂log π_v ∂log π_vᵀ], state by state; [P, P]."""
    previous_N = policy._previous(batch)[batch.action_mask_BT]
    size = policy.table_VV.shape[0]
    fisher = torch.zeros(size * size, size * size, dtype=torch.float64)
    for state in previous_N.tolist():
        p_V = torch.softmax(policy.table_VV.detach()[state], -1)
        block = torch.diag(p_V) - torch.outer(p_V, p_V)
        here = slice(state * size, (state + 1) * size)
        fisher[here, here] += block
    return fisher / len(previous_N)


@pytest.mark.parametrize("tokens", [7, 10_000])
def test_fisher_vector_products_equal_the_dense_fishers(tokens: int) -> None:
    batch, learner = assemble(random_episodes()), learner_of(tokens=tokens)
    product = fisher_product(learner, batch, [learner.policy.table_VV], EXACT.damping)
    fisher = dense_fisher(learner.policy, batch)
    vectors = torch.randn(5, 49, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for vector_P in vectors:
        torch.testing.assert_close(product(vector_P), fisher @ vector_P + 1e-3 * vector_P, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(product(vectors[0]), fisher @ vectors[0] * 1.01, rtol=1e-3)


def by_autograd(learner: Any, batch: Batch, share: float = 1.0) -> Any:
    with patch.object(learner, "ranks", Mock(size=2)):
        return fisher_product(learner, batch, list(learner.policy.trainable().values()), 0.0, share)


def operations(product) -> int:
    with FlopCounterMode(display=False) as counter:
        product(torch.zeros(sum(p.numel() for p in NETWORK), dtype=torch.float32))
    return counter.get_total_flops()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", [{"choices": 4}, {"dimensions": 2}], ids=["choice", "vector"])
def test_a_compiled_fisher_vector_product_is_autograds(kind: dict[str, int], temperature: float) -> None:
    policy = loud(SmallShape(observations=3, hidden=(8, 5), critic=False, **kind))
    learner = Learner(policy, TRPO.changed(name="t", critic=None, advantage=RewardToGo()), temperature=temperature)
    batch = batch_of(policy.shape, HOLES, junk=float("nan"))
    image, expected = policy.fisher(batch, temperature=temperature), by_autograd(learner, batch)
    for seed in range(3):
        size = sum(p.numel() for p in policy.trainable().values())
        vector_P = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(image(vector_P), expected(vector_P), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(image(vector_P), 1.01 * expected(vector_P), rtol=1e-3, atol=1e-6)


SMALL = SmallPolicy(SmallShape(observations=3, choices=2, hidden=(8,), critic=False), seed=1)
NETWORK = list(SMALL.trainable().values())


def environments(mask: list[list[bool]]) -> Batch:
    """An environment a row, of random observations and actions."""
    mask_BT = torch.tensor(mask)
    generator = torch.Generator().manual_seed(4)
    zero_BT = torch.zeros(mask_BT.shape)
    return Batch(
        contexts=torch.randn(*mask_BT.shape, 3, generator=generator),
        actions_BT=torch.randint(0, 2, mask_BT.shape, generator=generator),
        action_mask_BT=mask_BT,
        **dict.fromkeys(("sampler_log_probs_BT", "rewards_BT", "discounts_BT", "bootstrap_BT"), zero_BT),
        cut_BT=zero_BT.bool(),
        group_ids_B=torch.arange(len(mask_BT)),
        scores_B=zero_BT[:, 0],
        truncated_B=zero_BT[:, 0].bool(),
    )


@pytest.mark.parametrize(
    "mask",
    [
        [[True] * 1000],
        [[True] * 250] * 4,
        [[True] * 300 + [False] * 50, [step % 2 == 0 for step in range(350)], [False] * 350, [True] * 350],
    ],
    ids=["one environment", "four", "masks"],
)
@pytest.mark.parametrize(("share", "n"), [(0.2, 5), (0.1, 10), (1.0, 1), (0.7, 1), (0.3, 3)])
def test_the_fisher_matrix_is_taken_at_every_nth_step_of_the_flattened_batch(
    mask: list[list[bool]], share: float, n: int
) -> None:
    """As Baselines takes `ob[::5]`, however many environments there are; and the operations fall with the steps."""
    batch = environments(mask)
    observations_NO = batch.contexts[batch.action_mask_BT]
    logits_NV = torch.from_numpy(observations_NO[::n].numpy())
    for weight, bias in ((NETWORK[0], NETWORK[1]), (NETWORK[2], NETWORK[3])):
        logits_NV = torch.nn.functional.linear(logits_NV if weight is NETWORK[0] else logits_NV.tanh(), weight, bias)
    logs_NV = torch.log_softmax(logits_NV, -1)
    kl = (logs_NV.detach().exp() * (logs_NV.detach() - logs_NV)).sum(-1).mean()
    vector_P = torch.randn(sum(p.numel() for p in NETWORK), generator=torch.Generator().manual_seed(2))
    first = torch.cat([g.flatten() for g in torch.autograd.grad(kl, NETWORK, create_graph=True)])
    image_P = torch.cat([g.flatten() for g in torch.autograd.grad(first @ vector_P, NETWORK)])
    learner = Learner(SMALL, TRPO.changed(name="t", critic=None, advantage=RewardToGo()))
    product = fisher_product(learner, batch, NETWORK, 0.0, share)
    torch.testing.assert_close(product(vector_P), image_P, rtol=1e-4, atol=1e-6)
    whole, product = by_autograd(learner, batch), by_autograd(learner, batch, share)
    steps = len(observations_NO)
    assert operations(product) / operations(whole) == pytest.approx(-(-steps // n) / steps, rel=1e-6)


def test_the_fisher_matrix_of_text_is_taken_at_every_nth_row() -> None:
    """A token is read after those before it: single ones would cost as much as all."""
    batch, learner = assemble(random_episodes(holes=False)), learner_of()
    vector_P = torch.randn(49, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    share = fisher_product(learner, batch, [learner.policy.table_VV], 0.0, 0.2)
    rows = batch.rows(torch.tensor([0, 5, 10]))
    assert torch.equal(share(vector_P), fisher_product(learner, rows, [learner.policy.table_VV], 0.0)(vector_P))


def test_the_step_is_the_dense_solution_scaled_to_the_bound() -> None:
    batch = assemble(random_episodes())
    learner = learner_of(dataclasses.replace(EXACT, num_critic_epochs=0))
    start = learner.policy.table_VV.detach().clone()
    wanted = TablePolicy(critic=True)
    prepared = learner.method.with_advantages(learner._before(batch))
    weights_BT = learner.method.weights(prepared, lambda count: count)
    loss = (weights_BT * learner.method.losses(prepared, wanted(batch).log_probs_BT)).sum()
    gradient_P = -torch.autograd.grad(loss, wanted.table_VV)[0].flatten()
    fisher = dense_fisher(wanted, batch) + 1e-3 * torch.eye(49, dtype=torch.float64)
    direction_P = torch.linalg.solve(fisher, gradient_P)
    full_P = (2 * 0.01 / (direction_P @ fisher @ direction_P)).sqrt() * direction_P
    update = learner.update(batch, 1)
    tried = update.diagnostics["trpo/backtracks"]
    moved_P = (learner.policy.table_VV.detach() - start).flatten()
    torch.testing.assert_close(moved_P, full_P * 0.5**tried, rtol=2e-3, atol=1e-5)
    assert update.diagnostics["trpo/accepted"] == 1 and learner.updates == 1


def test_every_accepted_step_keeps_to_the_bound_and_improves() -> None:
    learner = learner_of(NaturalGradient(max_kl=0.01))
    for step in range(1, 30):
        batch = assemble(random_episodes(seed=step))
        before = learner.policy.distribution(batch).detached()
        update = learner.update(batch, step)
        kl = float(before.kl(learner.policy.distribution(batch)).mean().detach())
        assert kl == pytest.approx(update.diagnostics["trpo/kl"], abs=1e-12)
        assert kl <= EXACT.accept * 0.01


def test_shorter_steps_shrink_by_the_methods_own_factor() -> None:
    batch = assemble(random_episodes())
    moved = {}
    for shrink, accept in ((0.5, 1.5), (0.8, 1e-2), (0.5, 1e-2)):
        learner = learner_of(
            dataclasses.replace(EXACT, num_critic_epochs=0, shrink=shrink, accept=accept, backtracks=20)
        )
        start = learner.policy.table_VV.detach().clone()
        tried = learner.update(batch, 1).diagnostics["trpo/backtracks"]
        moved[shrink, accept] = (learner.policy.table_VV.detach() - start) / shrink**tried
        assert (tried > 0) == (accept < 1)
    full = moved[0.5, 1.5]
    assert all(torch.allclose(step, full, rtol=1e-9) for step in moved.values())


def test_a_step_that_cannot_be_accepted_leaves_the_policy_as_it_was() -> None:
    batch = assemble(random_episodes())
    learner = learner_of(dataclasses.replace(EXACT, backtracks=3, num_critic_epochs=0, accept=1e-12))
    start = learner.policy.table_VV.detach().clone()
    update = learner.update(batch, 1)
    assert update.diagnostics["trpo/accepted"] == 0 and learner.updates == 0
    assert torch.equal(learner.policy.table_VV, start)


def test_the_critic_learns_beside_it() -> None:
    learner = learner_of(NaturalGradient(num_critic_epochs=3))
    start = learner.policy.values_V.detach().clone()
    learner.update(assemble(random_episodes()), 1)
    assert not torch.equal(learner.policy.values_V, start)


@pytest.mark.parametrize("tokens", [3, 10_000])
def test_the_critics_minibatches_are_updates_by_adam_on_their_own_steps(tokens: int) -> None:
    """Against Adam on each minibatch's mean squared error, written out; however the minibatch is cut for memory."""
    batch = assemble(random_episodes())
    learner = learner_of(dataclasses.replace(EXACT, num_critic_epochs=2, num_critic_minibatches=3), tokens=tokens)
    learner.seed = 5
    prepared = learner.method.with_advantages(learner._before(batch))
    assert prepared.value_targets_BT is not None and learner.policy.values_V is not None
    previous_BT, mask_BT = learner.policy._previous(batch), batch.action_mask_BT
    values_V = torch.nn.Parameter(learner.policy.values_V.detach().clone())
    adam = torch.optim.Adam([values_V], lr=1e-3)
    for epoch in range(2):
        for rows_B in minibatches(batch, 3, (5, 1, epoch)):
            own_BT = mask_BT[rows_B]
            gap_N = (values_V[previous_BT[rows_B]] - prepared.value_targets_BT[rows_B])[own_BT]
            adam.zero_grad()
            (0.5 * learner.method.critic.coefficient * gap_N.square().mean()).backward()  # type: ignore[union-attr]
            torch.nn.utils.clip_grad_norm_([values_V], 1.0)
            adam.step()
    start_V = learner.policy.values_V.detach().clone()
    learner.update(batch, 1)
    torch.testing.assert_close(learner.policy.values_V.detach(), values_V.detach(), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(start_V, values_V.detach(), atol=1e-3), "six updates of 1e-3"


def test_equal_rewards_and_values_move_nothing() -> None:
    batch = assemble(random_episodes())
    flat = learner_of(dataclasses.replace(EXACT, num_critic_epochs=0))
    prepared = flat.method.with_advantages(flat._before(batch))
    record = UpdateRecord(prepared)
    start = flat.policy.table_VV.detach().clone()
    natural_update(flat, prepared.changed(advantages_BT=torch.zeros_like(prepared.advantages_BT)), record, (0, 1))
    assert torch.equal(flat.policy.table_VV, start)


def test_conjugate_gradients_solve_exactly_in_as_many_steps_as_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix, goal_P = root @ root.T + torch.eye(6, dtype=torch.float64), torch.arange(6, dtype=torch.float64)
    exact_P = torch.linalg.solve(matrix, goal_P)
    torch.testing.assert_close(conjugate_gradient(lambda v: matrix @ v, goal_P, 6, 0.0), exact_P, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(conjugate_gradient(lambda v: matrix @ v, goal_P, 2), exact_P, rtol=1e-3)

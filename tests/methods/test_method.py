"""What holds for every method, whatever fills its slots."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_batches import (
    AGGREGATIONS,
    EVERY_METHOD,
    JUNK,
    entropy_like,
    log_probs_of,
    loss_and_gradient,
    mixed_batch,
    mixed_mask,
    normal,
    one,
    spoilt,
)
from torch import Tensor

from rung.batch import Batch
from rung.methods import METHODS, PolicyGradient
from rung.methods.grpo import GRPO
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.parts.reference_kl import KLInLoss
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE, RLOO

FEW = settings(max_examples=6, deadline=None, derandomize=True)
"""For each of seventy methods: over four hundred cuts together."""
every_method = pytest.mark.parametrize("method", EVERY_METHOD.values(), ids=EVERY_METHOD.keys())


def gradient_in_pieces(
    method: PolicyGradient, batch: Batch, log_probs_BT: Tensor, pieces: list[Tensor], weights_BT: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same loss and gradient, summed over micro-batches; the weights are the whole batch's unless given."""
    log_probs_BT = log_probs_BT.detach().clone().requires_grad_()
    batch = method.minibatch(method.with_advantages(batch), one)
    batch = method.choosing(batch, log_probs_BT.detach(), one, (7,))
    weights_BT = method.weights(batch, one) if weights_BT is None else weights_BT
    total = torch.zeros((), dtype=torch.float64)
    for rows_B in pieces:
        taken_BT = log_probs_BT[rows_B]
        part = batch.rows(rows_B)
        loss = (weights_BT[rows_B] * method.losses(part, taken_BT, entropy_like(part, taken_BT))).sum()
        loss.backward()
        total += loss.detach()
    assert log_probs_BT.grad is not None
    return total, log_probs_BT.grad


@every_method
@given(cut=st.lists(st.integers(0, 3), min_size=8, max_size=8), order_seed=st.integers(0, 50))
@FEW
def test_any_cut_into_micro_batches_gives_the_whole_gradient(method, cut: list[int], order_seed: int) -> None:
    batch = mixed_batch()
    order_B = normal(order_seed, (8,)).argsort()
    pieces = [order_B[torch.tensor(cut)[order_B] == piece] for piece in range(4)]
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    cut_loss, cut_gradient_BT = gradient_in_pieces(method, batch, log_probs_of(batch), pieces)
    assert float(cut_loss) == pytest.approx(float(loss), abs=1e-12)
    torch.testing.assert_close(cut_gradient_BT, gradient_BT, rtol=0, atol=1e-12)


def test_weights_taken_after_the_cut_would_be_wrong() -> None:
    """Negative control: a mean of micro-batch means is not the mean."""
    batch, method = mixed_batch(), GRPO
    pieces = [torch.tensor([0, 1, 2, 3, 4]), torch.tensor([5, 6, 7])]
    late_BT = torch.cat([method.weights(batch.rows(rows_B), one) / 2 for rows_B in pieces])
    _, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    _, late_gradient_BT = gradient_in_pieces(method, batch, log_probs_of(batch), pieces, late_BT)
    assert float((late_gradient_BT - gradient_BT).norm() / gradient_BT.norm()) > 0.01


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_two_processes_with_summed_counts_give_the_whole_weights(aggregation) -> None:
    batch = mixed_batch()
    halves = [torch.nonzero(batch.group_ids_B == 9)[:, 0], torch.nonzero(batch.group_ids_B != 9)[:, 0]]
    counts: list[Tensor] = []

    def noted(count: Tensor) -> Tensor:
        counts.append(count)
        return count

    for rows_B in halves:
        aggregation(batch.rows(rows_B), noted)
    whole_BT = aggregation(batch, one)
    for rows_B in halves:
        assert torch.equal(aggregation(batch.rows(rows_B), lambda _: sum(counts)), whole_BT[rows_B])


@every_method
@pytest.mark.parametrize("junk", JUNK)
def test_masked_slots_change_neither_loss_nor_gradient(method, junk: float) -> None:
    batch = mixed_batch()
    dirty = spoilt(batch, junk)
    assert not dirty.rewards_BT[~dirty.action_mask_BT].eq(0).any()
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    dirty_loss, dirty_gradient_BT = loss_and_gradient(method, dirty, log_probs_of(dirty))
    assert torch.equal(loss, dirty_loss) and torch.equal(gradient_BT, dirty_gradient_BT)
    assert bool((gradient_BT[~batch.action_mask_BT] == 0).all())
    assert torch.equal(method.with_advantages(batch).advantages_BT, method.with_advantages(dirty).advantages_BT)


@every_method
def test_shuffled_rows_give_the_same_gradient(method) -> None:
    batch = mixed_batch()
    order_B = normal(3, (8,)).argsort()
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    shuffled_loss, shuffled_BT = loss_and_gradient(method, batch.rows(order_B), log_probs_of(batch)[order_B])
    assert float(shuffled_loss) == pytest.approx(float(loss), abs=1e-12)
    torch.testing.assert_close(shuffled_BT, gradient_BT[order_B], rtol=0, atol=1e-12)


@every_method
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(method, side: str) -> None:
    batch = mixed_batch()
    padding = torch.full((8, 3), float("nan"), dtype=torch.float64)

    def padded(value: Tensor) -> Tensor:
        more = padding.isinf() if value.dtype == torch.bool else padding.nan_to_num(7).to(value.dtype)
        more = padding if value.is_floating_point() else more
        return torch.cat([more, value] if side == "left" else [value, more], dim=1)

    fields = {name: padded(x) for name, x in vars(batch).items() if isinstance(x, Tensor) and x.dim() == 2}
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    long_loss, long_BT = loss_and_gradient(method, batch.changed(**fields), padded(log_probs_of(batch)))
    assert float(long_loss) == pytest.approx(float(loss), abs=1e-12)
    kept_BT = long_BT[:, 3:] if side == "left" else long_BT[:, :-3]
    torch.testing.assert_close(kept_BT, gradient_BT, rtol=0, atol=1e-12)


@every_method
def test_holes_equal_the_compacted_episode(method) -> None:
    """A tool's reply between two answers: the same gradient as if the answers stood side by side."""
    batch, mask_BT = mixed_batch(), mixed_mask()
    order_BT = (~mask_BT).long().argsort(dim=1, stable=True)

    def compact(value: Tensor) -> Tensor:
        return value.gather(1, order_BT)

    fields = {name: compact(x) for name, x in vars(batch).items() if isinstance(x, Tensor) and x.dim() == 2}
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    compact_loss, compact_BT = loss_and_gradient(method, batch.changed(**fields), compact(log_probs_of(batch)))
    assert float(compact_loss) == pytest.approx(float(loss), abs=1e-12)
    torch.testing.assert_close(compact_BT, compact(gradient_BT), rtol=0, atol=1e-12)


@every_method
def test_excluded_rows_are_as_if_they_were_not_there(method) -> None:
    batch = mixed_batch()
    excluded_B = torch.tensor([False, True, False, True, False, False, False, False])
    kept_B = torch.nonzero(~excluded_B)[:, 0]
    loss, gradient_BT = loss_and_gradient(method, batch.without(excluded_B), log_probs_of(batch))
    kept_loss, kept_BT = loss_and_gradient(method, batch.rows(kept_B), log_probs_of(batch)[kept_B])
    assert float(loss) == pytest.approx(float(kept_loss), abs=1e-12)
    torch.testing.assert_close(gradient_BT[kept_B], kept_BT, rtol=0, atol=1e-12)
    assert bool((gradient_BT[excluded_B] == 0).all())


@every_method
def test_a_batch_without_any_action_has_loss_zero(method) -> None:
    batch = mixed_batch().without(torch.ones(8, dtype=torch.bool))
    loss, gradient_BT = loss_and_gradient(method, batch, log_probs_of(batch))
    assert float(loss) == 0 and bool((gradient_BT == 0).all())


@every_method
def test_learns_from_names_the_rows_that_have_a_gradient(method) -> None:
    batch = method.with_advantages(mixed_batch())
    _, gradient_BT = loss_and_gradient(method, mixed_batch(), log_probs_of(batch))
    learns_B = method.learns_from(batch)
    assert not bool((gradient_BT[~learns_B] != 0).any())
    assert not bool(learns_B[4])
    if method.reference_kl is None and method.objective == REINFORCE.objective:
        assert torch.equal(learns_B, (gradient_BT != 0).any(1))


def test_rows_without_spread_teach_nothing_unless_a_kl_stands_in_the_loss() -> None:
    batch = mixed_batch()
    same = batch.changed(rewards_BT=torch.where(batch.rewards_BT != 0, 0.1, 0.0).double())
    without_kl, with_kl = GRPO.changed(reference_kl=None), GRPO
    assert not bool(without_kl.learns_from(without_kl.with_advantages(same)).any())
    assert torch.equal(with_kl.learns_from(with_kl.with_advantages(same)), batch.counted_B())


# --- the first update ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [GRPO, GRPO.changed(reference_kl=None), REINFORCE.changed(objective=ClippedSurrogate())]
)
def test_at_the_first_update_the_ratio_is_exactly_one(method) -> None:
    batch = mixed_batch()
    log_probs_BT = log_probs_of(batch)
    given_old = batch.changed(old_log_probs_BT=log_probs_BT.clone())
    without_old = batch.changed(old_log_probs_BT=None)
    found = [loss_and_gradient(method, b, log_probs_BT) for b in (without_old, given_old)]
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    for b in (without_old, given_old):
        with_advantages = method.with_advantages(b)
        objective_BT = method.objective(with_advantages, log_probs_BT)
        assert torch.equal(objective_BT, -with_advantages.advantages_BT)  # -ρA with ρ exactly 1
        diagnostics = method.objective.diagnostics(with_advantages, log_probs_BT)
        assert not any(bool(binds_BT.any()) for binds_BT in diagnostics.values())


def test_old_log_probs_at_another_temperature_are_not_ratio_one() -> None:
    """Negative control: the rollout's temperature forgotten when its log-probs are taken again."""
    batch = mixed_batch()
    logits_BTV = normal(1, (8, 6, 5))
    actions_BT1 = (torch.arange(48).reshape(8, 6, 1)) % 5

    def log_probs_at(temperature: float) -> Tensor:
        return (logits_BTV / temperature).log_softmax(-1).gather(2, actions_BT1)[:, :, 0]

    sampled = GRPO.with_advantages(batch.changed(old_log_probs_BT=log_probs_at(0.7)))
    right_BT = GRPO.objective(sampled, log_probs_at(0.7))
    wrong_BT = GRPO.objective(sampled, log_probs_at(1.0))
    assert torch.equal(right_BT, -sampled.advantages_BT)
    assert float((wrong_BT + sampled.advantages_BT).abs().max()) > 0.01


def test_the_gradient_at_the_first_update_is_the_score_functions() -> None:
    batch = mixed_batch().changed(old_log_probs_BT=None)
    clipped = loss_and_gradient(GRPO.changed(reference_kl=None), batch, log_probs_of(batch))[1]
    plain = GRPO.changed(reference_kl=None, objective=REINFORCE.objective)
    torch.testing.assert_close(clipped, loss_and_gradient(plain, batch, log_probs_of(batch))[1], rtol=0, atol=0)


# --- a method is data -----------------------------------------------------------------------------------------------


def test_a_method_cannot_be_overwritten() -> None:
    for method in METHODS.values():
        with pytest.raises(dataclasses.FrozenInstanceError):
            method.summary = ""  # type: ignore[misc]
        for slot in dataclasses.fields(method):
            part = getattr(method, slot.name)
            if dataclasses.is_dataclass(part) and dataclasses.fields(part):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(part, dataclasses.fields(part)[0].name, 0)


def test_changed_makes_a_child_and_leaves_the_parent() -> None:
    child = GRPO.changed(name="two", num_minibatches=2)
    assert (child.parent, child.num_minibatches, child.advantage) == ("grpo", 2, GRPO.advantage)
    assert GRPO.num_minibatches == 1 and GRPO.parent == "ppo"
    assert GRPO.changed(parent=None).parent is None
    with pytest.raises(TypeError):
        GRPO.changed(clip=0.2)


def test_advantages_carry_no_gradient() -> None:
    batch = mixed_batch()
    old_BT = batch.old_log_probs_BT.clone().requires_grad_()
    assert not RLOO.with_advantages(batch.changed(old_log_probs_BT=old_BT)).advantages_BT.requires_grad


def test_when_old_log_probs_are_needed() -> None:
    assert RLOO.needs_old_log_probs()  # its KL is in the reward
    assert not GRPO.needs_old_log_probs()  # one update: the current ones are the old ones
    assert GRPO.changed(num_minibatches=2).needs_old_log_probs()
    assert GRPO.changed(num_epochs=3).updates_per_rollout() == 3
    assert not REINFORCE.needs_old_log_probs()


def test_named_methods_have_no_problems() -> None:
    for method in METHODS.values():
        assert method.problems() == [], method.name


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (GRPO.changed(samples_per_prompt=1), ["samples_per_prompt", "GroupNormalized"]),
        (RLOO.changed(samples_per_prompt=1), ["samples_per_prompt", "EpisodeReturn"]),
        (GRPO.changed(samples_per_prompt=0), ["method.samples_per_prompt: got 0"]),
        (GRPO.changed(num_epochs=0), ["method.num_epochs: got 0"]),
        (GRPO.changed(num_minibatches=-1), ["method.num_minibatches: got -1"]),
        (REINFORCE.changed(num_epochs=2), ["num_epochs", "num_minibatches", "ScoreFunction", "ratio"]),
        (REINFORCE_BASELINE.changed(num_minibatches=2), ["1 x 2", "ScoreFunction"]),
    ],
)
def test_impossible_combinations_are_named(method: PolicyGradient, words: list[str]) -> None:
    problems = method.problems()
    assert len(problems) == 1
    assert all(word in problems[0] for word in words), problems[0]


def test_every_problem_is_named_at_once() -> None:
    method = REINFORCE.changed(samples_per_prompt=0, num_epochs=2, num_minibatches=0)
    assert len(method.problems()) == 2
    both = RLOO.changed(samples_per_prompt=1, num_epochs=2)
    assert len(both.problems()) == 2


def test_a_method_that_needs_a_reference_says_so_when_it_is_missing() -> None:
    batch = mixed_batch().changed(reference_log_probs_BT=None)
    with pytest.raises(AssertionError, match="reference"):
        RLOO.with_advantages(batch)
    method = REINFORCE.changed(reference_kl=KLInLoss(), aggregation=PerEpisode())
    with pytest.raises(AssertionError, match="reference"):
        method.losses(method.with_advantages(batch), log_probs_of(batch))

"""The instrument itself: it must be right before it may judge anything."""

from __future__ import annotations

import pytest
import torch
from enumeration import kl_by_prefix, reached_PN

from rung.lab.referee.closed_forms import constant, optimum_PS, total_variation
from rung.lab.referee.estimates import all_batches, compare, expected_gradient
from rung.lab.referee.world import END, Tree, entropy, expected_return, gradient, kl, random_world
from rung.methods.grpo import GRPO
from rung.methods.reinforce import REINFORCE_BASELINE


def test_tree_lists_every_sequence_once() -> None:
    tree = Tree(3, 3)
    assert len(tree.sequences) == len(set(tree.sequences)) == 15
    assert len(tree.prefixes) == 7
    assert (END,) in tree.sequences and (1, END) in tree.sequences and (1, 2, 1) in tree.sequences
    assert all(END not in sequence[:-1] for sequence in tree.sequences)
    assert sorted(len(sequence) for sequence in Tree(8, 2).sequences) == [1] + [2] * 56


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    world = random_world(prompts=3)
    torch.testing.assert_close(world.probs_PS().sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-15)
    one = world.log_probs_PS(world.logits_PNV)[0, world.tree.sequences.index((1, 2, 0))]
    rows = world.logits_PNV[0].log_softmax(-1)
    prefixes = world.tree.prefixes
    torch.testing.assert_close(one, rows[prefixes[()], 1] + rows[prefixes[(1,)], 2] + rows[prefixes[(1, 2)], 0])


def test_probabilities_of_all_batches_sum_to_one_and_orders_do_not_matter() -> None:
    world = random_world(prompts=2, tree=Tree(2, 3))
    for samples in (1, 2, 3):
        for ordered in (False, True):
            total = sum(probability for probability, _ in all_batches(world, samples, ordered=ordered))
            assert total == pytest.approx(1.0, abs=1e-14)
    one = random_world(tree=Tree(3, 2))
    for method in (REINFORCE_BASELINE, GRPO):
        for samples in (2, 3):
            listed = expected_gradient(method, one, samples, ordered=True)
            torch.testing.assert_close(expected_gradient(method, one, samples), listed, rtol=0, atol=1e-13)


@pytest.mark.parametrize("function", [expected_return, kl, entropy])
def test_true_gradients_agree_with_finite_differences(function) -> None:
    world = random_world(3)
    true = gradient(function, world)
    step = 1e-6
    for prefix in range(true.shape[1]):
        for token in range(true.shape[2]):
            change = torch.zeros_like(world.logits_PNV)
            change[0, prefix, token] = step
            slope = (function(world, world.logits_PNV + change) - function(world, world.logits_PNV - change)) / 2 / step
            assert float(slope) == pytest.approx(float(true[0, prefix, token]), abs=1e-8)


def test_kl_by_prefix_has_the_value_of_the_sequence_kl() -> None:
    world = random_world(1)
    assert float(kl_by_prefix(world, world.logits_PNV)) == pytest.approx(float(kl(world)), abs=1e-14)
    assert reached_PN(world)[0, world.tree.prefixes[()]] == pytest.approx(1.0)


def test_optimum_has_no_gradient_left_and_no_neighbour_is_better() -> None:
    world, beta = random_world(2, rewards="final"), 0.5
    best_S = optimum_PS(world, beta)[0]
    reference_S, returns_S = world.probs_PS(world.reference_PNV)[0], world.returns_PS()[0]

    def height(probs_S: torch.Tensor) -> float:
        return float((probs_S * (returns_S - beta * (probs_S / reference_S).log())).sum())

    assert height(best_S) == pytest.approx(float(beta * (reference_S * (returns_S / beta).exp()).sum().log()))
    for other_S in (reference_S, world.probs_PS()[0], 0.99 * best_S + 0.01 / len(best_S)):
        assert height(other_S) < height(best_S)
        assert total_variation(other_S[None], best_S[None]) > 0


def test_compare_tells_a_multiple_from_another_direction() -> None:
    true = torch.tensor([3.0, 4.0], dtype=torch.float64)
    twice = compare(2 * true, true)
    assert (twice.ratio, twice.cosine, twice.relative_error, twice.off_direction) == pytest.approx((2, 1, 1, 0))
    across = compare(torch.tensor([-4.0, 3.0], dtype=torch.float64), true)
    assert (across.ratio, across.cosine, across.off_direction) == pytest.approx((0, 0, 1))
    assert compare(0 * true, true).relative_error == 1


def test_constant_in_closed_form() -> None:
    for p in (0.01, 0.3, 0.5, 0.9):
        assert constant(p, 2) == pytest.approx(1)
        assert constant(p, 3) == pytest.approx(2**0.5)
        assert constant(p, 4) == pytest.approx(3**0.5 + (3 - 2 * 3**0.5) * p * (1 - p))
        assert constant(p, 2, ddof=1) == pytest.approx(0.5**0.5)
    assert constant(0.2, 800) == pytest.approx((0.2 * 0.8) ** -0.5, rel=2e-3)

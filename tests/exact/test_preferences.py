"""Where losses on preferences end, on all pairs of all sequences: DPO where KL-regularised RL ends, others elsewhere.

Each loss goes through its real part; pairs are weighed by their probability, so nothing is sampled.
"""

from __future__ import annotations

import pytest
import torch
from enumeration import climb
from torch import Tensor

from rung.lab.referee.closed_forms import optimum_PS, total_variation
from rung.lab.referee.world import Tree, World, random_world
from rung.methods.parts.preference_losses import (
    Answers,
    ConservativeDPOLoss,
    DPOLoss,
    DPOWithLikelihood,
    IPOLoss,
    KTOLoss,
    RobustDPOLoss,
    SimPOLoss,
)
from rung.methods.parts.protocols import PreferenceLoss
from rung.methods.parts.reference_kl import K1, KLInReward
from rung.methods.reinforce import REINFORCE

BETA, FLIPPED = 0.5, 0.2
SMALL = Tree(3, 2)


def all_pairs(sequences: int) -> Tensor:
    """[M, 2] every ordered pair of different sequences."""
    return torch.tensor([(w, other) for w in range(sequences) for other in range(sequences) if w != other])


def bradley_terry_M(world: World, pairs_M2: Tensor) -> Tensor:
    """The probability that the first of the two is preferred, by the world's own returns."""
    returns_S = world.returns_PS()[0]
    return torch.sigmoid(returns_S[pairs_M2[:, 0]] - returns_S[pairs_M2[:, 1]])


def answers_of(world: World, logits_PNV: Tensor, pairs_M2: Tensor) -> Answers:
    values_S = world.log_probs_PS(logits_PNV)[0]
    return Answers(
        values_B=values_S,
        reference_B=world.log_probs_PS(world.reference_PNV)[0],
        lengths_B=world.tree.lengths_S.double(),
        desirable_B=torch.ones(len(values_S), dtype=torch.bool),
        pairs_M2=pairs_M2,
        at_least_M=torch.zeros(len(pairs_M2), dtype=torch.float64),
    )


def ends_PS(loss: PreferenceLoss, world: World, pairs_M2: Tensor, weights_M: Tensor) -> Tensor:
    """The sequence probabilities [1, S] at which the weighted loss is least, found from π_ref."""
    logits_PNV = world.reference_PNV.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits_PNV],
        max_iter=2000,
        max_eval=4000,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = (weights_M * loss(answers_of(world, logits_PNV, pairs_M2))).sum()
        total.backward()
        return total

    optimizer.step(closure)
    return world.probs_PS(logits_PNV.detach())


def flipped_M(truth_M: Tensor) -> Tensor:
    return (1 - FLIPPED) * truth_M + FLIPPED * (1 - truth_M)


@pytest.fixture(params=range(3))
def world(request: pytest.FixtureRequest) -> World:
    return random_world(request.param, rewards="final", tree=SMALL)


def test_dpo_ends_where_kl_regularised_rl_ends(world: World) -> None:
    pairs_M2 = all_pairs(len(SMALL.sequences))
    best_PS = optimum_PS(world, BETA)
    found_PS = ends_PS(DPOLoss(BETA), world, pairs_M2, bradley_terry_M(world, pairs_M2))
    assert total_variation(world.probs_PS(world.reference_PNV), best_PS) > 0.1
    assert total_variation(found_PS, best_PS) < 1e-4
    climbed_PS = climb(REINFORCE.changed(reference_kl=KLInReward(BETA, K1())), world, 1, steps=160, rate=0.15)
    assert total_variation(found_PS, climbed_PS) < 0.01


@pytest.mark.parametrize("loss", [DPOLoss(2 * BETA), SimPOLoss(), DPOLoss(BETA, per_token=True)])
def test_others_end_elsewhere(loss: PreferenceLoss) -> None:
    """Negative control: another beta, no reference, or a mean over tokens has another optimum."""
    world = random_world(0, rewards="final", tree=SMALL)
    pairs_M2 = all_pairs(len(SMALL.sequences))
    found_PS = ends_PS(loss, world, pairs_M2, bradley_terry_M(world, pairs_M2))
    assert total_variation(found_PS, optimum_PS(world, BETA)) > 0.02


def test_robust_dpo_ends_at_dpos_optimum_although_labels_are_flipped(world: World) -> None:
    pairs_M2 = all_pairs(len(SMALL.sequences))
    labels_M = flipped_M(bradley_terry_M(world, pairs_M2))
    best_PS = optimum_PS(world, BETA)
    assert total_variation(ends_PS(RobustDPOLoss(BETA, FLIPPED), world, pairs_M2, labels_M), best_PS) < 1e-4
    assert total_variation(ends_PS(DPOLoss(BETA), world, pairs_M2, labels_M), best_PS) > 0.02


def test_robust_dpo_is_unbiased_in_value_and_gradient(world: World) -> None:
    """Its mean over flipped labels is DPO's over true ones, at any policy, pair by pair."""
    pairs_M2 = all_pairs(len(SMALL.sequences))
    turned_M2 = pairs_M2.flip(1)
    truth_M = bradley_terry_M(world, pairs_M2)

    def mean(loss: PreferenceLoss, labels_M: Tensor) -> tuple[Tensor, Tensor]:
        logits_PNV = world.logits_PNV.clone().requires_grad_()
        right_M = loss(answers_of(world, logits_PNV, pairs_M2))
        wrong_M = loss(answers_of(world, logits_PNV, turned_M2))
        losses_M = labels_M * right_M + (1 - labels_M) * wrong_M
        return losses_M.detach(), torch.autograd.grad(losses_M.sum(), logits_PNV)[0]

    for robust, plain in zip(
        mean(RobustDPOLoss(BETA, FLIPPED), flipped_M(truth_M)), mean(DPOLoss(BETA), truth_M), strict=True
    ):
        torch.testing.assert_close(robust, plain, rtol=1e-10, atol=1e-10)
    biased, _ = mean(DPOLoss(BETA), flipped_M(truth_M))
    assert not torch.allclose(biased, mean(DPOLoss(BETA), truth_M)[0], rtol=1e-3)


def test_cdpo_ends_where_the_margins_say_its_share_of_flips(world: World) -> None:
    """One sequence always preferred to each other one: σ(β h) = 1 - ε, so π is π_ref with that sequence's odds times
    (1/ε - 1)^(1/β). DPO has no optimum there: its margins grow for ever."""
    others = range(1, len(SMALL.sequences))
    pairs_M2 = torch.tensor([(0, other) for other in others])
    found_PS = ends_PS(ConservativeDPOLoss(BETA, FLIPPED), world, pairs_M2, torch.ones(len(pairs_M2)))
    wanted_PS = world.probs_PS(world.reference_PNV).clone()
    wanted_PS[0, 0] *= (1 / FLIPPED - 1) ** (1 / BETA)
    wanted_PS /= wanted_PS.sum()
    assert total_variation(found_PS, wanted_PS) < 1e-4
    dpo_PS = ends_PS(DPOLoss(BETA), world, pairs_M2, torch.ones(len(pairs_M2)))
    assert float(dpo_PS[0, 0]) > 0.99 > float(wanted_PS[0, 0])


def test_ipo_ends_at_its_own_optimum(world: World) -> None:
    """π ∝ π_ref exp(E_{y'~μ}[p(y > y')] / τ) for pairs drawn from μ twice: the identity stands where DPO has the logit
    (arXiv:2310.12036)."""
    tau, sequences = 0.3, len(SMALL.sequences)
    weights_S = torch.softmax(torch.linspace(0.0, 1.0, sequences, dtype=torch.float64), 0)
    pairs_M2 = all_pairs(sequences)
    drawn_M = weights_S[pairs_M2[:, 0]] * weights_S[pairs_M2[:, 1]]
    truth_M = bradley_terry_M(world, pairs_M2)
    found_PS = ends_PS(IPOLoss(tau), world, pairs_M2, drawn_M * truth_M)
    wins_S = 0.5 * weights_S
    wins_S = wins_S.index_add(0, pairs_M2[:, 0], weights_S[pairs_M2[:, 1]] * truth_M)
    wanted_PS = world.probs_PS(world.reference_PNV) * (wins_S / tau).exp()
    wanted_PS = wanted_PS / wanted_PS.sum()
    assert total_variation(world.probs_PS(world.reference_PNV), wanted_PS) > 0.05
    assert total_variation(found_PS, wanted_PS) < 1e-4
    assert total_variation(ends_PS(DPOLoss(tau), world, pairs_M2, drawn_M * truth_M), wanted_PS) > 0.02


def test_certain_labels_leave_ipo_finite() -> None:
    """One pair, always labelled alike: the margin ends at exactly 1/(2τ)."""
    world, pairs_M2 = random_world(0, rewards="final", tree=SMALL), torch.tensor([(0, 1)])
    found_PS = ends_PS(IPOLoss(0.5), world, pairs_M2, torch.ones(1))
    start_PS = world.probs_PS(world.reference_PNV)
    h = (found_PS[0, 0] / start_PS[0, 0]).log() - (found_PS[0, 1] / start_PS[0, 1]).log()
    assert float(h) == pytest.approx(1.0, abs=1e-4)


def test_ktos_push_is_largest_at_its_anchor() -> None:
    """The gradient of 1 - σ(β(r - z)) is -β σ(1 - σ): a quarter of β at r = z, less on both sides."""
    log_ratios_B = torch.tensor([-20.0, 1.5, 20.0], dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(3, dtype=torch.float64)
    answers = Answers(
        values_B=log_ratios_B,
        reference_B=nothing,
        lengths_B=nothing + 1,
        desirable_B=torch.ones(3, dtype=torch.bool),
        pairs_M2=torch.zeros(0, 2, dtype=torch.int64),
        at_least_M=torch.zeros(0),
        anchor=1.5,
    )
    (gradient_B,) = torch.autograd.grad(KTOLoss(beta=0.4)(answers).sum(), log_ratios_B)
    assert float(gradient_B[1]) == pytest.approx(-0.1)
    assert float(gradient_B[0].abs()) < 0.01 > float(gradient_B[2].abs())


def test_dpo_beside_likelihood_ends_elsewhere_and_keeps_the_chosen_answers_likely(world: World) -> None:
    """Its stated bias: the second term draws to the chosen answers whatever the reference says. Without it, DPO's own
    end. It does what it is for: of one pair, DPO is content while the chosen answer grows less likely; this is not."""
    pairs_M2 = all_pairs(len(SMALL.sequences))
    labels_M, best_PS = bradley_terry_M(world, pairs_M2), optimum_PS(world, BETA)
    plain_PS = ends_PS(DPOWithLikelihood(BETA, weight=0.0), world, pairs_M2, labels_M)
    assert total_variation(plain_PS, best_PS) < 1e-4
    found_PS = ends_PS(DPOWithLikelihood(BETA, weight=1.0), world, pairs_M2, labels_M)
    assert total_variation(found_PS, best_PS) > 0.02
    chosen_S = torch.zeros(len(SMALL.sequences), dtype=torch.float64).index_add(0, pairs_M2[:, 0], labels_M)
    likelihood = (chosen_S / SMALL.lengths_S * found_PS[0].log()).sum() - (
        chosen_S / SMALL.lengths_S * plain_PS[0].log()
    ).sum()
    assert float(likelihood) > 0

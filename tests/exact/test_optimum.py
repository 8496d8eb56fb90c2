"""Where exact ascent ends: the closed-form optimum of the KL-regularised return, or somewhere else."""

from __future__ import annotations

import pytest
from enumeration import climb

from rung.lab.referee.closed_forms import optimum_PS, total_variation
from rung.lab.referee.world import Tree, random_world
from rung.methods.parts.advantages import GroupCentred
from rung.methods.parts.reference_kl import K1, K3, KLInLoss, KLInReward
from rung.methods.reinforce import REINFORCE, RLOO

BETA = 0.5


@pytest.mark.parametrize(
    ("method", "samples", "tree"),
    [
        (REINFORCE.changed(reference_kl=KLInReward(BETA, K1())), 1, Tree(3, 2)),
        (RLOO.changed(reference_kl=KLInReward(BETA, K1())), 2, Tree(2, 3)),
        (RLOO.changed(advantage=GroupCentred(), reference_kl=KLInReward(BETA, K1())), 2, Tree(2, 3)),
    ],
)
def test_k1_in_the_reward_ends_at_the_optimum(method, samples: int, tree: Tree) -> None:
    world = random_world(0, rewards="final", tree=tree)
    best_PS = optimum_PS(world, BETA)
    assert total_variation(world.probs_PS(world.reference_PNV), best_PS) > 0.2
    assert total_variation(climb(method, world, samples, steps=100, rate=0.2), best_PS) < 0.01


def test_grpos_kl_in_the_loss_ends_elsewhere() -> None:
    """Negative control, and a fact about GRPO: with k3 in the loss the end is another policy."""
    world = random_world(0, rewards="final", tree=Tree(3, 2))
    method = REINFORCE.changed(reference_kl=KLInLoss(BETA, K3()))
    assert total_variation(climb(method, world, 1, steps=100, rate=0.2), optimum_PS(world, BETA)) > 0.05

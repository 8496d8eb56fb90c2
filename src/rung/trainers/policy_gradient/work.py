"""Floating-point operations of a policy gradient."""

from __future__ import annotations

from rung.methods import PolicyGradient
from rung.methods.parts.protocols import fact
from rung.trainers.work import Work

FISHER = 12.0
"""Operations a token and weight of a Fisher-vector product: it differentiates twice, as much as two gradients."""


def work(method: PolicyGradient, *, policy: int, critic: int, trained: int) -> Work:
    """A policy gradient. A generated token: one forward pass of the policy. A trained token, counted once a rollout:
    for each epoch forward and backward of policy and critic, and a forward pass more where the objective picks its
    tokens among all of an update's; once more forward for the log-probs and values before the first update, for the
    reference, and for a KL penalty that adapts; for a natural gradient also the Fisher-vector products on their share
    of the rows, the line search's first try (the new loss and KL) and the critic's own epochs. Steps in which the
    critic learns alone count like the others.

    Args:
        policy, critic: weights that a token goes through.
        trained: of both together, those that get a gradient (fewer than all with LoRA).

    >>> from rung.methods import METHODS
    >>> work(METHODS["reinforce"], policy=100, critic=0, trained=100)
    Work(generated=200.0, trained=600.0, reference=0.0)
    """
    both = policy + critic
    learning = 4.0 * both + 2.0 * trained + (2.0 * policy if method.chooses_tokens else 0.0)
    before = 2.0 * both if method.needs_old_log_probs() or critic else 0.0
    reference = 2.0 * policy if method.reference_kl is not None else 0.0
    adapting = fact(method.objective, "target", None) is not None
    once = before + reference + (2.0 * policy if adapting else 0.0)
    trust = method.trust_region()
    if trust is not None:
        products = trust.iterations + 1  # the last one measures the step's length
        fisher = products * trust.fisher_share * FISHER * policy
        search = 2 * 2.0 * policy
        critics = trust.num_critic_epochs * 6.0 * critic
        return Work(generated=2.0 * policy, trained=once + 6.0 * policy + fisher + search + critics)
    return Work(generated=2.0 * policy, trained=once + method.num_epochs * learning)

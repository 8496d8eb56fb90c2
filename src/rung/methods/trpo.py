"""TRPO (Schulman et al. 2015): the longest natural-gradient step inside a bound on the KL divergence."""

from __future__ import annotations

from rung.methods.actor_critic import ACTOR_CRITIC
from rung.methods.parts.advantages import GAE
from rung.methods.parts.aggregations import Whiten
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.objectives import Surrogate
from rung.methods.parts.optimizers import NaturalGradient

TRPO = ACTOR_CRITIC.changed(
    name="trpo",
    paper="arXiv:1502.05477",
    summary="The longest step that keeps the policy within a KL bound of the old one, so no step can ruin it.",
    horizon=1024,
    critic=ValueFunction(separate=True, coefficient=0.5),
    advantage=GAE(discount=0.99, lam=0.98),
    whiten=Whiten(),
    objective=Surrogate(),
    entropy_bonus=0.0,
    optimizer=NaturalGradient(max_kl=0.01, iterations=10, damping=0.1, num_critic_epochs=5, num_critic_minibatches=16),
    deviations=(
        "The paper estimates returns by single paths or vines; GAE with λ 0.98 and a critic are OpenAI Baselines'.",
        "Damping 0.1, ten lengths tried (9 halvings), KL accepted up to 1.5 times the bound and F at every fifth step "
        "are Baselines' too; the paper takes F on a tenth. Of text F is at every fifth row.",
        "Advantages are whitened over the batch; the paper does not say so.",
        "The critic's 5 passes of 16 minibatches, 64 steps each of 1024, are Baselines'; the paper does not say. Its "
        "gradient is kept to a norm of 1, which Baselines does not do.",
    ),
)

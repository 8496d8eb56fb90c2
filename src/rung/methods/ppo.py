"""PPO (Schulman et al. 2017): TRPO's trust region as a clip, so that plain gradient steps suffice."""

from __future__ import annotations

from rung.methods.parts.advantages import GAE
from rung.methods.parts.aggregations import Whiten
from rung.methods.parts.objectives import ClippedSurrogate, KLPenalty
from rung.methods.parts.optimizers import AdamW
from rung.methods.trpo import TRPO

PPO = TRPO.changed(
    name="ppo",
    paper="arXiv:1707.06347",
    summary="Many small gradient steps on one rollout, and no gain from moving an action's probability past a clip.",
    horizon=2048,
    advantage=GAE(discount=0.99, lam=0.95),
    whiten=Whiten(per_minibatch=True),
    objective=ClippedSurrogate(low=0.2, high=0.2),
    optimizer=AdamW(learning_rate=3e-4, epsilon=1e-5, max_grad_norm=0.5),
    num_epochs=10,
    num_minibatches=32,
    deviations=(
        "Whitening by minibatch, Adam's epsilon 1e-5 and the gradient norm bound 0.5 are of the released code (OpenAI "
        "Baselines); the paper does not state them.",
        "The value loss has the coefficient 0.5; with a critic of its own it only scales against the norm bound.",
        "The learning rate stays; method.optimizer.anneal=true lets it fall.",
    ),
)

PPO_KL = PPO.changed(
    name="ppo_kl",
    summary="PPO with a penalty in place of the clip: β KL(π_old ‖ π), β doubled or halved to keep to a target.",
    objective=KLPenalty(coefficient=1.0, target=0.01),
    deviations=(
        *PPO.deviations,
        "The KL is estimated by ρ - 1 - log ρ on the rollout's own actions, which is unbiased in value and gradient.",
    ),
)

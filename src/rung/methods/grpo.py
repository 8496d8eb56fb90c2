"""GRPO (Shao et al. 2024, DeepSeekMath): one prompt's rewards, normalised by their own mean and deviation. Its family,
in variants.yaml, is one or two slots away."""

from __future__ import annotations

from rung.methods.parts.advantages import GroupNormalized
from rung.methods.parts.aggregations import PerSequence
from rung.methods.parts.optimizers import AdamW
from rung.methods.parts.reference_kl import K3, KLInLoss
from rung.methods.ppo import PPO

GRPO = PPO.changed(
    name="grpo",
    paper="arXiv:2402.03300",
    summary="PPO's clipped step without a critic: a sample's advantage compares it with its prompt's others.",
    samples_per_prompt=64,
    horizon=None,
    reference_kl=KLInLoss(coefficient=0.04, estimator=K3()),
    critic=None,
    advantage=GroupNormalized(),
    whiten=None,
    aggregation=PerSequence(),
    optimizer=AdamW(learning_rate=1e-6),
    num_epochs=1,
    num_minibatches=1,
    deviations=(
        "The paper never states the clip; 0.2 is PPO's. With one update a rollout the ratio is 1 and no clip binds.",
        "1e-6 is added to the standard deviation, and equal rewards give exactly 0; the paper says neither.",
        "The paper does not say which standard deviation; ours is the population's (ddof 0).",
        "AdamW's moments, weight decay 0 and gradient norm bound 1 are ours; the learning rate 1e-6 is the paper's.",
    ),
)

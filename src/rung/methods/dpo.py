"""DPO (Rafailov et al. 2023). Other losses on pairs of answers, and the reward model, are rows of variants.yaml."""

from __future__ import annotations

from rung.methods.parts.optimizers import RMSprop
from rung.methods.parts.preference_losses import DPOLoss
from rung.methods.preference_learning import PreferenceLearning

DPO = PreferenceLearning(
    name="dpo",
    paper="arXiv:2305.18290",
    summary="Learn from preferred answers without a reward model: the policy's log-ratio to its start is the reward.",
    loss=DPOLoss(beta=0.1),
    optimizer=RMSprop(learning_rate=1e-6, alpha=0.99, epsilon=1e-8, warmup_steps=150, max_grad_norm=10.0),
    pairs_per_step=64,
    deviations=(
        "RMSprop's alpha 0.99, epsilon 1e-8 and the gradient norm bound 10 are of the released code; the paper does "
        "not state them.",
        "The reference is the model that the run starts from; the paper first fine-tunes it on the chosen answers "
        "where the model that wrote the pairs is not known (`rung sft`).",
    ),
)

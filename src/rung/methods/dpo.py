"""DPO (Rafailov et al. 2023) and what changes only its loss on the margin: IPO, cDPO, robust DPO, LN-DPO."""

from __future__ import annotations

from rung.methods.parts.optimizers import AdamW, RMSprop
from rung.methods.parts.preference_losses import ConservativeDPOLoss, DPOLoss, IPOLoss, RobustDPOLoss
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

IPO = DPO.changed(
    name="ipo",
    paper="arXiv:2310.12036",
    summary="DPO with a squared loss: the margin has a finite target, even where every label is certain.",
    loss=IPOLoss(tau=0.1),
    deviations=(
        "τ, optimizer and batch are not the paper's, which has no experiment with language models.",
        "The margin is of whole answers, as in the paper; TRL divides by each answer's length (loss.per_token).",
    ),
)

CDPO = DPO.changed(
    name="cdpo",
    paper="Mitchell 2023, A note on DPO with noisy preferences",
    summary="DPO that assumes a share of the labels to be flipped, so margins stay finite.",
    loss=ConservativeDPOLoss(beta=0.1, flipped=0.1),
    deviations=("The note names no share of flipped labels; 0.1 is ours. Everything else is DPO's.",),
)

RDPO = DPO.changed(
    name="rdpo",
    paper="arXiv:2403.00409",
    summary="DPO's loss corrected so that, with a known share of flipped labels, it is unbiased.",
    loss=RobustDPOLoss(beta=0.1, flipped=0.1),
    deviations=(
        "The share of flipped labels must be known or guessed; 0.1 is the paper's setting. Everything else is DPO's.",
    ),
)

LN_DPO = DPO.changed(
    name="ln_dpo",
    paper="arXiv:2411.15124",
    summary="DPO on log-ratios per token, so long and short answers count the same (Tülu 3).",
    loss=DPOLoss(beta=5.0, per_token=True),
    optimizer=AdamW(learning_rate=5e-7),
    pairs_per_step=128,
    deviations=("The paper's rate rises over a tenth of the run and then falls to 0; ours stays (method.optimizer).",),
)

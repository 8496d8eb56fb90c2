"""A reward model: a score of a whole answer, learnt from pairs (Bradley & Terry 1952; Stiennon et al. 2020)."""

from __future__ import annotations

from rung.methods.dpo import DPO
from rung.methods.parts.optimizers import AdamW
from rung.methods.parts.preference_losses import BradleyTerry

REWARD_MODEL = DPO.changed(
    name="reward_model",
    paper="arXiv:2009.01325",
    summary="Learn to score answers, so that the chosen one scores higher; the result is a reward for any run.",
    loss=BradleyTerry(),
    optimizer=AdamW(learning_rate=1.5e-5),
    deviations=(
        "The head begins at draws from N(0, 1/(d+1)), as in the paper; the scores are not shifted afterwards.",
        "The paper's rate follows a cosine; ours stays.",
        "The numbers of step and batch are those in common use; they were not checked against the paper's text.",
    ),
)

"""DPO (Rafailov et al. 2023), other losses on pairs of answers, and the reward model (Bradley & Terry 1952; Stiennon
et al. 2020), which scores a whole answer."""

from __future__ import annotations

from rung.methods.parts.optimizers import AdamW, RMSprop
from rung.methods.parts.preference_losses import (
    APODownLoss,
    APOZeroLoss,
    BradleyTerry,
    ConservativeDPOLoss,
    DPOLoss,
    IPOLoss,
    KTOLoss,
    ORPOLoss,
    RobustDPOLoss,
    SimPOLoss,
    Unlikelihood,
)
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


KTO = DPO.changed(
    name="kto",
    paper="arXiv:2402.01306",
    summary="Learns from answers labelled good or bad, with gains and losses as in prospect theory. No pairs needed.",
    loss=KTOLoss(beta=0.1, desirable=1.0, undesirable=1.0),
    optimizer=AdamW(learning_rate=5e-6),
    pairs_per_step=32,
    deviations=(
        "With unequal numbers of good and bad answers the paper sets λ so that λ_D n_D / (λ_U n_U) lies in 1 to 1.5; "
        "here that is yours to set (loss.desirable, loss.undesirable).",
        "The numbers of step and batch are those in common use; they were not checked against the paper's text.",
        "z is taken from the step's answers moved on by one prompt, as in the paper, without gradient.",
    ),
)

SIMPO = DPO.changed(
    name="simpo",
    paper="arXiv:2405.14734",
    summary="The mean log-prob is the reward, with a target margin; no reference is kept in memory.",
    loss=SimPOLoss(beta=2.5, target=1.4),
    optimizer=AdamW(learning_rate=1e-6),
    pairs_per_step=128,
    deviations=(
        "The authors tune β, γ and the rate for each model: 2 to 2.5, 0.25 to 1.6 and 3e-7 to 1e-6 "
        "(princeton-nlp/SimPO, README.md and training_configs). Ours are those of Llama 3 Instruct, whose γ is 0.55 β; "
        "so is the batch.",
        "The authors' rate rises over a tenth of the run and then follows a cosine to 0; ours stays.",
    ),
)

ORPO = DPO.changed(
    name="orpo",
    paper="arXiv:2403.07691",
    summary="Fine-tuning and preference in one stage: the chosen answer's likelihood and the odds ratio of the two.",
    loss=ORPOLoss(weight=0.1),
    optimizer=AdamW(learning_rate=5e-6, warmup_steps=200, inverse_sqrt=True),
    pairs_per_step=32,
    deviations=(
        "The likelihood is a mean over the answer's tokens, as in the paper; TRL takes the prompt's tokens too.",
        "λ, rate, warm-up, schedule and batch (8 pairs on each of 4 GPUs) are of the authors' script of "
        "Mistral-ORPO-β, xfactlab/orpo: scripts/run_mistral_orpo_beta.sh.",
        "Their rate begins at 0 and ours at a 200th.",
    ),
)

APO_ZERO = DPO.changed(
    name="apo_zero",
    paper="arXiv:2408.06266",
    summary="Anchored: chosen answers up, rejected ones down; for answers better than the policy's own.",
    loss=APOZeroLoss(beta=0.1),
    deviations=("Optimizer, rate and batch are DPO's.",),
)

APO_DOWN = DPO.changed(
    name="apo_down",
    paper="arXiv:2408.06266",
    summary="Anchored: both answers down, the rejected more; for answers worse than the policy's own.",
    loss=APODownLoss(beta=0.1),
    deviations=("Optimizer, rate and batch are DPO's.",),
)

UNLIKELIHOOD = DPO.changed(
    name="unlikelihood",
    paper="arXiv:2305.18290, section 6",
    summary="The baseline of the DPO paper: fine-tune on the chosen answers and away from the rejected ones.",
    loss=Unlikelihood(alpha=0.5),
    deviations=(
        "The paper tries α of 0.05, 0.1, 0.5 and 1; α 0 is its Preferred-FT. Optimizer and batch are DPO's.",
        "The log-prob is of whole answers; the loss has no lower bound for α above 0.",
    ),
)


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

"""GRPO (Shao et al. 2024, DeepSeekMath): one prompt's rewards, normalised by their own mean and deviation. Its family
is one or two slots away."""

from __future__ import annotations

from rung.methods.parts.advantages import (
    GroupCentred,
    GroupCentredBatchScaled,
    GroupNormalized,
    GroupRelative,
    ProcessNormalized,
)
from rung.methods.parts.aggregations import PerConstantLength, PerSequence, PerToken
from rung.methods.parts.chosen_tokens import ClipCov, KLCov
from rung.methods.parts.filters import AccuraciesDiffer
from rung.methods.parts.objectives import ClippedWeight, SequenceClippedSurrogate
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

DR_GRPO = GRPO.changed(
    name="dr_grpo",
    paper="arXiv:2503.20783",
    summary="GRPO without its two biases: no division by the deviation, none by the answer's own length.",
    reference_kl=None,
    advantage=GroupCentred(),
    aggregation=PerConstantLength(),
    deviations=(
        "The constant length is a setting (1024), the paper's is the generation limit.",
        "Samples a prompt, clip and learning rate are GRPO's here.",
    ),
)


GSPO = GRPO.changed(
    name="gspo",
    paper="arXiv:2507.18071",
    summary="GRPO with one ratio and one clip per sequence, because the reward is per sequence.",
    reference_kl=None,
    objective=SequenceClippedSurrogate(low=3e-4, high=4e-4),
    num_minibatches=4,
    deviations=("Samples a prompt and learning rate are GRPO's; the paper does not state them.",),
)

CISPO = GRPO.changed(
    name="cispo",
    paper="arXiv:2506.13585",
    summary="Clips the importance weight and never the token's loss, so rare, decisive tokens keep their gradient.",
    reference_kl=None,
    objective=ClippedWeight(high=5.0),
    aggregation=PerToken(),
    num_minibatches=16,
    deviations=(
        "The paper tunes the upper bound without stating it; 5 is TRL's. Learning rate and samples are GRPO's.",
    ),
)

LITE_PPO = GRPO.changed(
    name="lite_ppo",
    paper="arXiv:2508.08221",
    summary="GRPO with two changes: the standard deviation of the whole batch, and equal weight per token.",
    reference_kl=None,
    advantage=GroupCentredBatchScaled(),
    aggregation=PerToken(),
    deviations=("Samples a prompt and learning rate are GRPO's.",),
)

MAXRL = GRPO.changed(
    name="maxrl",
    paper="arXiv:2602.02710",
    summary="Advantages divided by the success rate: in expectation the gradient of the log-likelihood of success.",
    reference_kl=None,
    advantage=GroupRelative(),
    deviations=("Samples a prompt, clip and learning rate are GRPO's.",),
)

COV_SCRIPTS = (
    "Rate, samples, minibatches (32 prompts of 256), dynamic sampling and bounds are of the authors' script, "
    "PRIME-RL/Entropy-Mechanism-of-RL: recipe/dapo/{}, in June 2025. Its group's deviation is the sample one (ddof 1)."
)

CLIP_COV = GRPO.changed(
    name="clip_cov",
    paper="arXiv:2505.22617",
    summary="A few tokens of high covariance collapse the entropy, so a random few of them get no gradient.",
    samples_per_prompt=8,
    keep_group=AccuraciesDiffer(refill=True),
    reference_kl=None,
    objective=ClipCov(low=1.0, high=1.0, share=2e-4, above=1.0, below=5.0),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=5e-7),
    num_minibatches=8,
    deviations=(
        COV_SCRIPTS.format("7b_clip_cov.sh"),
        "The script's dual clip of 10 is left out: its Clip-Cov loss does not read it.",
        "At least one token an update; the paper's share of a small update would be none.",
        "Tokens whose clip binds are not drawn, as in the authors' compute_policy_loss_clip_cov; the paper is silent.",
    ),
)

KL_COV = CLIP_COV.changed(
    name="kl_cov",
    summary="The few tokens of the highest covariance get a KL penalty; no other token is bounded.",
    parent="grpo",
    objective=KLCov(share=2e-3, coefficient=1.0),
    deviations=(
        COV_SCRIPTS.format("7b_kl_cov.sh"),
        "2e-3 is the paper's share for its 7B model, 2e-4 for its 32B one. At least one token an update.",
        "The KL is |log π/π_old| as in the authors' compute_policy_loss_kl_cov, which reads no clip.",
    ),
)

GRPO_PROCESS = GRPO.changed(
    name="grpo_process",
    summary="GRPO with a reward for every step of an answer: a token is credited with its own step and the later ones.",
    advantage=ProcessNormalized(),
    deviations=(
        *GRPO.deviations,
        "It needs a reward that judges steps, such as that of the tasks arithmetic and running-sum with "
        "task.steps=true; the paper's is a learned model.",
    ),
)

GRPO_ITERATIVE = GRPO.changed(
    name="grpo_iterative",
    summary="GRPO whose reference is replaced by the current policy every so many steps.",
    reference_kl=KLInLoss(coefficient=0.04, estimator=K3(), refresh_every=100),
    deviations=(
        *GRPO.deviations,
        "100 steps are ours; the paper refreshes once an outer iteration and does not say how many steps that is.",
        "The paper also trains its reward model on; ours are rules.",
    ),
)

"""The ladder's kin: one or two slots away from a rung."""

from __future__ import annotations

from rung.methods.dapo import DAPO
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import (
    GroupCentredBatchScaled,
    GroupRelative,
    LengthAdaptiveGAE,
    ProcessNormalized,
    RewardToGo,
    TeacherLogRatio,
)
from rung.methods.parts.aggregations import PerEpisode, PerToken, Whiten
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.objectives import (
    ClipCov,
    ClippedSurrogate,
    ClippedWeight,
    KLCov,
    SequenceClippedSurrogate,
)
from rung.methods.parts.optimizers import AdamW
from rung.methods.parts.reference_kl import K1, K3, KLInLoss, KLInReward
from rung.methods.reinforce import REINFORCE_BASELINE

REINFORCE_PLUS_PLUS = REINFORCE_BASELINE.changed(
    name="reinforce++",
    paper="arXiv:2501.03262",
    summary="REINFORCE with PPO's clip, a KL taken off each token's reward, and advantages whitened over the batch.",
    reference_kl=KLInReward(coefficient=0.01, estimator=K1()),
    advantage=RewardToGo(),
    whiten=Whiten(),
    objective=ClippedSurrogate(low=0.2, high=0.2),
    aggregation=PerEpisode(),
    optimizer=AdamW(learning_rate=5e-7),
    deviations=("The KL's coefficient and the learning rate are ours; the paper varies them by experiment.",),
)

GSPO = GRPO.changed(
    name="gspo",
    paper="arXiv:2507.18071",
    summary="GRPO whose ratio and clip are of the whole sequence, as its reward is.",
    reference_kl=None,
    objective=SequenceClippedSurrogate(low=3e-4, high=4e-4),
    num_minibatches=4,
    deviations=("Samples a prompt and learning rate are GRPO's; the paper does not state them.",),
)

CISPO = GRPO.changed(
    name="cispo",
    paper="arXiv:2506.13585",
    summary="The importance weight is clipped and no token is: rare, decisive tokens keep their gradient.",
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
    summary="Two tricks suffice: the deviation is the batch's, and tokens count alike.",
    reference_kl=None,
    advantage=GroupCentredBatchScaled(),
    aggregation=PerToken(),
    deviations=("Samples a prompt and learning rate are GRPO's.",),
)

MAXRL = GRPO.changed(
    name="maxrl",
    paper="arXiv:2602.02710",
    summary="Advantages divided by the success rate: on average the gradient of the log-likelihood of being right.",
    reference_kl=None,
    advantage=GroupRelative(),
    deviations=("Samples a prompt, clip and learning rate are GRPO's.",),
)

CLIP_COV = GRPO.changed(
    name="clip_cov",
    paper="arXiv:2505.22617",
    summary="Entropy dies through a few tokens of high covariance: a random handful of them gets no gradient.",
    samples_per_prompt=8,
    reference_kl=None,
    objective=ClipCov(share=2e-4, above=1.0, below=5.0),
    aggregation=PerToken(),
    num_minibatches=8,
    deviations=(
        "At least one token an update; the paper's share of a small update would be none.",
        "Tokens whose clip binds are not drawn, as in verl 0.9.1's compute_policy_loss_clip_cov; the paper is silent.",
        "The share and the two bounds are the defaults of verl's PolicyLossConfig.",
        "Samples a prompt, minibatches and learning rate are ours.",
    ),
)

KL_COV = CLIP_COV.changed(
    name="kl_cov",
    summary="The few tokens of the highest covariance are held where they were; no other token is bounded.",
    parent="grpo",
    objective=KLCov(share=2e-3, coefficient=1.0),
    deviations=(
        "2e-3 is the paper's share for its 7B model, 2e-4 for its 32B one. At least one token an update.",
        "The KL is |log π/π_old| as in verl 0.9.1's compute_policy_loss_kl_cov.",
        "Samples a prompt, minibatches and learning rate are ours.",
    ),
)

GRPO_PROCESS = GRPO.changed(
    name="grpo_process",
    summary="GRPO whose rewards judge every step of an answer: a token earns what its step and the later ones do.",
    advantage=ProcessNormalized(),
    deviations=(
        *GRPO.deviations,
        "It needs a reward that judges steps, such as that of the tasks arithmetic and running-sum with "
        "task.steps=true; the paper's is a learned model.",
    ),
)

GRPO_ITERATIVE = GRPO.changed(
    name="grpo_iterative",
    summary="GRPO whose reference follows: every so many steps the policy becomes what the KL holds it to.",
    reference_kl=KLInLoss(coefficient=0.04, estimator=K3(), refresh_every=100),
    deviations=(
        *GRPO.deviations,
        "100 steps are ours; the paper refreshes once an outer iteration and does not say how many steps that is.",
        "The paper also trains its reward model on; ours are rules.",
    ),
)

DISTILLATION = REINFORCE_BASELINE.changed(
    name="distillation",
    paper="arXiv:2306.13649",
    summary="The student answers, and a teacher says of each token how likely it is: reverse KL on the student's text.",
    samples_per_prompt=4,
    advantage=TeacherLogRatio(),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-5),
    deviations=(
        "Discount 0: a token is not credited with the later ones it leads to. What is climbed is each token's own "
        "KL(π ‖ π_teacher), not the sequence's.",
        "The paper differentiates the KL over the whole vocabulary; here the drawn token alone is a sample of it, with "
        "the same expected gradient.",
        "Set `teacher` to a model with the same tokenizer. The task's rewards are shown; they teach nothing.",
        "Samples a prompt and learning rate are ours.",
    ),
)

VAPO = DAPO.changed(
    name="vapo",
    paper="arXiv:2504.05118",
    summary="DAPO's loss with a critic again, trained beforehand, whose λ grows with the answer's length.",
    samples_per_prompt=16,
    keep_group=None,
    shape_reward=None,
    critic=ValueFunction(separate=True, coefficient=0.5, warmup_steps=50),
    advantage=LengthAdaptiveGAE(alpha=0.05),
    deviations=(
        "The critic begins as a copy of the policy and learns alone for 50 steps, a number of ours; the paper's begins "
        "as a reward model and learns alone until value loss and explained variance are low enough "
        "(critic/explained_variance shows it).",
        "The critic has the policy's learning rate; the paper's has one of its own.",
        "The paper's likelihood loss on right answers is left out.",
    ),
)

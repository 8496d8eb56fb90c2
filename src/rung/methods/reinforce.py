"""REINFORCE (Williams 1992), the score function times how good the episode was, and what learns without a critic or a
group's deviation: RLOO (Ahmadian et al. 2024), distillation, and fine-tuning on right answers."""

from __future__ import annotations

from rung.methods.parts.advantages import (
    EpisodeReturn,
    GroupCentred,
    OthersInBatch,
    OthersInGroup,
    RewardToGo,
    RightAnswers,
    TeacherLogRatio,
)
from rung.methods.parts.aggregations import PerEpisode, PerSequence, PerToken, Whiten
from rung.methods.parts.filters import FrozenStart
from rung.methods.parts.objectives import ClippedSurrogate, ScoreFunction
from rung.methods.parts.optimizers import AdamW
from rung.methods.parts.reference_kl import K1, K2, KLInLoss, KLInReward
from rung.methods.policy_gradient import PolicyGradient

REINFORCE = PolicyGradient(
    name="reinforce",
    paper="Williams 1992, Machine Learning 8:229-256",
    summary="Make each action more likely in proportion to the reward that followed it.",
    samples_per_prompt=1,
    advantage=RewardToGo(),
    objective=ScoreFunction(),
    aggregation=PerEpisode(),
    optimizer=AdamW(),
    deviations=(
        "The paper's update is plain gradient ascent; AdamW, its settings and the gradient norm bound are ours.",
        "Reward-to-go in place of the whole return: the same expected gradient, with less variance.",
    ),
)

REINFORCE_BASELINE = REINFORCE.changed(
    name="reinforce_baseline",
    summary="REINFORCE less a baseline, the mean return of the batch's other episodes: the same mean, less noise.",
    advantage=RewardToGo(baseline=OthersInBatch()),
    deviations=(
        *REINFORCE.deviations,
        "The baseline is the mean of the batch's other episodes, where the paper's reinforcement comparison keeps a "
        "running average; neither depends on the episode's own actions, so both are unbiased.",
    ),
)

REINFORCE_PLUS_PLUS = REINFORCE_BASELINE.changed(
    name="reinforce++",
    paper="arXiv:2501.03262",
    summary="REINFORCE with PPO's clip, a KL taken off each token's reward, and advantages whitened over the batch.",
    reference_kl=KLInReward(coefficient=0.01, estimator=K1()),
    advantage=RewardToGo(),
    whiten=Whiten(),
    objective=ClippedSurrogate(low=0.2, high=0.2),
    optimizer=AdamW(learning_rate=5e-7),
    deviations=(
        "The KL's coefficient and the learning rate are ours; the paper varies them by experiment.",
        "Left out: the paper's clipping and normalisation of rewards, and its several minibatches a rollout, without "
        "which the ratio is 1 and no clip binds (method.num_minibatches).",
        "The sum over an answer's tokens is REINFORCE's; the released code, OpenRLHF, takes the mean over all tokens.",
    ),
)

REINFORCE_PLUS_PLUS_BASELINE = REINFORCE_PLUS_PLUS.changed(
    name="reinforce++_baseline",
    summary="REINFORCE++ on groups: rewards less their group's mean, whitened over the batch, with the KL in the loss.",
    samples_per_prompt=8,
    reference_kl=KLInLoss(coefficient=1e-5, estimator=K2()),
    advantage=GroupCentred(),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=5e-7, beta2=0.95),
    deviations=(
        "Read in OpenRLHF: trainer/ppo_utils/experience_maker.py (reinforce_baseline) of 0.11.2, and for rate, "
        "samples, KL and one update a rollout examples/scripts/train_reinforce_baseline_hybrid_engine.sh.",
        "That script's dynamic filtering (method.keep_group) and its correction for the sampler's gap "
        "(method.correction) are left out, as is its clipping of rewards to ±10.",
    ),
)

DISTILLATION = REINFORCE_BASELINE.changed(
    name="distillation",
    paper="arXiv:2306.13649",
    summary="On-policy distillation: the student answers and a teacher scores each token (reverse KL).",
    samples_per_prompt=4,
    advantage=TeacherLogRatio(),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-5),
    deviations=(
        "Discount 0: a token is not credited with the later ones it leads to. Maximised is each token's own "
        "KL(π ‖ π_teacher), not the sequence's.",
        "The paper differentiates the KL over the whole vocabulary; here the drawn token alone is a sample of it, with "
        "the same expected gradient.",
        "Set `teacher` to a model with the same tokenizer. The task's rewards are shown; they teach nothing.",
        "Samples a prompt and learning rate are ours.",
    ),
)


RLOO = REINFORCE_BASELINE.changed(
    name="rloo",
    paper="arXiv:2402.14740",
    summary="REINFORCE whose baseline is the mean reward of the same prompt's other samples: no critic, no bias.",
    samples_per_prompt=4,
    advantage=EpisodeReturn(baseline=OthersInGroup()),
    reference_kl=KLInReward(coefficient=0.03, estimator=K1()),
    deviations=("AdamW's moments and the gradient norm bound are ours; the learning rate 1e-6 is the paper's.",),
)


ONLINE_RFT = REINFORCE.changed(
    name="online_rft",
    paper="arXiv:2402.03300",
    summary="Fine-tune on the current model's own right answers; the wrong ones are thrown away.",
    samples_per_prompt=64,
    advantage=RightAnswers(),
    aggregation=PerSequence(),
    deviations=(
        "Wrong answers count in the mean with weight 0, as in the paper's equation; a mean over the right ones alone "
        "would be the same direction and a longer step.",
        "Samples a prompt and learning rate are GRPO's; the paper states neither for it.",
        "AdamW's moments, weight decay 0 and gradient norm bound 1 are ours.",
    ),
)

RFT = ONLINE_RFT.changed(
    name="rft",
    paper="arXiv:2308.01825",
    summary="Fine-tune on right answers of the starting model; the trained model itself never answers.",
    behaviour=FrozenStart(),
    deviations=(
        "The start's answers are drawn while the run goes on, each learnt from once; the paper draws a data set first, "
        "and fine-tunes on it. Neither's answers depend on what has been learnt.",
        "Right answers that are alike are all kept; the paper keeps those with different reasoning.",
        "The objective is DeepSeekMath's (arXiv:2402.03300, section 5.2), with its mean over an answer's tokens.",
        *ONLINE_RFT.deviations,
    ),
)

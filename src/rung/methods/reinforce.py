"""REINFORCE (Williams 1992), the score function times how good the episode was; and, with the other samples of a prompt
as its baseline, RLOO (Ahmadian et al. 2024)."""

from __future__ import annotations

from rung.methods.parts.advantages import EpisodeReturn, OthersInBatch, OthersInGroup, RewardToGo
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.objectives import ScoreFunction
from rung.methods.parts.optimizers import AdamW
from rung.methods.parts.reference_kl import K1, KLInReward
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

RLOO = REINFORCE_BASELINE.changed(
    name="rloo",
    paper="arXiv:2402.14740",
    summary="REINFORCE whose baseline is the mean reward of the same prompt's other samples: no critic, no bias.",
    samples_per_prompt=4,
    advantage=EpisodeReturn(baseline=OthersInGroup()),
    reference_kl=KLInReward(coefficient=0.03, estimator=K1()),
    deviations=("AdamW's moments and the gradient norm bound are ours; the learning rate 1e-6 is the paper's.",),
)

"""REINFORCE (Williams 1992): the score function times how good the episode was. The bottom rung for policies."""

from __future__ import annotations

from rung.methods.parts.advantages import OthersInBatch, RewardToGo
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.objectives import ScoreFunction
from rung.methods.parts.optimizers import AdamW
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
    summary="REINFORCE measured against what the batch's other episodes earned: the same mean, less noise.",
    advantage=RewardToGo(baseline=OthersInBatch()),
    deviations=(
        *REINFORCE.deviations,
        "The baseline is the mean of the batch's other episodes, where the paper's reinforcement comparison keeps a "
        "running average; neither depends on the episode's own actions, so both are unbiased.",
    ),
)

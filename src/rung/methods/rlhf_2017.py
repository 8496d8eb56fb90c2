"""RLHF from human preferences (Christiano et al. 2017): the reward itself is learnt, from comparisons of segments."""

from __future__ import annotations

from rung.methods.parts.advantages import GAE
from rung.methods.parts.learned_reward import SegmentPreferences
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.trpo import TRPO

RLHF_2017 = TRPO.changed(
    name="rlhf@2017",
    paper="arXiv:1706.03741",
    summary="The reward is not written but learnt, from answers to `which of these two clips is better?`.",
    learned_reward=SegmentPreferences(),
    advantage=GAE(discount=0.995, lam=0.97),
    entropy_bonus=0.01,
    optimizer=NaturalGradient(max_kl=0.01, iterations=10, damping=0.1, num_critic_epochs=20),
    deviations=(
        "Draws with replacement are Poisson(1) counts of each label and predictor, so 1/e is held out exactly in "
        "expectation, and a held-out label stays one as labels come in; the paper draws |D| anew.",
        "The L2 coefficient is doubled or halved after each fit; the paper says only what it is to reach.",
        "Episodes have a fixed length: what would end one sets the environment back to a start state instead, with no "
        "penalty, and nothing that learns sees it; the paper's environments are changed to go on and pay a penalty.",
        "Torque penalties stay in the true reward that scores a run; the paper takes them out of its tasks.",
        "A segment has 25 steps, as in the paper's Atari games; in MuJoCo it has 1.5 seconds, 15 to 60 steps by the "
        "task (method.learned_reward.segment).",
        "The critic makes 20 updates a rollout, each on all of it; the paper does not say.",
        "1024 steps a rollout, and 300 first and 30 later updates of the predictors; the paper does not say.",
    ),
)

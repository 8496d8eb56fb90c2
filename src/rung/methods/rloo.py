"""RLOO (Ahmadian et al. 2024): REINFORCE on whole completions, each compared with the prompt's other samples."""

from __future__ import annotations

from rung.methods.parts.advantages import EpisodeReturn, OthersInGroup
from rung.methods.parts.reference_kl import K1, KLInReward
from rung.methods.reinforce import REINFORCE_BASELINE

RLOO = REINFORCE_BASELINE.changed(
    name="rloo",
    paper="arXiv:2402.14740",
    summary="REINFORCE whose baseline is the mean reward of the same prompt's other samples: no critic, no bias.",
    samples_per_prompt=4,
    advantage=EpisodeReturn(baseline=OthersInGroup()),
    reference_kl=KLInReward(coefficient=0.03, estimator=K1()),
    deviations=("AdamW's moments and the gradient norm bound are ours; the learning rate 1e-6 is the paper's.",),
)

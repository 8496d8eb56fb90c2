"""Advantage actor-critic (Mnih et al. 2016, A3C without its asynchrony): a critic takes the place of the return."""

from __future__ import annotations

from rung.methods.parts.advantages import NStep
from rung.methods.parts.aggregations import PerToken
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.optimizers import RMSprop
from rung.methods.reinforce import REINFORCE_BASELINE

ACTOR_CRITIC = REINFORCE_BASELINE.changed(
    name="actor_critic",
    paper="arXiv:1602.01783",
    summary="A critic predicts the return, so an action is judged after a few steps and need not wait for the end.",
    horizon=5,
    critic=ValueFunction(separate=True, coefficient=1.0),
    advantage=NStep(discount=0.99, steps=5),
    aggregation=PerToken(),
    entropy_bonus=0.01,
    optimizer=RMSprop(learning_rate=7e-4, alpha=0.99, epsilon=1e-5, tensorflow=True, anneal=True, max_grad_norm=0.5),
    deviations=(
        "One process steps all environments together and makes one update (A2C); the paper's workers run apart.",
        "The learning rate 7e-4, RMSprop's 0.99 and 1e-5, the value coefficient (0.5 of the whole square: 1 of its "
        "half) and the norm bound 0.5 are those of OpenAI Baselines' A2C; the paper draws its rates.",
        "RMSprop is TensorFlow's, as in Baselines: ε under the root, as in the paper too, and an average from 1.",
        "The critic is a network of its own; the paper's shares its layers with the policy.",
    ),
)

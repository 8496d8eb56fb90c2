"""DQN (Mnih et al. 2013): Q-learning with a deep network, made stable by drawing past steps again."""

from __future__ import annotations

from rung.methods.parts.q_learning import (
    CentredRMSprop,
    EpsilonGreedy,
    Layers2013,
    MaxTarget,
    SquaredError,
    Uniform,
)
from rung.methods.value_learning import ValueLearning

DQN = ValueLearning(
    name="dqn",
    paper="arXiv:1312.5602",
    summary="Learn Q from past steps drawn at random from a replay; mostly take the best action by Q.",
    exploration=EpsilonGreedy(start=1.0, end=0.1, over=1_000_000, evaluation=0.05),
    replay=Uniform(capacity=1_000_000, starts=50_000, batch=32),
    steps_between_updates=1,
    clip_rewards=True,
    network=Layers2013(),
    value_target=MaxTarget(discount=0.99, steps=1),
    target_network=None,
    error=SquaredError(),
    optimizer=CentredRMSprop(learning_rate=2.5e-4, decay=0.95, epsilon=0.01),
    deviations=(
        "The paper states neither learning rate nor discount nor RMSProp's constants nor when learning starts; these "
        "are of the 2015 paper.",
        "Screens are scaled to 84x84 whole; the paper scales to 110x84 and crops.",
        "Its million frames of exploration are taken as steps of the agent, as DeepMind's later code counts them.",
        "Equations 2 and 3 take the target from the previous iterate, algorithm 1 from the current weights: as here.",
    ),
)

"""DQN (Mnih et al. 2013): Q-learning with a deep network, made stable by drawing past steps again."""

from __future__ import annotations

from rung.methods.parts.q_learning import (
    Adam,
    CentredRMSprop,
    ClippedError,
    EpsilonGreedy,
    Every,
    Layers2013,
    Layers2015,
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

DQN_2013 = DQN.changed(name="dqn@2013", summary="DQN as the 2013 paper has it: no target network, no clipped error.")

DQN_2015 = DQN.changed(
    name="dqn@2015",
    paper="doi:10.1038/nature14236",
    summary="DQN as in Nature: an older copy of Q makes the targets, and the error's gradient is clipped to 1.",
    steps_between_updates=4,
    life_loss_ends=True,
    network=Layers2015(),
    target_network=Every(updates=10_000),
    error=ClippedError(limit=1.0),
    sum_errors=True,
    deviations=(
        "Read in run_gpu and NeuralQLearner.lua of kuz/DeepMind-Atari-Deep-Q-Learner (54978fa), a copy of the release.",
        "The copy is brought up to date by updates, as the paper's table says; DeepMind's code counts steps of the "
        "agent, four times as often.",
        "The gradient is summed over the minibatch, as in DeepMind's code; "
        "with the constant 0.01 under the root a mean would be another method.",
        "DeepMind's code also divides rewards by the largest seen, which clipped rewards leave as they are.",
        "ε falls from the first step on; DeepMind's code begins to lower it when learning starts.",
    ),
)

DQN_CLEANRL = DQN.changed(
    name="dqn@cleanrl",
    summary="DQN with the defaults of CleanRL's dqn.py, whose task is CartPole.",
    exploration=EpsilonGreedy(start=1.0, end=0.05, over=250_000, evaluation=0.05),
    replay=Uniform(capacity=10_000, starts=10_000, batch=128),
    steps_between_updates=10,
    clip_rewards=False,
    network=Layers2013(first=120, second=84),
    target_network=Every(updates=50),
    optimizer=Adam(learning_rate=2.5e-4),
    deviations=(
        "Read in vwxyzjn/cleanrl at fe8d8a0: cleanrl/dqn.py.",
        "CleanRL counts the copy's period in steps: 500, which is 50 updates. Its ε falls over half of its 500,000 "
        "steps.",
        "A truncated step is followed by its own last observation, as in CleanRL; its dqn_atari.py has other numbers "
        "(1e-4, 1,000,000 steps, 32 a batch, a copy every 1,000 steps).",
    ),
)

DQN_SB3 = DQN.changed(
    name="dqn@sb3",
    summary="DQN with the defaults of Stable-Baselines3 2.9.2.",
    exploration=EpsilonGreedy(start=1.0, end=0.05, over=100_000, evaluation=0.05),
    replay=Uniform(capacity=1_000_000, starts=100, batch=32),
    steps_between_updates=4,
    clip_rewards=False,
    network=Layers2015(),
    target_network=Every(updates=2_500),
    error=ClippedError(limit=1.0),
    optimizer=Adam(learning_rate=1e-4, max_grad_norm=10.0),
    deviations=(
        "Read in dqn/dqn.py of stable_baselines3 2.9.2, as installed.",
        "Loss, gradient and update equal SB3's own code on saved numbers (tests/methods/test_sb3_dqn_parity.py).",
        "SB3 counts the copy's period in steps: 10,000, which is 2,500 updates; its ε falls over a tenth of the run, "
        "here of a million steps: set method.exploration.over to a tenth of yours.",
        "SB3 scores with the best action alone: set evaluation.temperature to 0.",
    ),
)

VALUE_PRESETS = (DQN_2013, DQN_2015, DQN_CLEANRL, DQN_SB3)

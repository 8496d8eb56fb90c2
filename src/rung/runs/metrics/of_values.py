"""The metrics of methods that learn the value of actions."""

from __future__ import annotations

from rung.runs.metrics.metric import COUNT, NUMBER, SECONDS, SHARE, Metric

VALUE_METRICS = [
    Metric(
        name="value/held_out_max_q",
        unit=NUMBER,
        meaning="The mean of max Q over a fixed set of states: those that a random policy met before training, or on"
        " text the held-out prompts; what the network thinks it will earn from there.",
        healthy="rises smoothly and levels off below the largest return that can be had",
        what_to_do="If it runs away, set a target network (method.target_network) or lower the learning rate; if it is"
        " far above the returns, set method.value_target to DoubleTarget.",
    ),
    Metric(
        name="value/error",
        unit=NUMBER,
        meaning="How far Q was from its targets on average, in absolute value.",
        healthy="falls, rises while the policy finds new states, and falls again",
        low=0,
        what_to_do="If it grows without end, lower the learning rate or set a target network.",
    ),
    Metric(
        name="value/target",
        unit=NUMBER,
        meaning="The mean target that Q was pulled towards.",
        healthy="follows value/held_out_max_q",
        what_to_do="As for value/held_out_max_q.",
    ),
    Metric(
        name="exploration/epsilon",
        unit=SHARE,
        meaning="The chance with which the next action, on text each token, is any of them.",
        healthy="falls from 1 to its last value over method.exploration.over steps",
        low=0,
        high=1,
        what_to_do="If the score stands still while this is high, let it fall sooner: method.exploration.over.",
    ),
    Metric(
        name="replay/steps",
        unit=COUNT,
        meaning="Environment steps, or tokens, in the replay that can be drawn.",
        healthy="rises to method.replay.capacity and stays",
        low=0,
        what_to_do="If memory is short, lower method.replay.capacity.",
    ),
    Metric(
        name="updates",
        unit=COUNT,
        meaning="Updates that the step made.",
        healthy="0 until method.replay.starts steps are in the replay, then the same at every step",
        low=0,
        what_to_do="If it stays 0, the run is shorter than method.replay.starts.",
    ),
]


LEARNED_REWARD_METRICS = [
    Metric(
        name="preferences/labels",
        unit=COUNT,
        meaning="Answers that the reward predictors are fitted to so far, ties included; a can't-tell is none.",
        healthy="rises to preferences.labels by the last step",
        low=0,
        what_to_do="If it stands still, answers are missing: see preferences/waiting, and label with rung label.",
    ),
    Metric(
        name="preferences/waiting",
        unit=COUNT,
        meaning="Pairs of clips that were asked about and have no answer yet.",
        healthy="0 with an oracle; a few with people",
        low=0,
        what_to_do="Label them with rung label; the run takes answers up whenever they come.",
    ),
    Metric(
        name="preferences/train_loss",
        unit=NUMBER,
        meaning="Cross entropy of the reward predictors on the labels they were fitted to, nats a label, mean over the"
        " ensemble.",
        healthy="below 0.69 = log 2, which a coin has",
        low=0,
        what_to_do="If it stays near 0.69, answers contradict each other, or segments are too short to be told apart.",
    ),
    Metric(
        name="preferences/validation_loss",
        unit=NUMBER,
        meaning="The same on each predictor's held-out labels, 1/e of all.",
        healthy="1.1 to 1.5 times preferences/train_loss, to which the L2 coefficient is steered",
        low=0,
        what_to_do="If it is far above the training loss for long, more labels are needed.",
    ),
    Metric(
        name="preferences/accuracy",
        unit=SHARE,
        meaning="The share of held-out labels on whose preferred segment a predictor agrees, ties left out.",
        healthy="above 0.7 after the first labels; hard pairs, which are asked about on purpose, keep it below 1",
        low=0.5,
        high=1,
        what_to_do="Near 0.5 the reward is noise: ask for more labels, or for longer segments.",
    ),
    Metric(
        name="preferences/l2",
        unit=NUMBER,
        meaning="The L2 coefficient of the reward predictors, mean over the ensemble, after it was adapted.",
        healthy="settles, or moves up and down by factors of 2",
        low=0,
        what_to_do="At its upper end, 1, the predictors overfit whatever is done: ask for more labels.",
    ),
    Metric(
        name="preferences/true_return",
        unit=NUMBER,
        meaning="The task's own mean return of the rollout's episodes; for evaluation only, nothing learns from it.",
        healthy="rises over tens of steps with the predicted reward",
        what_to_do="If it falls while reward/mean rises, the learned reward is being gamed: ask for labels later on.",
    ),
    Metric(
        name="preferences/true_correlation",
        unit=NUMBER,
        meaning="Correlation of predicted and true return over the rollout's segments; for evaluation only.",
        healthy="above 0.5 once the first labels are fitted",
        low=-1,
        high=1,
        what_to_do="If it falls late in a run, the labels are of behaviour that the policy has left behind.",
    ),
    Metric(
        name="seconds/preferences",
        unit=SECONDS,
        meaning="Time spent asking for labels, fitting the reward predictors and predicting rewards.",
        healthy="about as much as sampling",
        what_to_do="Fewer method.learned_reward.later_updates, or fewer pairs_per_update, make it faster.",
    ),
]

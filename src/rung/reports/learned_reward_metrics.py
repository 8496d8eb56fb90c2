"""What a reward that is learnt from preferences between segments reports, beside the metrics of every run."""

from __future__ import annotations

from rung.reports.metric import COUNT, NUMBER, SECONDS, SHARE, Metric

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

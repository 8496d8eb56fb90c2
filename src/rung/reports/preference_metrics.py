"""The metrics of learning from preferences, beside those that every run has."""

from __future__ import annotations

from rung.reports.metric import COUNT, NUMBER, SECONDS, SHARE, TOKENS, Metric

A_ANSWER = "nats an answer"

PREFERENCE_METRICS = [
    Metric(
        name="preference/accuracy",
        unit=SHARE,
        meaning="The share of this step's pairs whose chosen answer has the higher reward (the log-ratio to the start,"
        " or a reward model's score), before the update; 50 % where neither has.",
        healthy="rises from 50 %; held_out/score is the number to believe",
        low=0,
        high=1,
        what_to_do="If it stays at 50 %, raise the learning rate, or read some pairs: what tells them apart?",
    ),
    Metric(
        name="preference/margin",
        unit=NUMBER,
        meaning="By how much the chosen answers' reward exceeds the rejected ones', on average, before the update.",
        healthy="0 at first, then a slow rise",
        what_to_do="If it runs away, raise the loss's beta or stop earlier: the policy leaves its start.",
    ),
    Metric(
        name="preference/chosen_reward",
        unit=NUMBER,
        meaning="The mean reward of chosen answers: the log-ratio to the start in nats, or a reward model's score.",
        healthy="about 0 or above; it often falls a little while the margin grows",
        what_to_do="If it falls far below 0, chosen answers become unlikely: lower the learning rate or raise beta.",
    ),
    Metric(
        name="preference/rejected_reward",
        unit=NUMBER,
        meaning="The mean reward of rejected answers: the log-ratio to the start in nats, or a reward model's score.",
        healthy="falls below the chosen answers'",
        what_to_do="If it does not move, raise the learning rate.",
    ),
    Metric(
        name="preference/chosen_log_prob",
        unit=A_ANSWER,
        meaning="The mean log-probability of a whole chosen answer under the policy, before the update.",
        healthy="changes slowly",
        high=0,
        what_to_do="If both answers' fall, something that is in neither becomes likely: read samples.",
    ),
    Metric(
        name="preference/rejected_log_prob",
        unit=A_ANSWER,
        meaning="The mean log-probability of a whole rejected answer under the policy, before the update.",
        healthy="falls slowly",
        high=0,
        what_to_do="If it falls by hundreds of nats, raise beta or lower the learning rate.",
    ),
    Metric(
        name="preference/anchor",
        unit=A_ANSWER,
        meaning="KTO's z: the KL to the start, estimated on answers put after other prompts; gains count from it.",
        healthy="at least 0, and small against 1/beta",
        low=0,
        what_to_do="If it grows without end, lower the learning rate.",
    ),
    Metric(
        name="pairs/excluded",
        unit=COUNT,
        meaning="Pairs of the file that are left out: unlabelled, identical, conflicting, empty, or too long.",
        healthy="0, or a small part of the file; the run's first lines say how many of which",
        low=0,
        what_to_do="Look at the rows: `rung check` names the reasons.",
    ),
    Metric(
        name="length/chosen",
        unit=TOKENS,
        meaning="The mean length of this step's chosen answers, the end token included.",
        healthy="near the rejected answers' length",
        what_to_do="If chosen answers are much longer, length itself is learnt: try ln_dpo or simpo.",
    ),
    Metric(
        name="length/rejected",
        unit=TOKENS,
        meaning="The mean length of this step's rejected answers, the end token included.",
        healthy="near the chosen answers' length",
        what_to_do="If they differ much, length itself is learnt: try ln_dpo or simpo.",
    ),
    Metric(
        name="held_out/loss",
        unit=NUMBER,
        meaning="The method's own loss on held-out pairs, which are never trained on.",
        healthy="falls; with DPO it begins at 0.693, the loss of knowing nothing",
        what_to_do="If it rises while the training loss falls, the pairs are learnt by heart: stop earlier.",
    ),
    Metric(
        name="held_out/margin",
        unit=NUMBER,
        meaning="By how much the chosen answers' reward exceeds the rejected ones' on held-out pairs.",
        healthy="0 at first, then a slow rise",
        what_to_do="If it stays at 0 while preference/margin grows, there are too few pairs.",
    ),
    Metric(
        name="held_out/calibration",
        unit=SHARE,
        meaning="How far a reward model's certainty is from how often it is right on held-out pairs, over ten bins.",
        healthy="below 0.1; a hundred pairs alone make about 0.05 by chance",
        low=0,
        high=1,
        what_to_do="If it is high, the scores' differences mean less than they say: stop earlier, or use more pairs.",
    ),
    Metric(
        name="seconds/reference",
        unit=SECONDS,
        meaning="Time spent on the reference's log-probabilities, which are computed once for each pair.",
        healthy="0 after the first time through the pairs",
        what_to_do="Nothing: it goes away by itself.",
    ),
]

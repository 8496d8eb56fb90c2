"""The metrics of methods that learn the value of actions."""

from __future__ import annotations

from rung.reports.metric import COUNT, NUMBER, SHARE, Metric

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

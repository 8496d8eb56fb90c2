"""How a run in an environment is spoken of: what text calls tokens are environment steps there, completions episodes.

The names of metrics stay as they are stored, so that one reader serves both kinds of run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rung.runs.metrics.metric import NATS, RATE, TOKENS, Metric

STEPS = "environment steps"
_UNITS = {NATS: "nats a step", TOKENS: STEPS, RATE: f"{STEPS} a second"}
_OF_TEXT = {
    "tokens": STEPS,
    "token": "environment step",
    "a completion": "an episode",
    "completion": "episode",
    "completions": "episodes",
    "held-out items": "held-out episodes",
}
_WORDS = re.compile(rf"\b({'|'.join(sorted(_OF_TEXT, key=len, reverse=True))})\b", re.IGNORECASE)
_HELD_OUT = "Score more episodes (evaluation.num_items) to make the interval narrower: four times as many halve it."
_OWN: Mapping[str, Mapping[str, str]] = {
    "held_out/score": {
        "meaning": "The mean return of the held-out episodes, which are never trained on; this is the number to"
        " believe.",
    },
    "held_out/low": {
        "meaning": "The lower end of the 95 % interval of held_out/score, over episodes.",
        "what_to_do": _HELD_OUT,
    },
    "held_out/high": {
        "meaning": "The upper end of the 95 % interval of held_out/score, over episodes.",
        "what_to_do": _HELD_OUT,
    },
    "reward/mean": {"meaning": "The mean return of the episodes that ended in this step."},
    "kl/start": {
        "meaning": "How far the policy has moved from the one the run started with: the KL divergence of their"
        " distributions over actions, after the step.",
    },
    "entropy": {
        "meaning": "How undecided the policy is about its next action, averaged over the steps it took.",
        "what_to_do": "If it collapses early, lower the learning rate or add an entropy bonus.",
    },
    "length/mean": {
        "meaning": "The mean length of the episodes that ended in this step.",
        "healthy": "follows the return, where a step pays or costs",
        "what_to_do": "If it grows and the score does not, look at the film: the policy may be standing still.",
    },
    "length/p90": {
        "healthy": "below the environment's limit where ending early is good",
        "what_to_do": "When it reaches the environment's limit, episodes are being cut there: see the film.",
    },
    "length/truncated": {
        "meaning": "The share of episodes cut off by the environment's limit before they ended by themselves.",
        "healthy": "as the task has it: where balance is kept a full episode is a success",
        "what_to_do": "Nothing where lasting is the task; elsewhere the policy may not have found its end yet.",
    },
    "groups/no_spread": {"what_to_do": "Draw more episodes of each start state, or end at the score that is reached."},
    "groups/all_right": {"what_to_do": "The start states have become too easy: stop, or take a harder task."},
    "groups/all_wrong": {"what_to_do": "The task is too hard for what explores: raise the entropy, or take longer."},
    "clip/high": {"what_to_do": "If it is high and entropy falls, lower the learning rate or raise the upper bound."},
    "grad/norm": {"what_to_do": "After a spike look at the return; if spikes repeat, lower the learning rate."},
    "sampler_gap/mean": {
        "meaning": "How much the log-probabilities of the same actions differ between acting and learning, on average.",
        "what_to_do": "Above 0.01 they are two different policies: compare temperature, weights and number format.",
    },
    "sampler_gap/max": {
        "meaning": "The largest difference between acting's and learning's log-probability of one action.",
        "healthy": "below 1",
        "what_to_do": "If only this one is large, single steps are off: look at observations far from the usual ones.",
    },
    "episodes/generated": {
        "meaning": "How many episodes ended in this step of the run.",
        "healthy": "falls as episodes grow longer, where a step of the run is so many environment steps",
        "what_to_do": "If it stays 0, episodes are longer than the steps of the run; scores come from held-out ones.",
    },
    "episodes/trained": {
        "meaning": "How many rows took part in the update: whole episodes, stretches or single steps, as the method"
        " takes them.",
        "healthy": "the same each step, unless the method leaves groups out",
    },
    "episodes/failed": {"what_to_do": "Nothing: an environment's reward is always there."},
    "tokens/generated": {
        "meaning": "Steps taken in the environment in this step of the run.",
        "healthy": "the same each step of the run, or follows length/mean",
        "what_to_do": "If a step of the run has become slow, see here whether it plays more or runs slower.",
    },
    "tokens/trained": {
        "meaning": "How many environment steps took part in the update.",
        "healthy": "equal to tokens/generated; with a replay the batch times the updates",
        "what_to_do": "If it is 0, learning has not begun: see method.replay.starts, or groups/no_spread.",
    },
    "tokens_per_second": {
        "meaning": "Environment steps taken, divided by the seconds spent on them.",
        "healthy": "steady",
        "what_to_do": "If it drops, the machine is shared or episodes begin anew more often.",
    },
    "groups/rounds": {
        "meaning": "Rounds of drawing start states until enough of them had returns that differ; 1 draws none again.",
        "what_to_do": "If it reaches method.keep_group.most_batches, the task is too easy or too hard.",
    },
    "kl/sequence": {"meaning": "KL of a whole episode to the reference, which an adapting coefficient steers."},
    "seconds/sample": {
        "meaning": "Time spent stepping environments.",
        "what_to_do": "Step more environments together (environments), or take task.engine=envpool.",
    },
    "seconds/learn": {"what_to_do": "Fewer epochs and larger minibatches make it faster."},
    "seconds/evaluate": {"what_to_do": "Evaluate less often, or on fewer episodes (evaluation.num_items)."},
    "memory/peak_gib": {"what_to_do": "If it keeps growing, take fewer environments or a smaller replay."},
    "value/held_out_max_q": {
        "meaning": "The mean of max Q over a fixed set of states, those that a random policy met before training: what"
        " the network thinks it will earn from there.",
    },
    "exploration/epsilon": {"meaning": "The chance with which the next action is any of them."},
    "replay/steps": {"meaning": "Environment steps in the replay that can be drawn."},
}
"""What is said in other words altogether; the rest of a metric's text has single words changed."""


def in_environment(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these rows of metrics.jsonl are of a run in an environment.

    >>> in_environment([{"step": 0}, {"step": 1, "environment/steps": 64.0}]), in_environment([{"step": 1}])
    (True, False)
    """
    return any("environment/steps" in row for row in rows)


def of_environment(metric: Metric) -> Metric:
    """The metric as a reader of such a run should meet it."""
    said = {"meaning": metric.meaning, "healthy": metric.healthy, "what_to_do": metric.what_to_do}
    words = {name: said_of_steps(text) for name, text in said.items()} | dict(_OWN.get(metric.name, {}))
    return replace(metric, **words, unit=_UNITS.get(metric.unit, metric.unit))


def said_of_steps(text: str) -> str:
    """A sentence about text, said of environment steps and episodes; names of settings stay.

    >>> said_of_steps("The share of tokens in completions that max_new_tokens cut")
    'The share of environment steps in episodes that max_new_tokens cut'
    """

    def said(found: re.Match[str]) -> str:
        word = _OF_TEXT[found[0].lower()]
        return word[0].upper() + word[1:] if found[0][0].isupper() else word

    return _WORDS.sub(said, text.replace(NATS, _UNITS[NATS]))

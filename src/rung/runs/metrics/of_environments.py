"""The words of a run's kind: text has tokens and completions, an environment has steps and episodes.

The names of metrics stay as they are stored, so that one reader serves both kinds of run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

STEPS = "environment steps"


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the actions and the samples of a run are called; a sentence names them as `{tokens}`."""

    token: str = "token"
    tokens: str = "tokens"
    completion: str = "completion"
    completions: str = "completions"
    prompt: str = "prompt"
    prompts: str = "prompts"
    items: str = "held-out items"

    def fill(self, sentence: str) -> str:
        """The sentence with these words in the places that it leaves for them.

        >>> ENVIRONMENT.fill("How many {completions} could not be judged.")
        'How many episodes could not be judged.'
        """
        for place, word in vars(self).items():
            sentence = sentence.replace(f"{{{place}}}", word)
        return sentence


TEXT = Words()
ENVIRONMENT = Words(
    token="step",
    tokens=STEPS,
    completion="episode",
    completions="episodes",
    prompt="start state",
    prompts="start states",
    items="held-out episodes",
)


def in_environment(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these rows of metrics.jsonl are of a run in an environment.

    >>> in_environment([{"step": 0}, {"step": 1, "environment/steps": 64.0}]), in_environment([{"step": 1}])
    (True, False)
    """
    return any("environment/steps" in row for row in rows)

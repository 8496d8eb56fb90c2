"""Drawn answers judged: the one place where an episode's text goes to the rewards, in training as in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rung.batch import Episode, Judgement
from rung.rewards.judge import Judge, Judged
from rung.rewards.reward import Columns

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


def judged(judge: Judge, policy: TextPolicy, items: Sequence[Judged], episodes: Sequence[Episode]) -> list[Judgement]:
    """One judgement for each episode; `items[i]` is what `episodes[i]` answers.

    A reward sees the text with every special token in it but padding, the beginning token and the end token. One that
    asks is also given the tokens, the whole text, and the prompt as the model was given it.
    """

    def drawn() -> Columns:
        ids = [episode.actions.tolist() for episode in episodes]
        return {
            "completion_ids": ids,
            "raw_completions": policy.decode_whole(ids),
            "rendered_prompts": policy.decode_whole([episode.context.tolist() for episode in episodes]),
        }

    return judge(items, [episode.text for episode in episodes], drawn)

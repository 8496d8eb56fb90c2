"""Drawn answers judged: the one place where an episode's text goes to the rewards, in training as in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rung.batch import OK, Episode, Judgement, Played
from rung.rewards.judge import Judge
from rung.rewards.reward import Columns
from rung.tasks.task import Item
from rung.tasks.turns import Return

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


def judged(judge: Judge, policy: TextPolicy, items: Sequence[Item], episodes: Sequence[Episode]) -> list[Judgement]:
    """One judgement for each episode; `items[i]` is what `episodes[i]` answers.

    A reward sees the text with every special token in it but padding, the beginning token and the end token. One that
    asks is also given the tokens, the whole text, and the prompt as the model was given it.

    Of an episode over turns it is the last turn's text and tokens, the answer; in columns stand `episode_return`,
    `success` and `turns`, the messages. One whose environment failed is shown to no reward and has no total.

    Raises RewardError: a reward or an environment failed more often than the judge allows.
    """
    sound = [i for i, e in enumerate(episodes) if e.played is None or e.played.status == OK]
    _require_few(judge, [e.played for e in episodes if e.played is not None and e.played.status != OK], len(episodes))
    some = [episodes[i] for i in sound]

    def drawn() -> Columns:
        ids = [_answer_ids(episode) for episode in some]
        return {
            "completion_ids": ids,
            "raw_completions": policy.decode_whole(ids),
            "rendered_prompts": policy.decode_whole([episode.context.tolist() for episode in some]),
        }

    seen = [_seen(items[i], episodes[i]) for i in sound]
    by_place = dict(zip(sound, judge(seen, [answer_text(e) for e in some], drawn), strict=True))
    return [by_place[i] if i in by_place else _not_judged(judge, e) for i, e in enumerate(episodes)]


def answer_text(episode: Episode) -> str:
    """What is judged of an episode: its completion, or, over turns, what was said last."""
    return episode.text if episode.played is None else episode.played.answer


def turn_rewards(judge: Judge, episode: Episode) -> tuple[tuple[int, float], ...]:
    """Where each turn's reward stands, weighted as the part `return` is; none where that is no part."""
    if episode.played is None:
        return ()
    weight = sum(weight for reward, weight in judge.parts if isinstance(reward, Return))
    return tuple((turn.end, weight * turn.reward) for turn in episode.played.turns) if weight else ()


def _answer_ids(episode: Episode) -> list[int]:
    """The answer's own tokens."""
    own = episode.actions.tolist()
    if episode.played is None:
        return own
    last = episode.played.turns[-1]
    return own[last.end + 1 - last.own : last.end + 1] if episode.played.answer else []


def _seen(item: Item, episode: Episode) -> Item:
    """The item as rewards see it."""
    played = episode.played
    if played is None:
        return item
    said = {"episode_return": played.total, "success": played.success, "turns": played.messages()}
    return replace(item, columns={**item.columns, **said})


def _not_judged(judge: Judge, episode: Episode) -> Judgement:
    assert episode.played is not None, "an environment failed in it"
    parts = dict.fromkeys(judge.part_names)
    return Judgement(total=None, parts=parts, accuracy=None, status=f"environment: {episode.played.status}")


def _require_few(judge: Judge, failed: Sequence[Played], of: int) -> None:
    if failed:
        what = f"{len(failed)} of {of} episodes ended by it; the first: {failed[0].detail}"
        judge.require_few("environment", failed[0].status, what, len(failed), of)

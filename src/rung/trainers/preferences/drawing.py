"""Pairs drawn from a policy: of two of its answers to one prompt, the one with the higher reward is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.batch import OK, Episode, Judgement
from rung.random import Stream, keyed_hash
from rung.rewards.judge import Judge
from rung.rollouts.judged import judged
from rung.rollouts.sampling import Prompt, Sampler, checked
from rung.tasks.pairs import Pair, pair_row
from rung.tasks.rows import counts_in_words, prompt_row
from rung.tasks.task import Item, TextTask

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

ALL_RIGHT, ALL_WRONG, ALIKE = "with every answer right", "with every answer wrong", "with all answers alike in reward"
TOO_FEW = "with fewer than two different answers"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Sampling: how many answers to each prompt, and how many of its pairs are kept.

    Example: `Wanted(seed=0, k=4, pairs_per_prompt=1, temperature=1.0, max_new_tokens=16)`.
    """

    seed: int
    k: int
    pairs_per_prompt: int
    temperature: float
    max_new_tokens: int


@dataclass(kw_only=True)
class PairsMade:
    """Counts: prompts that gave pairs, why the others gave none, and the samples and tokens that drawing took.

    Example: 512 prompts, 340 pairs; all answers alike in reward for 150 prompts, 100 of them all right.
    """

    prompts: int = 0
    rows: int = 0
    samples: int = 0
    tokens: int = 0
    """Of all samples."""
    used_tokens: int = 0
    """Of the samples that are in some pair."""
    truncated: int = 0
    failed: int = 0
    """Samples that could not be judged."""
    no_pair: dict[str, int] = field(default_factory=dict[str, int])
    """Prompts without a pair, by reason."""
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    """Samples left out, by reason."""

    def add(self, other: PairsMade) -> None:
        """Adds the other counts to these."""
        for name in ("prompts", "rows", "samples", "tokens", "used_tokens", "truncated", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.no_pair, other.no_pair), (self.left_out, other.left_out)):
            for reason, count in theirs.items():
                _count(mine, reason, count)

    def lines(self) -> list[str]:
        """The summary for a person."""
        said = [f"{self.rows:,} rows from {self.prompts:,} prompts"]
        for what, counts in (("prompts without a row", self.no_pair), ("samples left out", self.left_out)):
            if counts:
                said.append(f"{what}: {counts_in_words(counts)}")
        return said


def _count(counts: dict[str, int], reason: str, count: int = 1) -> None:
    counts[reason] = counts.get(reason, 0) + count


@dataclass(frozen=True)
class Group:
    """A prompt and its finished answers, each different from the others; `name` keys its random numbers."""

    name: str
    item: Item
    episodes: Sequence[Episode]


def over_turns(task: TextTask) -> Iterator[str]:
    """Why no pairs can be drawn of a task in which something answers the policy."""
    if task.plays is not None:
        what = "has several turns, and a pair holds one answer each"
        yield f"task.name: '{task.name}' {what}; choose grpo, or another task"


def answered(
    sampler: Sampler,
    policy: TextPolicy,
    task: TextTask,
    items: Sequence[Item],
    names: Sequence[str],
    wanted: Wanted,
    made: PairsMade,
) -> list[Group]:
    """k answers to each item, less those that were cut, that are empty, or that another sample gave already."""
    prompts = [Prompt(item=names[g], group=g, ids=policy.encode(item.prompt)) for g, item in enumerate(items)]
    drawn = sampler.sample(
        prompts,
        samples_per_prompt=wanted.k,
        max_new_tokens=wanted.max_new_tokens,
        temperature=wanted.temperature,
        stream=Stream(wanted.seed, 0, "pairs"),
        stop=task.stop,
    )
    episodes = checked(drawn, prompts, wanted.k, wanted.max_new_tokens)
    made.prompts += len(items)
    made.samples += len(episodes)
    made.tokens += sum(int(episode.action_mask.sum()) for episode in episodes)
    made.truncated += sum(episode.truncated for episode in episodes)
    return [
        Group(names[group], item, _usable([e for e in episodes if e.group == group], made))
        for group, item in enumerate(items)
    ]


def _usable(episodes: Sequence[Episode], made: PairsMade) -> list[Episode]:
    kept: dict[str, Episode] = {}
    for episode in episodes:
        reason = "cut at max_new_tokens" if episode.truncated else "" if episode.text.strip() else "empty"
        reason = reason or ("the same as another sample" if episode.text in kept else "")
        if reason:
            _count(made.left_out, reason)
        else:
            kept[episode.text] = episode
    return list(kept.values())


def unlabelled(groups: Sequence[Group], made: PairsMade) -> Iterator[dict[str, Any]]:
    """Rows for people to compare: a prompt and its different answers."""
    for group in groups:
        if len(group.episodes) < 2:
            _count(made.no_pair, TOO_FEW)
            continue
        made.rows += 1
        texts = [episode.text for episode in group.episodes]
        yield prompt_row(group.name, group.item.prompt, completions=texts)


def paired(
    groups: Sequence[Group], judge: Judge, policy: TextPolicy, wanted: Wanted, made: PairsMade
) -> Iterator[dict[str, Any]]:
    """Of each prompt up to `pairs_per_prompt` pairs of answers that differ in reward, chosen at random by a key."""
    flat = [(group.item, episode) for group in groups for episode in group.episodes]
    judgements = iter(judged(judge, policy, [item for item, _ in flat], [episode for _, episode in flat]))
    for group in groups:
        found = [(episode, next(judgements)) for episode in group.episodes]
        failed = sum(judgement.status != OK for _, judgement in found)
        if failed:
            made.failed += failed
            _count(made.left_out, "that could not be judged", failed)
        yield from _rows_of(group, found, wanted, made)


def _rows_of(
    group: Group, judged: Sequence[tuple[Episode, Judgement]], wanted: Wanted, made: PairsMade
) -> Iterator[dict[str, Any]]:
    scored = [(episode, j.total) for episode, j in judged if j.status == OK and j.total is not None]
    pairs = [(a, b) for a, b in combinations(scored, 2) if a[1] != b[1]]
    if not pairs:
        _count(made.no_pair, _alike([j for _, j in judged if j.status == OK]))
        return
    order = sorted(range(len(pairs)), key=lambda n: keyed_hash("pairs", wanted.seed, group.name, n))
    used: dict[int, int] = {}
    for number, n in enumerate(order[: wanted.pairs_per_prompt]):
        (chosen, high), (rejected, low) = sorted(pairs[n], key=lambda one: -one[1])
        used |= {one.sample: int(one.action_mask.sum()) for one in (chosen, rejected)}
        made.rows += 1
        name, prompt = f"{group.name}/{number}", group.item.prompt
        pair = Pair(number=made.rows, id=name, prompt=prompt, chosen=chosen.text, rejected=rejected.text)
        yield pair_row(pair, chosen_reward=high, rejected_reward=low)
    made.used_tokens += sum(used.values())


def _alike(judgements: Sequence[Judgement]) -> str:
    """Why nothing tells a prompt's answers apart."""
    if not judgements:
        return f"{TOO_FEW} that could be judged"
    accuracies = np.array([np.nan if j.accuracy is None else j.accuracy for j in judgements])
    if (accuracies >= 1).all():
        return ALL_RIGHT
    if (accuracies <= 0).all():
        return ALL_WRONG
    return ALIKE if len(judgements) > 1 else f"{TOO_FEW} that could be judged"

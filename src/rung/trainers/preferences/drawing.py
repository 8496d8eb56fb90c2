"""Pairs out of a policy's own samples: of two answers to one prompt, the one with the higher reward is the chosen."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rung.batch import OK, Episode, Judgement
from rung.errors import DataError
from rung.faults import fault_point
from rung.random import Stream, keyed_hash
from rung.rewards.judge import Judge
from rung.rollouts.sampler import Prompt, Sampler
from rung.tasks.prompts import plain_prompt
from rung.tasks.task import Item, TextTask
from rung.whole_files import sync

ALL_RIGHT, ALL_WRONG, ALIKE = "with every answer right", "with every answer wrong", "with all answers alike in reward"
TOO_FEW = "with fewer than two different answers"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is drawn of each prompt, and how many of its pairs are kept.

    Example: `Wanted(seed=0, k=4, pairs_per_prompt=1, temperature=1.0, max_new_tokens=16)`.
    """

    seed: int
    k: int
    pairs_per_prompt: int
    temperature: float
    max_new_tokens: int


@dataclass(kw_only=True)
class PairsMade:
    """How many prompts gave pairs, why the others did not, and what all of it took.

    Example: 512 prompts, 340 pairs; all answers alike in reward for 150 prompts, 100 of them all right.
    """

    prompts: int = 0
    rows: int = 0
    samples: int = 0
    tokens: int = 0
    """Of all samples."""
    used_tokens: int = 0
    """Of the samples that stand in some pair."""
    truncated: int = 0
    failed: int = 0
    """Samples that could not be judged."""
    no_pair: dict[str, int] = field(default_factory=dict[str, int])
    """Prompts without a pair, by reason."""
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    """Samples left out, by reason."""

    def add(self, other: PairsMade) -> None:
        """Counts the other ones too."""
        for name in ("prompts", "rows", "samples", "tokens", "used_tokens", "truncated", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.no_pair, other.no_pair), (self.left_out, other.left_out)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        said = [f"{self.rows:,} rows from {self.prompts:,} prompts"]
        for what, counts in (("prompts without a row", self.no_pair), ("samples left out", self.left_out)):
            if counts:
                said.append(f"{what}: {', '.join(f'{count:,} {reason}' for reason, count in counts.items())}")
        return said


@dataclass(frozen=True)
class Group:
    """A prompt and its finished answers, each different from the others; `name` keys what is drawn for it."""

    name: str
    item: Item
    episodes: Sequence[Episode]


def answered(
    sampler: Sampler, task: TextTask, items: Sequence[Item], names: Sequence[str], wanted: Wanted, made: PairsMade
) -> list[Group]:
    """k answers to each item, less those that were cut, that are empty, or that another sample gave already."""
    encode = sampler.policy.encode
    episodes = sampler.sample(
        [Prompt(item=names[g], group=g, ids=encode(item.prompt)) for g, item in enumerate(items)],
        samples_per_prompt=wanted.k,
        max_new_tokens=wanted.max_new_tokens,
        temperature=wanted.temperature,
        stream=Stream(wanted.seed, 0, "pairs"),
        stop=task.stop,
    )
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
            made.left_out[reason] = made.left_out.get(reason, 0) + 1
        else:
            kept[episode.text] = episode
    return list(kept.values())


def unlabelled(groups: Sequence[Group], made: PairsMade) -> Iterator[dict[str, Any]]:
    """Rows for people to compare: a prompt and its different answers."""
    for group in groups:
        if len(group.episodes) < 2:
            _no_pair(made, TOO_FEW)
            continue
        made.rows += 1
        texts = [episode.text for episode in group.episodes]
        yield {"id": group.name, "prompt": plain_prompt(group.item.prompt), "completions": texts}


def paired(groups: Sequence[Group], judge: Judge, wanted: Wanted, made: PairsMade) -> Iterator[dict[str, Any]]:
    """Of each prompt up to `pairs_per_prompt` pairs of answers that differ in reward, chosen at random by a key."""
    flat = [(group.item, episode) for group in groups for episode in group.episodes]
    judgements = iter(judge([item for item, _ in flat], [e.text for _, e in flat]) if flat else ())
    for group in groups:
        judged = [(episode, next(judgements)) for episode in group.episodes]
        failed = sum(judgement.status != OK for _, judgement in judged)
        if failed:
            made.failed += failed
            made.left_out["that could not be judged"] = made.left_out.get("that could not be judged", 0) + failed
        yield from _rows_of(group, judged, wanted, made)


def _rows_of(
    group: Group, judged: Sequence[tuple[Episode, Judgement]], wanted: Wanted, made: PairsMade
) -> Iterator[dict[str, Any]]:
    scored = [(episode, j.total) for episode, j in judged if j.status == OK and j.total is not None]
    pairs = [(a, b) for a, b in combinations(scored, 2) if a[1] != b[1]]
    if not pairs:
        _no_pair(made, _alike([j for _, j in judged if j.status == OK]))
        return
    order = sorted(range(len(pairs)), key=lambda n: keyed_hash("pairs", wanted.seed, group.name, n))
    used: dict[int, int] = {}
    for number, n in enumerate(order[: wanted.pairs_per_prompt]):
        (chosen, high), (rejected, low) = sorted(pairs[n], key=lambda one: -one[1])
        used |= {one.sample: int(one.action_mask.sum()) for one in (chosen, rejected)}
        made.rows += 1
        yield {
            "id": f"{group.name}/{number}",
            "prompt": plain_prompt(group.item.prompt),
            "chosen": chosen.text,
            "rejected": rejected.text,
            "chosen_reward": high,
            "rejected_reward": low,
        }
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


def _no_pair(made: PairsMade, reason: str) -> None:
    made.no_pair[reason] = made.no_pair.get(reason, 0) + 1


@dataclass(frozen=True, kw_only=True)
class Round:
    """Some prompts' pairs, and what they cost.

    Example: `Round(rows=[{"id": ...}], made=PairsMade(prompts=16, rows=9, tokens=210), seconds={"sample": 0.3})`.
    """

    rows: list[dict[str, Any]]
    made: PairsMade
    seconds: Mapping[str, float]
    """By phase."""


class Draws(Protocol):
    """What draws a round: a function of its number alone, but for the seconds."""

    def __call__(self, number: int) -> Round: ...


def store_name(what: Mapping[str, Any]) -> str:
    """The file's name for rounds that are decided by `what`: JSON-like data.

    >>> store_name({"seed": 3, "k": 4}) == store_name({"k": 4, "seed": 3}) != store_name({"k": 4, "seed": 4})
    True
    """
    written = json.dumps(what, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return f"seed-{what['seed']}-{hashlib.sha256(written.encode()).hexdigest()[:16]}.jsonl"


class PairStore:
    """The rounds of one file, and who draws the missing ones.

    Raises DataError where a whole line is none of ours.
    """

    def __init__(self, path: Path, draw: Draws) -> None:
        self.path, self.draw = path, draw
        self._rounds: list[Round] = []
        self._read = 0
        """Bytes of the file that are known."""

    def at(self, number: int) -> Round:
        """Round 0, 1, ...; the first time anybody asks for it, it is drawn."""
        if number >= len(self._rounds):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._held():
                self._catch_up()
                while number >= len(self._rounds):
                    self._append(self.draw(len(self._rounds)))
        return self._rounds[number]

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the operating system lets go of it when the process dies
            yield

    def _catch_up(self) -> None:
        """Reads what others have written since; cuts off the half line that one of them may have left."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
            for line in lines[:-1]:
                self._rounds.append(_parsed(line, self.path, len(self._rounds)))
                self._read += len(line) + 1
            file.truncate(self._read)

    def _append(self, drawn: Round) -> None:
        line = json.dumps({"made": asdict(drawn.made), "seconds": drawn.seconds, "rows": drawn.rows}).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            sync(file.fileno())
        self._rounds.append(_parsed(line, self.path, len(self._rounds)))
        self._read += len(line)
        fault_point("pairs.round")


def _parsed(line: bytes, path: Path, number: int) -> Round:
    try:
        content = json.loads(line)
        return Round(rows=content["rows"], made=PairsMade(**content["made"]), seconds=content["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            [f"{path}:{number + 1}: is no round of drawn pairs ({error}); remove the file, and it is drawn anew"]
        ) from error

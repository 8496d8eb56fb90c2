"""Pairs from a model's own samples: of two answers to one prompt, the one with the higher reward is the chosen one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rung.batch import OK, Episode, Judgement
from rung.errors import DataError, SettingsError
from rung.reports.aside import written_aside
from rung.rewards.judge import Judge
from rung.rollouts.sampler import Prompt, Sampler
from rung.rollouts.streams import Stream
from rung.settings import PairsSettings, TaskSettings
from rung.tasks.keys import keyed_hash
from rung.tasks.load import load_text_task
from rung.tasks.order import items_at
from rung.tasks.task import Item, TextTask
from rung.training.parts import limit_threads, rewards_of

PROMPTS_AT_ONCE = 64
Say = Callable[[str], None]


@dataclass(kw_only=True)
class PairsMade:
    """How many prompts gave pairs, and why the others did not.

    Example: 512 prompts, 340 pairs; all answers alike in reward for 150 prompts, 100 of them all right.
    """

    prompts: int = 0
    rows: int = 0
    no_pair: dict[str, int] = field(default_factory=dict[str, int])
    """Prompts without a pair, by reason."""
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    """Samples left out, by reason."""

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        said = [f"{self.rows:,} rows from {self.prompts:,} prompts"]
        for what, counts in (("prompts without a row", self.no_pair), ("samples left out", self.left_out)):
            if counts:
                said.append(f"{what}: {', '.join(f'{count:,} {reason}' for reason, count in counts.items())}")
        return said


def make_pairs(settings: PairsSettings, out: Path, *, unlabelled: bool = False, say: Say = print) -> PairsMade:
    """Draws k answers to each prompt of the task's train side and writes the pairs, whole or not at all.

    With `unlabelled` nothing is judged: a row holds a prompt and its different answers, for people to compare.
    The random numbers are keyed, so the same settings give the same file.

    Raises:
        SettingsError: `out` is there already or ends in neither .jsonl nor .parquet, or the task has no reward.
        DataError: no prompt gave a pair; then nothing is written.
    """
    require_new_file(out)
    limit_threads(settings.learner)
    task = load_text_task(settings.task.name, seed=settings.seed, **settings.task.options())
    rewards = () if unlabelled else rewards_of(settings.rewards, task)
    if not unlabelled and not rewards:
        raise SettingsError(
            [f"rewards: the task '{task.name}' has none of its own; give one by --reward, or ask for --unlabelled"]
        )
    made = PairsMade()
    if unlabelled:
        rows = list(_unlabelled_rows(_groups(settings, task, made, say), made))
    else:
        with Judge(
            rewards,
            deadline_s=settings.rewarding.deadline_s,
            max_failed_share=settings.rewarding.max_failed_share,
        ) as judge:
            rows = list(_judged_rows(_groups(settings, task, made, say), judge, settings, made))
    made.rows = len(rows)
    if not rows:
        raise DataError([f"{out}: nothing to write: {'; '.join(made.lines())}"])
    write_rows(rows, out)
    return made


def require_new_file(out: Path) -> None:
    """SettingsError when rows cannot be written there."""
    if out.suffix not in (".jsonl", ".parquet"):
        raise SettingsError([f"--out: got {out}, expected a name that ends in .jsonl or .parquet"])
    if out.exists():
        raise SettingsError([f"--out: {out} is there already; choose another name"])


def write_rows(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """The rows as a file that appears whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(out) as aside:
        if out.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), aside)
        else:
            aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


Group = tuple[Item, list[Episode]]
"""A prompt and its finished answers, each different from the others."""


def _groups(settings: PairsSettings, task: TextTask, made: PairsMade, say: Say) -> Iterator[Group]:
    from rung.models.load import load_policy
    from rung.training.tiny import tiny_for

    spec = str(tiny_for(settings.task)) if settings.model == "tiny" else settings.model
    policy = load_policy(spec, device=settings.learner.device, compute=settings.learner.compute)
    sampler = Sampler(policy)
    wanted = min(settings.prompts, len(task.train))
    for first in range(0, wanted, PROMPTS_AT_ONCE):
        picks = items_at(settings.seed, first, min(PROMPTS_AT_ONCE, wanted - first), len(task.train))
        items = [task.train[int(pick)] for pick in picks]
        episodes = sampler.sample(
            [Prompt(item=item.id, group=g, ids=policy.encode(item.prompt)) for g, item in enumerate(items)],
            samples_per_prompt=settings.k,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            stream=Stream(settings.seed, 0, "pairs"),
            stop=task.stop,
        )
        made.prompts += len(items)
        say(f"{made.prompts:,} of {wanted:,} prompts answered")
        for group, item in enumerate(items):
            yield item, _usable([e for e in episodes if e.group == group], made)


def _usable(episodes: Sequence[Episode], made: PairsMade) -> list[Episode]:
    """Without the answers that were cut, that are empty, or that another sample gave already."""
    kept: dict[str, Episode] = {}
    for episode in episodes:
        reason = "cut at max_new_tokens" if episode.truncated else "" if episode.text.strip() else "empty"
        reason = reason or ("the same as another sample" if episode.text in kept else "")
        if reason:
            made.left_out[reason] = made.left_out.get(reason, 0) + 1
        else:
            kept[episode.text] = episode
    return list(kept.values())


def _unlabelled_rows(groups: Iterator[Group], made: PairsMade) -> Iterator[dict[str, Any]]:
    for item, episodes in groups:
        if len(episodes) < 2:
            _no_pair(made, "with fewer than two different answers")
            continue
        yield {"id": item.id, "prompt": _plain(item), "completions": [episode.text for episode in episodes]}


def _judged_rows(
    groups: Iterator[Group], judge: Judge, settings: PairsSettings, made: PairsMade
) -> Iterator[dict[str, Any]]:
    for item, episodes in groups:
        judged = list(zip(episodes, judge([item] * len(episodes), [e.text for e in episodes]), strict=True))
        failed = sum(judgement.status != OK for _, judgement in judged)
        if failed:
            made.left_out["that could not be judged"] = made.left_out.get("that could not be judged", 0) + failed
        scored = [(episode, j.total) for episode, j in judged if j.status == OK and j.total is not None]
        pairs = [(a, b) for a, b in combinations(scored, 2) if a[1] != b[1]]
        if not pairs:
            _no_pair(made, _alike([j for _, j in judged if j.status == OK]))
            continue
        order = sorted(range(len(pairs)), key=lambda n: keyed_hash("pairs", settings.seed, item.id, n))
        for number, n in enumerate(order[: settings.pairs_per_prompt]):
            (chosen, high), (rejected, low) = sorted(pairs[n], key=lambda one: -one[1])
            yield {
                "id": f"{item.id}/{number}",
                "prompt": _plain(item),
                "chosen": chosen.text,
                "rejected": rejected.text,
                "chosen_reward": high,
                "rejected_reward": low,
            }


def _alike(judgements: Sequence[Judgement]) -> str:
    """Why nothing tells a prompt's answers apart."""
    if len(judgements) < 2:
        return "with fewer than two different answers that could be judged"
    accuracies = np.array([np.nan if j.accuracy is None else j.accuracy for j in judgements])
    if (accuracies >= 1).all():
        return "with every answer right"
    return "with every answer wrong" if (accuracies <= 0).all() else "with all answers alike in reward"


def _no_pair(made: PairsMade, reason: str) -> None:
    made.no_pair[reason] = made.no_pair.get(reason, 0) + 1


def _plain(item: Item) -> Any:
    """A prompt as JSON has it."""
    return item.prompt if isinstance(item.prompt, str) else [dict(message) for message in item.prompt]


def model_to_name(settings: PairsSettings) -> str:
    """The model as a following command must name it: the tiny one of another task has only a folder."""
    if settings.model != "tiny" or settings.task == TaskSettings(name="arithmetic"):
        return settings.model
    from rung.training.tiny import tiny_for

    return str(tiny_for(settings.task))

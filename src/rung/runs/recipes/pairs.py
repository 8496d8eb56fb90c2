"""A file of pairs from a model's own samples (`rung pairs`); preferences/drawing.py says what makes a pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import DataError, SettingsError
from rung.models.language.load import load_policy
from rung.rewards.judge import Judge
from rung.rollouts.sampler import InProcessSampler
from rung.runs.recipes.sft import model_of
from rung.settings import PairsSettings, TaskSettings
from rung.tasks.load import load_text_task
from rung.tasks.order import items_at
from rung.tasks.rows import require_new_file, write_rows
from rung.tasks.task import TextTask
from rung.trainers.build import limit_threads, rewards_of
from rung.trainers.preferences.drawing import Group, PairsMade, Wanted, answered, over_turns, paired
from rung.trainers.preferences.drawing import unlabelled as of_people
from rung.trainers.usable_rows import reader_for, usable

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

PROMPTS_AT_ONCE = 64
Say = Callable[[str], None]


def make_pairs(settings: PairsSettings, out: Path, *, unlabelled: bool = False, say: Say = print) -> PairsMade:
    """Draws k answers to each prompt of the task's train side and writes the pairs, whole or not at all.

    With `unlabelled` nothing is judged: a row holds a prompt and its different answers, for people to compare.
    The random numbers are keyed, so the same settings give the same file.

    Raises:
        SettingsError: `out` is there already or ends in neither .jsonl nor .parquet, or the task has no reward.
        DataError: no prompt gave a pair; then nothing is written.
    """
    require_new_file(out, "--out")
    limit_threads(settings.learner)
    task = prompts_of(settings)
    for note in task.notes():
        say(f"note: {note}")
    rewards = () if unlabelled else rewards_of(settings.rewards, task, accuracy=settings.rewarding.accuracy)
    if not unlabelled and not rewards:
        raise SettingsError(
            f"rewards: the task '{task.name}' has none of its own; give one by --reward, or ask for --unlabelled"
        )
    made, spec = PairsMade(), model_of(settings.model, settings.task)
    policy = load_policy(spec, device=settings.learner.device, compute=settings.learner.compute)
    wanted = Wanted(**{field.name: getattr(settings, field.name) for field in fields(Wanted)})
    chunks = _answers(policy, settings, task, wanted, made, say)
    if unlabelled:
        rows = [row for groups in chunks for row in of_people(groups, made)]
    else:
        limits = settings.rewarding
        with Judge(rewards, deadline_s=limits.deadline_s, max_failed_share=limits.max_failed_share) as judge:
            rows = [row for groups in chunks for row in paired(groups, judge, policy, wanted, made)]
    if not rows:
        raise DataError(f"{out}: nothing to write: {'; '.join(made.lines())}")
    write_rows(rows, out, "--out")
    return made


def prompts_of(settings: PairsSettings) -> TextTask:
    """The task, all of whose prompts the model can take. SettingsError or DataError otherwise."""
    task = load_text_task(settings.task.name, seed=settings.seed, **settings.task.options())
    if wrong := list(over_turns(task)):
        raise SettingsError(wrong)
    return usable(
        task,
        reader_for(settings.model, task),
        new_tokens=settings.max_new_tokens,
        skip=settings.task.skip_bad_rows,
        sides=("train",),
    ).task


def _answers(
    policy: TextPolicy, settings: PairsSettings, task: TextTask, wanted: Wanted, made: PairsMade, say: Say
) -> Iterator[list[Group]]:
    """The model's answers, some prompts at a time."""
    sampler = InProcessSampler(policy)
    total = min(settings.prompts, len(task.train))
    for first in range(0, total, PROMPTS_AT_ONCE):
        picks = items_at(settings.seed, first, min(PROMPTS_AT_ONCE, total - first), len(task.train))
        items = [task.train[int(pick)] for pick in picks]
        groups = answered(sampler, policy, task, items, [item.id for item in items], wanted, made)
        say(f"{made.prompts:,} of {total:,} prompts answered")
        yield groups


def model_to_name(settings: PairsSettings) -> str:
    """The model as a following command must name it: the tiny one of another task has only a folder."""
    ours = settings.task == TaskSettings(name="arithmetic")
    return settings.model if ours else model_of(settings.model, settings.task)

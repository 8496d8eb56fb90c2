"""Supervised fine-tuning on a task's worked examples: REINFORCE on episodes that somebody else chose, return 1 each.

The gradient of -1 · log π(a), averaged over tokens, is that of cross-entropy; so the learner, the micro-batches and
the log-probs are the ones that reinforcement learning uses.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rung.batch import Episode, Judgement
from rung.errors import SettingsError
from rung.faults import fault_point
from rung.methods.parts.advantages import EpisodeReturn
from rung.methods.parts.aggregations import PerToken
from rung.methods.parts.objectives import ScoreFunction
from rung.methods.parts.optimizers import AdamW
from rung.methods.policy_gradient import PolicyGradient
from rung.models.language.gguf import made_in_cache
from rung.models.state import require_finite
from rung.random import draws
from rung.rewards.judge import Judge
from rung.rollouts.sampler import InProcessSampler
from rung.runs.folder import holds_something
from rung.runs.statistics import Estimate, mean_at_k
from rung.settings import SFTSettings, TaskSettings
from rung.settings.objects import GIVEN
from rung.tasks.load import load_text_task
from rung.tasks.order import batch_indices
from rung.tasks.others import is_other
from rung.tasks.task import Example, TextTask
from rung.tasks.turns import Step
from rung.trainers.assemble import assemble
from rung.trainers.build import limit_threads
from rung.trainers.gate import Start, gate
from rung.trainers.held_out import score
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.usable_rows import Usable, reader_for, usable
from rung.whole_files import cache_folder, folder_written_aside, require_writable

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SFTSummary:
    """How it ended. Example: `loss` 0.41 nats a token, `before.value` 0.0, `after.value` 0.38 on held-out items."""

    folder: Path
    loss: float
    before: Estimate | None
    """None where the task has no reward of its own, so that nothing judges an answer."""
    after: Estimate | None


def worked_example(policy: TextPolicy, example: Example, group: int) -> Episode:
    """An example as an episode: its completion's own tokens and one end token, all of them to be learnt."""
    row = policy.encode_row(example.prompt, example.answers)
    (actions,) = row.answers
    return Episode(
        item=str(group),
        group=group,
        sample=0,
        context=row.prompt,
        actions=actions,
        action_mask=np.ones(len(actions), dtype=np.bool_),
        log_probs=np.zeros(len(actions), dtype=np.float32),
        terminated=True,
        truncated=False,
        text=example.completion,
        judgement=Judgement(total=1.0, parts={}, accuracy=1.0),
    )


def method_of(settings: SFTSettings) -> PolicyGradient:
    """Supervised fine-tuning, written with the slots of a policy gradient."""
    return PolicyGradient(
        name="sft",
        paper="cross-entropy on given completions",
        summary="Make the given completions more likely, each token alike.",
        samples_per_prompt=1,
        advantage=EpisodeReturn(),
        objective=ScoreFunction(),
        aggregation=PerToken(),
        optimizer=AdamW(
            learning_rate=settings.learning_rate or (3e-3 if settings.model == "tiny" else 2e-5),
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup_steps,
            anneal=True,
        ),
    )


def sft(
    settings: SFTSettings, folder: Path, *, task: TextTask | None = None, quiet: bool = False, say: Say = print
) -> SFTSummary:
    """Trains on the task's worked examples; the model ends in `folder/final`, the losses in `folder/losses.json`.

    `task`: one that has no name of its own.
    The folder appears whole, at the end: killed before that, the same call begins anew and gives the same.

    Raises SettingsError when the task has no worked examples, or the folder already holds something or cannot be
    written.
    """
    if holds_something(folder):
        raise SettingsError(f"{folder}: is not empty; choose another --out")
    require_writable(folder, "--out")
    limit_threads(settings.learner)
    task = examples_of(settings, task).task
    for note in task.notes():
        say(f"note: {note}")
    policy = _policy(settings, task)
    for note in gate(Start(policy=policy, task=task, settings=settings)):
        say(f"note: {note}")
    learner = Learner(
        policy, method_of(settings), micro_batch_tokens=settings.learner.micro_batch_tokens, seed=settings.seed
    )
    before = _held_out(policy, task, settings)
    losses = _train(learner, policy, task.examples, settings, (lambda line: None) if quiet else say)
    after = _held_out(policy, task, settings)
    with folder_written_aside(folder) as aside:
        policy.save(aside / "final")
        (aside / "losses.json").write_text(json.dumps(losses))
        fault_point("finish.final")
    return SFTSummary(folder=folder, loss=losses[-1] if losses else float("nan"), before=before, after=after)


def examples_of(settings: SFTSettings, task: TextTask | None = None) -> Usable[TextTask]:
    """The task with its worked examples, all of which the model can take. SettingsError or DataError otherwise."""
    task = task or load_text_task(settings.task.name, seed=settings.seed, **settings.task.options())
    require_examples(task)
    return usable(
        task,
        reader_for(settings.model, task),
        new_tokens=settings.max_new_tokens,
        skip=settings.task.skip_bad_rows,
        sides=("examples", "held_out") if task.rewards else ("examples",),
    )


def require_examples(task: TextTask) -> None:
    """Raises SettingsError when a task has no worked examples."""
    if not len(task.examples):
        raise SettingsError(
            f"task '{task.name}' has no worked examples to learn from; rows need a `completion` column for that"
        )


def _policy(settings: SFTSettings, task: TextTask) -> TextPolicy:
    from rung.models.language.load import load_policy
    from rung.models.language.tiny import CHARACTERS, tiny_model

    if settings.model == "tiny":
        return tiny_model(settings.seed, characters=task.characters or CHARACTERS)
    return load_policy(settings.model, device=settings.learner.device, compute=settings.learner.compute)


def _train(
    learner: Learner, policy: TextPolicy, examples: Sequence[Example], settings: SFTSettings, say: Say
) -> list[float]:
    losses: list[float] = []
    for step in range(1, settings.steps + 1):
        picks = batch_indices(settings.seed, step, settings.examples_per_step, len(examples))
        episodes = [worked_example(policy, examples[int(pick)], group) for group, pick in enumerate(picks)]
        loss = learner.update(assemble(episodes), step, (step - 1) / settings.steps).loss
        assert loss is not None, "every worked example has at least its end token"
        require_finite(f"step {step}: after its update the weights", policy.state(), what="; lower learning_rate")
        losses.append(loss)
        if step % 50 == 0 or step == settings.steps:
            say(f"step {step}/{settings.steps}  loss {loss:.3f} nats a token")
    return losses


def _held_out(policy: TextPolicy, task: TextTask, settings: SFTSettings) -> Estimate | None:
    items = [task.held_out[index] for index in range(min(settings.evaluation_items, len(task.held_out)))]
    if not task.rewards or not items:
        return None
    with Judge(task.rewards) as judge:
        scores = score(
            InProcessSampler(policy),
            policy,
            judge,
            task,
            items,
            k=1,
            max_new_tokens=settings.max_new_tokens,
            temperature=0.0,
            seed=settings.seed,
        )
    return mean_at_k(scores.scores_NK)


PRACTICE, MOST_SEEN = 1000, 5000
RECIPE = 3
"""Counts up whenever the tiny model, its warm-up or a built-in task changes, so that no stale one is used."""


def tiny_for(task: TaskSettings, given: TextTask | None = None) -> Path:
    """The folder of the tiny model for a task; built once, in well under a minute, when it is not in the cache.

    The cache knows tasks by their names, and an environment from Python, which is `given`, by its examples.
    Raises SettingsError when the task has no worked examples to warm it up with, or is another object from Python.
    """
    plays = None if given is None else given.plays
    if task.name.startswith(GIVEN) and plays is None:
        raise SettingsError(
            f"model: 'tiny' is made for a task that has a name, and {task.name.removeprefix(GIVEN)} is an object; give "
            "a model's folder, a hub id or (model, tokenizer), for example the tiny model that rung sft saved"
        )
    settings = SFTSettings(model="tiny", task=task)
    own = None
    if given is not None and plays is not None and (":" in task.name or is_other(task.name)):  # guess.py:Guess
        own = given if len(given.examples) else replace(given, examples=tuple(practice(given)))
    seen = [] if own is None else [[e.prompt, e.completion] for e in own.examples[:MOST_SEEN]]
    key = json.dumps([RECIPE, settings.model_dump(mode="json"), *seen], sort_keys=True)
    folder = cache_folder() / "tiny" / f"{task.slug()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with made_in_cache(folder) as to_make:
        if to_make:
            print(f"making the tiny model for '{task.name}' once (kept in {folder})", file=sys.stderr)  # noqa: T201
            sft(settings, folder, task=own, say=lambda line: print(f"  {line}", file=sys.stderr))  # noqa: T201
    return folder / "final"


def practice(task: TextTask) -> Iterator[Example]:
    """Examples for an environment that has none: whole numbers, said at random, after what it answers to them.

    They teach the tiny model to say something short and to end its turn, nothing of the task.
    """
    for index in range(PRACTICE):
        said = next(draws("practice", index, width=4))
        item, environment = task.train[index % len(task.train)], task.plays() if task.plays is not None else None
        try:
            history = environment.reset(item, index) if environment is not None else item.prompt
            for number in said[: 1 + index % 4]:
                if not isinstance(history, str):
                    return
                reply = f"{number % 21}"
                yield Example(prompt=history, completion=f"{reply}{task.stop[0] if task.stop else ''}")
                step = environment.step(reply) if environment is not None else Step(done=True)
                if step.done:
                    break
                history += f"{reply}{task.stop[0] if task.stop else ''}{step.text}"
        except Exception as error:
            raise SettingsError([f"task: {task.name}: {type(error).__name__}: {error}"]) from error


def model_of(model: str, task: TaskSettings, given: TextTask | None = None) -> str:
    """What `load_policy` takes for a model's name: the folder of the task's own tiny model for `tiny`."""
    return str(tiny_for(task, given)) if model == "tiny" else model

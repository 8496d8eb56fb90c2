"""Supervised fine-tuning on a task's worked examples: REINFORCE on episodes that somebody else chose, return 1 each.

The gradient of -1 · log π(a), averaged over tokens, is that of cross-entropy; so the learner, the micro-batches and
the log-probs are the ones that reinforcement learning uses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from rung.models.state import require_finite
from rung.rewards.judge import Judge
from rung.rollouts.sampler import InProcessSampler
from rung.runs.lock import holds_something
from rung.runs.statistics import Estimate, mean_at_k
from rung.tasks.load import load_text_task
from rung.tasks.order import batch_indices
from rung.tasks.task import Example, TextTask
from rung.trainers.assemble import assemble
from rung.trainers.build import limit_threads
from rung.trainers.gate import Start, gate
from rung.trainers.held_out import score
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.usable_rows import Usable, reader_for, usable
from rung.whole_files import folder_written_aside, require_writable

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.settings import SFTSettings

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

"""How good a model is at a task: mean@k, pass@k, maj@k with intervals, paired with a base model when one is named."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rung.batch import Episode, Judgement
from rung.errors import SettingsError
from rung.models.language.load import as_policy, differing_tokens, load_policy
from rung.models.small.environment_policy import load_environment_policy
from rung.rewards.judge import Judge
from rung.rewards.reward import WeightedReward
from rung.rollouts.sampler import InProcessSampler
from rung.runs import best, checkpoint
from rung.runs.folder import SETTINGS, model_in, run_settings
from rung.runs.recipes.sft import model_of, tiny_for
from rung.runs.record.visible import finite
from rung.runs.run import handed
from rung.runs.statistics import (
    Difference,
    Estimate,
    are_shares,
    majority_at_k,
    mean_of_numbers,
    mean_score,
    pass_at_k,
    score_difference,
)
from rung.settings import Settings, read_eval
from rung.settings.objects import GIVEN, taken_apart
from rung.settings.sampler import SamplerSettings
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983
from rung.tasks.environment import EnvironmentTask
from rung.tasks.load import load_task
from rung.tasks.own_environment import commands_typed
from rung.tasks.prompts import plain_prompt
from rung.tasks.task import Item, TextTask
from rung.trainers.assemble import assemble
from rung.trainers.boxes_1983.collector import trial_scores
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.build import rewards_of
from rung.trainers.choose import built, kind_for
from rung.trainers.environment_rollouts import environment_scores
from rung.trainers.handed import Handed
from rung.trainers.held_out import Scores, score
from rung.trainers.policy_gradient.minibatches import micro_batches

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.settings import EvalSettings


Say = Callable[[str], None]


def silent(line: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Spread:
    """A reward over all completions that it judged. Example: `Spread(mean=0.12, deviation=0.55)`."""

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result. `score` is mean@k, the share of right completions.

    Example: `score` 0.41, `interval` (0.36, 0.46), `pass_at_k.value` 0.72, `maj_at_k.value` 0.47, `paired.value` +0.18.
    """

    k: int
    items: int
    mean_at_k: Estimate
    pass_at_k: Estimate | None = None
    """None for an environment or a learned reward, as is everything that needs right and wrong."""
    maj_at_k: Estimate | None = None
    """None where the task's reward does not say what the answer in a completion is."""
    not_judged: int = 0
    """Completions that could not be judged (a checker that timed out): left out, never counted as wrong."""
    base: Estimate | None = None
    paired: Difference | None = None
    """This model less the base, on the same items and the same random numbers."""
    kl_to_base: Estimate | None = None
    """KL of this model's completions to the base, nats a whole completion; None without a base, for greedy choices, or
    where the two number tokens differently."""
    parts: Mapping[str, Spread] = field(default_factory=dict[str, Spread])
    """What each reward said, by its name."""
    task: str = ""
    """What was answered, by name."""
    split: str = ""
    """Which side of it: `held_out` or `train`."""
    samples: tuple[Mapping[str, Any], ...] = ()
    """Each completion with what was measured of it; not among `as_data`."""

    @property
    def score(self) -> float:
        return self.mean_at_k.value

    def as_data(self) -> dict[str, Any]:
        """JSON-like: `score`, `interval`, `k`, `items` and the rest; numbers that are not finite become None."""
        data: dict[str, Any] = {
            "score": self.score,
            "interval": [self.mean_at_k.low, self.mean_at_k.high],
            "k": self.k,
            "items": self.items,
        }
        for name in ("pass_at_k", "maj_at_k", "base", "paired", "kl_to_base"):
            value = getattr(self, name)
            data[name] = None if value is None else asdict(value)
        data["parts"] = {name: asdict(spread) for name, spread in self.parts.items()}
        data["not_judged"] = self.not_judged
        return finite(data)


def evaluate(model: Any, asked: EvalSettings, *, base: Any = None, handed: Handed) -> Evaluation:
    """Samples k completions of each of the first items, for the model and for the base on the same streams."""
    task = asked_task(asked, handed)
    if isinstance(task, EnvironmentTask | CartPole1983):
        if asked.rewards:
            what = f"got {asked.rewards[0].function}, but {asked.task.name} is an environment: it judges"
            raise SettingsError(f"rewards: {what}")
        return _in_environment(task, asked, model, base)
    judges = rewards_of(asked.rewards, task, handed, accuracy=asked.rewarding.accuracy)
    named = [one for one in (model, base) if one is not None]
    models = [load_policy(model_of(one, asked.task, task)) if isinstance(one, str) else as_policy(one) for one in named]
    return _on_text(task, asked, judges, *models)


def asked_task(asked: EvalSettings, handed: Handed) -> Any:
    """The task that the settings name, or that was handed in, with its tools and bounds."""
    given, options = asked.task.name.startswith(GIVEN), asked.task.options()
    task = handed.task(asked.task, asked.seed) if given else load_task(asked.task.name, seed=asked.seed, **options)
    return handed.over_turns(task, asked.tools, asked.turns)


def _on_text(
    task: TextTask,
    asked: EvalSettings,
    judges: Sequence[WeightedReward],
    policy: TextPolicy,
    base: TextPolicy | None = None,
) -> Evaluation:
    side = task.held_out if asked.split == "held_out" else task.train
    items = [side[index] for index in range(min(asked.items, len(side)))]

    def scores_of(one: TextPolicy) -> Scores:
        limits = asked.rewarding
        with Judge(judges, deadline_s=limits.deadline_s, max_failed_share=limits.max_failed_share) as judge:
            return score(
                InProcessSampler(one),
                one,
                judge,
                task,
                items,
                k=asked.k,
                max_new_tokens=asked.max_new_tokens,
                temperature=asked.temperature,
                seed=asked.seed,
            )

    found, other, kl_NK = scores_of(policy), None, None
    if base is not None:
        other = scores_of(base)
        if asked.temperature > 0 and differing_tokens(policy, base) is None:
            kl_N = kl_of_answers(policy, base, found.episodes, temperature=asked.temperature)
            kl_NK = kl_N.reshape(-1, asked.k)
    shares = are_shares(found.scores_NK)
    return Evaluation(
        task=asked.task.name,
        split=asked.split,
        k=asked.k,
        items=len(items),
        mean_at_k=mean_score(found.scores_NK),
        pass_at_k=pass_at_k(found.scores_NK, asked.k) if shares else None,
        maj_at_k=_majority(judges, found) if shares else None,
        not_judged=int(np.isnan(found.scores_NK).sum()),
        base=None if other is None else mean_score(other.scores_NK),
        paired=None if other is None else score_difference(other.scores_NK, found.scores_NK),
        kl_to_base=None if kl_NK is None else mean_of_numbers(kl_NK),
        parts=_parts(found),
        samples=tuple(_samples(found, items, kl_NK)),
    )


def _parts(scores: Scores) -> dict[str, Spread]:
    """Mean and deviation of each reward over the completions that it judged."""
    values: dict[str, list[float]] = {}
    for episode in scores.episodes:
        for name, value in episode.judgement.parts.items() if episode.judgement else ():
            values.setdefault(name, []).extend([] if value is None else [value])
    return {name: Spread(float(np.mean(some)), float(np.std(some))) for name, some in values.items() if some}


def _samples(
    scores: Scores, items: Sequence[Item], kl_NK: npt.NDArray[np.float64] | None
) -> Iterator[Mapping[str, Any]]:
    """A row a completion, for people and for programs that read JSON."""
    kls = [None] * len(scores.episodes) if kl_NK is None else kl_NK.reshape(-1).tolist()
    for episode, kl in zip(scores.episodes, kls, strict=True):
        judgement = episode.judgement
        yield {
            "id": episode.item,
            "sample": episode.sample,
            "prompt": plain_prompt(items[episode.group].prompt),
            "completion": episode.text,
            "tokens": int(episode.action_mask.sum()),
            "truncated": episode.truncated,
            "rewards": dict(judgement.parts) if judgement is not None else {},
            "status": judgement.status if judgement is not None else None,
            "kl_to_base": kl,
        }


def _in_environment(task: EnvironmentTask | CartPole1983, asked: EvalSettings, model: Any, base: Any) -> Evaluation:
    """The mean return of whole episodes: the same start states for the model and for the base."""
    episodes, seed, greedy = asked.items, asked.seed, asked.temperature == 0

    def returns_of(folder: str) -> np.ndarray:
        if isinstance(task, CartPole1983):
            boxes = BoxPolicy.load(Path(folder), boxes=BOX_COUNT)
            return trial_scores(task, boxes, trials=episodes, seed=seed, greedy=greedy).scores_NK
        policy = load_environment_policy(Path(folder))
        return environment_scores(task, policy, episodes=episodes, seed=seed, greedy=greedy).scores_NK

    found = returns_of(model)
    other = None if base is None else returns_of(base)
    return Evaluation(
        task=asked.task.name,
        split=asked.split,
        k=1,
        items=episodes,
        mean_at_k=mean_score(found),
        base=None if other is None else mean_score(other),
        paired=None if other is None else score_difference(other, found),
    )


def _majority(rewards: Sequence[WeightedReward], scores: Scores) -> Estimate | None:
    answer = getattr(rewards[0].reward, "final_answer", None) if rewards else None
    if answer is None:
        return None
    answers_NK = [[answer(completion) for completion in row] for row in scores.completions_NK]
    return majority_at_k(scores.scores_NK, answers_NK)


def evaluated(
    model: Any,
    task: Any = None,
    *,
    base: Any = None,
    rewards: Sequence[Any] = (),
    tools: Sequence[Any] = (),
    step: int | None = None,
    parts: Sequence[type[Any]] = (),
    flags: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    say: Say = silent,
    **settings: Any,
) -> Evaluation:
    """Scores a run's folder, a model's name, or a model in memory.

    What is not said is the run's own: its task, lengths, seed, and for its own task its rewards. `flags` and `sets` are
    the command line's texts; `settings` the same from Python. Raises SettingsError with every problem.
    """
    commands_typed(tools)
    own = {"task": task, "rewards": [one for one in rewards if not isinstance(one, str)], "tools": list(tools)}
    data, objects = taken_apart({name: one for name, one in own.items() if one is not None and one != []}, parts)
    named = (f"{one['function']}={one.get('weight', 1.0)}" for one in data.pop("rewards", ()))
    texts = [*(one for one in rewards if isinstance(one, str)), *named]
    if "task" in data and isinstance(data["task"], Mapping) and set(data["task"]) == {"name"}:
        data["task"] = data["task"]["name"]  # as the flag has it, where there are no options
    given = {**(flags or {}), **settings, **data}
    with found(model, step, say=say, parts=parts) as it, found(base, say=say, parts=parts) as other:
        kind = None if it.settings is None else kind_for(it.settings, it.settings.resolved_method())
        if kind is not None and kind.stored_pairs and given.get("task") is None:
            what = f"this run's own task is {it.settings.task.name}, pairs that were learnt from"
            remedy = "name a task whose answers can be judged, as --task arithmetic"
            raise SettingsError([f"--task: missing; {what}; {remedy}"])
        values = kind is not None and kind.values and not kind.environment  # of tokens: no distribution to draw from
        asked = read_eval(run=it.settings, values=values, flags=given, rewards=texts, sets=sets).required()
        return evaluate(it.model, asked, base=other.model, handed=Handed(tiny=tiny_for, objects=objects))


@dataclass(frozen=True)
class Found:
    """What a RUN_OR_MODEL argument names: a model to load, and for a run its settings."""

    model: Any
    settings: Settings | None = None


@contextlib.contextmanager
def found(
    run_or_model: Any, step: int | None = None, *, say: Say = silent, parts: Sequence[type[Any]] = ()
) -> Iterator[Found]:
    """The model of a run's folder (its `final`, else its newest checkpoint, with `saving.best` its best), or the model
    itself, by name or in memory.

    With `step` it is the run's checkpoint of that step. A checkpoint is made into an ordinary model folder for as long
    as the context lasts. Raises SettingsError for a run that has neither, or not that checkpoint.
    """
    if run_or_model is None or not isinstance(run_or_model, str | Path):
        yield Found(run_or_model)
        return
    run = Path(run_or_model)
    if not (run / SETTINGS).is_file():
        if step is not None:
            raise SettingsError([f"--step: got {step}, but {run_or_model} is no run's folder, so it has no steps"])
        yield Found(str(run_or_model))
        return
    settings = run_settings(run, parts)
    if step is None and model_in(run / "final") is not None:
        yield Found(str(run / "final"), settings)
        return
    saved = _checkpoint(run, step, say, settings.saving.best)
    with tempfile.TemporaryDirectory(prefix="rung-") as folder:
        alone = settings.changed({"learner.processes": 1, "sampler": SamplerSettings().as_data()})  # it only writes
        trainer, _ = built(alone, handed())
        with contextlib.closing(trainer):
            trainer.policy.load_state(saved.tensors("policy"))
            trainer.save(Path(folder))
        yield Found(folder, settings)


def _checkpoint(run: Path, step: int | None, say: Say, keeps_best: bool) -> checkpoint.Checkpoint:
    root = run / "checkpoints"
    if step is not None and step not in (steps := checkpoint.steps(root)):
        kept = ", ".join(map(str, steps)) or "none"
        raise SettingsError(
            [f"--step: got {step}; {run} has checkpoints of steps: {kept} (saving.every and saving.keep say which)"]
        )
    if step is not None:
        return checkpoint.of_step(root, step)
    if keeps_best and (kept := best.of_run(run)[0]) is not None:
        say(f"{run} is not finished: its best checkpoint, of step {kept.step}, is used")
        return kept
    newest, refused = checkpoint.newest(root)
    for sentence in refused:
        say(f"warning: {sentence}")
    if newest is None:
        raise SettingsError([f"{run}: this run has no final model and no checkpoint yet"])
    say(f"{run} is not finished: its checkpoint of step {newest.step} is used")
    return newest


NUMBERS_AT_ONCE = 2**24
"""Of a distribution's [N, V] numbers, so that a large vocabulary fits in memory."""
_COUNTS = Judgement(total=0.0, parts={}, accuracy=None)
"""An answer that could not be judged has moved all the same."""


def kl_of_answers(
    policy: TextPolicy, base: TextPolicy, episodes: Sequence[Episode], *, temperature: float
) -> npt.NDArray[np.float64]:
    """∑_t KL(π(·|x, y_<t) ‖ π_base(·|x, y_<t)) along each episode drawn from π, [N] nats an answer, at least 0.

    Its mean is the KL of the distribution of whole answers, with less noise than the mean of ∑_t log π/π_base. Both
    distributions are those at this temperature, above 0, at which the episodes were drawn; both models number tokens
    alike.
    """
    assert temperature > 0, "a greedy choice is no distribution"
    if not episodes:
        return np.zeros(0)
    batch = assemble([replace(episode, judgement=_COUNTS) for episode in episodes])
    vocabulary = len(policy.tokenizer)
    found_B = torch.zeros(len(batch), dtype=torch.float64)
    with torch.no_grad():
        for rows_B in micro_batches(batch, max(1, NUMBERS_AT_ONCE // vocabulary)):
            rows = batch.rows(rows_B)
            here, there = (model.distribution(rows, temperature=temperature) for model in (policy, base))
            row_N = torch.nonzero(rows.action_mask_BT)[:, 0]
            kl_N = here.kl(there).double().cpu()
            found_B[rows_B] = torch.zeros(len(rows_B), dtype=torch.float64).index_add_(0, row_N, kl_N)
    return found_B.numpy()

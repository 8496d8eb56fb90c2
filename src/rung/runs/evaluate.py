"""How good a model is at a task: mean@k, pass@k, maj@k with intervals, paired with a base model when one is named."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
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
from rung.runs.folders import Found, Say, found, silent
from rung.runs.recipes.sft import model_of, tiny_for
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
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983
from rung.tasks.environment import EnvironmentTask
from rung.tasks.load import load_task
from rung.tasks.prompts import plain_prompt
from rung.tasks.task import Item, TextTask
from rung.trainers.assemble import assemble
from rung.trainers.boxes_1983.collector import trial_scores
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.build import rewards_of
from rung.trainers.choose import kind_for
from rung.trainers.environment_rollouts import environment_scores
from rung.trainers.handed import Handed
from rung.trainers.held_out import Scores, score
from rung.trainers.policy_gradient.minibatches import micro_batches

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.settings import EvalSettings, TaskSettings


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
    pass_at_k: Estimate | None
    """None for an environment or a learned reward, as is everything that needs right and wrong."""
    maj_at_k: Estimate | None
    """None where the task's reward does not say what the answer in a completion is."""
    not_judged: int
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
        return _finite(data)


def evaluate(model: Any, asked: EvalSettings, *, base: Any = None, handed: Handed | None = None) -> Evaluation:
    """Samples k completions of each of the first items, for the model and for the base on the same streams."""
    given = handed is not None and asked.task.name.startswith(GIVEN)
    options = asked.task.options()
    task = handed.task(asked.task, asked.seed) if given else load_task(asked.task.name, seed=asked.seed, **options)
    task = task if handed is None else handed.over_turns(task, asked.tools, asked.turns)
    if isinstance(task, EnvironmentTask | CartPole1983):
        if asked.rewards:
            what = f"got {asked.rewards[0].function}, but {asked.task.name} is an environment: it judges"
            raise SettingsError(f"rewards: {what}")
        return _in_environment(task, asked, model, base)
    judges = rewards_of(asked.rewards, task, handed, accuracy=asked.rewarding.accuracy)
    policies = [_policy(one, asked.task, task) for one in (model, base) if one is not None]
    return _on_text(task, asked, judges, *policies)


def _policy(spec: Any, named: TaskSettings, task: TextTask) -> TextPolicy:
    return load_policy(model_of(spec, named, task)) if isinstance(spec, str) else as_policy(spec)


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
        pass_at_k=None,
        maj_at_k=None,
        not_judged=0,
        base=None if other is None else mean_score(other),
        paired=None if other is None else score_difference(other, found),
    )


def _majority(rewards: Sequence[WeightedReward], scores: Scores) -> Estimate | None:
    answer = getattr(rewards[0].reward, "final_answer", None) if rewards else None
    if answer is None:
        return None
    answers_NK = [[answer(completion) for completion in row] for row in scores.completions_NK]
    return majority_at_k(scores.scores_NK, answers_NK)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    given_by_name = {} if task is None else {"task": task}
    own = [one for one in rewards if not isinstance(one, str)]
    objects_given = {"rewards": own} if own else {}
    if tools:
        objects_given["tools"] = list(tools)
    data, objects = taken_apart({**given_by_name, **objects_given}, parts)
    named = (f"{one['function']}={one.get('weight', 1.0)}" for one in data.get("rewards", ()))
    texts = [*(one for one in rewards if isinstance(one, str)), *named]
    given = {
        **(flags or {}),
        **settings,
        **({"tools": data["tools"]} if tools else {}),
        **({} if task is None else {"task": _task_flag(data["task"])}),
    }
    with _found(model, step, say, parts) as it, _found(base, None, say, parts) as other:
        if it.settings is not None and given.get("task") is None:
            _require_answers(it.settings)
        values = it.settings is not None and _gives_values(it.settings)
        asked = read_eval(run=it.settings, values=values, flags=given, rewards=texts, sets=sets).required()
        reference = None if base is None else other.model
        return evaluate(it.model, asked, base=reference, handed=Handed(tiny=tiny_for, objects=objects))


def _task_flag(task: Any) -> Any:
    """A task's settings as the flag has them: its name alone where it has no options."""
    return task["name"] if isinstance(task, Mapping) and set(task) == {"name"} else task


@contextlib.contextmanager
def _found(model: Any, step: int | None, say: Say, parts: Sequence[type[Any]]) -> Any:
    """A run's model, a named model, or one that is in memory."""
    if model is None or not isinstance(model, str | Path):
        yield Found(model)
        return
    with found(str(model), step, say=say, parts=parts) as it:
        yield it


def _gives_values(run: Settings) -> bool:
    """Whether a run's language model gives values of tokens, which are no distribution to draw from."""
    kind = kind_for(run, run.resolved_method())
    return kind.values and not kind.environment


def _require_answers(run: Settings) -> None:
    """SettingsError when a run's own task is a file of pairs, whose answers nothing judges."""
    if kind_for(run, run.resolved_method()).stored_pairs:
        raise SettingsError(
            [
                f"--task: missing; this run's own task is {run.task.name}, pairs that were learnt from; name a task "
                "whose answers can be judged, as --task arithmetic"
            ]
        )


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

"""How good a model is at a task: mean@k, pass@k, maj@k with intervals, paired with a base model when one is named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError
from rung.models.language.load import as_policy, differing_tokens, load_policy
from rung.models.small.environment_policy import load_environment_policy
from rung.rewards.judge import Judge
from rung.rewards.reward import WeightedReward
from rung.rollouts.sampler import InProcessSampler
from rung.runs.kl_of_answers import kl_of_answers
from rung.runs.recipes.tiny import model_of
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
from rung.tasks.cart_pole import BOX_COUNT, CartPole1983
from rung.tasks.environment import EnvironmentTask
from rung.tasks.load import load_task
from rung.tasks.prompts import plain_prompt
from rung.tasks.task import Item, TextTask
from rung.trainers.boxes_1983.collector import trial_scores
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.build import rewards_of
from rung.trainers.environment_rollouts import environment_scores
from rung.trainers.held_out import Scores, score

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.settings import EvalSettings, TaskSettings
from rung.settings.objects import GIVEN
from rung.trainers.handed import Handed


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

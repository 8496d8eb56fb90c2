"""Collector with a learned reward: it stands between the environments and the batch that the policy learns from.

The task's own reward goes three ways here and no further: summed over a segment to the oracle that stands for a
person, into metrics, and into the evaluation. The batch that leaves has predicted rewards alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.segment_preferences import labels_by
from rung.methods.parts.learned_reward import SegmentPreferences
from rung.random import Stream
from rung.rollouts.environments.scaling import ObservationNormalizer
from rung.settings import Settings
from rung.trainers.held_out import Scores
from rung.trainers.policy_gradient.environment import EnvironmentCollector
from rung.trainers.rlhf_2017.labellers import Labeller, Question
from rung.trainers.rlhf_2017.reward_learner import RewardLearner, under
from rung.trainers.rlhf_2017.segments import Segments, cut_segments, drawn_pairs, newest, steps_of
from rung.trainers.trainer import Collected, Collector, Metrics, Phase


class PreferenceCollector(Collector[Batch]):
    """Asks about segments of what `inner` collects, fits the reward to the answers, and puts it into the batch."""

    def __init__(
        self, settings: Settings, part: SegmentPreferences, inner: EnvironmentCollector, labeller: Labeller
    ) -> None:
        self.settings, self.part, self.inner, self.labeller = settings, part, inner, labeller
        task = inner.met
        inputs = task.observations + (task.choices or task.dimensions or 0)
        self.learner = RewardLearner(part, inputs=inputs, seed=settings.seed)
        self.normalizer = ObservationNormalizer(inputs)
        self.recent = Segments.none(part.segment, inputs)
        self.most = max(2, part.recent_steps // part.segment)
        """Segments that are kept."""
        self.first_labels = part.first_labels(settings.preferences.labels)
        self.rollouts = self.asked = self.begun_at = 0
        """Rollouts met; questions asked; environment steps taken before the first update."""
        self.waiting: dict[int, Tensor] = {}
        """Questions without an answer yet: the two segments [2, K, D], by number."""

    def collect(self, step: int, phase: Phase) -> Collected:
        collected, steps_BTD, latest = self._rollout(step, phase)
        if self.asked == 0:
            while len(self.recent) < min(2 * self.first_labels, self.most):  # so that each asks about others
                collected, steps_BTD, latest = self._rollout(step, phase)
            self.begun_at = self.inner.steps - int(collected.batch.action_mask_BT.sum())
            with phase("preferences"):
                self._ask(step, self.first_labels, at_random=True)
                self._fit(step, self.part.first_updates, "first")
        with phase("preferences"):
            self._ask(step, self._due(step) - self.asked, at_random=False)
            found = self._fit(step, self.part.later_updates, "later")
            rewards_BT = self._rewards(collected.batch, steps_BTD)
        batch = collected.batch.changed(rewards_BT=rewards_BT, scores_B=torch.zeros(len(collected.batch)))
        return Collected(
            batch=batch,
            metrics=collected.metrics | self._metrics(collected, batch, latest) | found,
            notes=collected.notes,
        )

    def _rollout(self, step: int, phase: Phase) -> tuple[Collected, Tensor, Segments]:
        """One more rollout of the policy, what a predictor sees of it, and its segments, which are now recent."""
        self.labeller.before(self.inner.source)
        collected = self.inner.collect(step, phase)
        steps_BTD = steps_of(collected.batch, self.inner.met)
        self.normalizer(steps_BTD[collected.batch.action_mask_BT].numpy())
        stream = Stream(self.settings.seed, self.rollouts, "segments")
        latest = cut_segments(collected.batch, steps_BTD, self.part.segment, stream)
        self.recent = newest(self.recent.and_then(latest), self.most)
        oldest = int(self.recent.places_N3[0, 0]) if len(self.recent) else self.rollouts
        self.labeller.after(self.inner.source, self.rollouts, collected.batch, oldest)
        self.rollouts += 1
        return collected, steps_BTD, latest

    def _due(self, step: int) -> int:
        """Labels to be asked for by the end of this step."""
        taken = self.inner.steps - self.begun_at
        return int(
            labels_by(
                taken,
                steps=taken / step * self.settings.steps,
                labels=self.settings.preferences.labels,
                first=self.first_labels,
                rate_halves_at=self.part.rate_halves_at,
            )
            + 1e-9
        )

    def _ask(self, step: int, wanted: int, *, at_random: bool) -> None:
        questions = self._questions(step, wanted, at_random=at_random) if wanted > 0 else []
        for question in questions:
            self.waiting[question.number] = torch.cat([question.first.steps_NKD, question.second.steps_NKD])
        self.asked += len(questions)
        when = f"step_{step:06d}-{'first' if at_random else 'later'}"
        found = self.labeller.answers(when, questions, list(self.waiting))
        answered = [(*self.waiting.pop(number), answer) for number, answer in sorted(found.items())]
        self.learner.add([(one, two, answer) for one, two, answer in answered if answer is not None])

    def _questions(self, step: int, wanted: int, *, at_random: bool) -> list[Question]:
        times = 1 if at_random else self.part.queries.candidates
        stream = Stream(self.settings.seed, step, f"preferences/queries/{'first' if at_random else 'later'}")
        pairs_N2 = drawn_pairs(len(self.recent), wanted * times, stream)
        if len(pairs_N2) > wanted:
            worth_N = self.part.queries.worth(*self.learner.returns(self.recent.steps_NKD[pairs_N2]))
            pairs_N2 = pairs_N2[worth_N.argsort(descending=True, stable=True)[:wanted]]
        return [
            Question(self.asked + number, self.recent.at(pair[:1]), self.recent.at(pair[1:]))
            for number, pair in enumerate(pairs_N2)
        ]

    def _fit(self, step: int, updates: int, purpose: str) -> Metrics:
        if not len(self.learner):
            return {}
        self.learner.ensemble.scale = self.normalizer.scale()
        found = self.learner.fit(step, updates, purpose)
        self.learner.ensemble.normalise(self.recent.steps_NKD.flatten(0, 1))
        return found

    def _rewards(self, batch: Batch, steps_BTD: Tensor) -> Tensor:
        """[B, T] float64 predicted, 0 where masked; 0 everywhere while there is no label."""
        rewards_BT = torch.zeros(batch.action_mask_BT.shape, dtype=torch.float64)
        if len(self.learner):
            predicted_N = self.learner.ensemble.rewards(steps_BTD[batch.action_mask_BT])
            rewards_BT[batch.action_mask_BT] = self.part.reward_std * predicted_N
        return rewards_BT

    def _metrics(self, collected: Collected, batch: Batch, latest: Segments) -> Metrics:
        row_N1, at_NK = latest.places_N3[:, 1:2], latest.places_N3[:, 2:] + torch.arange(self.part.segment)
        predicted_N = batch.rewards_BT[row_N1, at_NK].sum(1)
        return {
            "reward/mean": float(batch.rewards_BT[batch.action_mask_BT].mean()),
            "preferences/true_return": collected.metrics["reward/mean"],
            "preferences/labels": float(len(self.learner)),
            "preferences/waiting": float(len(self.waiting)),
            "preferences/true_correlation": correlation(predicted_N.numpy(), latest.truth_N.numpy()),
        }

    def evaluate(self) -> Scores:
        """The task's own return, its own endings included."""
        return self.inner.evaluate()

    def film(self, folder: Path) -> None:
        self.inner.film(folder)

    def state(self) -> Mapping[str, Any]:
        numbers = {"rollouts": self.rollouts, "asked": self.asked, "begun_at": self.begun_at}
        return {"inner": self.inner.state(), **numbers, "waiting": list(self.waiting)}

    def tensors(self) -> dict[str, Tensor]:
        groups: Mapping[str, Mapping[str, Tensor]] = {
            "inner/": self.inner.tensors(),
            "reward/": self.learner.tensors(),
            "recent/": self.recent.state(),
            "inputs/": self.normalizer.moments.state(),
            "waiting/": {str(number): pair_2KD for number, pair_2KD in self.waiting.items()},
            "labeller/": self.labeller.tensors(),
        }
        return {prefix + name: tensor for prefix, group in groups.items() for name, tensor in group.items()}

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.inner.load_state(state["inner"], under(tensors, "inner/"))
        self.rollouts, self.asked, self.begun_at = (int(state[name]) for name in ("rollouts", "asked", "begun_at"))
        self.learner.load_tensors(under(tensors, "reward/"))
        self.recent = Segments.from_state(under(tensors, "recent/"))
        self.normalizer.moments.load_state(under(tensors, "inputs/"))
        self.waiting = {number: tensors[f"waiting/{number}"] for number in state["waiting"]}
        self.labeller.load_tensors(under(tensors, "labeller/"))

    def close(self) -> None:
        self.inner.close()


def correlation(one_N: np.ndarray, two_N: np.ndarray) -> float | None:
    """Pearson's, None where one of them does not vary or is not known.

    >>> round(correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])), 6)
    1.0
    """
    if len(one_N) < 2 or not np.isfinite(two_N).all() or min(one_N.std(), two_N.std()) == 0:
        return None
    return float(np.corrcoef(one_N, two_N)[0, 1])

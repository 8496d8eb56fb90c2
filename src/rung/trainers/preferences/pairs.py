"""Pairs for a step, with the reference's log-probs: each is computed once and kept in the run's checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Batch, Episode
from rung.errors import DataError
from rung.faults import fault_point
from rung.methods.preference_learning import PreferenceLearning
from rung.settings import Settings
from rung.tasks.order import items_at
from rung.tasks.pairs import Pair, PairTask, left_out
from rung.trainers.held_out import Scores
from rung.trainers.preferences.measure import calibration_error, rewards_of_answers, right_of_each
from rung.trainers.preferences.tokens import (
    AnswerModel,
    EncodedPair,
    PairRows,
    answer_values,
    encoded,
    episodes_of,
    pair_rows,
)
from rung.trainers.ranks import ONE, Ranks
from rung.trainers.trainer import Collected, Collector, Phase

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


class _Known:
    """The reference's log-prob of every answer of some pairs, one after another; NaN where it was not asked yet."""

    def __init__(self, pairs: Sequence[EncodedPair]) -> None:
        self.begins = np.cumsum([0, *(len(one.answers) for one in pairs)])
        self.values_N = torch.full((int(self.begins[-1]),), torch.nan, dtype=torch.float64)

    def _places(self, picks: Sequence[int]) -> Tensor:
        return torch.tensor([n for pick in picks for n in range(self.begins[pick], self.begins[pick + 1])])

    def of(self, picks: Sequence[int]) -> Tensor:
        """[B] of these pairs' answers, in order."""
        return self.values_N[self._places(picks)]

    def lacks(self, picks: Sequence[int]) -> bool:
        return bool(self.of(picks).isnan().any())

    def learn(self, picks: Sequence[int], values_B: Tensor) -> None:
        """Takes what was not known yet."""
        old_B = self.of(picks)
        self.values_N[self._places(picks)] = torch.where(old_B.isnan(), values_B, old_B)


Ask = Callable[[Batch], Tensor]
"""One number for each answer [B], float64, without gradient."""


def asking(model: AnswerModel, reference: AnswerModel | None, tokens: int, ranks: Ranks = ONE) -> tuple[Ask, Ask]:
    """Asks the model, and asks its reference: all processes that learn together take part in an answer."""
    model_s, reference_s = (
        ranks.shared(partial(answer_values, one, tokens=tokens, ranks=ranks), f"to ask the {name}")
        for one, name in ((model, "model"), (reference or model, "reference"))
    )
    return model_s, reference_s


class PairCollector(Collector[PairRows]):
    """Hands out stored pairs in a keyed order, every pair once an epoch; nothing is sampled.

    Attributes:
        drawn: pairs handed out so far: the position in the data.
        excluded: how many pairs were left out, by reason.
    """

    def __init__(
        self,
        settings: Settings,
        method: PreferenceLearning,
        task: PairTask,
        model: AnswerModel,
        reference: TextPolicy | None,
        asks: tuple[Ask, Ask] | None = None,
    ) -> None:
        asks = asks or asking(model, reference, settings.learner.micro_batch_tokens)
        self._ask_model, self._ask_reference = asks
        self.settings, self.method, self.model = settings, method, model
        self.reference = reference
        self.excluded = dict(task.excluded)
        self.train = self._encoded(task.train)
        self.held_out = self._encoded(task.held_out)
        if not self.train:
            raise DataError([f"{settings.task.name}: no pair is left to learn from: {left_out(self.excluded)}"])
        self.drawn = 0
        self._train_reference = _Known(self.train)
        self._held_out_reference = _Known(self.held_out)

    def _encoded(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """The pairs in tokens, less those that do not fit: an answer is never cut."""
        kept: list[EncodedPair] = []
        room = self.model.reader.context_length
        for one in encoded(self.model.reader, pairs):
            if isinstance(one, str) or one.longest > room:
                why = "that the tokenizer cannot take" if isinstance(one, str) else "too long for the model"
                self.excluded[why] = self.excluded.get(why, 0) + 1
            else:
                kept.append(one)
        return kept

    def collect(self, step: int, phase: Phase) -> Collected:
        """The next pairs, with the reference's log-probs where the loss has a reference."""
        picks = items_at(self.settings.seed, self.drawn, self.method.pairs_per_step, len(self.train)).tolist()
        chosen = [self.train[pick] for pick in picks]
        asked = self.reference is not None and self._train_reference.lacks(picks)
        with phase("reference"):
            rows = self._rows(chosen, picks, self._train_reference)
        fault_point("rollout.done")
        notes = (left_out(self.excluded),) if self.excluded and self.drawn == 0 else ()
        self.drawn += len(picks)
        return Collected(
            batch=rows,
            metrics={
                "pairs/excluded": float(sum(self.excluded.values())),
                "tokens/reference": float(rows.batch.action_mask_BT.sum()) if asked else 0.0,
            },
            episodes=[
                dataclasses.replace(episode, pieces=self.model.reader.pieces(episode.actions))
                for group, one in enumerate(chosen)
                for episode in episodes_of(one, group)
            ],
            notes=notes,
        )

    def _rows(self, chosen: Sequence[EncodedPair], picks: Sequence[int], known: _Known) -> PairRows:
        """The pairs' rows. Of the reference's log-probs, what is not known yet is computed once.

        It is computed in the micro-batches that learning uses, so that a policy that is still the reference gets the
        very same numbers, bit by bit.
        """
        rows = pair_rows(chosen)
        if self.reference is None:
            return rows
        if known.lacks(picks):
            known.learn(picks, self._ask_reference(rows.batch))
        return dataclasses.replace(rows, reference_B=known.of(picks))

    def evaluate(self) -> Scores:
        """The share of held-out pairs whose chosen answer has the higher reward, and how much it says of itself."""
        most = min(self.settings.evaluation.num_items, len(self.held_out))
        right, margins, losses = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
        for first in range(0, most, self.method.pairs_per_step):
            picks = range(first, min(first + self.method.pairs_per_step, most))
            rows = self._rows([self.held_out[pick] for pick in picks], picks, self._held_out_reference)
            values_B = self._ask_model(rows.batch)
            answers = rows.answers(values_B)
            rewards_B = rewards_of_answers(answers, self.method)
            right.append(right_of_each(answers, self.method).numpy())
            margins.append(answers.margins_M(rewards_B).numpy())
            losses.append(self.method.losses(answers).numpy())
        margins_M = np.concatenate(margins)
        return Scores(
            items=tuple(one.pair.id for one in self.held_out[:most]),
            scores_NK=np.concatenate(right)[:, None],
            completions_NK=(("",),) * most,
            beside={
                "held_out/loss": _mean(np.concatenate(losses)),
                "held_out/margin": _mean(margins_M),
                "held_out/calibration": None if self.method.trains_policy() else calibration_error(margins_M),
            },
        )

    def prompt_of(self, episode: Episode) -> str:
        return self.model.reader.decode(episode.context)

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self.drawn, "excluded": self.excluded}

    def tensors(self) -> dict[str, Tensor]:
        """The reference's log-probs of every answer; NaN where it was not asked yet."""
        return {
            "reference_train": self._train_reference.values_N,
            "reference_held_out": self._held_out_reference.values_N,
        }

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.drawn = int(state["drawn"])
        self._train_reference.values_N.copy_(tensors["reference_train"])
        self._held_out_reference.values_N.copy_(tensors["reference_held_out"])


def _mean(numbers: npt.NDArray[np.float64]) -> float | None:
    return float(numbers.mean()) if len(numbers) else None

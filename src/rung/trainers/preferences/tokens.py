"""Pairs in tokens: the two answers of a pair share one prompt and stay together in a micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Batch, Episode, Judgement
from rung.methods.parts.preference_losses import CHOSEN, REJECTED, Answers, pairs_of
from rung.tasks.pairs import Pair
from rung.trainers.assemble import assemble
from rung.trainers.ranks import ONE, Ranks

if TYPE_CHECKING:
    from rung.models.language.text_reader import Encoded, TextReader

Ids = npt.NDArray[np.int64]


class AnswerModel(Protocol):
    """A policy or a reward model: one number for each answer."""

    @property
    def reader(self) -> TextReader:
        """Whose tokens it reads."""
        ...

    def answer_values(self, batch: Batch) -> Tensor: ...
    def trainable(self) -> dict[str, torch.nn.Parameter]: ...


@dataclass(frozen=True, kw_only=True)
class EncodedPair:
    """A pair in tokens. Both answers continue the same prompt ids and end with exactly one end token."""

    pair: Pair
    prompt: Ids
    answers: tuple[tuple[Ids, float], ...]
    """Ids and accuracy (chosen 1, rejected 0): two of them, or one where answers were labelled alone."""

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longer answer."""
        return len(self.prompt) + max(len(ids) for ids, _ in self.answers)


def encoded(reader: TextReader, pairs: Sequence[Pair]) -> list[EncodedPair | str]:
    """The pairs in this reader's tokens; a sentence in place of one that cannot be."""
    rows = reader.encode_rows([(pair.prompt, pair.answers) for pair in pairs])
    return [row if isinstance(row, str) else _with_worths(row, pair) for row, pair in zip(rows, pairs, strict=True)]


def _with_worths(row: Encoded, pair: Pair) -> EncodedPair:
    worths = [worth for text, worth in ((pair.chosen, CHOSEN), (pair.rejected, REJECTED)) if text is not None]
    return EncodedPair(pair=pair, prompt=row.prompt, answers=tuple(zip(row.answers, worths, strict=True)))


def episodes_of(found: EncodedPair, group: int) -> list[Episode]:
    """The pair's answers as episodes, the chosen one first; `group` makes them a pair."""
    return [
        Episode(
            item=found.pair.id,
            group=group,
            sample=sample,
            context=found.prompt,
            actions=ids,
            action_mask=np.ones(len(ids), dtype=np.bool_),
            log_probs=np.zeros(len(ids), dtype=np.float32),
            terminated=True,
            truncated=False,
            text=(found.pair.chosen if worth == CHOSEN else found.pair.rejected) or "",
            judgement=Judgement(total=worth, parts={}, accuracy=worth),
        )
        for sample, (ids, worth) in enumerate(found.answers)
    ]


@dataclass(frozen=True, kw_only=True)
class PairRows:
    """A step's answers, one per row; rows with the same group id are a pair."""

    batch: Batch
    at_least_B: Tensor
    """The pair's margin, in both of its rows."""
    reference_B: Tensor | None = None
    """The reference's log-probs; None where the loss has no reference."""

    def __len__(self) -> int:
        return len(self.batch)

    def rows(self, index_B: Tensor) -> PairRows:
        """The rows at `index_B`, in that order."""
        return PairRows(
            batch=self.batch.rows(index_B),
            at_least_B=self.at_least_B[index_B],
            reference_B=None if self.reference_B is None else self.reference_B[index_B],
        )

    def answers(self, values_B: Tensor, anchor: float = 0.0) -> Answers:
        """The loss's input, given the model's number for each row."""
        pairs_M2 = pairs_of(self.batch)
        return Answers(
            values_B=values_B,
            reference_B=self.reference_B,
            lengths_B=self.batch.action_mask_BT.sum(1).to(values_B),
            desirable_B=self.batch.scores_B >= CHOSEN,
            pairs_M2=pairs_M2,
            at_least_M=self.at_least_B[pairs_M2[:, 0]],
            anchor=anchor,
        )


def pair_rows(found: Sequence[EncodedPair]) -> PairRows:
    """The pairs' answers as one batch, in their order."""
    episodes = [episode for group, one in enumerate(found) for episode in episodes_of(one, group)]
    margins = [one.pair.margin for one in found for _ in one.answers]
    return PairRows(batch=assemble(episodes), at_least_B=torch.tensor(margins, dtype=torch.float64))


def whole_pairs(batch: Batch, tokens: int, *, at_least: int = 1) -> Iterator[Tensor]:
    """Consecutive row indices that hold about `tokens` tokens, at least one pair each; pairs are never split.

    A pair's prompt counts once. Where that gives fewer than `at_least`, they are cut smaller, into about so many.
    """
    rows: list[int] = []
    held = 0
    lengths = batch.action_mask_BT.sum(1)
    groups = [
        torch.nonzero(batch.group_ids_B == group)[:, 0].tolist()
        for group in torch.unique_consecutive(batch.group_ids_B)
    ]
    sizes = [len(batch.contexts[members[0]]) + int(lengths[members].sum()) for members in groups]
    if at_least > 1:
        tokens = min(tokens, sum(sizes) // at_least)
    for members, needs in zip(groups, sizes, strict=True):
        if rows and held + needs > tokens:
            yield torch.tensor(rows)
            rows, held = [], 0
        rows += members
        held += needs
    if rows:
        yield torch.tensor(rows)


def answer_values(model: AnswerModel, batch: Batch, tokens: int, ranks: Ranks = ONE) -> Tensor:
    """[B] float64, without gradient, in the same micro-batches as learning, so that equal weights give equal bits."""
    values_B = torch.zeros(len(batch), dtype=torch.float64)
    with torch.no_grad():
        for rows_B, counts in ranks.dealt(list(whole_pairs(batch, tokens, at_least=ranks.size))):
            found_B = model.answer_values(batch.rows(rows_B)).to(values_B)
            if counts:
                values_B[rows_B] = found_B
    return ranks.total(values_B)

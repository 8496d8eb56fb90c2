"""Rows that engines are asked for, and what they have told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Episode
from rung.errors import EngineError, NonFiniteError
from rung.random import Stream, keyed_hash
from rung.rollouts.endings import Endings
from rung.rollouts.engine.process import EngineProcess
from rung.rollouts.sampling import Drawn, Prompt, as_tensors, drawn_episode, from_tensors

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


@dataclass
class Row:
    """What is known of one row: tokens, their log-probs, the version of the weights that drew each."""

    tokens: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])
    versions: list[int] = field(default_factory=list[int])
    ended: bool = False
    done: bool = False
    asked: EngineProcess | None = None
    """Who draws it; another engine must be asked anew."""


@dataclass(eq=False)
class Request:
    """Rows that are to be drawn.

    Attributes:
        first: the number under which engines know its first row.
        gap: of the engines when they were asked first, as `Proof.gap`.
    """

    prompts: Sequence[Prompt]
    samples: int
    most: int
    temperature: float
    stream: Stream
    endings: Endings
    stop: tuple[str, ...]
    first: int
    gap: float | None = None
    rows: list[Row] = field(default_factory=list[Row])

    def __post_init__(self) -> None:
        self.rows = [Row() for _ in range(len(self.prompts) * self.samples)]

    @property
    def open(self) -> list[int]:
        return [number for number, row in enumerate(self.rows) if not row.done]

    def is_same(self, other: Request) -> bool:
        """Whether it asks for the same rows."""
        mine, its = (
            (one.samples, one.most, one.temperature, one.stream, one.stop, [(p.item, p.group) for p in one.prompts])
            for one in (self, other)
        )
        return mine == its

    def in_words(self) -> str:
        return f"{len(self.open):,} answers ('{self.stream.purpose}' of step {self.stream.step})"

    def message(self, rows: Sequence[int]) -> tuple[dict[str, Any], list[npt.NDArray[np.int32]]]:
        """These rows, each to be gone on with from what is known of it."""
        prompts = sorted({row // self.samples for row in rows})
        begun = [self.rows[row].tokens for row in rows]
        ends_V = self.endings.ends_V
        return {
            "ask": "draw",
            "prompts": [len(self.prompts[number].ids) for number in prompts],
            "rows": [
                (self.first + row, prompts.index(row // self.samples), len(known), self._seed(row, len(known)))
                for row, known in zip(rows, begun, strict=True)
            ],
            "temperature": self.temperature,
            "most": self.most,
            "ends": np.flatnonzero(ends_V).tolist(),
            "may_end": np.flatnonzero(self.endings.may_end_V & ~ends_V).tolist(),
        }, [np.asarray(ids, np.int32) for ids in (*(self.prompts[number].ids for number in prompts), *begun)]

    def _seed(self, row: int, known: int) -> int:
        """A row that is gone on with draws by other numbers than those that drew its beginning."""
        stream, prompt = self.stream, self.prompts[row // self.samples]
        key = (stream.seed, stream.step, stream.purpose, prompt.item, row % self.samples, *([known] if known else ()))
        return keyed_hash(*key) >> 65

    def take(
        self, number: int, tokens: npt.NDArray[Any], log_probs: npt.NDArray[Any], version: int, *, ended: bool
    ) -> bool:
        """More of a row, cut where its answer ends; whether the engine need not go on with it."""
        row = self.rows[number]
        if not row.done:
            known = len(row.tokens)
            row.tokens += tokens.tolist()
            row.log_probs += log_probs.tolist()
            row.versions += [version] * len(tokens)
            length = self.endings.length(np.array(row.tokens, np.int64), known)
            if length is not None or ended:
                self._over(row, length, self.prompts[number // self.samples].item)
        return row.done and not ended

    def _over(self, row: Row, length: int | None, item: str) -> None:
        if length is None and len(row.tokens) != self.most:
            tokens = len(row.tokens)
            raise EngineError(f"item '{item}': the engine ended an answer after {tokens} tokens without a reason")
        if not np.isfinite(row.log_probs).all():
            raise NonFiniteError(f"while sampling for item {item}: the engine's log-probs are not finite")
        for known in (row.tokens, row.log_probs, row.versions):
            del known[length or len(known) :]
        row.done, row.ended = True, length is not None

    def _drawn(self, row: Row) -> Drawn:
        greedy = self.temperature == 0  # a distribution of one outcome
        held = np.array(row.log_probs, np.float32)
        held = np.zeros_like(held) if greedy else np.minimum(held, 0.0)
        return Drawn(np.array(row.tokens, np.int64), held, row.ended)

    def episodes(self, policy: TextPolicy) -> list[Episode]:
        return [
            drawn_episode(
                policy, self.prompts[number // self.samples], number % self.samples, self._drawn(row), row.versions
            )
            for number, row in enumerate(self.rows)
        ]

    def tensors(self) -> dict[str, Tensor]:
        """What is known of the rows, to be kept."""
        versions = torch.tensor([one for row in self.rows for one in row.versions], dtype=torch.int64)
        return as_tensors([self._drawn(row) for row in self.rows]) | {"versions": versions}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave."""
        drawn = from_tensors(tensors)
        versions = tensors["versions"].split([len(one.tokens) for one in drawn])
        self.rows = [
            Row(
                one.tokens.tolist(),
                one.log_probs.tolist(),
                its.tolist(),
                ended=one.ended,
                done=one.ended or len(one.tokens) == self.most,
            )
            for one, its in zip(drawn, versions, strict=True)
        ]

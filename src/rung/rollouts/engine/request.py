"""Rows that an engine is asked for, and what it tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.batch import Episode
from rung.errors import EngineError, NonFiniteError
from rung.random import Stream, keyed_hash
from rung.rollouts.endings import Endings
from rung.rollouts.engine.process import EngineProcess
from rung.rollouts.sampling import Drawn, DrawnFrom, Prompt, drawn_episode

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

NOWHERE = DrawnFrom()


@dataclass
class Request:
    """Rows that are to be drawn."""

    prompts: Sequence[Prompt]
    samples: int
    most: int
    temperature: float
    stream: Stream
    endings: Endings
    stop: tuple[str, ...]
    came_from: DrawnFrom = NOWHERE
    drawn: dict[int, Drawn] = field(default_factory=dict[int, Drawn])
    asked: EngineProcess | None = None
    """Who was asked; another engine must be asked again."""

    @property
    def open(self) -> list[int]:
        return [row for row in range(len(self.prompts) * self.samples) if row not in self.drawn]

    def is_same(self, other: Request) -> bool:
        """Whether it asks for the same rows."""
        mine, its = (
            (one.samples, one.most, one.temperature, one.stream, one.stop, [(p.item, p.group) for p in one.prompts])
            for one in (self, other)
        )
        return mine == its

    def in_words(self) -> str:
        return f"{len(self.open):,} answers ('{self.stream.purpose}' of step {self.stream.step})"

    def message(self) -> tuple[dict[str, Any], npt.NDArray[np.int32]]:
        """The open rows, as they are asked for."""
        rows = [(row, row // self.samples, self._seed(row)) for row in self.open]
        ends_V = self.endings.ends_V
        return {
            "ask": "draw",
            "prompts": [len(prompt.ids) for prompt in self.prompts],
            "rows": rows,
            "temperature": self.temperature,
            "most": self.most,
            "ends": np.flatnonzero(ends_V).tolist(),
            "may_end": np.flatnonzero(self.endings.may_end_V & ~ends_V).tolist(),
        }, np.concatenate([prompt.ids for prompt in self.prompts]).astype(np.int32)

    def _seed(self, row: int) -> int:
        stream, prompt = self.stream, self.prompts[row // self.samples]
        return keyed_hash(stream.seed, stream.step, stream.purpose, prompt.item, row % self.samples) >> 65

    def take(self, row: int, tokens: npt.NDArray[np.int32], log_probs: npt.NDArray[np.float32], *, ended: bool) -> None:
        """A row as it came, cut where its answer ends."""
        item = self.prompts[row // self.samples].item
        if not ended and len(tokens) != self.most:
            raise EngineError(f"item '{item}': the engine ended an answer after {len(tokens)} tokens without a reason")
        if not np.isfinite(log_probs).all():
            raise NonFiniteError(f"while sampling for item {item}: the engine's log-probs are not finite")
        greedy = self.temperature == 0  # a distribution of one outcome
        held = np.zeros(len(tokens), np.float32) if greedy else np.minimum(log_probs, 0.0)
        self.drawn[row] = Drawn(tokens.astype(np.int64), held, ended)

    def episodes(self, policy: TextPolicy) -> list[Episode]:
        return [
            drawn_episode(policy, self.prompts[row // self.samples], row % self.samples, one, self.came_from.version)
            for row, one in sorted(self.drawn.items())
        ]


def told_rows(
    rows: Sequence[Sequence[Any]], payload: memoryview
) -> Iterable[tuple[int, npt.NDArray[Any], npt.NDArray[Any], bool]]:
    """Each row's number, tokens, log-probs, and whether it ended."""
    total = sum(count for _, count, _ in rows)
    tokens = np.frombuffer(payload, np.int32, total)
    log_probs = np.frombuffer(payload, np.float32, total, tokens.nbytes)
    at = 0
    for row, count, ended in rows:
        yield int(row), tokens[at : at + count], log_probs[at : at + count], bool(ended)
        at += count

"""The engine's side of the connection: answers the run's questions with whatever engine is there.

Runs in the engine's interpreter, which has torch and not rung's other packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from rung.rollouts.engine.wire import KEY, Wire


class Engine(Protocol):
    """What draws."""

    def about(self) -> dict[str, Any]:
        """`engine` and its version, `longest`: tokens of prompt and answer together."""
        ...

    def begin(self) -> None:
        """Weights will come. No row is open then."""
        ...

    def load(self, weights: list[tuple[str, Tensor]]) -> None: ...
    def end(self) -> None:
        """The weights have come. What was kept of the old ones (keys and values of prompts) must not be used."""
        ...

    def add(
        self, row: int, tokens: Sequence[int], *, seed: int, temperature: float, most: int, ends: Sequence[int]
    ) -> None: ...
    def drop(self, row: int) -> None: ...
    def step(self) -> Iterable[tuple[int, Sequence[int], Sequence[float], bool]]:
        """Goes on a little; what is new of each row: tokens, log-probs, whether it ended."""
        ...

    def score(self, rows: Sequence[list[int]]) -> tuple[list[float], list[list[float]]]:
        """ln p of each row's last token, as drawing reads it, and of all its tokens but the first, read anew."""
        ...


def serve(engine: Engine, folder: str) -> None:
    """Answers until the run is gone."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(Path(folder, "socket")))
    wire = Wire(connection)
    wire.send({"key": os.environ.pop(KEY), **engine.about()})
    _Served(engine, wire).until_gone()


class _Row:
    """What was drawn of a row and not told yet."""

    def __init__(self, may_end: frozenset[int]) -> None:
        self.may_end = may_end
        self.tokens: list[int] = []
        self.log_probs: list[float] = []
        self.ended = False


class _Served:
    def __init__(self, engine: Engine, wire: Wire) -> None:
        self.engine, self.wire = engine, wire
        self.weights = _Weights(engine)
        self.rows: dict[int, _Row] = {}  # that are drawn, or have ended and were not told
        self.news = False  # a row has ended, or may have
        self.stop = False
        self.due: float | None = None  # when a `more` must be answered

    def until_gone(self) -> None:
        while True:
            busy = any(not row.ended for row in self.rows.values())
            if self.due is not None and (not busy or self.news or time.monotonic() >= self.due):
                self._tell()
            elif busy and not self.wire.waits():
                self._step()
            else:
                try:
                    header, payload = self.wire.receive()
                except ConnectionError:
                    return
                getattr(self, f"_{header['ask']}")(header, payload)

    def _update(self, header: dict[str, Any], payload: memoryview) -> None:
        self.weights.begin(header["adapted"])
        self.wire.send({})

    def _bucket(self, header: dict[str, Any], payload: memoryview) -> None:
        self.weights.take(header, payload)
        self.wire.send({})

    def _end(self, header: dict[str, Any], payload: memoryview) -> None:
        self.wire.send({"sha256": self.weights.end()})

    def _draw(self, header: dict[str, Any], payload: memoryview) -> None:
        known = [count for _, _, count, _ in header["rows"]]
        texts = _texts([*header["prompts"], *known], payload)
        may_end, begun = frozenset(header["may_end"]), texts[len(header["prompts"]) :]
        for (row, prompt, count, seed), tokens in zip(header["rows"], begun, strict=True):
            how = {"temperature": header["temperature"], "most": header["most"] - count, "ends": header["ends"]}
            self.rows[row] = _Row(may_end)
            self.engine.add(row, [*texts[prompt], *tokens], seed=seed, **how)
        self.wire.send({})

    def _more(self, header: dict[str, Any], payload: memoryview) -> None:
        self._drop(header["enough"])
        self.stop = header["stop"]
        self.due = time.monotonic() + (0.0 if self.stop else header["wait_s"])

    def _drop(self, rows: Iterable[int]) -> None:
        for row in rows:
            if row in self.rows:
                self.engine.drop(row)
                del self.rows[row]

    def _score(self, header: dict[str, Any], payload: memoryview) -> None:
        last, every = self.engine.score(_texts(header["rows"], payload))
        self.wire.send({}, [_numbers([*last, *(one for row in every for one in row)], torch.float32)])

    def _step(self) -> None:
        for number, tokens, log_probs, ended in self.engine.step():
            if (row := self.rows.get(number)) is None:
                continue
            row.tokens += tokens
            row.log_probs += log_probs
            row.ended = ended
            self.news = self.news or ended or not row.may_end.isdisjoint(tokens)

    def _tell(self) -> None:
        told = [(number, row) for number, row in sorted(self.rows.items()) if row.tokens or row.ended]
        self.wire.send(
            {"rows": [[number, len(row.tokens), row.ended] for number, row in told]},
            [
                _numbers([token for _, row in told for token in row.tokens], torch.int32),
                _numbers([one for _, row in told for one in row.log_probs], torch.float32),
            ],
        )
        for number, row in told:
            row.tokens, row.log_probs = [], []
            if row.ended:
                del self.rows[number]
        if self.stop:
            self._drop(list(self.rows))
        self.news, self.stop, self.due = False, False, None


class _Weights:
    """Weights that come in buckets, with low-rank changes that are added here: W + scale · B·A.

    Of what has an adapter, and of the layers beside it that the engine may hold as one with it, the base stays here;
    so a later delivery is the adapters alone.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base: dict[str, Tensor] = {}
        self.beside: frozenset[str] = frozenset()
        self.changes: dict[str, tuple[float, Tensor, Tensor]] = {}
        self.digest = hashlib.sha256()

    def begin(self, adapted: Sequence[str]) -> None:
        self.digest, self.changes = hashlib.sha256(), {}
        self.beside = frozenset(_holder(name) for name in adapted)
        self.engine.begin()

    def take(self, header: dict[str, Any], payload: memoryview) -> None:
        self.digest.update(json.dumps([header["tensors"], header["adapters"]]).encode())
        self.digest.update(payload)
        tensors: dict[str, Tensor] = {}
        at = 0
        for name, dtype, shape in header["tensors"]:
            kind = getattr(torch, dtype)
            count = torch.Size(shape).numel()
            tensors[name] = torch.frombuffer(payload, dtype=kind, count=count, offset=at).view(shape)
            at += count * kind.itemsize
        for name, scale in header["adapters"].items():
            self.changes[name] = (scale, tensors.pop(f"{name}.A"), tensors.pop(f"{name}.B"))
        kept = {name for name in tensors if _holder(name) in self.beside}
        self.base |= {name: tensors.pop(name).clone() for name in kept}
        if tensors:
            self.engine.load(list(tensors.items()))

    def end(self) -> str:
        if self.base:
            self.engine.load([(name, self._changed(name, base)) for name, base in self.base.items()])
        self.engine.end()
        return self.digest.hexdigest()

    def _changed(self, name: str, base: Tensor) -> Tensor:
        if name not in self.changes:
            return base
        scale, a, b = self.changes[name]
        return (base.float() + scale * (b.float() @ a.float())).to(base.dtype)


def _holder(name: str) -> str:
    """`model.layers.0.self_attn` of `model.layers.0.self_attn.q_proj.weight`."""
    return name.rsplit(".", 2)[0]


def _texts(lengths: Sequence[int], payload: memoryview) -> list[list[int]]:
    numbers = memoryview(payload).cast("i").tolist()
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    return [numbers[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _numbers(values: Sequence[float], dtype: torch.dtype) -> Any:
    return torch.tensor(values, dtype=dtype).numpy()

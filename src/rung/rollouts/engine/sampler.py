"""The sampler that has engines draw: `sampler.engine=vllm`.

Engines are started when the first answers are asked for. Weights are delivered when answers are asked for and the
engines have others, and proved each time. What a row draws is keyed by seed, step, purpose, item and sample, so it does
not show which engine drew it, or how many there are.

Answers may be begun before they are asked for (`begin`). With `ahead` 1 they are waited for before weights change; an
engine that is lost is given the weights that it had and asked again from the start. From 2 on weights change in flight:
engines tell what they have and stop, are given the weights, and go on from there. So each token's law is known: it was
drawn from the weights of its version, read anew over all that stands before it. What an engine that is lost had told
stays and is gone on with; rows that are complete never wait upon others, and none is drawn twice, which would favour
short ones.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rung.batch import Episode
from rung.errors import SettingsError
from rung.faults import fault_point
from rung.random import Stream
from rung.rollouts.endings import Endings
from rung.rollouts.engine.engines import Answer, Engines, EngineSettings, Seat
from rung.rollouts.engine.request import Request
from rung.rollouts.engine.source import Source
from rung.rollouts.sampling import Prompt, Told, check_asked, check_lengths

WAIT_S = 1.0
"""Engines tell of their rows at least so often, so that a slow one is told from one that hangs."""


class EngineSampler:
    """A `Sampler` whose engines are other processes.

    Args:
        source: the learner's; its weights are what `deliver` says that they are.
    """

    def __init__(self, source: Source, settings: EngineSettings) -> None:
        self.policy, self.settings = source.policy, settings
        self.engines = Engines(source, settings)
        self.version = 0
        self._begun: list[Request] = []
        self._asked: list[Request] = []
        self._enough: dict[Seat, list[int]] = defaultdict(list)
        self._numbers = 0
        self._gap: float | None = None

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note that the weights have changed; they are sent when answers are asked for."""
        self.version = version

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        samples_per_prompt: int,
        max_new_tokens: int,
        temperature: float,
        stream: Stream,
        stop: Sequence[str] = (),
        epsilon: float | None = None,
    ) -> list[Episode]:
        """As `Sampler.sample`. What `begin` has asked for is given as it was drawn.

        Raises EngineError when engines died too often, hung, or draw from other weights.
        """
        request = self._request(prompts, samples_per_prompt, max_new_tokens, temperature, stream, stop, epsilon)
        if self._begun and self._begun[0].is_same(request):
            request = self._begun.pop(0)
            if self._in_flight:
                self._open(request)
        else:
            self._open(request)
        self._finish(request)
        self._gap = request.gap
        return request.episodes(self.policy)

    def begin(self, prompts: Sequence[Prompt], **how: Any) -> None:
        """Have these answers drawn until `sample` asks for the same, in its words; what was begun first comes first."""
        request = self._request(prompts, **how)
        self._open(request)
        self._begun.append(request)

    def begun(self) -> Sequence[Request]:
        """What was begun, with what is known of it: all that it asks for, unless weights change in flight."""
        if self._in_flight:
            self._pause()
        else:
            self._finish(*self._begun)
        return self._begun

    def take_begun(self, gap: float | None, drawn: Mapping[str, Tensor], prompts: Sequence[Prompt], **how: Any) -> None:
        """Take over what `begun` gave; the arguments are those of `begin`."""
        request = self._request(prompts, **how)
        request.load(drawn)
        request.gap = gap
        self._asked.append(request)
        self._begun.append(request)

    def told(self) -> Told:
        """What happened since this was last asked."""
        found = Told(self._gap, self.engines.seconds, tuple(self.engines.notes))
        self.engines.seconds, self.engines.notes = 0.0, []
        return found

    def close(self) -> None:
        """End the engines."""
        self.engines.close()

    @property
    def _in_flight(self) -> bool:
        return self.settings.ahead > 1

    def _request(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        max_new_tokens: int,
        temperature: float,
        stream: Stream,
        stop: Sequence[str] = (),
        epsilon: float | None = None,
    ) -> Request:
        check_asked(samples_per_prompt, max_new_tokens, temperature, epsilon)
        if epsilon is not None:
            raise SettingsError(["sampler.engine: an engine draws from the softmax alone; set in_process"])
        check_lengths(prompts, max_new_tokens, self.policy.context_length)
        first, self._numbers = self._numbers, self._numbers + len(prompts) * samples_per_prompt
        how = (samples_per_prompt, max_new_tokens, temperature, stream, Endings(self.policy, stop), tuple(stop))
        return Request(prompts, *how, first=first)

    def _open(self, request: Request) -> None:
        """Have it drawn from the weights as they are now."""
        if self.engines.version != self.version:
            if self._in_flight:
                self._pause()
            else:
                self._finish(*self._asked)
            self.engines.give(self.version)
        if request not in self._asked:
            self._asked.append(request)
        self._mend()
        request.gap = self.engines.gap

    def _finish(self, *requests: Request) -> None:
        """Wait until these are drawn."""
        while any(request.open for request in requests):
            self._mend()
            self._hear()
            fault_point("engine.rows")
        if self._enough:
            self._hear(wait_s=0.0)
        self._asked = [request for request in self._asked if request not in requests]

    def _mend(self) -> None:
        """Engines that run and have the weights, each asked for its rows: an equal share of each request's."""
        while True:
            self.engines.ready()
            lacking: dict[tuple[int, Seat], list[int]] = defaultdict(list)
            for place, request in enumerate(self._asked):
                for row in request.open:
                    seat = self.engines.seats[row * len(self.engines.seats) // len(request.rows)]
                    if request.rows[row].asked is not seat.process:
                        lacking[place, seat].append(row)
            if not lacking:
                return
            for (place, seat), rows in lacking.items():
                self._ask(self._asked[place], seat, rows)

    def _ask(self, request: Request, seat: Seat, rows: Sequence[int]) -> None:
        if seat.process is None:
            return
        check_lengths(request.prompts, request.most, int(seat.process.about["longest"]))
        for row in rows:
            if not self._in_flight:  # the same weights and numbers draw the same again
                request.rows[row] = type(request.rows[row])()
            request.rows[row].asked = seat.process
        header, payload = request.message(rows)
        self.engines.ask({seat: (request.in_words(), header, payload)}, self.settings.request_s)

    def _pause(self) -> None:
        """Engines tell what they have, and draw no more of it until they are asked again."""
        if any(row.asked is not None for request in self._asked for row in request.rows if not row.done):
            self._hear(stop=True)
            self._enough.clear()
            for request in self._asked:
                for row in request.rows:
                    row.asked = None

    def _hear(self, *, wait_s: float = WAIT_S, stop: bool = False) -> None:
        """Hear of rows, from all engines that have some."""
        enough, self._enough = self._enough, defaultdict(list)
        busy = {row.asked: request for request in self._asked for row in request.rows if not row.done}
        questions = {
            seat: (
                busy[seat.process].in_words() if seat.process in busy else "the end of a request",
                {"ask": "more", "enough": enough.get(seat, []), "wait_s": wait_s, "stop": stop},
                (),
            )
            for seat in self.engines.seats
            if seat.process is not None and (seat.process in busy or seat in enough)
        }
        began = time.monotonic()
        answers = self.engines.ask(questions, self.settings.request_s)
        for seat, answer in answers.items():
            seat.still_s += time.monotonic() - began
            self._take(seat, answer)
            if seat.still_s > self.settings.request_s and seat.process is not None:
                self.engines.lose(seat, seat.process.gone(f"drew no token for {seat.still_s:.0f} s"))

    def _take(self, seat: Seat, answer: Answer) -> None:
        reply, payload = answer
        for number, tokens, log_probs, ended in told_rows(reply["rows"], payload):
            seat.still_s = 0.0
            request = next((one for one in self._asked if 0 <= number - one.first < len(one.rows)), None)
            assert seat.has is not None, "rows are asked of engines that were proved"
            if request is None or request.take(number - request.first, tokens, log_probs, seat.has, ended=ended):
                self._enough[seat] += [] if ended else [number]


def told_rows(
    rows: Sequence[Sequence[Any]], payload: memoryview
) -> Iterable[tuple[int, npt.NDArray[Any], npt.NDArray[Any], bool]]:
    """Each row's number, new tokens, their log-probs, and whether it ended."""
    total = sum(count for _, count, _ in rows)
    tokens = np.frombuffer(payload, np.int32, total)
    log_probs = np.frombuffer(payload, np.float32, total, tokens.nbytes)
    at = 0
    for row, count, ended in rows:
        yield int(row), tokens[at : at + count], log_probs[at : at + count], bool(ended)
        at += count

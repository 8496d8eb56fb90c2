"""Engines that draw from the same weights: started, given each version, proved, and started again when they are lost.

All are asked at once and then heard one after another, so that they work at the same time; a bucket of weights is made
once and goes to all of them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rung.errors import EngineError
from rung.faults import fault_point
from rung.rollouts.engine.delivery import format_name
from rung.rollouts.engine.process import EngineGone, EngineProcess
from rung.rollouts.engine.proof import Canary
from rung.rollouts.engine.source import Source

RESTARTS = 3
"""Times that an engine is started anew in a run."""
Question = tuple[str, dict[str, Any], Sequence[Any]]
"""What is awaited, in words; the header; the payload."""
Answer = tuple[dict[str, Any], memoryview]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How engines are run; seconds are deadlines."""

    python: str
    environments: Sequence[Mapping[str, str]] = ({},)
    """For each engine the changes of this process's environment."""
    rows: int = 256
    """Rows that an engine draws together, at most."""
    cache_gib: int = 1
    """Of keys and values, on a CPU."""
    start_s: float = 600.0
    request_s: float = 600.0
    delivery_s: float = 300.0
    ahead: int = 0
    """As `sampler.ahead`."""


@dataclass(eq=False)
class Seat:
    """The place of one engine, whichever process has it."""

    number: int
    process: EngineProcess | None = None
    has: int | None = None
    """The version that it was proved to draw from."""
    first: tuple[float, float] | None = None
    gap: float = 0.0
    still_s: float = 0.0
    """Seconds since it drew a token."""
    was_ready: bool = False


class Engines:
    """The engines of a run.

    Attributes:
        version: of the weights that they are to have; None: of none yet.
        seconds: that went into deliveries.
        notes: sentences for the user.
    """

    def __init__(self, source: Source, settings: EngineSettings) -> None:
        self.source, self.settings = source, settings
        self.canary = Canary(source.text, source.dtype)
        self.seats = [Seat(number) for number in range(len(settings.environments))]
        self.version: int | None = None
        self.seconds, self.notes = 0.0, list[str]()
        self._restarts = 0

    @property
    def gap(self) -> float:
        return max(seat.gap for seat in self.seats)

    def give(self, version: int) -> None:
        """From now on the engines are to have the learner's weights as they are, which are this version."""
        if self.version != version:
            self.canary.learnt(self.source.say(self.canary.text))
            self.version = version
            if self.settings.ahead == 1:
                self.source.keep()

    def ready(self) -> None:
        """All run, have the version, and were proved to draw from it. EngineError where that cannot be had."""
        while lacking := [seat for seat in self.seats if seat.process is None or seat.has != self.version]:
            self._start([seat for seat in lacking if seat.process is None])
            began = time.perf_counter()
            self._deliver([seat for seat in lacking if seat.process is not None])
            self.seconds += time.perf_counter() - began

    def ask(self, questions: Mapping[Seat, Question], seconds: float) -> dict[Seat, Answer]:
        """What each engine says. One that is lost is missing, and its seat is empty."""
        answers: dict[Seat, Answer] = {}
        for seat, (what, header, payload) in questions.items():
            with self._losing(seat):
                if seat.process is not None:
                    seat.process.put(what, header, payload, seconds=seconds - seat.still_s)
        for seat in questions:
            with self._losing(seat):
                if seat.process is not None:
                    answers[seat] = seat.process.take()
        return answers

    def lose(self, seat: Seat, error: EngineGone) -> None:
        """It is gone and will be started again, a few times a run; then EngineError."""
        if seat.process is not None:
            seat.process.close()
        seat.process, seat.has, seat.still_s = None, None, 0.0
        which = f" {seat.number + 1} of {len(self.seats)}" if len(self.seats) > 1 else ""
        if not seat.was_ready or self._restarts == RESTARTS:
            often = "" if not seat.was_ready else f"; one was started again {RESTARTS} times before"
            raise EngineError(f"sampler.engine{which}: {error}{often}") from None
        self._restarts += 1
        self.notes.append(f"{error}; engine{which} is started again, {self._restarts} of {RESTARTS} times")

    def close(self) -> None:
        for seat in self.seats:
            if seat.process is not None:
                seat.process.close()
            seat.process = seat.has = None

    @contextmanager
    def _losing(self, seat: Seat) -> Iterator[None]:
        try:
            yield
        except EngineGone as error:
            self.lose(seat, error)

    def _start(self, seats: Sequence[Seat]) -> None:
        asked = self.settings
        told = {
            "device": self.source.device,
            "dtype": format_name(self.source.dtype),
            "rows": asked.rows,
            "cache_gib": asked.cache_gib,
        }
        try:
            for seat in seats:
                environment = asked.environments[seat.number]
                seat.process = EngineProcess(asked.python, told, self.source.configuration, environment=environment)
            for seat in seats:
                with self._losing(seat):
                    assert seat.process is not None
                    seat.process.meet(asked.start_s)
                    seat.was_ready = True
        except BaseException:
            self.close()
            raise

    def _deliver(self, seats: Sequence[Seat]) -> None:
        """Send the weights and have them proved; once more from the start where they are not. EngineError then."""
        seen: dict[Seat, list[str]] = {seat: [] for seat in seats}
        for again in (False, True):
            asked = [seat for seat in seats if seat.process is not None and seat.has != self.version]
            if not asked:
                return
            whole = again or any(seat.has is None for seat in asked)
            wrong = self._send(asked, whole=whole)
            scores = self.ask({seat: self.canary.question() for seat in wrong}, self.settings.request_s)
            for seat, (_, payload) in scores.items():
                proof = self.canary.proved(payload, seat.first)
                if why := wrong[seat] or proof.wrong:
                    seen[seat].append(why)
                else:
                    seat.has, seat.gap, seat.first = self.version, proof.gap, proof.first
                    fault_point("delivery.done")
        for why in seen.values():
            if len(why) == 2:
                raise EngineError(
                    f"delivery of version {self.version}: the engine does not draw from the weights that it was sent: "
                    f"{why[0]}; sent again as a whole: {why[1]}. Nothing was drawn from them; set "
                    "sampler.engine=in_process, or another engine by sampler.python"
                )

    def _send(self, seats: Sequence[Seat], *, whole: bool) -> dict[Seat, str]:
        """Send; of each that lives why it did not get what was sent, or nothing."""
        what, seconds = f"delivery of version {self.version}", self.settings.delivery_s
        names = self.source.names(changing=False) if whole else []
        names += self.source.names(changing=True)
        digest = hashlib.sha256()
        begin = (f"{what}: its beginning", {"ask": "update", "adapted": list(self.source.scales)}, ())
        left = list(self.ask(dict.fromkeys(seats, begin), seconds))
        for number, bucket in enumerate(self.source.buckets(names)):
            bucket.add_to(digest)
            question = (f"{what}: bucket {number}", bucket.header(), bucket.parts)
            left = list(self.ask(dict.fromkeys(left, question), seconds))
        replies = self.ask(dict.fromkeys(left, (f"{what}: its end", {"ask": "end"}, ())), seconds)
        came = {seat: reply.get("sha256") == digest.hexdigest() for seat, (reply, _) in replies.items()}
        return {seat: "" if same else "the bytes that came are not those that were sent" for seat, same in came.items()}

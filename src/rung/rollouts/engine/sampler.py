"""The sampler that has an engine draw: `sampler.engine=vllm`.

The engine is started when the first answers are asked for. Weights are delivered when answers are asked for and it has
others, and proved each time. What a row draws is keyed by seed, step, purpose, item and sample; so an engine that died
is started again, given the same weights and asked again for what had not come.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rung.batch import Episode
from rung.errors import EngineError, SettingsError
from rung.faults import fault_point
from rung.random import Stream
from rung.rollouts.endings import Endings
from rung.rollouts.engine.delivery import Bucket, adapted, adapters, digest_of, format_name, whole
from rung.rollouts.engine.process import EngineGone, EngineProcess
from rung.rollouts.engine.proof import Canary, Proof
from rung.rollouts.engine.request import NOWHERE, Request, told_rows
from rung.rollouts.sampling import DrawnFrom, Prompt, Told, as_tensors, check_asked, check_lengths, from_tensors

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

RESTARTS = 3
"""Times that an engine is started anew in a run."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How an engine is run; seconds are deadlines."""

    python: str
    rows: int = 256
    """Rows that are drawn together, at most."""
    cache_gib: int = 1
    """Of keys and values, on a CPU."""
    start_s: float = 600.0
    request_s: float = 600.0
    delivery_s: float = 300.0
    keeps: bool = False
    """Keep a copy of what was delivered: the learner's weights change while the engine draws."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class EngineSampler:
    """A `Sampler` whose engine is another process.

    Args:
        policy: the learner's; its weights are what `deliver` says that they are.
    """

    def __init__(self, policy: TextPolicy, settings: EngineSettings) -> None:
        self.policy, self.settings, self.dtype = policy, settings, policy.compute_dtype
        self.version = 0
        self._last = self._proved = NOWHERE
        self._weights: Mapping[str, Tensor] = {}
        self._held: Sequence[Bucket] | None = None  # of the version below, where a copy is kept
        self._delivered: int | None = None  # the version that the engine is to have
        self._engine: EngineProcess | None = None
        self._engine_has: int | None = None
        self._canary: Canary | None = None
        self._ahead: Request | None = None
        self._restarts, self._was_ready = 0, False
        self._seconds, self._notes = 0.0, list[str]()

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note the weights; they are sent when answers are asked for."""
        self._weights, self.version = weights, version
        if self._canary is None:
            self._canary = Canary(self.policy, self.dtype)

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
        """As `Sampler.sample`. What `begin` has asked for is given as it was drawn, by the weights of that time.

        Raises EngineError when the engine died too often, hung, or draws from other weights.
        """
        request = self._request(prompts, samples_per_prompt, max_new_tokens, temperature, stream, stop, epsilon)
        if self._ahead is not None:
            self._finish(self._ahead)
            if self._ahead.is_same(request):
                request, self._ahead = self._ahead, None
        if request.open:
            self._open(request)
            self._finish(request)
        self._last = request.came_from
        return request.episodes(self.policy)

    def begin(self, prompts: Sequence[Prompt], **how: Any) -> None:
        """Have these answers drawn, by the weights as they are now, until `sample` asks for the same, in its words."""
        request = self._request(prompts, **how)
        assert self._ahead is None, "what was begun before comes first"
        self._open(request)
        self._ahead = request

    def begun(self) -> tuple[DrawnFrom, dict[str, Tensor]] | None:
        """What was begun, once it is drawn; None where nothing was."""
        if self._ahead is None:
            return None
        self._finish(self._ahead)
        return self._ahead.came_from, as_tensors([self._ahead.drawn[row] for row in sorted(self._ahead.drawn)])

    def take_begun(
        self, came_from: DrawnFrom, drawn: Mapping[str, Tensor], prompts: Sequence[Prompt], **how: Any
    ) -> None:
        """Take over what `begun` gave; the arguments are those of `begin`."""
        request = self._request(prompts, **how)
        request.drawn = dict(enumerate(from_tensors(drawn)))
        request.came_from, self._ahead = came_from, request

    def told(self) -> Told:
        """What happened since this was last asked."""
        found = Told(self._last, self._seconds, tuple(self._notes))
        self._seconds, self._notes = 0.0, []
        return found

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = self._engine_has = None

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
        endings = Endings(self.policy, stop)
        return Request(prompts, samples_per_prompt, max_new_tokens, temperature, stream, endings, tuple(stop))

    def _open(self, request: Request) -> None:
        assert self._canary is not None, "weights are delivered before answers are asked for"
        if self._delivered != self.version:
            self._canary.learnt()
            self._delivered, self._held = self.version, None
            if self.settings.keeps:
                self._held = [bucket.copied() for bucket in self._changing()]
        self._mended(lambda engine: self._ask(engine, request))
        request.came_from = self._proved

    def _finish(self, request: Request) -> None:
        """Wait for the rows of a request that was opened."""
        if request.open:
            self._mended(lambda engine: self._rows(engine, request))
        request.asked = None

    def _mended(self, act: Callable[[EngineProcess], T]) -> T:
        """The act, with an engine that runs and has the weights; started again, a few times a run, when it is lost."""
        while True:
            try:
                return act(self._running())
            except EngineGone as error:
                self.close()
                if not self._was_ready or self._restarts == RESTARTS:
                    often = "" if not self._was_ready else f"; it was started again {RESTARTS} times before"
                    raise EngineError(f"sampler.engine: {error}{often}") from None
                self._restarts += 1
                self._notes.append(f"{error}; it is started again, {self._restarts} of {RESTARTS} times")

    def _running(self) -> EngineProcess:
        asked = self.settings
        fresh = self._engine is None
        if self._engine is None:
            self._engine = EngineProcess(
                asked.python,
                {
                    "device": self.policy.device.type,
                    "dtype": format_name(self.dtype),
                    "rows": asked.rows,
                    "cache_gib": asked.cache_gib,
                },
                _configuration(self.policy.model),
                start_s=asked.start_s,
                environment=asked.environment,
            )
            self._was_ready = True
        if self._engine_has != self._delivered:
            began = time.perf_counter()
            self._delivery(self._engine, fresh)
            self._seconds += time.perf_counter() - began
        return self._engine

    def _delivery(self, engine: EngineProcess, fresh: bool) -> None:
        """Send the weights and have them proved; once more from the start when they are not. EngineError then."""
        assert self._canary is not None
        seen: list[str] = []
        for all_of_it in (fresh, True):
            wrong = self._sent(engine, all_of_it)
            proof = Proof(float("nan"), wrong) if wrong else self._canary.proved(lambda rows: self._score(engine, rows))
            if not proof.wrong:
                self._engine_has, self._proved = self._delivered, DrawnFrom(self._delivered or 0, proof.gap)
                fault_point("delivery.done")
                return
            seen.append(proof.wrong)
        raise EngineError(
            f"delivery of version {self._delivered}: the engine does not draw from the weights that it was sent: "
            f"{seen[0]}; sent again as a whole: {seen[1]}. Nothing was drawn from them; set sampler.engine=in_process, "
            "or another engine by sampler.python"
        )

    def _changing(self) -> Iterable[Bucket]:
        """What changes with a version: the adapters of a LoRA, else all weights."""
        found = adapters(self.policy)
        return [found] if found.tensors else whole(self._weights, self.dtype)

    def _sent(self, engine: EngineProcess, all_of_it: bool) -> str:
        """Send; why the engine did not get what was sent, or nothing."""
        what, seconds = f"delivery of version {self._delivered}", self.settings.delivery_s
        changing = self._held if self._held is not None else self._changing()
        names = adapted(self.policy)
        base = whole(self._weights, self.dtype) if all_of_it and names else ()
        digest, buckets = digest_of(chain(base, changing))
        engine.ask(f"{what}: its beginning", {"ask": "update", "adapted": names}, seconds=seconds)
        for number, bucket in enumerate(buckets):
            engine.ask(f"{what}: bucket {number}", bucket.header(), bucket.parts, seconds=seconds)
        reply, _ = engine.ask(f"{what}: its end", {"ask": "end", "version": self._delivered}, seconds=seconds)
        return "" if reply.get("sha256") == digest.hexdigest() else "the bytes that came are not those that were sent"

    def _score(self, engine: EngineProcess, rows: Sequence[list[int]]) -> npt.NDArray[Any]:
        header = {"ask": "score", "rows": [len(row) for row in rows]}
        asked, tokens = "log-probs of the canary", np.concatenate(rows).astype(np.int32)
        _, payload = engine.ask(asked, header, [tokens], seconds=self.settings.request_s)
        return np.frombuffer(payload, np.float32)

    def _ask(self, engine: EngineProcess, request: Request) -> None:
        check_lengths(request.prompts, request.most, int(engine.about["longest"]))
        header, tokens = request.message()
        engine.ask(request.in_words(), header, [tokens], seconds=self.settings.request_s)
        request.asked = engine

    def _rows(self, engine: EngineProcess, request: Request) -> None:
        """Hear of rows until all have come."""
        if request.asked is not engine:
            self._ask(engine, request)
        seen: dict[int, int] = {}
        enough: list[int] = []
        drawn, still_s = -1, 0.0
        while request.open:
            began = time.monotonic()
            left_s = self.settings.request_s - still_s
            reply, payload = engine.ask(request.in_words(), {"ask": "more", "enough": enough}, seconds=left_s)
            still_s = 0.0 if reply["drawn"] != drawn else still_s + time.monotonic() - began
            if still_s > self.settings.request_s:
                raise engine.gone(f"drew no token for {still_s:.0f} s", request.in_words())
            drawn, enough = reply["drawn"], []
            for row, tokens, log_probs, ended in told_rows(reply["rows"], payload):
                length = request.endings.length(tokens, seen.get(row, 0))
                seen[row] = len(tokens)
                if length is None and not ended:
                    continue
                if row not in request.drawn:
                    request.take(row, tokens[:length], log_probs[:length], ended=length is not None)
                enough += [] if ended else [row]
            fault_point("engine.rows")
        if enough:
            engine.ask(request.in_words(), {"ask": "more", "enough": enough}, seconds=self.settings.request_s)


def _configuration(model: Any) -> str:
    """A model's config.json."""
    return json.dumps({**model.config.to_dict(), "architectures": [type(model).__name__]}, default=str)

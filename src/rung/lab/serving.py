"""A language model behind an OpenAI-compatible address on this machine: models, completions and chat completions.

What waits together is drawn together, by the sampler that trained the model. Every request shows the key that the
command printed, and names this machine as its host: a web page that the browser has open can do neither.
"""

from __future__ import annotations

import asyncio
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rung.batch import Episode
from rung.errors import RungError, did_you_mean
from rung.lab.pages import Door
from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rewards.reward import Prompt as Text
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

LARGEST_BODY = 4 * 2**20
MOST_TOKENS = 1024
"""Of an answer whose request says no number."""
MOST_ROWS = 64
"""Answers that are drawn together."""


class KeyGuard:
    """ASGI middleware that refuses whoever does not show the key."""

    def __init__(self, app: ASGIApp, *, port: int, key: str, refused: Callable[[str], None] = lambda _: None) -> None:
        self.app, self._key, self.door = app, key.encode(), Door(port, refused)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the server speaks HTTP only: no lifespan, no web sockets"
        await (self._wrong(Headers(scope=scope), scope["method"]) or self.app)(scope, receive, send)

    def _wrong(self, headers: Headers, method: str) -> Response | None:
        kind, _, key = headers.get("authorization", "").partition(" ")
        length = headers.get("content-length", "")
        if not self.door.is_named(headers):
            return self._refusal(421, "a wrong Host header", f"This address is {' or '.join(self.door.hosts)}.")
        if headers.get("origin") is not None:
            return self._refusal(403, "a request from a web page", "Web pages are not answered.")
        if kind.lower() != "bearer" or not secrets.compare_digest(key.encode("utf-8", "replace"), self._key):
            return self._refusal(
                401, "a wrong key", "Send the key that the command printed: Authorization: Bearer KEY."
            )
        if method == "POST" and not (length.isdecimal() and len(length) < 12 and int(length) <= LARGEST_BODY):
            return self._refusal(413, "a large body", f"Say the length of the body; at most {LARGEST_BODY:,} are read.")
        return None

    def _refusal(self, status: int, kind: str, words: str) -> Response:
        self.door.told(status, kind)
        return refusal(status, words)


class Asked(BaseModel):
    """A request. What the sampler cannot do may be sent as what does nothing (`top_p` 1, no `tools`), and is refused in
    words otherwise."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    messages: list[dict[str, Any]] | None = None
    prompt: str | list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    top_p: Literal[1, 1.0] | None = None
    top_k: Literal[-1, 0] | None = None
    min_p: Literal[0, 0.0] | None = None
    top_logprobs: Literal[0] | None = None
    presence_penalty: Literal[0, 0.0] | None = None
    frequency_penalty: Literal[0, 0.0] | None = None
    repetition_penalty: Literal[1, 1.0] | None = None
    tools: list[Any] | None = Field(default=None, max_length=0)
    tool_choice: Literal["none"] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    echo: Literal[False] | None = None
    store: Literal[False] | None = None
    best_of: Literal[1] | None = None

    @property
    def texts(self) -> Sequence[Text]:
        """What is continued or answered."""
        if self.messages is not None:
            return [tuple({"role": str(one.get("role")), "content": words_of(one)} for one in self.messages)]
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt or []

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class WrongRequest(ValueError):
    """What is wrong with a request, in words."""


@dataclass(kw_only=True)
class _Waiting:
    """A prompt that waits for its answers."""

    ids: Any
    item: str
    samples: int
    most: int
    temperature: float
    stop: tuple[str, ...]
    answers: Future[list[Episode]] = field(default_factory=Future[list[Episode]])

    @property
    def alike(self) -> tuple[Any, ...]:
        """Those that have the same are drawn together."""
        return self.samples, self.most, self.temperature, self.stop


class Serving:
    """Answers requests with a model. `name` is what the address calls it.

    Example: `PageServer(Serving(policy, "mine").routes(), ...)`.
    """

    def __init__(self, policy: TextPolicy, name: str) -> None:
        self.policy, self.name, self.began = policy, name, int(time.time())
        self._sampler = InProcessSampler(policy)
        self._waiting: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._draw, daemon=True, name="draws").start()

    def routes(self) -> list[BaseRoute]:
        """What the address answers to."""
        return [
            Route("/v1/models", self._models),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]

    async def _models(self, _: Request) -> Response:
        one = {"id": self.name, "object": "model", "created": self.began, "owned_by": "rung"}
        return JSONResponse({"object": "list", "data": [one | {"max_model_len": self.policy.context_length}]})

    async def _completions(self, request: Request) -> Response:
        return await self._answered(request, "prompt", "text_completion")

    async def _chat(self, request: Request) -> Response:
        return await self._answered(request, "messages", "chat.completion")

    async def _answered(self, request: Request, needs: str, kind: str) -> Response:
        try:
            asked = read(await request.body(), needs)
            if asked.model not in (None, self.name):
                return refusal(404, f"model: got {asked.model!a}, expected {self.name!a}", "model_not_found")
            waiting = [self._asked(asked, number, text) for number, text in enumerate(asked.texts)]
            for one in waiting:
                self._waiting.put(one)
            found = await asyncio.gather(*(asyncio.wrap_future(one.answers) for one in waiting))
        except (WrongRequest, RungError) as error:
            return refusal(400, str(error))
        episodes = [episode for group in found for episode in group]
        choices = [self._choice(asked, number, one) for number, one in enumerate(episodes)]
        used = sum(len(one.ids) for one in waiting), sum(len(one.actions) for one in episodes)
        usage = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
        head = {"id": f"rung-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": self.name}
        if asked.stream:
            with_usage = bool((asked.stream_options or {}).get("include_usage"))
            return StreamingResponse(_streamed(head, choices, usage if with_usage else None), media_type=_EVENTS)
        return JSONResponse({**head, "choices": choices, "usage": usage})

    def _asked(self, asked: Asked, number: int, text: Text) -> _Waiting:
        ids = self.policy.encode(text)
        room = self.policy.context_length - len(ids)
        if room < 1:
            raise WrongRequest(
                f"the prompt has {len(ids):,} tokens, and the context holds {self.policy.context_length:,}"
            )
        most = asked.max_completion_tokens or asked.max_tokens or min(room, MOST_TOKENS)
        if most > room:
            raise WrongRequest(f"max_tokens: got {most:,}, but the context has room for {room:,} after the prompt")
        drawn = secrets.token_hex(16) if asked.seed is None else f"seed {asked.seed}, {number}"
        return _Waiting(
            ids=ids,
            item=drawn,
            samples=asked.n or 1,
            most=most,
            temperature=1.0 if asked.temperature is None else asked.temperature,
            stop=asked.stops,
        )

    def _choice(self, asked: Asked, number: int, episode: Episode) -> dict[str, Any]:
        text = episode.text
        for stop in asked.stops:
            text = text.partition(stop)[0]
        choice: dict[str, Any] = {"index": number, "finish_reason": "stop" if episode.terminated else "length"}
        chats = asked.messages is not None
        if asked.logprobs is not None and asked.logprobs is not False:
            choice["logprobs"] = self._log_probs(episode, chats)
        return choice | ({"message": {"role": "assistant", "content": text}} if chats else {"text": text})

    def _log_probs(self, episode: Episode, chats: bool) -> dict[str, Any]:
        """Of the drawn tokens, under the distribution that they were drawn from."""
        tokens, numbers = self.policy.pieces(episode.actions), [float(one) for one in episode.log_probs]
        if not chats:
            return {"tokens": list(tokens), "token_logprobs": numbers, "top_logprobs": None}
        pairs = zip(tokens, numbers, strict=True)
        return {"content": [{"token": one, "logprob": n, "bytes": None, "top_logprobs": []} for one, n in pairs]}

    def _draw(self) -> None:
        while True:
            waiting = [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            by_kind: dict[tuple[Any, ...], list[_Waiting]] = {}
            for one in waiting:
                by_kind.setdefault(one.alike, []).append(one)
            for those in by_kind.values():
                at_once = max(1, MOST_ROWS // those[0].samples)
                for begin in range(0, len(those), at_once):
                    self._draw_alike(those[begin : begin + at_once])

    def _draw_alike(self, those: Sequence[_Waiting]) -> None:
        first = those[0]
        try:
            episodes = self._sampler.sample(
                [Prompt(one.item, group, one.ids) for group, one in enumerate(those)],
                samples_per_prompt=first.samples,
                max_new_tokens=first.most,
                temperature=first.temperature,
                stream=Stream(0, 0, "serve"),
                stop=first.stop,
            )
        except Exception as error:  # noqa: BLE001  (whoever waits is told; the next are still answered)
            for one in those:
                one.answers.set_exception(error)
            return
        for group, one in enumerate(those):
            one.answers.set_result([episode for episode in episodes if episode.group == group])


_EVENTS = "text/event-stream"


def read(body: bytes, needs: str) -> Asked:
    """The request of a body. WrongRequest says which key is wrong, and what was expected."""
    try:
        values = json.loads(body)
        if not isinstance(values, dict):
            raise WrongRequest(f"the body is a JSON {type(values).__name__}, expected an object")
        asked = Asked.model_validate(values)
    except ValidationError as error:
        raise WrongRequest("; ".join(_in_words(one) for one in error.errors())) from error
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, WrongRequest) else WrongRequest(f"the body is no JSON: {error}") from error
    if getattr(asked, needs) is None:
        raise WrongRequest(f"{needs}: missing")
    return asked


def words_of(message: Mapping[str, Any]) -> str:
    """The text of a message, which may come in parts. WrongRequest where it has a part that is no text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    if not parts or any(not isinstance(one, dict) or not isinstance(one.get("text"), str) for one in parts):
        raise WrongRequest("messages: a content is no text; this model reads text alone")
    return "".join(one["text"] for one in parts)


def refusal(status: int, words: str, code: str | None = None) -> Response:
    """An error in the form that clients of such addresses know."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": words, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status_code=status)


def _in_words(error: Mapping[str, Any]) -> str:
    key = str(error["loc"][0]) if error["loc"] else "body"
    if error["type"] == "extra_forbidden":
        return f"{key[:80]}: not known{did_you_mean(key, Asked.model_fields)}"
    return f"{key}: got {str(error['input'])[:80]!a}; {error['msg'][:1].lower()}{error['msg'][1:]}"


def _streamed(head: Mapping[str, Any], choices: Sequence[Mapping[str, Any]], usage: Any) -> Iterator[str]:
    """Server-sent events: an answer in one piece, as it is drawn together with others."""
    head = {**head, "object": "chat.completion.chunk" if head["object"] == "chat.completion" else head["object"]}
    for choice in choices:
        piece = {("delta" if key == "message" else key): value for key, value in choice.items()}
        ends = {"index": piece["index"], "finish_reason": piece["finish_reason"], "delta": {}, "text": ""}
        ends.pop("text" if "delta" in piece else "delta")
        for one in (piece | {"finish_reason": None}, ends):
            yield f"data: {json.dumps({**head, 'choices': [one]})}\n\n"
    if usage is not None:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"

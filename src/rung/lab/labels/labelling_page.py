"""The server's side of the labelling page: the next pair, a vote, an undo, a clip.

A vote is answered only after it is on the disk. A page that gets no answer sends the same submit id again.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rung.errors import RungError
from rung.lab.labels.comparison import (
    ANSWERS,
    Answer,
    Comparison,
    Vote,
    Which,
    agreement_of,
    is_clip,
    left_share,
    other,
    read_clip,
)
from rung.lab.labels.store import Conflict, LabelStore
from rung.lab.pages import Refused, person, read_object, shipped
from rung.runs.record.visible import shown_text

STATIC = Path(__file__).with_name("static")
_VOTE = {"submit": str, "pair": str, "left_is": str, "answer": str, "milliseconds": int}


@dataclass(frozen=True, kw_only=True)
class LabellingPage:
    """The routes of `rung label`."""

    store: LabelStore
    folder: Path
    """Where the clips are."""
    wanted: int
    """How many people are to answer each pair."""
    question: str

    def routes(self) -> list[Route]:
        return [
            *shipped(STATIC),
            Route("/next", self._next),
            Route("/vote", self._vote, methods=["POST"]),
            Route("/undo", self._undo, methods=["POST"]),
            Route("/clip", self._clip),
        ]

    async def _next(self, request: Request) -> Response:
        return await _answer(lambda: self._state(person(request)))

    async def _vote(self, request: Request) -> Response:
        who = person(request)
        vote = _vote_of(await read_object(request, _VOTE), who)

        def keep() -> dict[str, Any]:
            self.store.record(vote)
            return self._state(who)

        return await _answer(keep)

    async def _undo(self, request: Request) -> Response:
        who, submit = person(request), _submit(await read_object(request, {"submit": str}))

        def take_back() -> dict[str, Any]:
            if self.store.undo(who, submit) is None:
                raise Conflict("There is no answer of yours to take back.")
            return self._state(who)

        return await _answer(take_back)

    async def _clip(self, request: Request) -> Response:
        pair = self.store.pair(request.query_params.get("pair", ""))
        which = request.query_params.get("which", "")
        if pair is None or which not in ("first", "second"):
            raise Refused(404, "There is no such clip.")
        completion = pair.completions[0 if which == "first" else 1]
        if not is_clip(completion):
            raise Refused(404, "This completion is no clip.")
        try:
            data = await run_in_threadpool(read_clip, completion["clip"], self.folder)
        except ValueError as error:
            raise Refused(404, f"The clip {error}") from error
        return Response(data, media_type="image/gif")

    def _state(self, who: str) -> dict[str, Any]:
        """What the page shows now: a pair or none, and the progress."""
        asked = self.store.ask(who, wanted=self.wanted)
        standing = self.store.standing()
        mine = [vote for vote in standing if vote.labeller == who]
        answers_by_pair = Counter(vote.pair for vote in standing)
        return {
            "pair": None if asked is None else shown_pair(*asked),
            "held_by_others": self.store.held_by_others(who, wanted=self.wanted) if asked is None else 0,
            "labeller": shown_text(who),
            "question": shown_text(self.question),
            "answers_wanted": self.store.count() * self.wanted,
            "answers": sum(min(count, self.wanted) for count in answers_by_pair.values()),
            "people_a_pair": self.wanted,
            "mine": len(mine),
            "left_share": left_share(mine),
            "agreement": agreement_of(standing).in_words(),
        }


def _vote_of(said: dict[str, Any], who: str) -> Vote:
    if said["left_is"] not in ("first", "second"):
        raise Refused(400, "left_is: expected first or second.")
    left: Which = said["left_is"]
    answers: dict[str, Answer] = {"left": left, "right": other(left), **{answer: answer for answer in ANSWERS[2:]}}
    if said["answer"] not in answers:
        raise Refused(400, f"answer: expected one of {', '.join(answers)}.")
    return Vote(
        submit=_submit(said),
        pair=said["pair"],
        labeller=who,
        answer=answers[said["answer"]],
        left=left,
        at=time.time(),
        seconds=min(max(said["milliseconds"], 0), 86_400_000) / 1000,
    )


def _submit(said: dict[str, Any]) -> str:
    submit = said["submit"]
    if not (8 <= len(submit) <= 64 and submit.isascii() and submit.isprintable()):
        raise Refused(400, "submit: expected 8 to 64 plain characters.")
    return submit


async def _answer(work: Callable[[], dict[str, Any]]) -> Response:
    """The result of `work` as JSON, or its refusal in words."""
    try:
        return JSONResponse(await run_in_threadpool(work))
    except Conflict as error:
        raise Refused(409, str(error)) from error
    except (sqlite3.Error, RungError) as error:
        raise Refused(503, f"The labels file could not be written: {error}.") from error


def shown_pair(pair: Comparison, left: Which) -> dict[str, Any]:
    """A pair for the page's script, as JSON values."""
    completions = dict(zip(("first", "second"), pair.completions, strict=True))
    return {
        "id": pair.id,
        "left_is": left,
        "prompt": _messages(pair.prompt),
        "left": _completion(completions[left], pair.id, left),
        "right": _completion(completions[other(left)], pair.id, other(left)),
    }


def _completion(completion: Any, pair_id: str, which: str) -> dict[str, Any]:
    if is_clip(completion):
        return {"clip": f"clip?{urlencode({'pair': pair_id, 'which': which})}"}
    return {"messages": _messages(completion)}


def _messages(text: Any) -> list[dict[str, str]]:
    if isinstance(text, str):
        return [{"role": "", "text": shown_text(text)}]
    # One message needs no name: everybody sees whose it is.
    named = len(text) > 1
    return [{"role": message["role"] if named else "", "text": shown_text(message["content"])} for message in text]

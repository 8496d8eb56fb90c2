"""Votes as the column `votes` of a data file: a list of objects, each one answer of one person.

    {"submit": "6f0c...", "labeller": "anna", "answer": "chosen", "left": "rejected",
     "at": "2026-11-22T18:30:05.250Z", "seconds": 6.2, "undone": false}

Beside `chosen` and `rejected` these two words are used, beside `completions` the words `first` and `second`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from rung.lab.labels.pair import ANSWERS, Answer, Vote, Which

_KEYS = {"submit": str, "labeller": str, "answer": str, "left": str, "at": str}
LONGEST_NAME = 80


def vote_row(vote: Vote, names: tuple[str, str]) -> dict[str, Any]:
    """A vote as the object that goes into a file; `names` are the words for the first completion and the second."""
    words: dict[str, str] = dict(zip(("first", "second"), names, strict=True))
    at = datetime.fromtimestamp(vote.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "submit": vote.submit,
        "labeller": vote.labeller,
        "answer": words.get(vote.answer, vote.answer),
        "left": words[vote.left],
        "at": at,
        "seconds": vote.seconds,
        "undone": vote.undone,
    }


def vote_problem(votes: Any, names: tuple[str, str], completions: int) -> str | None:
    """What is wrong with the column `votes` as a sentence, None when it can be used."""
    if not isinstance(votes, list):
        return f"votes: got {type(votes).__name__}, expected a list"
    if votes and completions != 2:
        return f"votes: given beside {completions} completions; votes are about two"
    for i, vote in enumerate(cast("list[Any]", votes)):
        wrong = _problem(vote, names) if isinstance(vote, dict) else f"got {type(vote).__name__}, expected an object"
        if wrong:
            return f"votes[{i}]: {wrong}"
    return None


def vote_of(values: Mapping[str, Any], pair: str, names: Sequence[str]) -> Vote:
    """The vote that an object without problems holds."""
    words: dict[str, str] = dict(zip(names, ("first", "second"), strict=True))
    return Vote(
        submit=values["submit"],
        pair=pair,
        labeller=values["labeller"],
        answer=cast("Answer", words.get(values["answer"], values["answer"])),
        left=cast("Which", words[values["left"]]),
        at=_moment(values["at"]).timestamp(),
        seconds=values.get("seconds"),
        undone=bool(values.get("undone")),
    )


def _problem(vote: Mapping[str, Any], names: tuple[str, str]) -> str | None:
    for key, kind in _KEYS.items():
        if not isinstance(vote.get(key), kind) or not vote[key]:
            return f"{key}: got {vote.get(key)!r}, expected a text"
    if len(vote["labeller"]) > LONGEST_NAME or len(vote["submit"]) > LONGEST_NAME:
        return f"labeller and submit have at most {LONGEST_NAME} characters"
    answers = (*names, *ANSWERS[2:])
    if vote["answer"] not in answers:
        return f"answer: got {vote['answer']!r}, expected one of {', '.join(answers)}"
    if vote["left"] not in names:
        return f"left: got {vote['left']!r}, expected {names[0]} or {names[1]}"
    try:
        _moment(vote["at"])
    except ValueError:
        return f"at: got {vote['at']!r}, expected a moment such as 2026-11-22T18:30:05.250Z"
    seconds = vote.get("seconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0):
        return f"seconds: got {seconds!r}, expected a number from 0, or nothing"
    return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment

"""How a chat template writes tools: found by having it render a call with known contents, and results after it.

A template that does not take tools, or that writes calls in a form which is none of `rung.tool_calls.FORMS`, is told of
tools in words, and results come to it as the user's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rung.errors import DataError
from rung.tool_calls import TOOLS, form_of

Renders = Callable[[Sequence[Sequence[Mapping[str, Any]]]], Sequence[str | DataError]]
"""Conversations to texts, up to where the assistant begins."""
NAME, KEY, VALUE, RESULT = "rungtool", "rungkey", "rungvalue", 'rung"result'
"""Contents that stand in no template. The quote in a result shows whether it is written as JSON."""
_ABOUT = {"name": NAME, "description": "A tool."}
_ARGUMENT = {"type": "string", "description": "A text."}
_PARAMETERS = {"type": "object", "properties": {KEY: _ARGUMENT}, "required": [KEY]}
_SCHEMA = {"type": "function", "function": {**_ABOUT, "parameters": _PARAMETERS}}
_HISTORIES = ([], [{"role": "user", "content": "b c"}, {"role": "assistant", "content": "d"}])


def _talk(history: Sequence[Mapping[str, Any]], num_calls: int, *, as_text: bool) -> list[Mapping[str, Any]]:
    """A conversation that ends with so many calls and their results."""
    calls: list[Any] = []
    results: list[Mapping[str, Any]] = []
    for n in range(num_calls):
        given = {KEY: f"{VALUE}{n}"}
        function = {"name": f"{NAME}{n}", "arguments": json.dumps(given) if as_text else given}
        calls.append({"id": f"rungcall{n}", "type": "function", "function": function})
        results.append(
            {"role": "tool", "name": f"{NAME}{n}", "tool_call_id": f"rungcall{n}", "content": f"{RESULT}{n}"}
        )
    asked = [{"role": TOOLS, "content": json.dumps([_SCHEMA])}, *history, {"role": "user", "content": "a"}]
    return asked if not calls else [*asked, {"role": "assistant", "content": "", "tool_calls": calls}, *results]


def rendered_calls(render: Renders, num_calls: int) -> tuple[str, ...]:
    """What is written before a turn, and from two histories the turn with its calls and results; empty where the
    template refuses them."""
    for as_text in (False, True):
        talks = [_talk(_HISTORIES[0], 0, as_text=False)]
        talks += [_talk(history, num_calls, as_text=as_text) for history in _HISTORIES]
        found = [text for text in render(talks) if isinstance(text, str)]
        if len(found) == len(talks):
            return tuple(found)
    return ()


def tool_form(render: Renders, ends: Sequence[str]) -> str:
    """The form in which calls are to be read; empty where the template knows no tools, or none that can be read."""
    found = rendered_calls(render, 1)
    if not found or NAME not in found[0]:
        return ""
    before, whole, _ = found
    same = next((n for n, pair in enumerate(zip(before, whole, strict=False)) if len({*pair}) == 2), len(before))
    written = whole[same:].partition(f"{RESULT}0")[0]
    end = written.find(f"{VALUE}0")
    for stop in ends:
        place = written.find(stop, end)
        written = written[:place] if place >= 0 else written
    return form_of(written, f"{NAME}0", {KEY: f"{VALUE}0"}) if end >= 0 else ""


def around_results(render: Renders, ends: Sequence[str], num_calls: int) -> tuple[str, list[str], bool, str] | None:
    """The end text after calls, the texts around their results, whether results are JSON texts, and a whole example.

    None where the template cannot be continued with so many results: it refuses them, writes them otherwise after
    another history, or names another tool than the one that answered.
    """
    found = rendered_calls(render, num_calls)
    tails = {text.rpartition(f"{VALUE}{num_calls - 1}")[2] for text in found[1:]}
    if len(tails) != 1:
        return None
    (tail,) = tails
    place, end = min(((tail.find(one), one) for one in ends if one and one in tail), default=(-1, ""))
    as_json = RESULT not in tail
    mark = json.dumps(RESULT)[1:-1] if as_json else RESULT
    parts, rest = list[str](), tail[place + len(end) :]
    for n in range(num_calls):
        before, there, rest = rest.partition(f"{mark}{n}")
        others = [one for one in range(num_calls) if one != n and f"{NAME}{one}" in before]
        if not there or others or (n == 0 and place < 0):
            return None
        parts.append(before)
    return None if mark in rest else (end, [*parts, rest], as_json, found[1])

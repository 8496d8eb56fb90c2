"""A pair as the page shows it: text in which nothing is hidden and nothing acts."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from rung.preferences.clips import is_clip
from rung.preferences.pair import other
from rung.preferences.store import Asked
from rung.reports.visible import shown_text


def shown_pair(asked: Asked) -> dict[str, Any]:
    """A pair for the page's script, as JSON values."""
    completions = dict(zip(("first", "second"), asked.pair.completions, strict=True))
    return {
        "id": asked.pair.id,
        "left_is": asked.left,
        "prompt": _messages(asked.pair.prompt),
        "left": _completion(completions[asked.left], asked.pair.id, asked.left),
        "right": _completion(completions[other(asked.left)], asked.pair.id, other(asked.left)),
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

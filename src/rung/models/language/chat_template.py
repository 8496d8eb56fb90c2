"""Chat templates: programs that came with a model. They are rendered in a killable child, within seconds and memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rung.child import DIED, TIMEOUT, Child, ChildError, Limits
from rung.errors import DataError

DEADLINE_S = 10.0
MEMORY = 2**30
AT_ONCE = 64
"""Conversations that share a deadline."""
MOST_LOST = 2
WHY = {
    TIMEOUT: f"it did not end within {DEADLINE_S:g} s",
    DIED: f"it ended its process; it may use {MEMORY >> 30} GiB of memory",
}


class ChatTemplates:
    """Whoever renders chat templates: one child, which the first text starts in a second.

    Example: `(text,) = ChatTemplates().render(tokenizer, [[{"role": "user", "content": "2+3?"}]])`.
    """

    def __init__(self) -> None:
        limits = Limits(memory_bytes=MEMORY, file_bytes=0)
        self._child = Child("chat_template", {}, limits=limits, closed=True)
        self._lock = threading.Lock()
        self._lost: dict[str, int] = {}
        """How often a template's child had to be ended."""

    def render(
        self, tokenizer: Any, talks: Sequence[Sequence[Mapping[str, Any]]], *, begins: bool = True
    ) -> list[str | DataError]:
        """Each conversation as text, up to where the assistant begins, or what is wrong with it. A first message of the
        role `tools` is no message: it has the tools' schemas.

        A template that had to be ended `MOST_LOST` times renders nothing more: it would take its deadline each time.
        """
        try:
            template = _template(tokenizer)
        except DataError as error:
            return [error] * len(talks)
        asked = {"template": template, "special_tokens": dict(tokenizer.special_tokens_map), "begins": begins}
        found: list[str | DataError] = []
        for first in range(0, len(talks), AT_ONCE):
            found += self._asked(asked, talks[first : first + AT_ONCE])
        return found

    def _asked(self, asked: Mapping[str, Any], talks: Sequence[Sequence[Mapping[str, Any]]]) -> list[str | DataError]:
        template, why = asked["template"], WHY[TIMEOUT]
        if self._lost.get(template, 0) < MOST_LOST:
            messages = [[dict(message) for message in talk] for talk in talks]
            try:
                with self._lock:
                    answers = self._child.ask({**asked, "conversations": messages}, deadline_s=DEADLINE_S)
                return [one["text"] if "text" in one else refused(one["refused"]) for one in answers]
            except ChildError as error:
                why = WHY.get(error.failure.status, str(error))
            if len(talks) > 1:  # one of them, or all
                return [one for talk in talks for one in self._asked(asked, [talk])]
            self._lost[template] = self._lost.get(template, 0) + 1
        return [refused(why)] * len(talks)


@cache
def chat_templates() -> ChatTemplates:
    """The one of this process."""
    return ChatTemplates()


def _template(tokenizer: Any) -> str:
    """The template that transformers would take."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several, and none is the default
        raise refused(str(error)) from error
    if not isinstance(template, str):
        raise refused(f"it is no text but a {type(template).__name__}")
    return template


def refused(why: str) -> DataError:
    return DataError(
        [
            f"the model's chat template refuses the messages: {why}; give it other roles (what a system message says "
            "can stand in the user's), correct the template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json), or give prompts as text"
        ]
    )

"""Chat templates: programs that came with a model. They are rendered in a killable child, within seconds and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.child import DIED, TIMEOUT, Child, ChildError, Limits
from rung.errors import DataError

DEADLINE_S = 10.0
MEMORY = 2**30
WHY = {
    TIMEOUT: f"it did not end within {DEADLINE_S:g} s",
    DIED: f"it ended its process; it may use {MEMORY >> 30} GiB of memory",
}


class ChatTemplate:
    """A tokenizer's chat template. One child serves it; the first text takes a second, the next ones no time.

    Example: `ChatTemplate().render(tokenizer, [{"role": "user", "content": "2+3?"}])`.
    """

    def __init__(self) -> None:
        limits = Limits(memory_bytes=MEMORY, file_bytes=0)
        self._child = Child("chat_template", {}, limits=limits, closed=True)

    def render(self, tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as text, up to where the assistant begins. DataError when the template cannot."""
        asked = {
            "template": _template(tokenizer),
            "special_tokens": dict(tokenizer.special_tokens_map),
            "messages": [dict(message) for message in messages],
        }
        try:
            answer: Mapping[str, str] = self._child.ask(asked, deadline_s=DEADLINE_S)
        except ChildError as error:
            raise _refused(WHY.get(error.failure.status, str(error))) from None
        if "refused" in answer:
            raise _refused(answer["refused"])
        return answer["text"]


def _template(tokenizer: Any) -> str:
    """The template that transformers would take."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several, and none is the default
        raise _refused(str(error)) from error
    if not isinstance(template, str):
        raise _refused(f"it is no text but a {type(template).__name__}")
    return template


def _refused(why: str) -> DataError:
    return DataError(
        [
            f"the model's chat template refuses the messages: {why}; correct the template (chat_template.jinja, or "
            "chat_template in tokenizer_config.json), or give prompts as text"
        ]
    )

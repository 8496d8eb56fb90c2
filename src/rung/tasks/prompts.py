"""Prompts in data files: what is allowed, and what is wrong with one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rung.errors import did_you_mean
from rung.rewards.reward import Prompt

ROLES = ("system", "user", "assistant", "tool")


def prompt_problem(prompt: Any) -> str | None:
    """What is wrong with a prompt as a sentence, None when it can be used.

    >>> prompt_problem([{"role": "assistant", "content": "4"}])
    "prompt: the last message is the assistant's; end with a user's (an answer to learn from goes to 'completion')"
    """
    if isinstance(prompt, str):
        return _text_problem("prompt", prompt)
    if not isinstance(prompt, list):
        return f"prompt: got {type(prompt).__name__}, expected a text or a list of messages"
    if not prompt:
        return "prompt: the list of messages is empty"
    wrong = (_message_problem(f"prompt[{i}]", message) for i, message in enumerate(prompt))
    if problem := next(filter(None, wrong), None):
        return problem
    last, where = prompt[-1]["role"], " (an answer to learn from goes to 'completion')"
    if last not in ("assistant", "system"):
        return None
    return f"prompt: the last message is the {last}'s; end with a user's{where * (last == 'assistant')}"


def prompt_value(prompt: str | list[dict[str, str]]) -> Prompt:
    """A valid prompt in the form that items carry."""
    if isinstance(prompt, str):
        return prompt
    return tuple({"role": message["role"], "content": message["content"]} for message in prompt)


def plain_prompt(prompt: Prompt) -> Any:
    """A prompt as a JSON value."""
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def _message_problem(where: str, message: Any) -> str | None:
    if not isinstance(message, dict):
        return f'{where}: got {type(message).__name__}, expected {{"role": ..., "content": ...}}'
    # A Parquet struct gives every row every key, with None for those it lacks.
    extra = [key for key, value in message.items() if key not in ("role", "content") and value is not None]
    if extra:
        return f"{where}: has {', '.join(map(repr, extra))}; a message has 'role' and 'content' and nothing else"
    role = message.get("role")
    if role not in ROLES:
        hint = did_you_mean(role, ROLES) if isinstance(role, str) else ""
        return f"{where}.role: got {role!r}, expected one of {', '.join(ROLES)}{hint}"
    content = message.get("content")
    if isinstance(content, list):
        parts = sorted({str(part.get("type")) for part in content if isinstance(part, dict)})
        return f"{where}.content: got a list of parts ({', '.join(parts)}), expected one text: rung reads text alone"
    if not isinstance(content, str):
        return f"{where}.content: got {type(content).__name__}, expected a text"
    return _text_problem(f"{where}.content", content)


def _text_problem(where: str, text: str) -> str | None:
    if not text.strip():
        return f"{where}: is empty"
    wrong = surrogate_problem(text)
    return wrong and f"{where}: {wrong}"


REPEATED = 3
"""Characters of a prompt from which on an answer that begins with all of them repeats it, which is no chance."""


def without_prompt(prompt: Prompt, answer: str) -> str:
    """The answer as what follows its prompt: where it begins with the whole of a text and goes on, that is taken off.

    >>> without_prompt("2+3=", "2+3=5"), without_prompt("2+3=", "5")
    ('5', '5')
    """
    if isinstance(prompt, str) and len(prompt) >= REPEATED and answer.startswith(prompt):
        return answer.removeprefix(prompt) or answer
    return answer


def repeated(path: Path, count: int) -> tuple[str, ...]:
    """The sentence on answers that repeated their prompt."""
    return (f"{path}: {count:,} answers began with their prompt, which is taken off",) if count else ()


def surrogate_problem(text: str) -> str | None:
    """What is wrong with a text that UTF-8 cannot hold, None for every other.

    >>> surrogate_problem("2" + chr(0xD800))
    'holds half of a surrogate pair at character 1, which is no text'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"holds half of a surrogate pair at character {error.start}, which is no text"
    return None

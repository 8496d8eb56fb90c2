"""Tools: Python functions that a policy may call in its turns.

    def times(a: int, b: int) -> int:
        '''Multiply two whole numbers.'''
        return a * b

A turn that holds a call (`rung.tool_calls`) is answered with the result; one without a call is the answer to the task.

Whatever goes wrong with a call comes back to the policy as text and is counted by its status. By itself it is no
reward.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from rung.errors import RewardError, SettingsError, did_you_mean
from rung.rewards.reward import Prompt
from rung.rewards.values import called_within
from rung.sandbox import Limits, run_python
from rung.tasks.task import Item, Lazy, TextTask
from rung.tasks.turns import DEADLINE_S, Step
from rung.tool_calls import TOOLS, calls_in, typed

OK = "ok"
"""As `batch.OK`; said here so that finding a task loads no torch."""
NOT_PARSED, UNKNOWN, BAD_ARGUMENTS, TOO_MANY = "not parsed", "unknown tool", "bad arguments", "too many"
"""Statuses of a call beside `ok`, `raised` and `timeout`."""
MOST_CALLS = 4
"""In one turn; the others are answered with an error."""


class Tool:
    """A function that can be called by text.

    Raises SettingsError: it has a parameter without a type, a type that no text can give, or no docstring.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.name = function, getattr(function, "__name__", "")
        where = f"tools: {self.name or function!r}"
        if not callable(function) or not self.name.isidentifier():
            raise SettingsError([f"{where} is no function with a name; give functions with type hints and a docstring"])
        parameters = inspect.signature(function).parameters.values()
        untyped = [p.name for p in parameters if p.annotation is p.empty]
        starred = [p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if untyped or starred or not inspect.getdoc(function):
            what = f"parameter {untyped[0]} has no type" if untyped else "has no docstring"
            raise SettingsError([f"{where}: {f'takes *{starred[0]}' if starred else what}; a call is checked by both"])

        @functools.wraps(function)
        def given(*args: Any, **named: Any) -> Any:
            return args, named

        try:
            self._arguments = TypeAdapter(given, config=ConfigDict(strict=True, arbitrary_types_allowed=False))
        except (PydanticUserError, NameError) as error:
            raise SettingsError([f"{where}: {str(error).partition(chr(10))[0]}"]) from error

    def schema(self) -> dict[str, Any]:
        """Its JSON schema, as chat templates take it; what a parameter is says the docstring's `Args:`."""
        doc = inspect.getdoc(self.function) or ""
        parameters = self._arguments.json_schema()
        for name, one in parameters.get("properties", {}).items():
            one.pop("title", None)
            if told := re.search(rf"^\s*{name}\s*(\(.*\))?:\s*(.+)", doc.partition("Args:\n")[2], re.MULTILINE):
                one["description"] = told[2]
        about = {"name": self.name, "description": doc.partition("Args:\n")[0].strip(), "parameters": parameters}
        return {"type": "function", "function": about}

    def called(self, arguments: Any, deadline_s: float | None) -> tuple[str, str]:
        """(what the policy reads, the status) of a call."""
        validator = self._arguments.validator
        read = validator.validate_json if isinstance(arguments, str) else validator.validate_python
        try:
            args, named = read(arguments)
        except (ValidationError, RecursionError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "too deep"}
            place = ".".join(map(str, first["loc"]))
            return f"error: {self.name}: {place}{': ' if place else ''}{first['msg']}", BAD_ARGUMENTS
        try:
            return called_within(deadline_s, self.name, lambda: _shown(self.function(*args, **named))), OK
        except RewardError as error:
            cause = error.__cause__
            said = error.detail if cause is None else f"{type(cause).__name__}: {cause}"
            return f"error: {self.name}: {said}", error.status


def _shown(result: Any) -> str:
    text = json.dumps(result, default=str) if isinstance(result, dict | list | tuple | None) else str(result)
    return text.encode("utf-8", "backslashreplace").decode()


class Callables(Protocol):
    """Tools of one episode."""

    @property
    def schemas(self) -> Mapping[str, Any]:
        """By the tools' names."""
        ...

    def begin(self, seed: int) -> None:
        """The episode begins; what a tool draws comes from this seed."""
        ...

    def call(self, name: str, arguments: Any) -> tuple[str, str]:
        """(what the policy reads, the status) of a call."""
        ...


class OwnTools:
    """Functions, and classes made anew for each episode, that are called in this process."""

    def __init__(self, given: Sequence[Any], deadline_s: float | None = DEADLINE_S) -> None:
        self.tools = tools_of([one() if isinstance(one, type) else one for one in given])
        self.deadline_s = deadline_s

    @property
    def schemas(self) -> dict[str, Any]:
        return {name: tool.schema() for name, tool in self.tools.items()}

    def begin(self, seed: int) -> None:
        """These draw as they like."""

    def call(self, name: str, arguments: Any) -> tuple[str, str]:
        return self.tools[name].called(arguments, self.deadline_s)


class SandboxTools(OwnTools):
    """The tool `python`, which runs code in the sandbox (`rung.sandbox`) and tells what it printed."""

    apart = True

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        def python(code: str) -> str:
            """Run a Python program, alone and without a network, and read what it prints.

            Args:
                code: The program.
            """
            ran = run_python(code, limits=Limits(seconds=deadline_s))
            if ran.status == OK:
                return ran.output.rstrip("\n")
            raise RewardError("python", ran.status, f"{ran.output}{ran.error}")

        super().__init__([python], None)


def answered(tools: Mapping[str, Callables], reply: str, form: str = "") -> Step | None:
    """The answer to the calls in a turn, a line each; None: there is none.

    Args:
        form: the form of the model's own template, which is read beside the plain ones (`rung.tool_calls.FORMS`).
    """
    told: list[tuple[str, str, str]] = []
    for number, call in enumerate(calls_in(reply, form)):
        if number >= MOST_CALLS:
            told.append((UNKNOWN, f"error: at most {MOST_CALLS} calls in a turn", TOO_MANY))
        elif isinstance(call, str):
            told.append((UNKNOWN, f"error: not a call: {call}", NOT_PARSED))
        elif call.name not in tools:
            told.append((UNKNOWN, f"error: no tool '{call.name:.60}'{did_you_mean(call.name, list(tools))}", UNKNOWN))
        else:
            source, given = tools[call.name], call.arguments
            if isinstance(given, dict):
                given = typed(given, source.schemas[call.name]["function"]["parameters"])
            told.append((call.name, *source.call(call.name, given)))
    if not told:
        return None
    text = "".join(f"{line}\n" for _, line, _ in told)
    results = tuple((name.replace(" ", "_"), line) for name, line, _ in told[: MOST_CALLS + 1])
    return Step(text, calls=tuple(status for *_, status in told), results=results)


class WithTools:
    """An environment in which calls are answered, and whatever else is said goes to the task: its own environment, or
    else its rewards."""

    def __init__(self, sources: Sequence[Callables], inner: Any = None) -> None:
        self.sources, self.inner = sources, inner
        self.tools = {name: source for source in sources for name in source.schemas}
        self.form = ""
        """Of the calls, as the model's chat template writes them; in a chat alone."""

    @property
    def apart(self) -> bool:
        """Whether several of these may be asked at once: none of it is in this process."""
        return all(getattr(one, "apart", False) for one in (*self.sources, self.inner) if one is not None)

    def reset(self, item: Item, seed: int) -> Prompt:
        for source in self.sources:
            source.begin(seed)
        if self.inner is None:
            return item.prompt
        return _told_of(
            self.inner.reset(item, seed), [schema for one in self.sources for schema in one.schemas.values()]
        )

    def step(self, reply: str) -> Step:
        found = answered(self.tools, reply, self.form)
        if found is not None:
            return found
        return Step(done=True) if self.inner is None else self.inner.step(reply)


def tools_of(given: Sequence[Any]) -> dict[str, Tool]:
    """Tools by name: functions, and the public methods of objects. SettingsError where two have one name."""
    functions: list[Callable[..., Any]] = []
    for one in given:
        if inspect.isroutine(one):
            functions.append(one)
        else:
            functions += [m for name, m in inspect.getmembers(one, inspect.ismethod) if not name.startswith("_")]
    found = {tool.name: tool for tool in map(Tool, functions)}
    if len(found) < len(functions) or not found:
        what = "two have one name" if found else "there is none"
        raise SettingsError([f"tools: {what}; give functions, or classes with public methods, of different names"])
    return found


def _told_of(prompt: Prompt, schemas: Sequence[Mapping[str, Any]]) -> Prompt:
    """Messages with the tools in front, which the reader gives to the chat template; a text as it stands."""
    if isinstance(prompt, str):
        return prompt
    return ({"role": TOOLS, "content": json.dumps(list(schemas))}, *prompt)


MakesCallables = Callable[[float], Callables]
"""Makes the tools of one episode, each of whose calls is answered within a deadline in seconds."""


def with_tools(task: TextTask, functions: Sequence[Any], *sources: MakesCallables) -> TextTask:
    """The task, in which the policy may call these functions or the public methods of these classes.

    A class is made anew for each episode. Messages begin with one of the role `tools`, which holds the schemas; a
    prompt that is text stays as it is.

    Raises SettingsError: one of them cannot be a tool, or two have one name.
    """
    makes = (*sources, *([partial(OwnTools, functions)] if functions else []))
    schemas = [schema for make in makes for schema in make(DEADLINE_S).schemas.values()]
    names, inner = [schema["function"]["name"] for schema in schemas], task.plays
    if len(set(names)) < len(names):
        raise SettingsError([f"tools: two are named '{max(names, key=names.count)}'; names must differ"])

    def told(rows: Sequence[Item]) -> Sequence[Item]:
        return Lazy(len(rows), lambda i: replace(rows[i], prompt=_told_of(rows[i].prompt, schemas)))

    def plays(deadline_s: float = DEADLINE_S) -> WithTools:
        return WithTools([make(deadline_s) for make in makes], None if inner is None else inner(deadline_s))

    return replace(task, train=told(task.train), held_out=told(task.held_out), plays=plays)

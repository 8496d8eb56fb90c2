"""A user's own reward: a function of a file (`path/to/file.py:function`), or a Python callable.

A file's function runs in a killable child: it may hang, print, exit or leak, and the run goes on or stops with the
reward's name. A callable (a function, lambda, closure, method) runs in this process and can use all that it closes
over.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rung.child import Child, ChildError, judged_one_by_one
from rung.errors import RewardError, SettingsError, did_you_mean
from rung.rewards.reward import Columns, OpenReward, Prompt, Score, judged_once
from rung.rewards.user_function import all_scores, guard_for, guarded, rows_of, takes_drawn
from rung.rewards.values import called_in_thread

_DEADLINE_S = 10.0
"""Where neither the reward nor a judge sets one."""


@dataclass(frozen=True)
class FunctionReward:
    """A Python callable as a reward: `function(prompts, completions, **columns)`, called in this process.

    It gives one finite number or None for each completion; `user_function.py` says which signatures it may have. It is
    given copies, so that it cannot change the data.

    Each call runs in a thread of its own and has a deadline. A thread cannot be killed: a function that hangs is left
    behind and keeps computing until the process ends. What may hang should be a file's function (`UserReward`).

    >>> FunctionReward(lambda completions: [float(len(text) < 80) for text in completions], name="short")
    """

    function: Callable[..., Any]
    name: str = ""
    """In reports and errors; the function's own name when not given."""
    deadline_s: float | None = None
    """For one call, which judges a batch. None: the judge's."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            got = f"{type(self.function).__name__} {self.function!r:.80}"
            raise SettingsError(f"reward: got {got}, expected a function f(prompts, completions, **columns)")
        if not self.name:
            default = getattr(self.function, "__name__", type(self.function).__name__)
            object.__setattr__(self, "name", default)

    @property
    def takes_drawn(self) -> bool:
        """Whether the function asks for tokens, raw text or rendered prompts."""
        return takes_drawn(self.function)

    def open(self, deadline_s: float) -> FunctionReward:
        """The reward with a judge's deadline, where it has none of its own."""
        return replace(self, deadline_s=self.deadline_s or deadline_s)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        given = copy.deepcopy((list(prompts), list(completions), dict(columns)))
        guard = guard_for(self.function)

        def call() -> list[Score]:
            return guarded(guard, self.name, completions, lambda: all_scores(self.name, self.function, *given))

        return called_in_thread(self.deadline_s or _DEADLINE_S, self.name, call)

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True)
class UserReward:
    """A file's function as a reward. `user_function.py` says which signatures it may have.

    >>> UserReward("my_rewards.py:short")

    Raises SettingsError: no such file, no such function in it, or a name that is missing.
    """

    source: str
    name: str = ""
    """In reports and errors; the function's own name when not given."""
    deadline_s: float | None = None
    """For one call (verl's signature: one sample). None: the judge's."""

    def __post_init__(self) -> None:
        _, function = split_source(self.source)
        if not self.name:
            object.__setattr__(self, "name", function)

    def open(self, deadline_s: float) -> OpenReward:
        """Ready to judge: a child has loaded the file.

        Raises SettingsError: the file cannot be run.
        """
        file, function = split_source(self.source)
        return _InChild(self.name, str(file), function, self.deadline_s or deadline_s)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return judged_once(self, _DEADLINE_S, prompts, completions, columns)


class _InChild:
    """The function runs in a child process."""

    def __init__(self, name: str, file: str, function: str, deadline_s: float) -> None:
        self.name = name
        self._deadline_s = deadline_s
        self._child = Child("user_function", {"name": name, "file": file, "function": function})
        try:
            self._by_sample, self.takes_drawn = self._child.start()
        except ChildError as error:
            self._child.close()
            raise SettingsError(f"reward '{name}': {file} could not be loaded: {error}") from None
        except BaseException:
            self._child.close()
            raise

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        try:
            if self._by_sample:
                rows = rows_of(columns, len(completions))
                requests = [{"completion": text, "row": row} for text, row in zip(completions, rows, strict=True)]
                return judged_one_by_one(self._child, requests, self._deadline_s)
            batch = {"prompts": list(prompts), "completions": list(completions), "columns": dict(columns)}
            return self._child.ask(batch, deadline_s=self._deadline_s)
        except ChildError as error:
            raise RewardError(self.name, error.failure.status, error.failure.detail) from None

    def close(self) -> None:
        self._child.close()


def split_source(source: str) -> tuple[Path, str]:
    """The file and the function of `path/to/file.py:function`, checked without running the file.

    Raises SettingsError: the form is wrong, the file is missing or not Python, or it defines no such name.
    """
    path, colon, function = source.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise SettingsError(f"reward: got '{source}', expected path/to/file.py:function")
    file = Path(path).absolute()
    if not file.is_file():
        raise SettingsError(f"reward: there is no file {path}")
    try:
        tree = ast.parse(file.read_bytes(), filename=path)
    except (SyntaxError, ValueError) as error:
        raise SettingsError(f"reward: {path}:{getattr(error, 'lineno', None) or 1}: {error}") from None
    names = _defined(tree)
    if function not in names and "*" not in names:
        raise SettingsError(f"reward: {path} defines no '{function}'{did_you_mean(function, names)}")
    return file, function


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names

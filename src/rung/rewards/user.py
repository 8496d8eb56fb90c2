"""A user's own reward: `path/to/file.py:function` on the command line, any Python function in the library.

A function that can be found again by its file runs in a killable child, so it may hang, print, exit or leak and the
run goes on or stops with its name. A lambda, a closure, a method or a function of the main script cannot be found
again: it runs in this process, on copies of the inputs, with the global random generators and the working folder
put back, and with a deadline only in the main thread. To keep a function in this process, wrap it in a lambda.
"""

from __future__ import annotations

import ast
import copy
import os
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rung.errors import RewardError, SettingsError, did_you_mean
from rung.rewards.child import Child, ChildError
from rung.rewards.deadline import called_within
from rung.rewards.one_by_one import judged_one_by_one
from rung.rewards.reward import OpenReward, Prompt, Score
from rung.rewards.user_function import Function, batch_scores, guard_for, guarded, sample_score, takes_samples


@dataclass(frozen=True)
class UserReward:
    """A user's function as a reward. `user_function.py` says which signatures it may have.

    >>> UserReward("my_rewards.py:short")              # a file's function, in a child
    >>> UserReward(lambda completions: [float(len(text) < 80) for text in completions], name="short")

    Raises:
        SettingsError: no such file, no such function in it, or a name that is missing.
    """

    source: str | Callable[..., Any]
    name: str = ""
    """In reports and errors; the function's own name when not given."""
    deadline_s: float | None = None
    """For one call (verl's signature: one sample). None: the judge's."""

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            _, function = split_source(self.source)
            default = function
        else:
            default = getattr(self.source, "__name__", type(self.source).__name__)
        if not self.name:
            object.__setattr__(self, "name", default)

    def open(self, deadline_s: float) -> OpenReward:
        """Ready to judge: a child has loaded the file.

        Raises:
            SettingsError: the file cannot be run.
        """
        seconds = self.deadline_s or deadline_s
        if isinstance(self.source, str):
            file, function = split_source(self.source)
            return _InChild(self.name, str(file), function, seconds)
        found = found_again(self.source)
        if found is not None:
            return _InChild(self.name, found, self.source.__name__, seconds)
        return _Here(self.name, self.source, seconds)

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        opened = self.open(self.deadline_s or 10.0)
        try:
            return opened(prompts, completions, columns)
        finally:
            opened.close()


class _InChild:
    """The function runs in a child process."""

    def __init__(self, name: str, file: str, function: str, deadline_s: float) -> None:
        self.name = name
        self._deadline_s = deadline_s
        self._child = Child("user_function", {"name": name, "file": file, "function": function})
        try:
            self._by_sample = self._child.start()
        except ChildError as error:
            self._child.close()
            raise SettingsError([f"reward '{name}': {file} could not be loaded: {error}"]) from None
        except BaseException:
            self._child.close()
            raise

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
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


class _Here:
    """The function runs in this process."""

    def __init__(self, name: str, function: Function, deadline_s: float) -> None:
        self.name = name
        self._function = function
        self._deadline_s = deadline_s
        self._guard = guard_for(function)

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        def call() -> list[Score]:
            given = copy.deepcopy((list(prompts), list(completions), dict(columns)))
            if not takes_samples(self._function):
                return batch_scores(self.name, self._function, *given)
            rows = rows_of(given[2], len(completions))
            return [
                sample_score(self.name, self._function, text, row) for text, row in zip(given[1], rows, strict=True)
            ]

        with process_restored():
            return called_within(
                self._deadline_s, self.name, lambda: guarded(self._guard, self.name, completions, call)
            )

    def close(self) -> None:
        """There is no child to end."""


def split_source(source: str) -> tuple[Path, str]:
    """The file and the function of `path/to/file.py:function`, checked without running the file.

    Raises:
        SettingsError: the form is wrong, the file is missing or not Python, or it defines no such name.
    """
    path, colon, function = source.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise SettingsError([f"reward: got '{source}', expected path/to/file.py:function"])
    file = Path(path).absolute()
    if not file.is_file():
        raise SettingsError([f"reward: there is no file {path}"])
    try:
        tree = ast.parse(file.read_bytes(), filename=path)
    except (SyntaxError, ValueError) as error:
        raise SettingsError([f"reward: {path}:{getattr(error, 'lineno', None) or 1}: {error}"]) from None
    names = _defined(tree)
    if function not in names and "*" not in names:
        raise SettingsError([f"reward: {path} defines no '{function}'{did_you_mean(function, names)}"])
    return file, function


def found_again(function: Callable[..., Any]) -> str | None:
    """The file that a child can load this very function from, or None."""
    if not isinstance(function, types.FunctionType) or function.__qualname__ != function.__name__:
        return None
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if function.__module__ == "__main__" or not file or not file.endswith(".py"):
        return None
    return file if getattr(module, function.__name__, None) is function else None


@contextmanager
def process_restored() -> Iterator[None]:
    """Put the global random generators and the working folder back afterwards."""
    folder, python_state = Path.cwd(), random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numpy_state = numpy.random.get_state() if numpy else None
    torch_state = torch.get_rng_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
        if torch:
            torch.set_rng_state(torch_state)
        os.chdir(folder)


def rows_of(columns: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """The columns of each sample as one mapping.

    >>> rows_of({"answer": [1, 2]}, 2)
    [{'answer': 1}, {'answer': 2}]
    """
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


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

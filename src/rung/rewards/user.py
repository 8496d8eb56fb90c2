"""A user's own reward: a function of a file (`path/to/file.py:function`), or a Python callable.

A file's function runs in a killable child: it may hang, print, exit or leak, and the run goes on or stops with the
reward's name. A callable (a function, lambda, closure, method) runs in this process and can use all that it closes
over. Either is called by its own signature, TRL's or verl's, and may be `async`:

TRL: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, once for the batch. It gets what its
signature names (with `**kwargs` every column). Beside the columns these names are offered: `completion_ids`, the tokens
drawn; `raw_completions`, their text with the end token; `rendered_prompts`, the prompts after the chat template. As in
TRL, a completion whose prompt is messages is `[{"role": "assistant", ...}]`.

verl: `compute_score(data_source, solution_str, ground_truth, extra_info=None) -> float | {"score": float}`, once a
sample; recognised by the parameters `solution_str` and `ground_truth`.

Text of a completion never becomes code: see `text_is_not_code.py`.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rung.child import WRONG_TYPE, Child, ChildError, judged_one_by_one
from rung.errors import RewardError, SettingsError, did_you_mean
from rung.rewards.reward import DRAWN, REFUSED, Columns, OpenReward, Prompt, Score, judged_once
from rung.rewards.text_is_not_code import Guard
from rung.rewards.values import called_in_thread, checked_scores

Function = Callable[..., Any]
Returned = TypeVar("Returned")
_DEADLINE_S = 10.0
"""Where neither the reward nor a judge sets one."""


@dataclass(frozen=True)
class FunctionReward:
    """A Python callable as a reward: `function(prompts, completions, **columns)`, called in this process.

    It gives one finite number or None for each completion, and is given copies, so that it cannot change the data.

    Each call runs in a thread of its own and has a deadline. A thread cannot be killed: a function that hangs is left
    behind and keeps computing until the process ends. What may hang should be a file's function (`UserReward`).

    >>> FunctionReward(lambda completions: [float(len(text) < 80) for text in completions], name="short")
    """

    function: Function
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
        return _takes_drawn(self.function)

    def open(self, deadline_s: float) -> FunctionReward:
        """The reward with a judge's deadline, where it has none of its own."""
        return replace(self, deadline_s=self.deadline_s or deadline_s)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        prompts, texts, columns = copy.deepcopy((list(prompts), list(completions), dict(columns)))
        guard, name, function = _guard_for(self.function), self.name, self.function

        def scores() -> list[Score]:
            if not _takes_samples(function):
                return _batch_scores(name, function, prompts, texts, columns)
            rows = _rows_of(columns, len(texts))
            return [_sample_score(name, function, text, row) for text, row in zip(texts, rows, strict=True)]

        seconds = self.deadline_s or _DEADLINE_S
        return called_in_thread(seconds, name, lambda: _guarded(guard, name, completions, scores))

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True)
class UserReward:
    """A file's function as a reward.

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
        """Ready to judge: a child has loaded the file. SettingsError where the file cannot be run."""
        return _InChild(self, self.deadline_s or deadline_s)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return judged_once(self, _DEADLINE_S, prompts, completions, columns)


class _InChild:
    """`UserReward` with its child."""

    def __init__(self, reward: UserReward, deadline_s: float) -> None:
        self.name, self._deadline_s = reward.name, deadline_s
        file, function = split_source(reward.source)
        self._child = Child("user_function", {"name": self.name, "file": str(file), "function": function})
        try:
            self._by_sample, self.takes_drawn = self._child.start()
        except BaseException as error:
            self._child.close()
            if isinstance(error, ChildError):
                raise SettingsError(f"reward '{self.name}': {file} could not be loaded: {error}") from None
            raise

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        try:
            if self._by_sample:
                rows = _rows_of(columns, len(completions))
                requests = [{"completion": text, "row": row} for text, row in zip(completions, rows, strict=True)]
                return judged_one_by_one(self._child, requests, self._deadline_s)
            batch = {"prompts": list(prompts), "completions": list(completions), "columns": dict(columns)}
            return self._child.ask(batch, deadline_s=self._deadline_s)
        except ChildError as error:
            raise RewardError(self.name, error.failure.status, error.failure.detail) from None

    def close(self) -> None:
        self._child.close()


def split_source(source: str, what: str = "reward") -> tuple[Path, str]:
    """The file and the function of `path/to/file.py:function`, checked without running the file.

    Raises SettingsError: the form is wrong, the file is missing or not Python, or it has no such name.
    """
    path, colon, function = source.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise SettingsError(f"{what}: got '{source}', expected path/to/file.py:function")
    file = Path(path).absolute()
    if not file.is_file():
        raise SettingsError(f"{what}: there is no file {path}")
    try:
        tree = ast.parse(file.read_bytes(), filename=path)
    except (SyntaxError, ValueError) as error:
        raise SettingsError(f"{what}: {path}:{getattr(error, 'lineno', None) or 1}: {error}") from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    if function not in names and "*" not in names:
        raise SettingsError(f"{what}: {path} defines no '{function}'{did_you_mean(function, names)}")
    return file, function


def user_function_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """The child's job: requests are the arguments of a batch or of a sample; says which of the two, and whether the
    function takes what was drawn."""
    name, function = setup["name"], loaded(Path(setup["file"]).resolve(), setup["function"])
    if not callable(function):
        raise SettingsError(f"reward: {setup['function']} is a {type(function).__name__}, expected a function")
    by_sample, guard = _takes_samples(function), _guard_for(function)

    def answer(request: Mapping[str, Any]) -> Any:
        if by_sample:
            text, row = request["completion"], request["row"]
            return _guarded(guard, name, [text], lambda: _sample_score(name, function, text, row))
        prompts, texts, columns = request["prompts"], request["completions"], request["columns"]
        return _guarded(guard, name, texts, lambda: _batch_scores(name, function, prompts, texts, columns))

    return answer, [by_sample, _takes_drawn(function)]


def loaded(file: Path, function: str, what: str = "reward") -> Any:
    """Run a Python file as a module and take what it calls so. The folder of its package can be imported from.

    Raises SettingsError: the file cannot be run, or has no such name.
    """
    names, folder = [file.stem], file.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    name, root = ".".join(names), str(folder)
    module = sys.modules.get(name)
    if module is None or getattr(module, "__file__", None) != str(file):
        module = _run_module(file, name, root, what)
    if not hasattr(module, function):
        raise SettingsError(f"{what}: {file} has no '{function}'{did_you_mean(function, vars(module))}")
    return getattr(module, function)


def _run_module(file: Path, name: str, root: str, what: str) -> ModuleType:
    if root not in sys.path:
        sys.path.insert(0, root)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{what}: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the user's look themselves up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{what}: {file} could not be loaded: {type(error).__name__}: {error}") from error
    return module


def _takes_samples(function: Function) -> bool:
    """Whether it has verl's signature and judges one sample a call."""
    return {"solution_str", "ground_truth"} <= set(inspect.signature(function).parameters)


def _takes_drawn(function: Function) -> bool:
    """Whether it asks for what was drawn: names one of `DRAWN`, or takes whatever there is."""
    parameters = inspect.signature(function).parameters
    return bool(DRAWN & set(parameters)) or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _batch_scores(
    name: str, function: Function, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
) -> list[Score]:
    """Call a function of TRL's signature for a batch and check what it returns."""
    wrapped = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, completions, strict=True)
    ]
    returned = _called(name, function, {**columns, "prompts": list(prompts), "completions": wrapped})
    return checked_scores(name, returned, len(completions))


def _sample_score(name: str, function: Function, completion: str, row: Mapping[str, Any]) -> Score:
    """Call a function of verl's signature for one sample whose columns are `row`.

    `ground_truth` is the column of that name, else verl's `reward_model["ground_truth"]`, else `answer`;
    `data_source` and `extra_info` are the columns of that name, else "rung" and the whole row.
    """
    reward_model = row.get("reward_model")
    nested = reward_model.get("ground_truth") if isinstance(reward_model, Mapping) else None
    offered = {
        "data_source": row.get("data_source", "rung"),
        "solution_str": completion,
        "ground_truth": next((g for g in (row.get("ground_truth"), nested, row.get("answer")) if g is not None), None),
        "extra_info": row.get("extra_info", {name: value for name, value in row.items() if name not in DRAWN}),
        **{name: row[name] for name in DRAWN if name in row},
    }
    returned = _called(name, function, offered)
    if isinstance(returned, Mapping):
        if "score" not in returned:
            raise RewardError(name, WRONG_TYPE, f"returned a dict without 'score': keys {list(returned)[:10]}")
        returned = returned["score"]
    return checked_scores(name, [returned], 1)[0]


def _rows_of(columns: Columns, count: int) -> list[dict[str, Any]]:
    """The columns of each sample as one mapping."""
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def _guard_for(function: Function) -> Guard:
    """An open guard that knows the texts which stand in the function's module."""
    return Guard(closed=False, own=[v for v in getattr(function, "__globals__", {}).values() if isinstance(v, str)])


def _guarded(guard: Guard, name: str, completions: Sequence[str], call: Callable[[], Returned]) -> Returned:
    """What `call` returns. RewardError where text of a completion was about to become code in it, also where the
    function caught the exception."""
    try:
        returned = guard.run(completions, call)
    except Exception:
        if not guard.refused:
            raise
    else:
        if not guard.refused:
            return returned
    what = f"it was about to run text of a completion as code: {guard.refused[0]}"
    todo = "read such text with ast.literal_eval or a parser of your own, or run it by rung.sandbox.run_python"
    raise RewardError(name, REFUSED, f"{what}; {todo}")


def _called(name: str, function: Function, offered: Mapping[str, Any]) -> Any:
    """What the function returns for what it takes of the offer, awaited where that is asked."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    taken = dict(offered) if takes_all else {p.name: offered[p.name] for p in parameters if p.name in offered}
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in taken
    ]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    if missing or positional:
        what = f"wants {missing}" if missing else f"takes {positional} by position only"
        raise RewardError(name, WRONG_TYPE, f"{what}; it is offered, by name, {sorted(offered)}")
    returned = function(**taken)

    async def finished(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return asyncio.run(finished(returned)) if inspect.isawaitable(returned) else returned

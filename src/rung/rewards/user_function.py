"""Call a user's reward function by its own signature: TRL's or verl's.

TRL: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`, once for the batch. It gets what its
signature names (with `**kwargs` every column). Beside the columns these names are offered: `completion_ids`, the tokens
drawn; `raw_completions`, their text with the end token; `rendered_prompts`, the prompts after the chat template. As in
TRL, a completion whose prompt is messages is `[{"role": "assistant", ...}]`.

verl: `compute_score(data_source, solution_str, ground_truth, extra_info=None) -> float | {"score": float}`, once a
sample; recognised by the parameters `solution_str` and `ground_truth`.

Text of a completion never becomes code: see `text_is_not_code.py`. Either may be `async`.
This file runs in the child for functions from files, and in this process for other callables.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rung.child import WRONG_TYPE
from rung.errors import RewardError, SettingsError, did_you_mean
from rung.rewards.reward import DRAWN, REFUSED, Columns, Prompt, Score
from rung.rewards.text_is_not_code import Guard
from rung.rewards.values import checked_scores

Function = Callable[..., Any]
Returned = TypeVar("Returned")


def takes_samples(function: Function) -> bool:
    """Whether it has verl's signature and judges one sample a call."""
    return {"solution_str", "ground_truth"} <= set(inspect.signature(function).parameters)


def takes_drawn(function: Function) -> bool:
    """Whether it asks for what was drawn: names one of `DRAWN`, or takes whatever there is."""
    parameters = inspect.signature(function).parameters
    return bool(DRAWN & set(parameters)) or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def batch_scores(
    name: str, function: Function, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
) -> list[Score]:
    """Call a function of TRL's signature for a batch and check what it returns."""
    wrapped = [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, completions, strict=True)
    ]
    offered = {**columns, "prompts": list(prompts), "completions": wrapped}
    returned = _awaited(function(**_accepted(name, function, offered)))
    return checked_scores(name, returned, len(completions))


def sample_score(name: str, function: Function, completion: str, row: Mapping[str, Any]) -> Score:
    """Call a function of verl's signature for one sample whose columns are `row`.

    `ground_truth` is the column of that name, else verl's `reward_model["ground_truth"]`, else `answer`;
    `data_source` and `extra_info` are the columns of that name, else "rung" and the whole row.
    """
    reward_model = row.get("reward_model")
    nested = reward_model.get("ground_truth") if isinstance(reward_model, Mapping) else None
    ground_truth = next((g for g in (row.get("ground_truth"), nested, row.get("answer")) if g is not None), None)
    offered = {
        "data_source": row.get("data_source", "rung"),
        "solution_str": completion,
        "ground_truth": ground_truth,
        "extra_info": row.get("extra_info", {name: value for name, value in row.items() if name not in DRAWN}),
        **{name: row[name] for name in DRAWN if name in row},
    }
    returned = _awaited(function(**_accepted(name, function, offered)))
    if isinstance(returned, Mapping):
        if "score" not in returned:
            raise RewardError(name, WRONG_TYPE, f"returned a dict without 'score': keys {list(returned)[:10]}")
        returned = returned["score"]
    return checked_scores(name, [returned], 1)[0]


def all_scores(
    name: str, function: Function, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
) -> list[Score]:
    """Call a function of either signature for a batch."""
    if not takes_samples(function):
        return batch_scores(name, function, prompts, completions, columns)
    rows = rows_of(columns, len(completions))
    return [sample_score(name, function, text, row) for text, row in zip(completions, rows, strict=True)]


def rows_of(columns: Columns, count: int) -> list[dict[str, Any]]:
    """The columns of each sample as one mapping.

    >>> rows_of({"answer": [1, 2]}, 2)
    [{'answer': 1}, {'answer': 2}]
    """
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def loaded_function(file: str, function: str) -> Function:
    """Run a Python file as a module and take a function from it. The file's own folder can be imported from.

    Raises SettingsError: the file cannot be run, or has no such function.
    """
    path = Path(file)
    module_name, root = module_of(path)
    if root not in sys.path:
        sys.path.insert(0, root)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"reward: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickles of the user's look themselves up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SettingsError(f"reward: {file} could not be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise SettingsError(f"reward: {file} has no function '{function}'{did_you_mean(function, vars(module))}")
    return found


def module_of(path: Path) -> tuple[str, str]:
    """The dotted name under which the file is imported, and the folder to import it from.

    >>> module_of(Path("/home/me/rewards.py"))
    ('rewards', '/home/me')
    """
    path = path.resolve()
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), str(folder)


def user_function_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """The child's job: requests are the arguments of `batch_scores` or `sample_score`; says which of the two, and
    whether it takes what was drawn."""
    name = setup["name"]
    function = loaded_function(setup["file"], setup["function"])
    by_sample = takes_samples(function)
    guard = guard_for(function)

    def answer(request: Mapping[str, Any]) -> Any:
        if by_sample:
            text, row = request["completion"], request["row"]
            return guarded(guard, name, [text], lambda: sample_score(name, function, text, row))
        prompts, texts, columns = request["prompts"], request["completions"], request["columns"]
        return guarded(guard, name, texts, lambda: batch_scores(name, function, prompts, texts, columns))

    return answer, [by_sample, takes_drawn(function)]


def guard_for(function: Function) -> Guard:
    """An open guard that knows the texts which stand in the function's module."""
    return Guard(closed=False, own=[v for v in getattr(function, "__globals__", {}).values() if isinstance(v, str)])


def guarded(guard: Guard, name: str, completions: Sequence[str], call: Callable[[], Returned]) -> Returned:
    """What `call` returns, unless text of a completion was about to become code in it.

    Raises RewardError: it was, also where the function caught the exception.
    """
    try:
        returned = guard.run(completions, call)
    except Exception:
        if not guard.refused:
            raise
    else:
        if not guard.refused:
            return returned
    what = f"it was about to run text of a completion as code: {guard.refused[0]}"
    todo = "read such text with ast.literal_eval or a parser of your own, or run it in a sandbox"
    raise RewardError(name, REFUSED, f"{what}; {todo}")


def _accepted(name: str, function: Function, offered: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        taken = dict(offered)
    else:
        taken = {p.name: offered[p.name] for p in parameters if p.name in offered}
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in taken
    ]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    if missing or positional:
        what = f"wants {missing}" if missing else f"takes {positional} by position only"
        raise RewardError(name, WRONG_TYPE, f"{what}; it is offered, by name, {sorted(offered)}")
    return taken


def _awaited(returned: Any) -> Any:
    async def finished(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return asyncio.run(finished(returned)) if inspect.isawaitable(returned) else returned

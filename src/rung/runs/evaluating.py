"""An evaluation of a run or a model, with what it takes from the run's own settings."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.runs.evaluate import Evaluation, evaluate
from rung.runs.folders import Found, Say, found, silent
from rung.runs.recipes.tiny import tiny_for
from rung.settings import Settings, read_eval
from rung.settings.objects import taken_apart
from rung.trainers.choose import kind_for
from rung.trainers.handed import Handed


def evaluated(
    model: Any,
    task: Any = None,
    *,
    base: Any = None,
    rewards: Sequence[Any] = (),
    tools: Sequence[Any] = (),
    step: int | None = None,
    parts: Sequence[type[Any]] = (),
    flags: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    say: Say = silent,
    **settings: Any,
) -> Evaluation:
    """Scores a run's folder, a model's name, or a model in memory.

    What is not said is the run's own: its task, lengths, seed, and for its own task its rewards. `flags` and `sets` are
    the command line's texts; `settings` the same from Python. Raises SettingsError with every problem.
    """
    given_by_name = {} if task is None else {"task": task}
    own = [one for one in rewards if not isinstance(one, str)]
    objects_given = {"rewards": own} if own else {}
    if tools:
        objects_given["tools"] = list(tools)
    data, objects = taken_apart({**given_by_name, **objects_given}, parts)
    named = (f"{one['function']}={one.get('weight', 1.0)}" for one in data.get("rewards", ()))
    texts = [*(one for one in rewards if isinstance(one, str)), *named]
    given = {
        **(flags or {}),
        **settings,
        **({"tools": data["tools"]} if tools else {}),
        **({} if task is None else {"task": _task_flag(data["task"])}),
    }
    with _found(model, step, say, parts) as it, _found(base, None, say, parts) as other:
        if it.settings is not None and given.get("task") is None:
            _require_answers(it.settings)
        values = it.settings is not None and _gives_values(it.settings)
        asked = read_eval(run=it.settings, values=values, flags=given, rewards=texts, sets=sets).required()
        reference = None if base is None else other.model
        return evaluate(it.model, asked, base=reference, handed=Handed(tiny=tiny_for, objects=objects))


def _task_flag(task: Any) -> Any:
    """A task's settings as the flag has them: its name alone where it has no options."""
    return task["name"] if isinstance(task, Mapping) and set(task) == {"name"} else task


@contextlib.contextmanager
def _found(model: Any, step: int | None, say: Say, parts: Sequence[type[Any]]) -> Any:
    """A run's model, a named model, or one that is in memory."""
    if model is None or not isinstance(model, str | Path):
        yield Found(model)
        return
    with found(str(model), step, say=say, parts=parts) as it:
        yield it


def _gives_values(run: Settings) -> bool:
    """Whether a run's language model gives values of tokens, which are no distribution to draw from."""
    kind = kind_for(run, run.resolved_method())
    return kind.values and not kind.environment


def _require_answers(run: Settings) -> None:
    """SettingsError when a run's own task is a file of pairs, whose answers nothing judges."""
    if kind_for(run, run.resolved_method()).stored_pairs:
        raise SettingsError(
            [
                f"--task: missing; this run's own task is {run.task.name}, pairs that were learnt from; name a task "
                "whose answers can be judged, as --task arithmetic"
            ]
        )

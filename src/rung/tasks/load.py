"""Find a task by its name, the name of a reasoning-gym data set or of a Gymnasium environment, or a data file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from rung.errors import SettingsError, did_you_mean
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.tasks.cart_pole import CartPole1983
from rung.tasks.environment import EnvironmentTask, environment_task, looks_like_environment
from rung.tasks.file_task import file_task
from rung.tasks.hosted import file_turn_task, other_task
from rung.tasks.library.arithmetic import addition_few_shot, arithmetic, calculator
from rung.tasks.library.copying import copying
from rung.tasks.library.guess_number import guess_number
from rung.tasks.library.running_sum import running_sum
from rung.tasks.others import is_other
from rung.tasks.own_environment import is_file_name
from rung.tasks.pairs import PairTask, pair_task
from rung.tasks.reasoning_gym import reasoning_gym_names, reasoning_gym_task
from rung.tasks.task import TextTask

LIBRARY: Mapping[str, Callable[..., TextTask]] = {
    "arithmetic": arithmetic,
    "addition-few-shot": addition_few_shot,
    "copying": copying,
    "running-sum": running_sum,
    "calculator": calculator,
    "guess-number": guess_number,
}
"""Our own text tasks by name."""
Task = TextTask | EnvironmentTask | CartPole1983

T = TypeVar("T")
_TYPE_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    str | Path: "a path",
    str | Path | None: "a path",
    Sequence[int]: "a list of whole numbers",
    Sequence[str]: "a list of texts",
}
_GYM = "reasoning_gym/"
SKIP = "skip_bad_rows"
"""The option that every text task has."""
_FILES = (".jsonl", ".parquet")


def load_task(spec: str, *, seed: int = 0, **options: Any) -> Task:
    """The task that `spec` names, with its options. Every text task takes `skip_bad_rows`: rows that a file or a model
    cannot use are left out and counted instead of refused.

    >>> load_task("arithmetic", levels=(1, 2)).name
    'arithmetic'

    SettingsError for an unknown task, option or value; DataError for rows of a file that cannot be used.
    """
    if spec in LIBRARY:
        return _made(spec, LIBRARY[spec], {"seed": seed, **_without_skipping(options)})
    if is_file_name(spec):
        task = file_turn_task(spec, seed=seed, **_without_skipping(options))
        if task is None:
            raise SettingsError(f"task: {spec} is no class with reset(item, seed) and step(reply)")
        return task
    if is_other(spec):
        return other_task(spec, seed=seed, **_without_skipping(options))
    if spec == CART_POLE:
        return _made(spec, CartPole1983, options)
    if spec.endswith(_FILES):
        return _made(spec, file_task, {"path": spec, "seed": seed, **options})
    of_gym = spec.startswith((_GYM, "reasoning-gym/"))
    if not of_gym and looks_like_environment(spec):
        return environment_task(spec, **options)
    gym_names = [] if of_gym else [name for name, _ in reasoning_gym_names()]
    if of_gym or spec in gym_names:
        arguments = {"dataset": spec.partition("/")[2] if of_gym else spec, "seed": seed, **_without_skipping(options)}
        return _made(spec, reasoning_gym_task, arguments)
    if Path(spec).suffix or "/" in spec:
        raise SettingsError(f"task: '{spec}' is no task; a file must end in {' or '.join(_FILES)}")
    hint = did_you_mean(spec, [*LIBRARY, CART_POLE, *gym_names])
    raise SettingsError(f"task: unknown task '{spec}'{hint}; `rung tasks` lists them")


def load_pairs(spec: str, **options: Any) -> PairTask:
    """The preference pairs of a .jsonl or .parquet file, with the options of `rung.tasks.pairs.pair_task`."""
    if not spec.endswith(_FILES):
        how = "make one from a model's own samples: rung pairs --model MODEL --task TASK --out pairs.jsonl"
        raise SettingsError(f"task: '{spec}' is no file of pairs, which must end in {' or '.join(_FILES)}; {how}")
    return _made(spec, pair_task, {"path": spec, **options})


def load_text_task(spec: str, *, seed: int = 0, **options: Any) -> TextTask:
    """As `load_task`; SettingsError for anything else, where only text will do."""
    task = load_task(spec, seed=seed, **options)
    if isinstance(task, TextTask):
        return task
    raise SettingsError(f"task: '{spec}' is an environment, expected a text task; `rung tasks` lists them")


def available_tasks() -> list[tuple[str, str]]:
    """Name and one line of every task that has a name; files are not among them."""
    ours = (*LIBRARY.items(), (CART_POLE, CartPole1983))
    first = [(name, (inspect.getdoc(make) or "").partition("\n")[0].partition(": ")[2]) for name, make in ours]
    return first + [(_GYM + name, line) for name, line in reasoning_gym_names()]


def _without_skipping(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task whose maker has no bad rows: what a model cannot take is left out by who looks at it."""
    rest = dict(options)
    if SKIP in rest and (wrong := list(_wrong_types(file_task, {SKIP: rest.pop(SKIP)}))):
        raise SettingsError(wrong)
    return rest


def _made(spec: str, make: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    parameters = inspect.signature(make).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    valid = [name for name in parameters if name not in ("seed", "path", "dataset")]
    unknown = [] if takes_any else [name for name in arguments if name not in parameters]
    if unknown:
        raise SettingsError(
            f"task option: '{spec}' has no option '{name}'{did_you_mean(name, valid)}; it has {', '.join(valid)}"
            for name in unknown
        )
    wrong = list(_wrong_types(make, arguments))
    if wrong:
        raise SettingsError(wrong)
    return make(**arguments)


def _wrong_types(make: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[str]:
    hints = get_type_hints(make)
    for name, value in arguments.items():
        hint = hints.get(name, Any)
        try:
            TypeAdapter(hint).validate_python(value, strict=True)
        except ValidationError:
            yield f"{name}: got {value!r:.80}, expected {_TYPE_WORDS.get(hint, hint)}"

"""What is compared: each method with its settings, the seeds, the budget. It is written before anything is run.

It is asked for by the command line or from Python, where methods, tasks and rewards may be objects; what is wrong with
its parts is told together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError, did_you_mean
from rung.lab.labels.people import people
from rung.methods import METHODS, own_name
from rung.runs.folder import holds_something
from rung.runs.planning import planned
from rung.runs.run import handed
from rung.settings import BudgetSettings, Settings, settings_from, with_whole_paths
from rung.settings.given import Reading, given, leaves, plain, read_yaml, write_yaml
from rung.settings.objects import GIVEN, taken_apart
from rung.tasks.cart_pole import NAME as CART_POLE
from rung.tasks.environment import looks_like_environment
from rung.tasks.own_environment import import_named
from rung.trainers.choose import kind_for, kind_of, task_of
from rung.trainers.handed import Handed
from rung.trainers.reading import settings_of
from rung.trainers.usable_rows import usable_in_run
from rung.whole_files import write_whole

PLAN, RESULT, PAGE = "comparison.yaml", "comparison.json", "comparison.html"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison."""

    axis: str
    """What the budget counts; see `rung.trainers.budget.AXES`."""
    limit: float
    seeds: tuple[int, ...]
    settings: Mapping[str, Settings]
    """By method, the budget in them; their seed is the first one."""
    handed: Handed | None = field(default=None, compare=False, repr=False)
    """Objects that settings cannot hold. The runs are then made in this process, one after another."""

    @property
    def parts(self) -> tuple[type[Any], ...]:
        """Classes of parts that are not rung's own."""
        return tuple(part for settings in self.settings.values() for part in settings.method.parts)

    def names(self) -> list[RunName]:
        """Every run: all methods of one seed before the next seed, so that an early look compares all of them."""
        return [RunName(method, seed) for seed in self.seeds for method in self.settings]

    def run_settings(self, name: RunName) -> Settings:
        """The settings of one run."""
        return self.settings[name.method].model_copy(update={"seed": name.seed})

    def as_data(self) -> dict[str, Any]:
        """JSON-like: what comparison.yaml holds."""
        return {
            "budget": {self.axis: self.limit},
            "seeds": list(self.seeds),
            "methods": {method: settings.as_data() for method, settings in self.settings.items()},
        }


def read_plan(folder: Path, parts: Sequence[type[Any]] = ()) -> Comparison:
    """The comparison of a folder. DataError when there is none, or its file is damaged."""
    file = folder / PLAN
    problems: list[str] = []
    try:
        tree = read_yaml(file.read_text(encoding="utf-8"), str(file), problems)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([f"{folder}: holds no comparison ({file.name} cannot be read: {error})"]) from error
    data = plain(tree) if tree is not None else None
    if problems or not isinstance(data, dict):
        raise DataError(problems or [f"{file}: got no keys, expected budget, seeds and methods"])
    return _from_data(data, file, parts)


def _from_data(data: Mapping[str, Any], file: Path, parts: Sequence[type[Any]]) -> Comparison:
    budget, seeds, methods = (data.get(key) for key in ("budget", "seeds", "methods"))
    if not isinstance(budget, dict) or len(budget) != 1 or not isinstance(methods, dict) or not methods:
        raise DataError([f"{file}: expected one budget and at least one method"])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise DataError([f"{file}: seeds: got {seeds!r}, expected a list of whole numbers"])
    ((axis, limit),) = budget.items()
    return Comparison(
        axis=axis,
        limit=limit,
        seeds=tuple(seeds),
        settings={method: settings_from(content, parts) for method, content in methods.items()},
    )


def claim(comparison: Comparison, folder: Path) -> bool:
    """Makes the folder this comparison's; True when it was that already, so that it goes on.

    Raises SettingsError when the folder holds something else, or another comparison; what differs is named.
    """
    if (folder / PLAN).is_file():
        there = read_plan(folder, comparison.parts)
        if there == comparison:
            return True
        raise SettingsError(
            [
                f"--out: {folder} holds another comparison; choose another folder, or go on with the one in it: "
                f"rung compare --resume {folder}",
                *(f"--out: {folder}: {words}" for words in _differences(there, comparison)),
            ]
        )
    if holds_something(folder):
        raise SettingsError([f"--out: {folder} is not empty and holds no comparison; choose another folder"])
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PLAN, write_yaml(comparison.as_data()).encode())
    return False


def _differences(there: Comparison, here: Comparison, most: int = 8) -> Sequence[str]:
    before, after = (flat(one.as_data()) for one in (there, here))
    keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    shown = [f"{key} is {before.get(key, 'not there')}, now {after.get(key, 'not there')}" for key in keys[:most]]
    return [*shown, f"and {len(keys) - most} more differences"] if len(keys) > most else shown


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted key."""
    return {key: plain(value) for key, value in leaves(given(data, None))}


@dataclass(frozen=True)
class RunName:
    """Which run. Example: `RunName("grpo", 0)` is the folder `runs/grpo-0`."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-{self.seed}"


def run_folder(folder: Path, name: RunName) -> Path:
    return folder / "runs" / str(name)


def outcome_file(folder: Path, name: RunName) -> Path:
    return folder / "outcomes" / f"{name}.json"


def shared_folder(folder: Path) -> Path:
    return folder / "pairs"


LADDER = ("reinforce", "reinforce_baseline", "actor_critic", "trpo", "ppo@lm-human-preferences", "grpo", "dapo")
"""What is compared when no method is named. PPO is the one for text: the paper's makes 320 updates of each rollout."""
TASK, MODEL = "arithmetic", "tiny"
BUDGET = "tokens=40K"
"""Of the tiny model, where no budget is named: the whole ladder then takes a quarter of an hour on two cores."""
MOST_STEPS = 100_000
"""A run's length at most, unless `steps` is set: the budget is what ends it."""
SAVED_EVERY = 20
"""Steps between checkpoints where a recipe saves at the end alone."""
TINY_ITEMS, TINY_EVERY = 200, 20
"""For the tiny model: twice the recipe's held-out items, evaluated half as often."""


def comparison_of(
    *,
    methods: Sequence[str] | None = None,
    model: str | None = None,
    task: str | None = None,
    budget: str | None = None,
    seeds: int = 3,
    config: Path | None = None,
    recipe: str | None = None,
    sets: Sequence[str] | None = None,
    sets_for: Sequence[str] | None = None,
    rewards: Sequence[str] | None = None,
) -> Comparison:
    """The comparison that the arguments of `rung compare` ask for. SettingsError or DataError with every problem."""
    problems: list[str] = []
    import_named(task)
    methods, sets = _methods(methods or (), problems), sets or ()
    if config is None and not any(text.startswith(("task", "model")) for text in sets):
        task = task or TASK
        model = model or (None if task == CART_POLE or looks_like_environment(task) else MODEL)
    limit = _budget(budget, model, problems)
    own = _sets_by_method(sets_for or (), methods, problems)
    limits = dict([limit or ("tokens", 1)])  # without one it is a problem already, and need not be several
    found: dict[str, Settings] = {}
    told: dict[str, list[str]] = {}
    for method in methods:
        flags = {"method": method, "model": model, "task": task}
        try:
            pairs = ["pairs.source=samples"] if kind_of(METHODS[method]).stored_pairs else []
            ours = [*(f"budget.{axis}={most!r}" for axis, most in limits.items()), *pairs]
            plan = planned(flags, config, recipe, [*ours, *sets, *own[method]], rewards, None)
            users = {one.key for one in plan.written if not one.place.startswith("recipe ")}
            if plan.kind.stored_pairs:
                raise SettingsError(["pairs.source: in a comparison pairs are the model's own samples; leave it out"])
            found[method] = as_compared(plan.settings, users, limits, plan.task.held_out_items)
        except (SettingsError, DataError) as error:
            for problem in (one.replace("--set budget.", "--budget ") for one in error.problems):
                told.setdefault(problem, []).append(method)
    everywhere = len(methods) > 1
    for problem, where in told.items():
        problems.append(problem if everywhere and len(where) == len(methods) else f"{', '.join(where)}: {problem}")
    problems += unlike(found)
    if problems or limit is None:
        raise SettingsError(problems)
    first = next(iter(found.values())).seed
    return Comparison(axis=limit[0], limit=limit[1], seeds=tuple(range(first, first + seeds)), settings=found)


def _methods(asked: Sequence[str], problems: list[str]) -> list[str]:
    """The methods that can be compared; a problem for each of the others, and for one that is named twice."""
    named, refused = [own_name(name) for name in asked] or list(LADDER), list[str]()
    for name in dict.fromkeys(named):
        if name not in METHODS:
            problems.append(f"METHOD: got '{name}'{did_you_mean(name, METHODS)}; valid: {', '.join(METHODS)}")
        elif not kind_of(METHODS[name]).trains_policy:
            refused.append(name)
            why = "which answers no prompts and has no score to compare; leave it out"
            problems.append(f"METHOD: '{name}' trains a model of the reward, {why}")
        if named.count(name) > 1:
            problems.append(f"METHOD: '{name}' is named {named.count(name)} times, expected once")
    return [name for name in dict.fromkeys(named) if name in METHODS and name not in refused]


def _budget(text: str | None, model: str | None, problems: list[str]) -> tuple[str, float] | None:
    text = text or (BUDGET if model == MODEL else None)
    axes = list(BudgetSettings.model_fields)
    if text is None:
        problems.append(f"--budget: missing; give AXIS=N such as tokens=2M, with one of {', '.join(axes)}")
        return None
    axis, equals, written = text.partition("=")
    axis = axis.strip()
    if not equals:
        problems.append(f"--budget: got '{text}', expected AXIS=N such as tokens=2M")
    elif axis not in axes:
        problems.append(f"--budget: got '{axis}'{did_you_mean(axis, axes)}; valid: {', '.join(axes)}")
    else:
        try:
            return axis, BudgetSettings.model_validate({axis: written.strip() or "nothing"}).limits()[axis]
        except SettingsError as error:
            expected = error.problems[0].rpartition(", expected ")[2].removesuffix(", or null")
            problems.append(f"--budget {axis}: got '{written}', expected {expected}")
    return None


def _sets_by_method(texts: Sequence[str], methods: Sequence[str], problems: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {method: [] for method in methods}
    for text in texts:
        method, colon, setting = text.partition(":")
        if not colon or "=" in method:
            problems.append(f"--set-for: got '{text}', expected METHOD:KEY=VALUE such as grpo:learning_rate=1e-5")
        elif own_name(method) not in found:
            problems.append(f"--set-for: got '{method}'{did_you_mean(method, methods)}; compared: {', '.join(methods)}")
        else:
            found[own_name(method)].append(setting)
    return found


def as_compared(settings: Settings, written: set[str], limits: Mapping[str, float], held_out_items: int) -> Settings:
    """The settings with what a comparison wants where the user has `written` nothing; a recipe's values give way."""
    if settings.budget.limits() != limits:
        raise SettingsError(["budget: a comparison's is given by --budget; leave it out of the settings"])
    wanted: dict[str, Any] = {"steps": MOST_STEPS, "reporting.page": False}
    if settings.saving.every == 0:
        wanted["saving.every"] = SAVED_EVERY
    if settings.model in ("tiny", "small"):
        wanted["learner.threads"] = 1
    if settings.model == MODEL:
        wanted |= {"evaluation.num_items": min(TINY_ITEMS, held_out_items), "evaluation.every": TINY_EVERY}
    changes = {key: value for key, value in wanted.items() if key not in written}
    # A run's own record has paths whole, and it may go on from elsewhere.
    return with_whole_paths(settings.changed(changes), Path.cwd())


SAME = (
    *("task", "model", "seed", "max_new_tokens"),
    *("evaluation.num_items", "evaluation.num_samples", "evaluation.temperature"),
)
"""Settings without which scores could not be compared."""


def unlike(found: Mapping[str, Settings]) -> Iterator[str]:
    """A sentence for each setting that must be the same for all methods and is not."""
    for key in SAME:
        values = {method: reduce(getitem, key.split("."), one.as_data()) for method, one in found.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            said = ", ".join(f"{value} for {method}" for method, value in values.items())
            yield f"{key}: must be the same for all methods, got {said}"


def jobs_for(comparison: Comparison, asked: int | None) -> int:
    """Runs at a time: what was asked for, else one a core for small models, which use one thread each."""
    if asked is not None:
        return asked
    alone = any(settings.learner.threads != 1 for settings in comparison.settings.values())
    return 1 if alone else max(1, min(os.cpu_count() or 1, len(comparison.names())))


Parts, Keywords = Sequence[type[Any]], Mapping[str, Any]


def comparison_from(
    methods: Sequence[Any], *, budget: Keywords, seeds: int, recipe: str | None, parts: Parts, keywords: Keywords
) -> Comparison:
    """The comparison of these methods, each a name or a method, on the settings that all share.

    SettingsError with every problem, each with the methods that it is about.
    """
    plain_budget = dict(budget) if isinstance(budget, Mapping) else budget
    asked, wrong = BudgetSettings.checked(plain_budget, list(BudgetSettings.model_fields))
    limits = asked.limits() if asked is not None else {}
    if len(limits) != 1:
        problems = [f"budget.{sentence}" for path, sentence in wrong if path]
        raise SettingsError(problems or [f"budget: got {budget!r}, expected one limit, such as {{'tokens': '2M'}}"])
    _, objects = taken_apart(keywords, parts)
    hands = handed(people, objects)
    found: dict[str, Settings] = {}
    problems: list[str] = []
    for method in methods:
        name = method if isinstance(method, str) else method.name
        known = METHODS.get(own_name(name)) if isinstance(method, str) else method
        pairs = {"pairs": {"source": "samples"}} if known is not None and kind_of(known).stored_pairs else {}
        asked_of_one = {**keywords, "method": method, "budget": dict(limits), **pairs}
        try:
            found[own_name(name)] = _settings(settings_of(asked_of_one, recipe, parts=parts), limits, hands)
        except (SettingsError, DataError) as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    if problems := [*problems, *unlike(found)]:
        raise SettingsError(problems)
    ((axis, limit),) = limits.items()
    first = next(iter(found.values()))
    texts = (first.model, first.task.name, first.sampler.engine, *(one.function for one in first.rewards))
    here = any(text.startswith(GIVEN) for text in texts) or any(one.method.parts for one in found.values())
    each = tuple(range(first.seed, first.seed + seeds))
    return Comparison(axis=axis, limit=limit, seeds=each, settings=found, handed=hands if here else None)


def _settings(reading: Reading[Settings], limits: Mapping[str, float], hands: Handed) -> Settings:
    """One method's settings, as a comparison takes them."""
    settings = reading.required()
    written = {key for key, one in leaves(reading.tree) if one.origin is not None and "recipe" not in one.origin.source}
    kind = kind_for(settings, settings.resolved_method())
    task = task_of(settings, kind, hands)
    usable = usable_in_run(settings, kind, task, hands)
    task = task if usable is None else usable.task
    items = len(task.held_out) if hasattr(task, "held_out") else settings.evaluation.num_items
    return as_compared(settings, written, limits, items)

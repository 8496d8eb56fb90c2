"""A comparison asked for from Python, with methods, tasks and rewards that may be objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.errors import DataError, SettingsError
from rung.lab.compare.asked import as_compared, unlike
from rung.lab.compare.plan import Comparison
from rung.lab.labels.people import people
from rung.methods import METHODS, own_name
from rung.runs.run import handed
from rung.settings import BudgetSettings, Settings
from rung.settings.given import leaves
from rung.settings.objects import GIVEN, taken_apart
from rung.trainers.choose import kind_for, kind_of, task_of
from rung.trainers.handed import Handed
from rung.trainers.reading import settings_of
from rung.trainers.usable_rows import usable_in_run

Parts = Sequence[type[Any]]


def comparison_from(
    methods: Sequence[Any],
    *,
    budget: Mapping[str, Any],
    seeds: int,
    recipe: str | None,
    parts: Parts,
    keywords: Mapping[str, Any],
) -> Comparison:
    """The comparison of these methods, each a name or a method, on the settings that all share.

    SettingsError with every problem, each with the methods that it is about.
    """
    asked, wrong = BudgetSettings.checked(dict(budget) if isinstance(budget, Mapping) else budget)
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
        try:
            found[own_name(name)] = _settings(method, limits, recipe, parts, keywords, hands)
        except (SettingsError, DataError) as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    if problems := [*problems, *unlike(found)]:
        raise SettingsError(problems)
    ((axis, limit),) = limits.items()
    first = next(iter(found.values()))
    texts = (first.model, first.task.name, first.sampler.engine, *(one.function for one in first.rewards))
    here = any(text.startswith(GIVEN) for text in texts) or any(one.method.parts for one in found.values())
    return Comparison(
        axis=axis,
        limit=limit,
        seeds=tuple(range(first.seed, first.seed + seeds)),
        settings=found,
        handed=hands if here else None,
    )


def _settings(
    method: Any,
    limits: Mapping[str, float],
    recipe: str | None,
    parts: Parts,
    keywords: Mapping[str, Any],
    hands: Handed,
) -> Settings:
    """One method's settings: what all share, the budget, and pairs of its own samples where it needs pairs."""
    known = METHODS.get(own_name(method)) if isinstance(method, str) else method
    pairs = {"pairs": {"source": "samples"}} if known is not None and kind_of(known).stored_pairs else {}
    reading = settings_of({**keywords, "method": method, "budget": dict(limits), **pairs}, recipe, parts=parts)
    settings = reading.required()
    written = {key for key, one in leaves(reading.tree) if one.origin is not None and "recipe" not in one.origin.source}
    kind = kind_for(settings, settings.resolved_method())
    task = task_of(settings, kind, hands)
    if (usable := usable_in_run(settings, kind, task, hands)) is not None:
        task = usable.task
    items = len(task.held_out) if hasattr(task, "held_out") else settings.evaluation.num_items
    return as_compared(settings, written, limits, items)

"""Settings read for a run: with the recipes that kinds of methods bring, and with what cannot go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.methods import Method
from rung.settings import Reading, Settings, load
from rung.settings.load import Flags
from rung.trainers import choose


class Kinds:
    """What the settings ask of the kinds of methods."""

    def recipe(self, method: Method | None, *, model: str | None, task: str | None, draws_pairs: bool) -> str | None:
        return choose.recipe_for(method, model=model, task=task, draws_pairs=draws_pairs)

    def problems(self, settings: Settings, method: Method | None) -> Iterator[str]:
        return choose.problems(settings, method)


def read_run(
    *,
    recipe: str | None = None,
    config: Path | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
    parts: Sequence[type[Any]] = (),
    methods: Mapping[str, Method] | None = None,
) -> Reading[Settings]:
    """A run's settings. Later layers win: recipe, `config`, `flags` and `rewards`, `sets`.

    The kind of the method brings a recipe, unless another one or `none` is named. `parts` are classes of the user's
    own parts, `methods` their own methods, by the names under which the layers speak of them.

    >>> read_run(flags={"model": "tiny", "method": "grpo", "task": "arithmetic"}, sets=["steps=5"]).settings.steps
    5
    """
    return load.read_run(
        recipe=recipe,
        config=config,
        flags=flags,
        rewards=rewards,
        sets=sets,
        parts=parts,
        methods=methods,
        kinds=Kinds(),
    )


def settings_of(
    keywords: Mapping[str, Any], recipe: str | None = None, *, parts: Sequence[type[Any]] = ()
) -> Reading[Settings]:
    """A run's settings from Python, over the recipe that the command line would take; see `rung.settings.load`."""
    return load.settings_of(keywords, recipe, parts=parts, kinds=Kinds())


def settings_from(data: Mapping[str, Any]) -> Settings:
    """Settings from plain nested data; SettingsError with every problem, and with what cannot go together."""
    settings = load.settings_from(data)
    if problems := list(choose.problems(settings, settings.resolved_method())):
        raise SettingsError(problems)
    return settings


def read_changes(settings: Settings, sets: Sequence[str]) -> dict[str, object]:
    """`--set` texts for settings that exist, as dotted keys and values; SettingsError with every problem."""
    return load.read_changes(settings, sets, kinds=Kinds())

"""Objects handed in from Python, and the text that stands for them in settings.

Settings hold names and numbers only. A function, a task, an environment or a model that is handed in stands there as
`given:NAME`; whoever resumes the run is asked for it by that name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PrivateAttr

from rung.errors import SettingsError
from rung.settings.section import Data, Section

if TYPE_CHECKING:
    from rung.methods import Method


from rung.tasks.own_environment import is_turn_environment

GIVEN = "given:"
"""Begins the name of what was handed in as an object."""
TASKS_OWN = "task"
"""As a reward's `function`: the task's own rewards."""
_PLAIN = re.compile(r"[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What was handed in beside the text of the settings."""

    model: Any = None
    """A model with its tokenizer, already in memory."""
    teacher: Any = None
    task: Any = None
    """A task, or the class of one."""
    environment: Any = None
    """A Gymnasium environment, or a function that makes one."""
    tools: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Functions, or classes of them, that the policy may call, by the name that follows `given:`."""
    sampler: Callable[[Any], Any] | None = None
    """Makes the sampler of a policy: a function, or the sampler's class."""
    rewards: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    """By the name that follows `given:`."""
    parts: tuple[type[Any], ...] = ()
    """Classes of the user's own parts."""


def taken_apart(keywords: Mapping[str, Any], parts: Sequence[type[Any]] = ()) -> tuple[dict[str, Any], Objects]:
    """Settings with objects in them as plain data for `settings_of`, and the objects.

    >>> data, objects = taken_apart({"model": "tiny", "rewards": [len]})
    >>> data["rewards"], objects.rewards
    ([{'function': 'given:len'}], {'len': <built-in function len>})
    """
    data = dict(keywords)
    found: dict[str, Any] = {}
    for key in data.keys() & {"model", "teacher"}:
        if _is_model(data[key]):
            found[key] = data[key]
        data[key] = model_text(data[key])
    if "task" in data:
        named = data["task"].get("name") if isinstance(data["task"], Mapping) else data["task"]
        if (plays := _is_environment(named)) or _is_task(named):
            found["environment" if plays else "task"] = named
        data["task"] = task_text(data["task"])
    for key, apart in (("tools", named_tools), ("sampler", named_sampler), ("rewards", named_rewards)):
        if key in data:
            data[key], found[key] = apart(data[key])
    rewarding = data.get("rewarding")
    if isinstance(rewarding, Mapping) and callable(accuracy := rewarding.get("accuracy")):
        # by the name that it has among the rewards
        known = (GIVEN + name for name, function in found.get("rewards", {}).items() if function is accuracy)
        data["rewarding"] = {**rewarding, "accuracy": next(known, None) or reward_name(accuracy)}
    own = list(parts)
    if "method" in data and is_method(data["method"]):
        from rung.methods.data import own_classes

        own += own_classes(data["method"])
        data["method"] = method_text(data["method"])
    return data, Objects(**found, parts=tuple(dict.fromkeys(own)))


def model_text(value: Any) -> Any:
    """A model's name; a path as text; `given:CLASS` for a model in memory; anything else as it is, to be refused."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return GIVEN + type(value[0] if isinstance(value, tuple) else value).__name__ if _is_model(value) else value


def task_text(value: Any) -> Any:
    """A task's settings; a name alone, or an object, stands for the task of that name.

    An environment's name ends like Gymnasium's own, so that it is known for one: `given:MyEnv-v0`.
    """
    if isinstance(value, Mapping):
        return {**value, "name": _task_name(value["name"])} if "name" in value else value
    name = _task_name(value)
    return {"name": name} if isinstance(name, str) else value


def _task_name(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if _is_environment(value):
        return f"{GIVEN}{_name(value, 'environment')}-v0"
    if not _is_task(value):
        return value
    own = getattr(value, "name", None)
    return GIVEN + (own if isinstance(own, str) and _PLAIN.fullmatch(own) else _name(value, "task"))


def named_tools(value: Any) -> tuple[Any, dict[str, Any]]:
    """Tools as a list of names, in which a function or a class stands by its name; and those."""
    if isinstance(value, str) or callable(value):
        value = [value]
    if not isinstance(value, list | tuple):
        return value, {}
    objects: dict[str, Any] = {}
    names = [_put(objects, one, "tool") if callable(one) else one for one in value]
    return names, objects


def named_sampler(value: Any) -> tuple[Any, Callable[..., Any] | None]:
    """A sampler's settings, in which what makes a sampler, alone or as the engine, stands by its name; and that."""
    settings = {"engine": value} if callable(value) else value
    engine = settings.get("engine") if isinstance(settings, Mapping) else None
    if not callable(engine):
        return value, None
    return {**settings, "engine": GIVEN + _name(engine, "sampler")}, engine


def reward_name(value: Any) -> Any:
    """A reward's name; a function that is among the rewards stands for its own."""
    return GIVEN + _name(value, "reward") if callable(value) else value


def named_rewards(value: Any) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """Rewards as a list of settings, in which a function or a text alone stands for a reward with it; the functions."""
    if isinstance(value, str) or (callable(value) and not isinstance(value, type)):
        value = [value]
    if not isinstance(value, list | tuple):
        return value, {}
    rewards = [{"function": one} if isinstance(one, str) or callable(one) else one for one in value]
    functions = [one.get("function") if isinstance(one, Mapping) else getattr(one, "function", None) for one in rewards]
    taken = {text.rpartition(":")[2] for text in functions if isinstance(text, str)}
    objects: dict[str, Callable[..., Any]] = {}
    for index, function in enumerate(functions):
        if callable(function):
            rewards[index] = {**rewards[index], "function": _put(objects, function, "reward", taken)}
    return rewards, objects


def _put(objects: dict[str, Any], one: Any, otherwise: str, taken: Set[str] = frozenset()) -> str:
    """Keeps an object under a name that is free, and gives the text that stands for it."""
    name, number = _name(one, otherwise), 1
    while (free := name if number == 1 else f"{name}_{number}") in taken or free in objects:
        number += 1
    objects[free] = one
    return GIVEN + free


def _name(value: Any, otherwise: str) -> str:
    """A function's or a class's own name, or that of an object's class; `otherwise` where it has none."""
    # a Gymnasium wrapper is named after what it wraps
    inner = value if isinstance(value, type) else getattr(value, "unwrapped", value)
    name = getattr(inner, "__name__", None) or type(inner).__name__
    return name if name.isidentifier() else otherwise


def is_method(value: Any) -> bool:
    """Whether an object is a method of any kind."""
    if not is_dataclass(value):
        return False
    from rung.methods import Method

    return isinstance(value, Method)


def method_text(method: Any) -> dict[str, Any]:
    """A method as settings: the name and what differs from the definition of that name, or else all of it.

    >>> from rung.methods.dapo import DAPO
    >>> method_text(DAPO.changed(samples_per_prompt=8))
    {'name': 'dapo', 'samples_per_prompt': 8}
    """
    from rung.methods import METHODS
    from rung.methods.data import as_data, slots

    whole, known = as_data(method), METHODS.get(method.name)
    if known is None or type(known) is not type(method):
        return whole
    defined = as_data(known)
    return {
        "name": method.name,
        **{slot: _changed(defined[slot], whole[slot]) for slot in slots(method) if defined[slot] != whole[slot]},
    }


def _changed(before: Any, after: Any) -> Any:
    """What differs; within a part that stays, only its numbers that do."""
    if not isinstance(before, dict) or not isinstance(after, dict) or before["part"] != after["part"]:
        return after
    return {key: _changed(before[key], after[key]) for key in after if before[key] != after[key]}


def _is_model(value: Any) -> bool:
    """A model, a rung policy, or a pair (model, tokenizer)."""
    if isinstance(value, tuple):
        return len(value) == 2 and _is_model(value[0])
    return hasattr(value, "forward") or (hasattr(value, "model") and hasattr(value, "tokenizer"))


def _is_task(value: Any) -> bool:
    """A task, or the class of one: it has items to train on and others held out, or tells of an environment; or the
    class of an environment that answers in turns."""
    if is_turn_environment(value):
        return True
    declared = getattr(value, "__annotations__", {}) if isinstance(value, type) else {}
    shapes = (("train", "held_out"), ("name", "observations", "choices"))
    return any(all(hasattr(value, name) or name in declared for name in shape) for shape in shapes)


def _is_environment(value: Any) -> bool:
    """An environment of Gymnasium's kind, the class of one, or a function that makes one."""
    if is_turn_environment(value):
        return False
    plays = hasattr(value, "reset") and hasattr(value, "step")
    return plays or (callable(value) and not isinstance(value, type) and not _is_task(value))


class MethodSettings(Section):
    """A method's name and the slots that differ from its definition, or a whole definition, which names its `kind`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Data]
    name: str
    _parts: tuple[type[Any], ...] = PrivateAttr(())

    @property
    def parts(self) -> tuple[type[Any], ...]:
        """The classes of the user's own parts. They are handed in as objects and are never written."""
        return self._parts

    def with_parts(self, parts: Sequence[type[Any]]) -> MethodSettings:
        """The same settings, whose slots may also be filled by these classes."""
        copy = self.model_copy()
        copy._parts = tuple(dict.fromkeys(parts))
        return copy

    def overrides(self) -> dict[str, Any]:
        """The slots alone, nested like `rung.methods.data.as_data`."""
        return dict(self.model_extra or {})

    def definition(self) -> Method:
        """The method that is named, without the slots set here; one that rung does not know is all of it."""
        from rung.methods import method_named
        from rung.methods.data import from_data

        return from_data(self.as_data(), self._parts) if "kind" in self.overrides() else method_named(self.name)

    def resolved(self) -> Method:
        """The method itself. SettingsError with every problem in its slots."""
        from rung.methods.data import with_settings

        method = self.definition()
        return method if "kind" in self.overrides() else with_settings(method, self.overrides(), self._parts)


def method_of(value: Any) -> Any:
    """A name alone stands for the method of that name; a method object for its name and what differs, or all of it."""
    if isinstance(value, str | Mapping | MethodSettings) or not is_method(value):
        return {"name": value} if isinstance(value, str) else value
    from rung.methods.data import own_classes

    return MethodSettings.model_validate(method_text(value)).with_parts(own_classes(value))


def sound(method: MethodSettings) -> MethodSettings:
    """The same, whose slots make a method that can run."""
    problems = method.resolved().problems()
    if problems:
        raise SettingsError(problems)
    return method

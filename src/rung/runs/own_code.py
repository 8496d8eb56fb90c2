"""Code of the user's own that the command line names: `my.py:MINE` as method or task, `my.py` for parts, `module:id`.

Only a file or module that the user typed is loaded, never one that was found in data.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rung.errors import SettingsError, did_you_mean
from rung.settings.objects import Objects, taken_apart
from rung.tasks.own_environment import commands_typed, import_named, is_file_name

if TYPE_CHECKING:
    from rung.methods import Method


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """What the arguments named, and the flags with names in place of files."""

    flags: Mapping[str, Any]
    methods: Mapping[str, Method] = field(default_factory=dict[str, "Method"])
    parts: tuple[type[Any], ...] = ()
    objects: Objects = field(default_factory=Objects)

    def keywords(self) -> dict[str, Any]:
        """The task that `train` and `resume` are handed; nothing where it is a name."""
        task = self.objects.task if self.objects.environment is None else self.objects.environment
        return {} if task is None else {"task": task}


def own_code(flags: Mapping[str, str | None], parts: str | None = None, tools: Sequence[str] = ()) -> OwnCode:
    """Loads what `method`, `task` and `parts` name of the user's own files. Tools, and a class that answers in turns,
    stay names: they run in a child process.

    Raises SettingsError where a file cannot be loaded or has no such name.
    """
    named, found = dict[str, Any](flags), dict[str, Any]()
    module = _module("--parts", parts) if parts is not None else None
    defined = [one for one in vars(module).values() if isinstance(one, type)] if module is not None else []
    classes = [one for one in defined if is_dataclass(one) and module and one.__module__ == module.__name__]
    if is_file_name(flags.get("method") or ""):
        from rung.methods import Method

        method = _named("METHOD", str(flags["method"]))
        if not isinstance(method, Method):
            raise SettingsError([f"METHOD: {flags['method']} is a {type(method).__name__}, expected a method"])
        named["method"], found["methods"] = method.name, {method.name: method}
    import_named(flags.get("task"))
    own_task = flags.get("task") or ""
    if is_file_name(own_task) and not _answers_in_turns(own_task):
        task = _named("--task", str(flags["task"]))
        data, objects = taken_apart({"task": task})
        if objects.task is None and objects.environment is None:
            kind = type(task).__name__
            raise SettingsError(
                [f"--task: {flags['task']} is a {kind}, expected a task, an environment or what makes one"]
            )
        named["task"], found["objects"] = data["task"]["name"], objects
    if tools:
        commands_typed(tools)
        named["tools"] = list(tools)
    return OwnCode(flags=named, parts=tuple(classes), **found)


def _answers_in_turns(source: str) -> bool:
    from rung.tasks.hosted import file_turn_task

    return file_turn_task(source) is not None


def _named(flag: str, text: str) -> Any:
    file, _, name = text.rpartition(":")
    module = _module(flag, file)
    if not hasattr(module, name):
        public = [one for one in vars(module) if not one.startswith("_")]
        raise SettingsError([f"{flag}: {file} has no {name}{did_you_mean(name, public)}"])
    return getattr(module, name)


def _module(flag: str, file: str) -> ModuleType:
    """The file as a module of its own; a second argument that names the same file gets the same one."""
    path = Path(file).resolve()
    name = f"rung_own_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    if not path.is_file():
        raise SettingsError([f"{flag}: there is no file {file}"])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "it ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SettingsError([f"{flag}: {file} could not be loaded: {type(error).__name__}: {error}"]) from error
    return module

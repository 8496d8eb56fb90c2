"""The module that registers an environment: imported only where the user typed its name, never because data name it."""

from __future__ import annotations

import importlib
import os
import sys

from rung.errors import SettingsError


def module_of(name: object) -> str | None:
    """The module before the colon of a Gymnasium id, `my_envs` of `my_envs:H1/Maze-v0`; None where there is none."""
    module, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
    plain = bool(colon) and all(part.isidentifier() for part in module.split("."))
    return module if plain and module != "given" else None


def import_named(name: object) -> None:
    """Imports the module of an id that the user typed, from the folder that one is in too. SettingsError when it fails.

    The folder stands last on the path, so that nothing in it takes the place of an installed package.
    """
    module = module_of(name)
    if module is None or module in sys.modules:
        return
    here = os.getcwd()  # noqa: PTH109  as sys.path holds it
    if here not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0])
        said = f"neither installed nor in {here}" if missing else f"{type(error).__name__}: {error}"
        raise SettingsError([f"task: the module {module} of '{name}' could not be imported: {said}"]) from error


def require_imported(name: str) -> None:
    """SettingsError where the id's module was not imported by who named it."""
    module = module_of(name)
    if module is not None and module not in sys.modules:
        raise SettingsError(
            [
                f"task: '{name}' needs the module {module}, which is imported only when you name it yourself: "
                f"--task {name}, or in Python `import {module}` first"
            ]
        )

"""An environment of the user's own: the module that registers it, what Gymnasium's checker says of it, a first try.

A module is imported only where the user typed its name, never because a file of settings or a run names it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from rung.errors import EnvironmentFailure, SettingsError

OLD_STEP = (
    "step(action) gave 4 values as Gym before 0.26 did, expected 5: observation, reward, terminated, truncated, info"
)
OLD_RESET = "reset gave no pair (observation, info); the return value is of Gym before 0.26"
NO_SEED = "reset takes no seed, so no episode could be repeated: write it as reset(self, *, seed=None, options=None)"
PYTHON = "python"
"""As a tool's name: Python code, run in the sandbox."""
MCP = "mcp:"
"""Before a tool's name: the command of an MCP server, or its address on this machine."""
_STEPS = 3
_typed: set[str] = set()
_in_data: set[str] = set()
_COLOUR = re.compile(r"\x1b\[\d+m|^WARN: |^ERROR: ")


def is_file_name(text: str) -> bool:
    """Whether a text names something in a Python file, as `my.py:MINE` does."""
    file, colon, name = text.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def is_turn_environment(value: Any) -> bool:
    """Whether a class answers in turns: `reset(item, seed)` and `step(reply)`."""
    if not isinstance(value, type) or not (hasattr(value, "reset") and hasattr(value, "step")):
        return False
    return "item" in inspect.signature(value.reset).parameters


def failure(name: str, during: str, error: BaseException) -> EnvironmentFailure:
    """What an environment raised, or gave that is no observation or reward, with its name and what was being done."""
    said = str(error).strip().partition("\n")[0]
    meant = {
        NO_SEED: "got an unexpected keyword argument 'seed'" in said,
        OLD_STEP: "not enough values to unpack (expected 5, got 4)" in said,
        OLD_RESET: during.startswith("reset") and "unpack" in said,
    }
    hint = next((f"; {words}" for words, known in meant.items() if known), "")
    return EnvironmentFailure(f"environment '{name}': {during}: {type(error).__name__}: {said}{hint}")


def require_working(task: Any, environment: Any) -> None:
    """A first try before anything is trained: two resets and a few steps. SettingsError when one of them fails."""
    if task.is_atari or _is_gymnasiums(task):
        return
    import numpy as np

    def observed(given: Any) -> None:
        observation, _ = given
        np.reshape(observation, task.observation_form[0]).astype(np.float32)

    during = "reset(seed=0)"
    try:
        observed(environment.reset(seed=0))
        for step in range(1, _STEPS + 1):
            zero = np.zeros((1, task.dimensions or 0), np.float32)
            (action,) = task.to_environment(zero if task.choices is None else np.array([step % task.choices]))
            during = f"step {step} of an episode, with the action {shown(action)}"
            observation, reward, terminated, truncated, _ = environment.step(action)
            observed((observation, {}))
            float(reward)
            if terminated or truncated:
                break
        during = "reset(seed=1), after its first steps"
        observed(environment.reset(seed=1))
    except (Exception, SystemExit) as error:
        raise SettingsError([f"task: {failure(task.name, during, error)}"]) from error


def shown(action: Any) -> str:
    """An action with its type: `1 (int64)`."""
    return f"{action!s:.60} ({type(action).__name__})"


def findings(task: Any) -> Iterator[str]:
    """What Gymnasium's own checker says of an environment, each finding once, after the environment's name."""
    from gymnasium.utils.env_checker import check_env

    if task.is_atari or _is_gymnasiums(task):
        return
    environment, wrong = task.make(), ""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            check_env(environment.unwrapped, skip_render_check=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001  it is told, not raised: the run may go on
            wrong = f"{error}" or type(error).__name__
        finally:
            environment.close()
    said = [_COLOUR.sub("", _COLOUR.sub("", str(one.message))).strip() for one in heard]
    for sentence in dict.fromkeys([*said, *([wrong] if wrong else [])]):
        yield f"environment '{task.name}': Gymnasium's checker says: {sentence}"


def _is_gymnasiums(task: Any) -> bool:
    import gymnasium

    spec = gymnasium.registry.get(task.name)
    return str(getattr(spec, "entry_point", "")).startswith("gymnasium.envs.")


def image_note(task: Any) -> Iterator[str]:
    """What becomes of images, which the small network has no layers for."""
    space = task.observation_space
    if task.is_atari or len(space.shape) < 2:
        return
    shape = "x".join(map(str, space.shape))
    bounds = f"{space.low.min():g} to {space.high.max():g}"
    unscaled = f"unscaled, {bounds}; task.normalize_observations=true scales them"
    scaled = "scaled by their running mean and deviation" if task.normalize_observations else unscaled
    yield (
        f"environment '{task.name}': an observation of {shape} is read as {task.observations:,} plain numbers by a "
        f"network without convolutions, {scaled}"
    )


def commands_typed(names: Iterable[object] | str) -> None:
    """The user named these tools in this process; so those that are commands may be started."""
    names = [names] if isinstance(names, str) else names
    _typed.update(name for name in names if isinstance(name, str) and name.startswith(MCP))


def commands_in_data(names: Iterable[str]) -> None:
    """A run's folder, perhaps a stranger's, named these tools: its commands wait until the user types them."""
    _in_data.update(name for name in names if name.startswith(MCP))


def require_typed(name: str) -> None:
    """SettingsError for a command that only a run's folder named."""
    if name in _in_data - _typed:
        said = "a command that the run's settings.yaml names, and it is started only when you name it yourself"
        raise SettingsError([f"tools: '{name}' is {said}: --tools '{name}', or tools=['{name}']"])


def module_of(name: object) -> str | None:
    """The module before the colon of a Gymnasium id, `my_envs` of `my_envs:H1/Maze-v0`; None where there is none.

    `guess.py:Guess` names a file.
    """
    module, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
    plain = bool(colon) and not is_file_name(str(name)) and all(part.isidentifier() for part in module.split("."))
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
        how = f"--task {name}, or in Python `import {module}` first"
        raise SettingsError(
            f"task: '{name}' needs the module {module}, which is imported only when you name it yourself: {how}"
        )

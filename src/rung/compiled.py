"""Compiled functions: loops over small arrays at the speed of C, from the same source that Python can run.

numba compiles a function at its first call, for the kinds of arrays that it is given, and keeps the result in rung's
cache, so that a machine compiles once. Without numba, and without scipy, whose matrix products it calls, the source is
run by Python: the same numbers up to rounding, more slowly.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import patch

from rung.whole_files import cache_folder

F = TypeVar("F", bound=Callable[..., Any])
SOURCES = ("compiled.py", "formulas", "models/small", "rollouts", "rollouts/environments", "trainers/q_learning")
"""Where compiled functions and those that they call stand."""


@cache
def compiles() -> bool:
    """Whether functions are compiled here; NUMBA_DISABLE_JIT=1 forbids it."""
    forbidden = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    return not forbidden and all(importlib.util.find_spec(name) is not None for name in ("numba", "scipy"))


def cold() -> bool:
    """Whether functions are compiled here and none of this version has been yet: the first run waits for that."""
    return compiles() and not any(_folder().rglob("*.nbi"))


def compile_seconds() -> float:
    """Spent in this process on compiling, not on reading from the cache."""
    return _watch().seconds if compiles() else 0.0


@cache
def _watch() -> Any:
    """Hears of numba's compiling; one function's may contain another's."""
    from numba.core import event

    class Watch(event.Listener):
        seconds, began, depth = 0.0, 0.0, 0

        def on_start(self, event: Any) -> None:
            self.began = self.began if self.depth else time.perf_counter()
            self.depth += 1

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            self.seconds += 0.0 if self.depth else time.perf_counter() - self.began

    watch = Watch()
    event.register("numba:compile", watch)
    return watch


def compiled(function: F) -> F:
    """The function, compiled where that can be done. It may call other such functions and formulas made such."""
    if not compiles():
        return function
    import numba

    _watch()
    from numba.core import config

    settings: Any = config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(_folder())
    try:
        made = numba.njit(error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder takes files: it is compiled in each process
        made = numba.njit(error_model="numpy")(function)
    finally:
        settings.CACHE_DIR = before
    return cast(F, made)


def uncompiled(module: str) -> Any:
    """A copy of a module whose functions Python runs: to compare with, and to count what they do."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with patch(f"{__name__}.compiles", lambda: False):
        spec.loader.exec_module(copy)
    return copy


@cache
def _folder() -> Path:
    """In the cache, by the content of the sources: numba itself looks at the file of the function alone, and not at
    those of the functions that it calls."""
    here, digest = Path(__file__).parent, hashlib.blake2b(digest_size=8)
    for place in SOURCES:
        found = here / place
        for file in [found] if found.is_file() else sorted(found.glob("*.py")):
            digest.update(file.read_bytes())
    return cache_folder() / "compiled" / digest.hexdigest()

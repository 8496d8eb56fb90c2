"""rung: train language models with reinforcement learning, every method a rung of one ladder.

    from rung import DAPO, train

    run = train(model="tiny", method=DAPO.changed(samples_per_prompt=8), task="arithmetic", steps=50)
    run.score, run.samples(step=2), run.policy()

Importing rung loads neither torch nor transformers; each name below is loaded when it is first used.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_WHERE = {one.name: str(node.module) for node in _STUB.body if isinstance(node, ast.ImportFrom) for one in node.names}
"""Every public name by the module that has it, as `__init__.pyi` says it to type checkers."""

__version__ = "0.2.0"
__all__ = sorted(_WHERE)  # noqa: PLE0605  (the one list of public names)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rung' has no attribute '{name}'")
    if name == "parts":
        return importlib.import_module("rung.parts")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

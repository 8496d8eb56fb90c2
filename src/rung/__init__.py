"""rung: train language models with reinforcement learning, every method a rung of one ladder.

    from rung import GRPO, Settings, train

    settings = Settings(model="tiny", task="arithmetic", method="grpo", steps=50)
    summary = train(settings, Path("runs/first"))

Importing rung loads neither torch nor transformers; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Batch": "rung.batch",
    "DataError": "rung.errors",
    "Episode": "rung.batch",
    "GRPO": "rung.methods",
    "METHODS": "rung.methods",
    "PolicyGradient": "rung.methods",
    "REINFORCE": "rung.methods",
    "REINFORCE_BASELINE": "rung.methods",
    "RLOO": "rung.methods",
    "RewardError": "rung.errors",
    "RungError": "rung.errors",
    "Settings": "rung.settings",
    "SettingsError": "rung.errors",
    "difference": "rung.methods.explain",
    "explain": "rung.methods.explain",
    "load_policy": "rung.models.language.load",
    "load_task": "rung.tasks.load",
    "resume": "rung.library",
    "train": "rung.library",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605  (the one list of public names)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rung' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

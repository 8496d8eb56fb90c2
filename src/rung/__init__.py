"""rung: train language models with reinforcement learning, every method a rung of one ladder.

    from rung import DAPO, train

    run = train(model="tiny", method=DAPO.changed(samples_per_prompt=8), task="arithmetic", steps=50)
    run.score, run.samples(step=2), run.policy()

Importing rung loads neither torch nor transformers; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "rung.batch": (
        "Batch",
        "Episode",
        "Judgement",
        "Played",
        "Turn",
    ),
    "rung.errors": (
        "CheckpointError",
        "DataError",
        "EnvironmentFailure",
        "MissingExtra",
        "NonFiniteError",
        "RewardError",
        "RungError",
        "SettingsError",
        "StorageError",
    ),
    "rung.lab.saved_run": ("SavedRun",),
    "rung.library": (
        "compare",
        "evaluate",
        "open",
        "resume",
        "train",
        "trainer",
    ),
    "rung.methods": (
        *("ACTOR_CRITIC", "APO_DOWN", "APO_ZERO", "ASE", "ASE_ACE", "BOXES", "CDPO", "CISPO", "CLIP_COV", "DAPO"),
        *("DISTILLATION", "DPO", "DQN", "DR_GRPO", "GRPO", "GRPO_ITERATIVE", "GRPO_PROCESS", "GSPO", "IPO", "KL_COV"),
        *("KTO", "LITE_PPO", "LN_DPO", "MAXRL", "METHODS", "ONLINE_RFT", "ORPO", "PPO", "PPO_KL", "RDPO", "REINFORCE"),
        *("REINFORCE_BASELINE", "REINFORCE_PLUS_PLUS", "REINFORCE_PLUS_PLUS_BASELINE", "REWARD_MODEL", "RFT"),
        *("RLHF_2017", "RLOO", "SIMPO", "TRPO"),
        *(
            "UNLIKELIHOOD",
            "VAPO",
            "AdaptiveElements",
            "Method",
            "PolicyGradient",
            "PreferenceLearning",
            "ValueLearning",
        ),
        *("method_named", "own_name"),
    ),
    "rung.methods.explain": (
        "difference",
        "explain",
    ),
    "rung.models.language.load": ("load_policy",),
    "rung.rewards.reward": (
        "Reward",
        "WeightedReward",
    ),
    "rung.rollouts.sampling": ("Prompt", "Sampler"),
    "rung.runs.evaluate": ("Evaluation",),
    "rung.runs.observers": (
        "Finished",
        "Observer",
    ),
    "rung.settings": ("Settings",),
    "rung.tasks.environment": ("EnvironmentTask",),
    "rung.tasks.load": ("load_task",),
    "rung.tasks.pairs": ("Pair",),
    "rung.tasks.task": (
        "Example",
        "Item",
        "TextTask",
    ),
    "rung.tasks.tools": ("with_tools",),
    "rung.tasks.turns": ("Step", "TurnEnvironment", "turn_task"),
    "rung.trainers.kind": (
        "Kind",
        "Setup",
    ),
    "rung.trainers.trainer": (
        "State",
        "Trainer",
        "TrainingStep",
    ),
}
"""Every public name by the module that has it; `__init__.pyi` says the same to type checkers."""
_WHERE = {name: module for module, names in _NAMES.items() for name in names}

__version__ = "0.2.0"
__all__ = sorted([*_WHERE, "parts"])  # noqa: PLE0605  (the one list of public names)


def __getattr__(name: str) -> Any:
    if name == "parts":
        return importlib.import_module("rung.parts")
    if name not in _WHERE:
        raise AttributeError(f"module 'rung' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Names that other libraries give to our settings: whoever types one is told ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rung.errors import did_you_mean

ELSEWHERE: Mapping[str, str] = {
    "batch_size": "prompts_per_step",
    "beta": "method.reference_kl.coefficient",
    "clip_range": "method.objective.low",
    "cliprange": "method.objective.low",
    "epsilon_high": "method.objective.high",
    "gae_lambda": "method.advantage.lam",
    "gamma": "method.advantage.discount",
    "kl": "method.reference_kl.coefficient",
    "kl_coef": "method.reference_kl.coefficient",
    "lr": "method.optimizer.learning_rate",
    "max_completion_length": "max_new_tokens",
    "max_steps": "steps",
    "n_envs": "num_environments",
    "n_epochs": "method.num_epochs",
    "n_steps": "method.horizon",
    "num_envs": "num_environments",
    "num_generations": "method.samples_per_prompt",
    "num_iterations": "method.num_epochs",
    "num_train_epochs": "steps",
    "ppo_epochs": "method.num_epochs",
    "total_timesteps": "budget.steps",
}
"""The nearest dotted key here, by the name in TRL, Stable-Baselines3 or verl."""


def suggestion(typed: str, keys: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` of these keys, what another library calls `typed` first; empty when nothing is close.

    >>> suggestion("lr", ["lora", "method.optimizer.learning_rate"])
    "; did you mean 'method.optimizer.learning_rate'?"
    """
    keys = list(keys)
    meant = ELSEWHERE.get(typed.rpartition(".")[2])
    return f"; did you mean '{meant}'?" if meant in keys else did_you_mean(typed, keys)

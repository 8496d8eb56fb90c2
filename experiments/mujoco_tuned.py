"""What rl-baselines3-zoo has tuned for Stable-Baselines3 on MuJoCo. Plain data: two interpreters read it.

Read in DLR-RM/rl-baselines3-zoo: hyperparams/ppo.yml at 208b6fd, hyperparams/trpo.yml at eb5d9c7, and, for the
discount of the reward normaliser, rl_zoo3/exp_manager.py at 068adc8. The zoo tuned them for a million steps of older
versions of the tasks (-v2, -v3, -v4); here they are for -v5, for as many steps as the experiment has. Its TRPO names no
settings for InvertedPendulum, InvertedDoublePendulum and Reacher: they get what it has for MuJoCo in general.
"""

from __future__ import annotations

from typing import Any

VERSIONS = {"stable-baselines3": "2.9.2", "sb3-contrib": "2.9.2"}
WIDE = {
    "log_std_init": -2.0,
    "ortho_init": False,
    "activation_fn": "ReLU",
    "net_arch": {"pi": [256, 256], "vf": [256, 256]},
}
"""A larger network, beginning with little noise; `activation_fn` is a name in torch.nn."""
_NAMES = (
    *("batch_size", "n_steps", "gamma", "learning_rate", "ent_coef", "clip_range", "n_epochs", "gae_lambda"),
    *("max_grad_norm", "vf_coef"),
)
_TUNED = {
    "InvertedPendulum-v5": (64, 32, 0.999, 0.000222425, 1.37976e-07, 0.4, 5, 0.9, 0.3, 0.19816),
    "InvertedDoublePendulum-v5": (512, 128, 0.98, 0.000155454, 1.05057e-06, 0.4, 10, 0.8, 0.5, 0.695929),
    "Reacher-v5": (32, 512, 0.9, 0.000104019, 7.52585e-08, 0.3, 5, 1.0, 0.9, 0.950368),
    "Hopper-v5": (32, 512, 0.999, 9.80828e-05, 0.00229519, 0.2, 5, 0.99, 0.7, 0.835671),
    "HalfCheetah-v5": (64, 512, 0.98, 2.0633e-05, 0.000401762, 0.1, 20, 0.92, 0.8, 0.58096),
    "Walker2d-v5": (32, 512, 0.99, 5.05041e-05, 0.000585045, 0.1, 20, 0.95, 1.0, 0.871923),
}
_SWIMMER = {"n_envs": 4, "batch_size": 256, "n_steps": 1024, "gamma": 0.9999, "learning_rate": 6e-4, "gae_lambda": 0.98}
_WIDE = ("Hopper-v5", "HalfCheetah-v5")
ACTIONS = {
    **{"InvertedPendulum-v5": 1, "InvertedDoublePendulum-v5": 1, "Reacher-v5": 2, "Swimmer-v5": 2, "Hopper-v5": 3},
    **{"HalfCheetah-v5": 6, "Walker2d-v5": 6},
}
"""Dimensions of an action."""
PPO: dict[str, dict[str, Any]] = {
    task: dict(zip(_NAMES, _TUNED[task], strict=True)) | ({"policy_kwargs": WIDE} if task in _WIDE else {})
    if task in _TUNED
    else _SWIMMER
    for task in ACTIONS
}
TRPO_MUJOCO: dict[str, Any] = {
    **{"n_envs": 2, "batch_size": 128, "n_steps": 1024, "gamma": 0.99, "gae_lambda": 0.95, "sub_sampling_factor": 1},
    **{"cg_max_steps": 25, "cg_damping": 0.1, "n_critic_updates": 20, "learning_rate": 1e-3},
}
TRPO = dict.fromkeys(PPO, TRPO_MUJOCO) | {
    "Swimmer-v5": {**TRPO_MUJOCO, "gamma": 0.9999},
    "HalfCheetah-v5": {**TRPO_MUJOCO, "target_kl": 0.04},
}
TUNED = {"PPO": PPO, "TRPO": TRPO}

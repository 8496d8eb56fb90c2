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
PPO: dict[str, dict[str, Any]] = {
    "InvertedPendulum-v5": {
        "batch_size": 64,
        "n_steps": 32,
        "gamma": 0.999,
        "learning_rate": 0.000222425,
        "ent_coef": 1.37976e-07,
        "clip_range": 0.4,
        "n_epochs": 5,
        "gae_lambda": 0.9,
        "max_grad_norm": 0.3,
        "vf_coef": 0.19816,
    },
    "InvertedDoublePendulum-v5": {
        "batch_size": 512,
        "n_steps": 128,
        "gamma": 0.98,
        "learning_rate": 0.000155454,
        "ent_coef": 1.05057e-06,
        "clip_range": 0.4,
        "n_epochs": 10,
        "gae_lambda": 0.8,
        "max_grad_norm": 0.5,
        "vf_coef": 0.695929,
    },
    "Reacher-v5": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.9,
        "learning_rate": 0.000104019,
        "ent_coef": 7.52585e-08,
        "clip_range": 0.3,
        "n_epochs": 5,
        "gae_lambda": 1.0,
        "max_grad_norm": 0.9,
        "vf_coef": 0.950368,
    },
    "Swimmer-v5": {
        "n_envs": 4,
        "batch_size": 256,
        "n_steps": 1024,
        "gamma": 0.9999,
        "learning_rate": 6e-4,
        "gae_lambda": 0.98,
    },
    "Hopper-v5": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.999,
        "learning_rate": 9.80828e-05,
        "ent_coef": 0.00229519,
        "clip_range": 0.2,
        "n_epochs": 5,
        "gae_lambda": 0.99,
        "max_grad_norm": 0.7,
        "vf_coef": 0.835671,
        "policy_kwargs": WIDE,
    },
    "HalfCheetah-v5": {
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": WIDE,
    },
    "Walker2d-v5": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.99,
        "learning_rate": 5.05041e-05,
        "ent_coef": 0.000585045,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.95,
        "max_grad_norm": 1.0,
        "vf_coef": 0.871923,
    },
}
TRPO_MUJOCO: dict[str, Any] = {
    "n_envs": 2,
    "batch_size": 128,
    "n_steps": 1024,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "sub_sampling_factor": 1,
    "cg_max_steps": 25,
    "cg_damping": 0.1,
    "n_critic_updates": 20,
    "learning_rate": 1e-3,
}
TRPO = dict.fromkeys(PPO, TRPO_MUJOCO) | {
    "Swimmer-v5": {**TRPO_MUJOCO, "gamma": 0.9999},
    "HalfCheetah-v5": {**TRPO_MUJOCO, "target_kl": 0.04},
}
TUNED = {"PPO": PPO, "TRPO": TRPO}
ACTIONS = {
    "InvertedPendulum-v5": 1,
    "InvertedDoublePendulum-v5": 1,
    "Reacher-v5": 2,
    "Swimmer-v5": 2,
    "Hopper-v5": 3,
    "HalfCheetah-v5": 6,
    "Walker2d-v5": 6,
}
"""Dimensions of an action."""

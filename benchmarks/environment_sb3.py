"""One process: Stable-Baselines3 or sb3-contrib learns one case. Arguments: the case's number, steps, seed."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import stable_baselines3
import torch
from environment_cases import CASES, PONG, score
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack
from workload import answer

torch.set_num_threads(1)
case, wanted, seed = CASES[int(sys.argv[1])], int(sys.argv[2]), int(sys.argv[3])
if case.peer == "TRPO":
    import sb3_contrib as library
else:
    library = stable_baselines3
if case.task == PONG:
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    fixed: dict[str, Any] = {"frameskip": 1, "repeat_action_probability": 0.0}
    environments: Any = VecFrameStack(make_atari_env(case.task, n_envs=1, seed=seed, env_kwargs=fixed), n_stack=4)
else:
    environments = make_vec_env(case.task, case.num_environments, seed=seed)
kind = "CnnPolicy" if case.task == PONG else "MlpPolicy"
model = getattr(library, case.peer)(kind, environments, device="cpu", seed=seed, **case.arguments)
began, before = time.perf_counter(), time.process_time()
model.learn(wanted)
seconds, processor = time.perf_counter() - began, time.process_time() - before


def act(seen: np.ndarray) -> object:
    return model.predict(seen, deterministic=True)[0]


answer(
    {
        "seconds": seconds,
        "processor": processor,
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "score": score(case.task, act) if case.scored else None,
        "version": stable_baselines3.__version__,
    }
)

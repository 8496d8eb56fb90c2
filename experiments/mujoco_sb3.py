"""One process: Stable-Baselines3's PPO or sb3-contrib's TRPO learns one task of mujoco_v5.py. It needs no rung.

    python experiments/mujoco_sb3.py PPO|TRPO TASK SEED STEPS FILE     writes FILE when it is done
    python experiments/mujoco_sb3.py versions                          prints what is installed

Observations and rewards are normalised as the zoo does (VecNormalize); returns are raw, from Monitor below it.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mujoco_tuned import TUNED

PACKAGES = ("stable-baselines3", "sb3-contrib", "gymnasium", "mujoco", "torch")
HELD_OUT, FIRST_SEED = 20, 10_000


def versions() -> dict[str, str | None]:
    """Of what the result depends on; None: not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def arguments_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The model's arguments: the environments' are taken out, the activation's name becomes its class."""
    import torch

    given = {name: value for name, value in settings.items() if name != "n_envs"}
    kwargs = given.get("policy_kwargs")
    if kwargs:
        given["policy_kwargs"] = {**kwargs, "activation_fn": getattr(torch.nn, kwargs["activation_fn"])}
    return given


def learn(method: str, task: str, seed: int, steps: int) -> dict[str, Any]:
    """Every training episode's return with the environment steps until its end, and 20 greedy episodes after that."""
    import sb3_contrib
    import stable_baselines3
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    class Episodes(BaseCallback):
        """Notes what Monitor says of each episode that ends."""

        def __init__(self) -> None:
            super().__init__()
            self.ended: list[list[float]] = []

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    self.ended.append([self.num_timesteps, float(info["episode"]["r"])])
            return True

    torch.set_num_threads(1)
    settings = TUNED[method][task]
    plain = make_vec_env(task, settings.get("n_envs", 1), seed=seed)
    normalised = VecNormalize(plain, gamma=settings["gamma"])
    kind = {"PPO": stable_baselines3.PPO, "TRPO": sb3_contrib.TRPO}[method]
    model = kind("MlpPolicy", normalised, seed=seed, device="cpu", **arguments_of(settings))
    episodes, began, worked = Episodes(), time.perf_counter(), time.process_time()
    model.learn(steps, callback=episodes)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    normalised.training = False
    return {
        "seconds": seconds,
        "processor_seconds": worked,
        "steps": model.num_timesteps,
        "episodes": episodes.ended,
        "held_out": held_out(task, lambda seen: model.predict(normalised.normalize_obs(seen), deterministic=True)[0]),
        "versions": versions(),
    }


def held_out(task: str, act: Any) -> list[float]:
    """Returns of greedy episodes on an environment of their own."""
    import gymnasium

    environment = gymnasium.make(task)
    returns: list[float] = []
    for episode in range(HELD_OUT):
        seen, _ = environment.reset(seed=FIRST_SEED + episode)
        total, over = 0.0, False
        while not over:
            seen, reward, ended, cut, _ = environment.step(act(seen))
            total, over = total + float(reward), ended or cut
        returns.append(total)
    environment.close()
    return returns


def main() -> None:
    if sys.argv[1:] == ["versions"]:
        print(json.dumps(versions()))
        return
    method, task, seed, steps, file = sys.argv[1:]
    found = learn(method, task, int(seed), int(steps))
    aside = Path(f"{file}.part")
    aside.write_text(json.dumps(found) + "\n")
    aside.replace(file)  # there whole or not at all


if __name__ == "__main__":
    main()

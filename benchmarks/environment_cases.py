"""What is measured in environments, with its pass line: the same task, steps, network and threads for both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EPISODES, FIRST_SEED = 20, 10_000
"""Of a score: greedy episodes of Gymnasium's own environment, reset with these seeds; the same for both sides."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison. `steps` are environment steps at scale 1; both sides take whole rollouts until they have them."""

    method: str
    task: str
    settings: str
    """`the peer's` (every hyper-parameter equal, apart from `differs`), or whose own recipe it is."""
    line: float
    """rung's environment steps a second are to be so many times the peer's."""
    steps: int
    rung: str
    """The method's name."""
    sets: tuple[str, ...] = ()
    recipe: str | None = None
    engine: str = "gymnasium"
    peer: str
    """The class in stable_baselines3 or sb3_contrib."""
    num_environments: int = 1
    """The peer's."""
    arguments: dict[str, Any] = field(default_factory=dict)
    differs: str
    """Which settings differ between the two, in words."""

    @property
    def scored(self) -> bool:
        """Whether so few steps can teach anything, so that a score, and a second seed, say something."""
        return self.task != PONG


CARTPOLE, CHEETAH, PONG = "CartPole-v1", "HalfCheetah-v5", "ALE/Pong-v5"
PPO_8 = ("num_environments=8", "method.horizon=2048", "method.num_minibatches=256")
PONG_BOTH = {"learning_starts": 1000, "buffer_size": 20_000, "optimize_memory_usage": False}
OWN = "each one's own"
EQUAL = "the peer's"
CASES = (
    Case(method="PPO", task=CARTPOLE, settings=EQUAL, line=5, steps=32_768, rung="ppo@sb3", sets=PPO_8, peer="PPO",
         num_environments=8, differs="nothing: 8 environments, 2048 steps, minibatches of 64, 10 epochs"),
    Case(method="PPO", task=CARTPOLE, settings=OWN, line=5, steps=20_480, rung="ppo", peer="PPO",
         differs="value coefficient 0.5 here, 1 there; both 1 environment, 2048 steps, minibatches of 64, 10 epochs"),
    Case(method="PPO", task=CARTPOLE, settings="recipe environment_many", line=5, steps=32_768, rung="ppo",
         recipe="environment_many", peer="PPO", num_environments=8,
         differs="8 x 256 steps, minibatches of 512, rate 1e-3 here; 8 x 2048, 64, 3e-4 there"),
    Case(method="PPO", task=CHEETAH, settings=EQUAL, line=3, steps=102_400, rung="ppo@sb3", sets=PPO_8, peer="PPO",
         num_environments=8, differs="nothing: 8 environments, 2048 steps, minibatches of 64, 10 epochs"),
    Case(method="PPO", task=CHEETAH, settings=EQUAL, line=3, steps=102_400, rung="ppo@sb3", sets=PPO_8,
         engine="envpool", peer="PPO", num_environments=8, differs="envpool here; SB3 steps Gymnasium's environments"),
    Case(method="PPO", task=CHEETAH, settings="recipe environment_many", line=3, steps=102_400, rung="ppo",
         recipe="environment_many", peer="PPO", num_environments=8,
         differs="8 x 256 steps, minibatches of 512, rate 1e-3 here; 8 x 2048, 64, 3e-4 there"),
    Case(method="PPO", task=CHEETAH, settings="recipe environment_many", line=3, steps=102_400, rung="ppo",
         recipe="environment_many", engine="envpool", peer="PPO", num_environments=8,
         differs="the same, and envpool here"),
    Case(method="TRPO", task=CARTPOLE, settings=EQUAL, line=3, steps=40_960, rung="trpo@sb3-contrib", peer="TRPO",
         differs="nothing: 2048 steps, 10 passes of the critic in minibatches of 128"),
    Case(method="TRPO", task=CARTPOLE, settings=OWN, line=3, steps=40_960, rung="trpo", peer="TRPO",
         differs="1024 steps, F on a fifth, 5 critic passes in minibatches of 64, λ 0.98 here; 2048, all, 10 in 128, "
         "0.95 there"),
    Case(method="actor-critic", task=CARTPOLE, settings=EQUAL, line=3, steps=100_000, rung="a2c@sb3",
         sets=("num_environments=8",), peer="A2C", num_environments=8, differs="nothing: 8 environments, 5 steps"),
    Case(method="actor-critic", task=CARTPOLE, settings=OWN, line=3, steps=100_000, rung="actor_critic", peer="A2C",
         num_environments=8, 
         differs="16 environments, rate 4e-3 falling to 0, entropy bonus 0.01 here; 8, 7e-4, 0 there"),
    Case(method="DQN", task=CARTPOLE, settings=EQUAL, line=3, steps=15_000, rung="dqn@sb3",
         sets=("method.exploration.over=1500",), peer="DQN",
         arguments={"learning_rate": 1e-4}, differs="nothing: minibatches of 32 every 4 steps, a copy every 10,000"),
    Case(method="DQN", task=CARTPOLE, settings=OWN, line=3, steps=15_000, rung="dqn", peer="DQN",
         differs="returns of 10 steps, minibatches of 128, rate 1e-3, no copy here; 1, 32, 1e-4, a copy there"),
    Case(method="DQN", task=PONG, settings=EQUAL, line=2, steps=3_000, rung="dqn@sb3",
         sets=("method.exploration.over=300", "method.replay.starts=1000", "method.replay.capacity=20000",
               "method.clip_rewards=true"),
         peer="DQN", arguments=PONG_BOTH,
         differs="screens by area here, by OpenCV there, where a lost life also ends an episode"),
    Case(method="DQN", task=PONG, settings=OWN, line=2, steps=3_000, rung="dqn",
         sets=("method.replay.starts=1000", "method.replay.capacity=20000"), peer="DQN", arguments=PONG_BOTH,
         differs="the 2013 network, 1 update a step here; the 2015 one, 1 every 4 steps there"),
    Case(method="DQN", task=PONG, settings="recipe environment_atari_hour", line=2, steps=3_000, rung="dqn",
         recipe="environment_atari_hour",
         sets=("method.horizon=1000", "method.replay.starts=1000", "method.replay.capacity=20000"),
         peer="DQN", arguments=PONG_BOTH,
         differs="the 2013 network, 4 games, returns of 3 steps here; the 2015 network there; 1 update every 4 steps"),
    Case(method="DQN", task=PONG, settings="recipe environment_atari_hour", line=2, steps=3_000, rung="dqn",
         recipe="environment_atari_hour",
         sets=("method.horizon=1000", "method.replay.starts=1000", "method.replay.capacity=20000"),
         engine="envpool", peer="DQN", arguments=PONG_BOTH, differs="the same, and envpool here"),
)  # fmt: skip


def score(task: str, act: Callable[[np.ndarray], Any]) -> float:
    """The mean return of greedy episodes on Gymnasium's own environment: the same for both sides."""
    import gymnasium

    environment = gymnasium.make(task)
    returns = []
    for episode in range(EPISODES):
        seen, _ = environment.reset(seed=FIRST_SEED + episode)
        total, over = 0.0, False
        while not over:
            seen, reward, ended, cut, _ = environment.step(act(seen))
            total, over = total + float(reward), ended or cut
        returns.append(total)
    environment.close()
    return float(np.mean(returns))

"""Writes sb3_dqn_2_9_2.json: what Stable-Baselines3 2.9.2's own DQN makes of a few numbers.

    python tests/methods/sb3_dqn_numbers.py          # needs: pip install -e '.[peers]'

A real DQN with its default settings is built around a network of a few weights, which are set to numbers made here, as
are those of its target network. Its replay buffer answers with fixed steps; then its own `train` makes updates.
Nothing of SB3's is copied; these are inputs and outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).parent / "sb3_dqn_2_9_2.json"
HIDDEN, OBSERVATIONS, ACTIONS, BATCH, UPDATES = (5, 3), 4, 2, 8, 3
SHAPES = {
    "q.hidden0.weight": (5, 4),
    "q.hidden0.bias": (5,),
    "q.hidden1.weight": (3, 5),
    "q.hidden1.bias": (3,),
    "q.out.weight": (2, 3),
    "q.out.bias": (2,),
}
"""Our name and the shape of each of the network's tensors, in SB3's order."""


def inputs() -> dict[str, Any]:
    """Weights of both networks and, for each update, steps; some errors lie beyond 1, one gradient beyond 10."""
    draw = np.random.Generator(np.random.PCG64(29))

    def table(*shape: int, size: float = 1.0) -> list[Any]:
        return (size * draw.standard_normal(shape)).round(3).tolist()

    return {
        "network": {name: table(*shape, size=0.7) for name, shape in SHAPES.items()},
        "target": {name: table(*shape, size=0.7) for name, shape in SHAPES.items()},
        "updates": [
            {
                "observations": table(BATCH, OBSERVATIONS, size=size),
                "next_observations": table(BATCH, OBSERVATIONS),
                "actions": draw.integers(0, ACTIONS, BATCH).tolist(),
                "rewards": table(BATCH, size=2.0),
                "dones": (draw.random(BATCH) < 0.3).astype(float).tolist(),
            }
            for size in (1.0, 40.0, 1.0)
        ],
    }


def made_by_sb3() -> dict[str, Any]:
    """The whole content of the file."""
    import stable_baselines3
    from stable_baselines3 import DQN
    from stable_baselines3.common.logger import configure
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    given = inputs()
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": list(HIDDEN)}, device="cpu", buffer_size=10)
    model.set_logger(configure(None, []))
    for network, numbers in ((model.q_net, given["network"]), (model.q_net_target, given["target"])):
        with torch.no_grad():
            for parameter, table in zip(network.parameters(), numbers.values(), strict=True):
                parameter.copy_(torch.tensor(table))
    results = []
    for one in given["updates"]:
        steps = ReplayBufferSamples(
            observations=torch.tensor(one["observations"]),
            actions=torch.tensor(one["actions"])[:, None],
            next_observations=torch.tensor(one["next_observations"]),
            dones=torch.tensor(one["dones"])[:, None],
            rewards=torch.tensor(one["rewards"])[:, None],
        )
        model.replay_buffer.sample = lambda *_, steps=steps, **__: steps
        model.train(gradient_steps=1, batch_size=BATCH)
        weights = {name: p.tolist() for name, p in zip(SHAPES, model.q_net.parameters(), strict=True)}
        results.append({"loss": float(model.logger.name_to_value["train/loss"]), "weights": weights})
    return {
        "made_by": f"stable_baselines3 {stable_baselines3.__version__}, torch {torch.__version__}",
        "how": "python tests/methods/sb3_dqn_numbers.py: DQN.train",
        "inputs": given,
        "results": results,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made_by_sb3(), separators=(",", ":")) + "\n", encoding="utf-8")

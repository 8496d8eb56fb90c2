"""Writes sb3_2_9_2.json: what Stable-Baselines3's and sb3-contrib's own `train` make of a few numbers.

    python tests/methods/sb3_numbers.py          # needs: pip install -e '.[peers]'

A real PPO, A2C or TRPO is built; its policy is a table of numbers, its rollout buffer SB3's own, filled with fixed
rewards, values and log-probs. The buffer computes advantages and returns, `train` the loss and the gradient (TRPO: the
whole step). Nothing of SB3's is copied; these are inputs and outputs.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).parent / "sb3_2_9_2.json"
ENVIRONMENTS, STEPS, CHOICES, DIMENSIONS = 3, 6, 3, 2
GAMMA = 0.99
NO_BOUND = 1e9


def inputs() -> dict[str, Any]:
    """Tables [environment][step]; `ends` where an episode ended after the step. Some ratios lie beyond the clip."""
    draw = np.random.Generator(np.random.PCG64(29))
    shape = (ENVIRONMENTS, STEPS)
    logits = draw.standard_normal((*shape, CHOICES)).round(3)
    return {
        "rewards": draw.standard_normal(shape).round(3).tolist(),
        "values": draw.standard_normal(shape).round(3).tolist(),
        "values_now": draw.standard_normal(shape).round(3).tolist(),
        "bootstrap": draw.standard_normal(ENVIRONMENTS).round(3).tolist(),
        "ends": [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]],
        "actions": draw.integers(0, CHOICES, shape).tolist(),
        "logits": logits.tolist(),
        "old_logits": (logits + 0.4 * draw.standard_normal(logits.shape)).round(3).tolist(),
        "gamma": GAMMA,
        "means": draw.standard_normal((*shape, DIMENSIONS)).round(3).tolist(),
        "log_std": draw.standard_normal(DIMENSIONS).round(3).tolist(),
        "vectors": draw.standard_normal((*shape, DIMENSIONS)).round(3).tolist(),
    }


def cases() -> list[dict[str, Any]]:
    """By preset: what is set beside the defaults."""
    return [
        {"preset": "ppo@sb3", "entropy": 0.0},
        {"preset": "ppo@sb3", "entropy": 0.01},
        {"preset": "a2c@sb3", "entropy": 0.0},
        {"preset": "a2c@sb3", "entropy": 0.01},
    ]


def log_probs(logits: Any, actions: Any) -> Tensor:
    """[E, T] log π(a) of a table of logits, float64."""
    logs = torch.log_softmax(torch.tensor(logits, dtype=torch.float64), -1)
    return logs.gather(-1, torch.tensor(actions)[..., None])[..., 0]


class Table(torch.nn.Module):
    """Answers SB3's calls with tables; an observation is the number of its step."""

    def __init__(self, given: dict[str, Any], logits_name: str) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(given[logits_name], dtype=torch.float64).flatten(0, 1))
        self.value = torch.nn.Parameter(torch.tensor(given["values_now"], dtype=torch.float64).flatten())
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.0)

    def set_training_mode(self, mode: bool) -> None:
        pass

    def evaluate_actions(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        here = observations.long().flatten()
        distribution = torch.distributions.Categorical(logits=self.logits[here])
        return self.value[here][:, None], distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, observations: Tensor) -> Any:
        from stable_baselines3.common.distributions import CategoricalDistribution

        here = observations.long().flatten()
        return CategoricalDistribution(CHOICES).proba_distribution(action_logits=self.logits[here])

    def predict_values(self, observations: Tensor) -> Tensor:
        return self.value[observations.long().flatten()][:, None]


class VectorTable(Table):
    """The same where an action is a vector: a table of means, and one deviation for all steps."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given, "logits")
        del self.logits
        self.means = torch.nn.Parameter(torch.tensor(given["means"], dtype=torch.float64).flatten(0, 1))
        self.log_std = torch.nn.Parameter(torch.tensor(given["log_std"], dtype=torch.float64))

    def get_distribution(self, observations: Tensor) -> Any:
        from stable_baselines3.common.distributions import DiagGaussianDistribution

        here = observations.long().flatten()
        return DiagGaussianDistribution(DIMENSIONS).proba_distribution(self.means[here], self.log_std)


def vector_log_probs(given: dict[str, Any]) -> Tensor:
    """[E, T] log π of the vectors."""
    means, log_std, vectors = (torch.tensor(given[n], dtype=torch.float64) for n in ("means", "log_std", "vectors"))
    return torch.distributions.Normal(means, log_std.exp()).log_prob(vectors).sum(-1)


def filled_buffer(given: dict[str, Any], gae_lambda: float, old: str) -> Any:
    """SB3's rollout buffer with the numbers in it; it computes advantages and returns itself. `old` "means": vectors
    are the actions."""
    from gymnasium import spaces
    from stable_baselines3.common.buffers import RolloutBuffer

    box, vectors = spaces.Box(0.0, 1e3, (1,), dtype=np.float32), old == "means"
    space: Any = spaces.Box(-9.0, 9.0, (DIMENSIONS,), dtype=np.float32) if vectors else spaces.Discrete(CHOICES)
    buffer = RolloutBuffer(STEPS, box, space, "cpu", gae_lambda=gae_lambda, gamma=GAMMA, n_envs=ENVIRONMENTS)
    old_ET = (vector_log_probs(given) if vectors else log_probs(given[old], given["actions"])).float()
    actions = np.array(given["vectors" if vectors else "actions"])
    tables = {name: np.array(given[name], dtype=np.float32) for name in ("rewards", "values", "ends")}
    for t in range(STEPS):
        starts = np.ones(ENVIRONMENTS, dtype=np.float32) if t == 0 else tables["ends"][:, t - 1]
        buffer.add(
            (np.arange(ENVIRONMENTS) * STEPS + t)[:, None].astype(np.float32),
            actions[:, t],
            tables["rewards"][:, t],
            starts,
            torch.from_numpy(tables["values"][:, t]),
            old_ET[:, t],
        )
    last = torch.tensor(given["bootstrap"], dtype=torch.float32)
    buffer.compute_returns_and_advantage(last, np.array(given["ends"])[:, -1].astype(bool))
    return buffer


def made(algorithm: Any, table: Table, buffer: Any, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """One call of the algorithm's own `train`; what it logged."""
    from stable_baselines3.common.logger import Logger

    model = algorithm(
        "MlpPolicy", "Pendulum-v1" if isinstance(table, VectorTable) else "CartPole-v1", device="cpu", **settings
    )
    model.policy, model.rollout_buffer = table, buffer
    logger = Logger(folder=None, output_formats=[])
    model.set_logger(logger)
    model.lr_schedule = lambda progress: 0.0
    model.train()
    return model, dict(logger.name_to_value)


def loss_and_gradient(case: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    from stable_baselines3 import A2C, PPO

    table = Table(given, "logits")
    shared = {"ent_coef": case["entropy"], "max_grad_norm": NO_BOUND, "n_steps": STEPS}
    if case["preset"] == "ppo@sb3":
        buffer = filled_buffer(given, 0.95, "old_logits")
        settings = {"n_epochs": 1, "batch_size": ENVIRONMENTS * STEPS}
        _, logged = made(PPO, table, buffer, **shared, **settings)
        loss = logged["train/loss"]
    else:
        buffer = filled_buffer(given, 1.0, "logits")
        model, logged = made(A2C, table, buffer, **shared)
        loss = logged["train/policy_loss"] + model.vf_coef * logged["train/value_loss"]
        loss += model.ent_coef * logged["train/entropy_loss"]
    flat = filled_buffer(given, buffer.gae_lambda, "logits")
    return {
        **case,
        "advantages": flat.advantages.T.tolist(),
        "returns": flat.returns.T.tolist(),
        "loss": float(loss),
        "logits_gradient": rounded(table.logits.grad),
        "value_gradient": rounded(table.value.grad),
    }


def trpo_step(given: dict[str, Any], *, vectors: bool = False) -> dict[str, Any]:
    """sb3-contrib's whole step of the policy: the logits, or means and log σ, after its line search, and what it
    accepted."""
    import sb3_contrib.trpo.trpo as module

    solver = module.conjugate_gradient_solver
    torch.manual_seed(0)
    module.conjugate_gradient_solver = functools.partial(solver, residual_tol=1e-28)
    try:
        table = VectorTable(given) if vectors else Table(given, "logits")
        settings = {"n_steps": STEPS, "batch_size": ENVIRONMENTS * STEPS, "n_critic_updates": 1, "cg_max_steps": 80}
        buffer = filled_buffer(given, 0.95, "means" if vectors else "logits")
        _, logged = made(module.TRPO, table, buffer, **settings)
    finally:
        module.conjugate_gradient_solver = solver
    if isinstance(table, VectorTable):
        moved = {"means": rounded(table.means), "log_std": table.log_std.detach().numpy().round(12).tolist()}
    else:
        moved = {"logits": rounded(table.logits)}
    return {
        "preset": "trpo@sb3-contrib",
        **moved,
        "kl": float(logged["train/kl_divergence_loss"]),
        "objective": float(logged["train/policy_objective"]),
        "accepted": bool(logged["train/is_line_search_success"]),
    }


def rounded(values: Tensor | None) -> list[Any]:
    assert values is not None
    rows = values.detach().reshape(ENVIRONMENTS, STEPS, -1).squeeze(-1).double().numpy()
    return rows.round(12).tolist()


GRADIENTS = [[0.5, -1.0, 1e-4, 3.0], [0.25, 2.0, -1e-4, -0.01], [0.0, -1.0, 1e-3, 40.0]]
"""Of three updates, large and small beside ε."""


def tensorflow_rmsprop() -> dict[str, Any]:
    """The weights after each update by RMSpropTFLike with Baselines' numbers, and the mean square at the end."""
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64))
    optimizer = RMSpropTFLike([weights], lr=7e-4, alpha=0.99, eps=1e-5)
    after: list[Any] = []
    for gradient in GRADIENTS:
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        after.append(weights.tolist())
    return {"after": after, "mean_square": optimizer.state[weights]["square_avg"].tolist()}


def made_by_sb3() -> dict[str, Any]:
    """The whole content of the file."""
    import sb3_contrib
    import stable_baselines3

    given = inputs()
    versions = f"stable-baselines3 {stable_baselines3.__version__}, sb3-contrib {sb3_contrib.__version__}"
    return {
        "made_by": f"{versions}, torch {torch.__version__}",
        "how": "python tests/methods/sb3_numbers.py: RolloutBuffer.compute_returns_and_advantage, PPO/A2C/TRPO.train",
        "inputs": given,
        "cases": [loss_and_gradient(case, given) for case in cases()],
        "trpo": trpo_step(given),
        "trpo_vectors": trpo_step(given, vectors=True),
        "rmsprop_tf_like": tensorflow_rmsprop(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made_by_sb3(), separators=(",", ":")) + "\n", encoding="utf-8")

"""Writes verl_0_9_1.json: what verl 0.9.1's own losses and advantages make of a few numbers.

    python tests/helpers/verl_numbers.py     # verl==0.9.1 --no-deps, ray, tensordict, omegaconf, hydra-core, orjson

verl's functions are called as they are, on the inputs of TRL's parity. Its old log-probs are ours and the sampler's.
Nothing of verl's is copied; these are inputs and outputs.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl_numbers import inputs

FILE = Path(__file__).parent / "verl_0_9_1.json"
LOSSES: dict[str, dict[str, Any]] = {
    "sapo": {"tau_pos": 1.0, "tau_neg": 1.05},
    "dppo_tv": {"clip_ratio": 0.05, "clip_ratio_low": 0.05, "clip_ratio_high": 0.05, "clip_ratio_c": 1e4},
    "dppo_kl": {"clip_ratio": 0.01, "clip_ratio_low": 0.01, "clip_ratio_high": 0.01, "clip_ratio_c": 1e4},
    "geo_mean": {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2},
}
"""Tighter bounds than the methods', so that some of thirty tokens are beyond them."""


SECOND = [1.0, 1.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0]
"""A second reward of each answer, beside TRL's."""
WEIGHTS = [1.0, 0.5]


def mask_of(given: dict[str, Any]) -> Tensor:
    lengths_B = torch.tensor(given["lengths"])
    return (torch.arange(len(given["log_probs"][0]))[None] < lengths_B[:, None]).double()


def token_rewards(given: dict[str, Any], mask_BT: Tensor) -> Tensor:
    rewards_BT = torch.zeros_like(mask_BT)
    rewards_BT[torch.arange(len(mask_BT)), mask_BT.sum(1).long() - 1] = torch.tensor(given["rewards"]).double()
    return rewards_BT


def made_by_verl() -> dict[str, Any]:
    """The whole content of the file."""
    from verl.trainer.ppo import core_algos
    from verl.workers.config import ActorConfig

    class Config(ActorConfig):
        """verl's settings with these numbers alone."""

        def __init__(self, numbers: dict[str, Any]) -> None:
            self.__dict__.update({"global_batch_info": {}, **numbers})

    given = inputs()
    mask_BT = mask_of(given)
    groups_B = np.arange(len(mask_BT)) // given["group_size"]
    rewards_BT = token_rewards(given, mask_BT)
    now_BT, old_BT = (torch.tensor(given[name], dtype=torch.float64) for name in ("log_probs", "old_log_probs"))
    centred_BT, _ = core_algos.compute_grpo_outcome_advantage(
        rewards_BT, mask_BT, groups_B, norm_adv_by_std_in_grpo=False
    )
    losses: dict[str, Any] = {}
    for name, numbers in LOSSES.items():
        table = now_BT.clone().requires_grad_()
        function = core_algos.get_policy_loss_fn(name)
        loss, _ = function(old_BT, table, centred_BT, mask_BT, "token-mean", Config(numbers))
        (gradient_BT,) = torch.autograd.grad(loss, table)
        losses[name] = {"loss": loss.item(), "gradient": gradient_BT.tolist()}
    opo_BT, _ = core_algos.compute_opo_outcome_advantage(rewards_BT, mask_BT, groups_B)
    prompts = torch.zeros(len(mask_BT), 2)
    gdpo_BT, _ = core_algos.compute_gdpo_outcome_advantage(
        rewards_BT,
        mask_BT,
        groups_B,
        config={"gdpo_reward_keys": ["first", "second"], "gdpo_reward_weights": WEIGHTS},
        non_tensor_batch={"first": given["rewards"], "second": SECOND},
        batch={"prompts": prompts, "attention_mask": torch.cat([torch.ones_like(prompts), mask_BT], dim=1).long()},
    )
    return {
        "made_by": f"verl {importlib.metadata.version('verl')}",
        "how": "verl.trainer.ppo.core_algos: get_policy_loss_fn; compute_grpo_outcome_advantage without std",
        "inputs": given,
        "losses": losses,
        "advantages": {"opo": opo_BT.tolist(), "gdpo": gdpo_BT.tolist()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made_by_verl(), separators=(",", ":")) + "\n", encoding="utf-8")

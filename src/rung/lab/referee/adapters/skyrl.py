"""SkyRL: the advantage estimators, loss reductions and policy losses of `skyrl_train.utils.ppo_utils`."""

from __future__ import annotations

import typing

import numpy as np
import talk
import typing_extensions

typing.TypedDict = typing_extensions.TypedDict  # SkyRL is written for Python 3.12, whose own one pydantic takes
MISSING = talk.without("skyrl_gym", "ray", "loguru", "jaxtyping", "hydra", "omegaconf")

from skyrl.backends.skyrl_train.utils import ppo_utils  # noqa: E402
from skyrl.train.config import AlgorithmConfig  # noqa: E402


def cell(estimator, loss="regular", reduction="token_mean", by_std=True, **config):
    """A whole minibatch: advantages, scaled by the reduction, then the policy loss, which is a sum."""
    advantages_of = getattr(ppo_utils, f"compute_{estimator}")
    loss_of = getattr(ppo_utils, loss)
    algorithm = AlgorithmConfig(loss_reduction=reduction, **config)

    def called(log_probs, old_log_probs, token_rewards, groups, mask):
        weights = mask.double()
        bounds = [(int((groups < g).sum()), int((groups <= g).sum())) for g in groups.unique()]
        advantages, _ = advantages_of(
            token_level_rewards=token_rewards, response_mask=weights, gamma=1.0, grpo_norm_by_std=by_std,
            index=np.array([str(int(g)) for g in groups]),
        )  # fmt: skip
        scaled = ppo_utils.apply_loss_reduction_to_advantages_minibatch(
            advantages, weights, reduction, len(mask), mask.shape[1], bounds
        )
        return loss_of(log_probs, old_log_probs, scaled, algorithm, weights)[0]

    called.__doc__ = f"{estimator}, {loss}, loss_reduction={reduction}."
    return called


GRPO = "grpo_outcome_advantage"
CELLS = {
    "grpo": cell(GRPO, "ppo_policy_loss"),
    "grpo_sequence_mean": cell(GRPO, "ppo_policy_loss", "sequence_mean"),
    "grpo_prompt_mean": cell(GRPO, "ppo_policy_loss", "prompt_mean"),
    "dr_grpo": cell(GRPO, "ppo_policy_loss", "seq_mean_token_sum_norm", by_std=False),
    "rloo": cell("rloo_outcome_advantage", "ppo_policy_loss"),
    "maxrl": cell("maxrl_advantage", "ppo_policy_loss"),
    "reinforce_plus_plus": cell("reinforce_plus_plus_outcome_advantage", "ppo_policy_loss"),
    "gspo": cell(GRPO, "gspo_policy_loss", "sequence_mean"),
    "sapo": cell(GRPO, "sapo_policy_loss", "sequence_mean"),
    "cispo": cell(GRPO, "compute_policy_loss_cispo"),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("skyrl", [ppo_utils]), **MISSING}, whole=True)

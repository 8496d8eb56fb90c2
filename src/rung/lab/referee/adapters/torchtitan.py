"""torchtitan: the GRPO and DAPO losses and the advantage estimator of its RL experiment.

The losses take logits; `compute_logprobs` is replaced so that the batch's log-probs stand in their place.
"""

from __future__ import annotations

from types import SimpleNamespace

import talk
import torch

MISSING = talk.without("torchtitan.distributed.minimal_async_ep", "spmd_types", "tyro", "vllm", "monarch",
                       "torchstore", "torchmonarch", "renderers", "forge")  # fmt: skip

from torchtitan.experiments.rl.losses import dapo as dapo_file  # noqa: E402
from torchtitan.experiments.rl.losses import grpo as grpo_file  # noqa: E402
from torchtitan.experiments.rl.rollout import advantage as advantage_file  # noqa: E402

dapo_file.compute_logprobs = lambda logits, labels, return_entropy: (logits, torch.zeros_like(logits))


def cell(loss, by_std):
    estimator = advantage_file.AdvantageEstimator(advantage_file.AdvantageEstimator.Config(should_std_normalize=by_std))

    def called(log_probs, old_log_probs, rewards, groups, mask, num_tokens):
        advantages = torch.zeros_like(rewards)
        for group in groups.unique():
            rollouts = [SimpleNamespace(reward=float(r)) for r in rewards[groups == group]]
            advantages[groups == group] = torch.tensor(
                estimator(SimpleNamespace(rollouts=rollouts)), dtype=torch.float64
            )
        return loss(
            log_probs, None, num_tokens, generator_logprobs=old_log_probs,
            advantages=advantages[:, None] * mask, loss_mask=mask,
        )  # fmt: skip

    called.__doc__ = f"{type(loss).__name__}, should_std_normalize={by_std}."
    return called


GRPO = grpo_file.GRPOLoss(grpo_file.GRPOLoss.Config())
DAPO = dapo_file.DAPOLoss(dapo_file.DAPOLoss.Config(ratio_clip_high=0.28))
CELLS = {"grpo": cell(GRPO, False), "grpo_by_std": cell(GRPO, True), "dapo": cell(DAPO, False)}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("torchtitan", [dapo_file, grpo_file, advantage_file]), **MISSING})

"""TorchRL: the objective and the aggregation of `GRPOLoss`, `DAPO` and `CISPOLoss`, on advantages that rung gives."""

from __future__ import annotations

import talk
from torchrl.objectives.llm import grpo as grpo_file


def cell(kind, aggregation="token_mean", **settings):
    """The loss module without a model: the log-weight is the batch's."""
    loss = getattr(grpo_file, kind)(None, entropy_bonus=False, aggregation=aggregation, **settings)

    def called(log_probs, old_log_probs, advantages, mask):
        log_weight = (log_probs - old_log_probs)[..., None]
        value, _ = loss._compute_policy_objective(log_weight, advantages[..., None])
        return loss._aggregate_loss_value(value, mask).sum()

    called.__doc__ = f"{kind}({settings}), aggregation={aggregation}."
    return called


CELLS = {
    "grpo": cell("GRPOLoss"),
    "grpo_prompt_mean": cell("GRPOLoss", "prompt_mean"),
    "dapo": cell("DAPO", clip_epsilon=(0.2, 0.28)),
    "cispo": cell("CISPOLoss"),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: talk.about("torchrl", [grpo_file]), {"cispo": "cispo"})

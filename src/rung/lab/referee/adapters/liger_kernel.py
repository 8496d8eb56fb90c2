"""Liger Kernel: `LigerFusedLinearGRPOFunction.ppo_loss_fn`, which its chunks sum, on advantages that rung gives."""

from __future__ import annotations

import talk
from liger_kernel.chunked_loss import grpo_loss


def cell(loss_type, beta=0.0, **settings):
    loss_of = grpo_loss.LigerFusedLinearGRPOFunction.ppo_loss_fn

    def step(log_probs, old_log_probs, sequence_advantages, mask, reference):
        weights = mask.double()
        given = {"old_per_token_logps": old_log_probs, "ref_per_token_logps": reference, "beta": beta}
        given |= {"loss_type": loss_type, "max_completion_length": 8, **settings}
        return loss_of(log_probs, weights, sequence_advantages, weights, **given)[0]

    if beta:

        def called(log_probs, old_log_probs, reference_log_probs, sequence_advantages, mask):
            return step(log_probs, old_log_probs, sequence_advantages, mask, reference_log_probs)

    else:

        def called(log_probs, old_log_probs, sequence_advantages, mask):
            return step(log_probs, old_log_probs, sequence_advantages, mask, None)

    called.__doc__ = f"ppo_loss_fn(loss_type={loss_type}, beta={beta}{settings or ''})."
    return called


CELLS = {
    **{name: cell(name) for name in ("grpo", "bnpo", "dapo", "dr_grpo", "sapo", "vespo")},
    "luspo": cell("luspo", importance_sampling_level="sequence"),
    "gspo": cell("grpo", importance_sampling_level="sequence", epsilon_low=3e-4, epsilon_high=4e-4),
    "cispo": cell("cispo", epsilon_high=5.0),
    "k3": cell("grpo", beta=0.04),
    "k3_corrected": cell("grpo", beta=0.04, use_bias_correction_kl=True),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: talk.about("liger-kernel", [grpo_loss]), {"cispo": "cispo", "gspo": "gspo"})

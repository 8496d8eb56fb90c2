"""verl: the advantage estimators and policy losses of `verl.trainer.ppo.core_algos`, and its KL penalties."""

from __future__ import annotations

import numpy as np
import talk

MISSING = talk.without("ray", "codetiming", "jsonschema", "torchdata", "wandb", "pylatexenc")

from verl.trainer.config import AlgoConfig  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402


def actor(**changes):
    """verl's own defaults, with one row a device."""
    given = {"strategy": "fsdp", "rollout_n": 1, "ppo_micro_batch_size_per_gpu": 1, **changes}
    return ActorConfig(**given)


def cell(estimator, loss="vanilla", mode="token-mean", beta=0.0, kl="low_var_kl", whole_step=False, **config):
    """A whole update: the advantages, the policy loss, and the KL loss as the actor adds it."""
    advantages_of = core_algos.get_adv_estimator_fn(estimator)
    algo = AlgoConfig(gamma=1.0, adv_estimator=estimator, norm_adv_by_std_in_grpo=estimator != "dr_grpo")

    def step(log_probs, old_log_probs, token_rewards, groups, mask, extra):
        index = np.array([str(int(g)) for g in groups], dtype=object)
        wanted = {"token_level_rewards": token_rewards, "response_mask": mask.double(), "config": algo, "index": index}
        advantages, _ = advantages_of(**wanted)
        info = {} if not whole_step else {"batch_num_tokens": extra[1], "global_batch_size": extra[2]}
        settings = actor(**config)
        settings.global_batch_info.update(info)
        value, _ = core_algos.get_policy_loss_fn(loss)(
            old_log_prob=old_log_probs, log_prob=log_probs, advantages=advantages,
            response_mask=mask.double(), loss_agg_mode=mode, config=settings,
        )  # fmt: skip
        if beta:
            penalty = core_algos.kl_penalty(log_probs, extra[0], kl)
            value = value + beta * core_algos.agg_loss(penalty, mask.double(), mode, **info)
        return value

    if beta:

        def called(log_probs, old_log_probs, reference_log_probs, token_rewards, groups, mask):
            return step(log_probs, old_log_probs, token_rewards, groups, mask, (reference_log_probs, None, None))

    elif whole_step:

        def called(log_probs, old_log_probs, token_rewards, groups, mask, num_tokens, num_sequences):
            return step(log_probs, old_log_probs, token_rewards, groups, mask, (None, num_tokens, num_sequences))

    else:

        def called(log_probs, old_log_probs, token_rewards, groups, mask):
            return step(log_probs, old_log_probs, token_rewards, groups, mask, ())

    also = f", {kl} in the loss" if beta else ""
    called.__doc__ = f"adv_estimator={estimator}, loss_mode={loss}, loss_agg_mode={mode}{also}."
    return called


CELLS = {
    "grpo": cell("grpo", clip_ratio_c=3.0),
    "grpo_whole_step": cell("grpo", whole_step=True),
    "grpo_sequence_mean": cell("grpo", mode="seq-mean-token-mean"),
    "grpo_token_sum": cell("grpo", mode="seq-mean-token-sum"),
    "grpo_token_sum_norm": cell("grpo", mode="seq-mean-token-sum-norm"),
    "grpo_k3": cell("grpo", beta=0.001),
    "grpo_k3_plus": cell("grpo", beta=0.001, kl="k3+"),
    "grpo_k1": cell("grpo", beta=0.001, kl="k1"),
    "rloo": cell("rloo"),
    "rloo_vectorized": cell("rloo_vectorized"),
    "reinforce_plus_plus": cell("reinforce_plus_plus"),
    "reinforce_plus_plus_baseline": cell("reinforce_plus_plus_baseline"),
    "opo": cell("opo"),
    "gpg": cell("gpg", "gpg"),
    "gspo": cell("grpo", "gspo", "seq-mean-token-mean", clip_ratio_low=3e-4, clip_ratio_high=4e-4),
    "sapo": cell("grpo", "sapo", "seq-mean-token-mean"),
    "gmpo": cell("grpo", "geo_mean"),
    "cispo": cell("grpo", "cispo", clip_ratio_low=1.0, clip_ratio_high=4.0),
    "dppo_tv": cell("grpo", "dppo_tv"),
    "dppo_kl": cell("grpo", "dppo_kl"),
}
PROMISED = {"grpo": "grpo@verl"}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("verl", [core_algos]), **MISSING}, PROMISED)

"""OpenRLHF: `RemoteExperienceMaker.compute_advantages_and_returns`, `PolicyLoss` and `compute_approx_kl`."""

from __future__ import annotations

from types import SimpleNamespace

import talk
import torch

MISSING = talk.without("ray", "flash_attn", "deepspeed", "vllm", "bitsandbytes", "peft", "torchdata", "optree",
                       "pynvml", "wandb", "pylatexenc", "ring_flash_attn", "datasets")  # fmt: skip

from openrlhf.models import loss as losses  # noqa: E402
from openrlhf.models import utils  # noqa: E402
from openrlhf.trainer.ppo_utils import experience_maker  # noqa: E402

MAKER = next(
    one for one in vars(experience_maker).values()
    if isinstance(one, type) and "compute_advantages_and_returns" in vars(one)
)  # fmt: skip


def advantages_of(estimator, token_rewards, groups, kl, mask, size):
    """What the experience maker makes of one batch."""
    maker = MAKER.__new__(MAKER)
    advantage = SimpleNamespace(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=advantage), rollout=SimpleNamespace(n_samples_per_prompt=size),
        reward=SimpleNamespace(clip_range=None),
    )  # fmt: skip
    maker.strategy, maker.advantage_estimator = SimpleNamespace(args=args), estimator
    maker.kl_ctl = SimpleNamespace(value=0.0 if kl is None else 0.01)
    experience = SimpleNamespace(
        rewards=token_rewards.sum(1), index=list(range(len(mask))), action_mask=mask.long(), info={}, values=None,
        kl=torch.zeros_like(token_rewards) if kl is None else kl,
    )  # fmt: skip
    experience_maker.apply_length_penalties = lambda *_: None  # no length penalty is configured
    maker.compute_advantages_and_returns([experience])
    return experience.advantages


def cell(estimator, kl="", **settings):
    """A whole update as the actor makes it; `reward` takes k1 off the reward, others stand in the loss."""
    policy = losses.PolicyLoss(**settings)

    def step(log_probs, old_log_probs, token_rewards, groups, mask, samples_per_prompt, reference=None):
        before = utils.compute_approx_kl(old_log_probs, reference) * mask if kl == "reward" else None
        advantages = advantages_of(estimator, token_rewards, groups, before, mask, samples_per_prompt)
        value = policy(log_probs, old_log_probs, advantages.double(), mask.double())[0]
        if kl not in ("", "reward"):
            unbiased = kl.endswith("+")
            penalty = utils.compute_approx_kl(log_probs, reference, old_log_probs, kl.rstrip("+"), unbiased)
            value = value + 0.01 * losses.aggregate_loss(penalty, mask.double(), policy.token_level_loss)
        return value

    if kl:

        def called(log_probs, old_log_probs, reference_log_probs, token_rewards, groups, mask, samples_per_prompt):
            return step(log_probs, old_log_probs, token_rewards, groups, mask, samples_per_prompt, reference_log_probs)

    else:

        def called(log_probs, old_log_probs, token_rewards, groups, mask, samples_per_prompt):
            return step(log_probs, old_log_probs, token_rewards, groups, mask, samples_per_prompt)

    called.__doc__ = f"advantage.estimator={estimator}, PolicyLoss({settings}){', KL: ' + kl if kl else ''}."
    return called


CELLS = {
    "group_norm": cell("group_norm"),
    "group_norm_kl_in_reward": cell("group_norm", "reward"),
    "group_norm_k2": cell("group_norm", "k2"),
    "group_norm_k3": cell("group_norm", "k3"),
    "group_norm_k3_unbiased": cell("group_norm", "k3+"),
    "dr_grpo": cell("dr_grpo"),
    "rloo": cell("rloo"),
    "reinforce_baseline": cell("reinforce_baseline"),
    "flash_reinforce": cell("flash_reinforce"),
    "gspo": cell("group_norm", policy_loss_type="gspo", clip_eps_low=3e-4, clip_eps_high=4e-4),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("openrlhf", [losses, utils, experience_maker]), **MISSING},
               {"group_norm_kl_in_reward": "grpo@openrlhf"})  # fmt: skip

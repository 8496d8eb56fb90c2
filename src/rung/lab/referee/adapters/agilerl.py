"""AgileRL: the advantages and the policy loss of its GRPO, GSPO and CISPO for language models."""

from __future__ import annotations

import talk

MISSING = talk.without("agilerl.arena", "triton", "deepspeed", "vllm", "peft", "ray", "dill", "lazy_loader",
                       "wandb", "pettingzoo", "supersuit", "liger_kernel", "redis", "minari", "ucimlrepo",
                       "fastrand", "hydra", "pymunk", "pygame")  # fmt: skip

from agilerl.algorithms import grpo as grpo_file  # noqa: E402


def cell(level="token", objective="grpo", beta=0.0, low=0.8, high=1.2, **settings):
    """An agent without a model, with the numbers that the loss reads."""
    agent = grpo_file.GRPO.__new__(grpo_file.GRPO)
    given = {
        "adv_norm": "mean_std", "clip_coef_min": low, "clip_coef_max": high, "beta": beta, "kl_clamp": None,
        "use_kl_advantage_shaping": False, "use_bias_correction_kl": False, "vllm_importance_sampling_cap": 2.0,
        "off_policy_token_mask_bounds": None, "off_policy_sequence_mask_threshold": None,
        "_segment_accumulation_steps": None, "loss_norm": "micro_batch", **settings,
    }  # fmt: skip
    for name, value in given.items():
        object.__setattr__(agent, name, value)

    def step(log_probs, old_log_probs, rewards, mask, size, reference):
        object.__setattr__(agent, "group_size", size)
        advantages = agent._calculate_advantage(rewards)
        return agent._compute_policy_loss(
            mask, log_probs, old_log_probs, reference, advantages, None, level, objective
        )[0]

    if beta:

        def called(log_probs, old_log_probs, reference_log_probs, rewards, groups, mask, samples_per_prompt):
            return step(log_probs, old_log_probs, rewards, mask, samples_per_prompt, reference_log_probs)

    else:

        def called(log_probs, old_log_probs, rewards, groups, mask, samples_per_prompt):
            return step(log_probs, old_log_probs, rewards, mask, samples_per_prompt, log_probs.detach())

    called.__doc__ = f"_calculate_advantage, _compute_policy_loss(level={level}, objective={objective}), beta={beta}."
    return called


CELLS = {
    "grpo": cell(),
    "grpo_k3": cell(beta=0.04),
    "grpo_k3_corrected": cell(beta=0.04, use_bias_correction_kl=True),
    "grpo_kl_shaping": cell(beta=0.04, use_kl_advantage_shaping=True),
    "grpo_mean_only": cell(adv_norm="mean_only"),
    "gspo": cell("trajectory", low=1 - 3e-4, high=1 + 4e-4),
    "cispo": cell(objective="cispo", high=5.0),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("agilerl", [grpo_file]), **MISSING})

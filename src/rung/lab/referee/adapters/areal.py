"""AReaL: `ppo_actor_loss_fn` and `sapo_loss_fn` of `areal.utils.functional`, on advantages that rung gives."""

from __future__ import annotations

import talk

MISSING = talk.without("jiter", "lark", "flask", "aiohttp", "colorlog", "ray", "requests", "uvloop", "aiofiles",
                       "pynvml", "swanlab", "wandb")  # fmt: skip

from areal.utils.functional import functional  # noqa: E402


def ppo(log_probs, old_log_probs, sampler_log_probs, advantages, mask):
    """ppo_actor_loss_fn with eps_clip 0.2: the loss under GRPO as AReaL configures it."""
    return functional.ppo_actor_loss_fn(log_probs, old_log_probs, sampler_log_probs, advantages, 0.2, mask)


def dual_clip(log_probs, old_log_probs, sampler_log_probs, advantages, mask):
    """ppo_actor_loss_fn with c_clip 3."""
    return functional.ppo_actor_loss_fn(log_probs, old_log_probs, sampler_log_probs, advantages, 0.2, mask, c_clip=3.0)


def gspo(log_probs, old_log_probs, sampler_log_probs, advantages, mask):
    """ppo_actor_loss_fn with importance_sampling_level=sequence."""
    return functional.ppo_actor_loss_fn(
        log_probs, old_log_probs, sampler_log_probs, advantages, 3e-4, mask, 4e-4, importance_sampling_level="sequence"
    )


def sapo(log_probs, old_log_probs, advantages, mask):
    """sapo_loss_fn with temperatures 1 and 1.05."""
    return functional.sapo_loss_fn(log_probs, old_log_probs, advantages, 1.0, 1.05, mask)


CELLS = {one.__name__: one for one in (ppo, dual_clip, gspo, sapo)}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("areal", [functional]), **MISSING})

"""OpenPipe ART: `art.loss.loss_fn`, on advantages that rung gives; its inputs stand one token to the right."""

from __future__ import annotations

import os

import talk
import torch

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for a table of prices on the network
MISSING = talk.without("h2", "lazy_importer", "pydantic_settings", "tiktoken", "fastuuid", "openai", "dotenv",
                       "litellm", "weave", "aiohttp", "typer", "polars", "nest_asyncio", "tenacity", "peft",
                       "unsloth", "vllm", "setproctitle", "tblib", "panza", "wandb")  # fmt: skip

from art import loss as loss_file  # noqa: E402


def cell(**config):
    def step(log_probs, old_log_probs, advantages, mask, reference):
        def right(values, fill):
            return torch.nn.functional.pad(values, (1, 0), value=fill)[:, : mask.shape[1]]

        shifted = {
            "logprobs": right(old_log_probs, float("nan")), "advantages": right(advantages, 0.0),
            "assistant_mask": right(mask, False), "weights": right(torch.ones_like(log_probs), 0.0),
            "group_ids": right(torch.arange(len(mask))[:, None].expand(mask.shape) + 1, 0),
        }  # fmt: skip
        return loss_file.loss_fn(shifted, log_probs, reference, None, config).policy_loss

    if "kl_penalty_coef" in config:

        def called(log_probs, old_log_probs, reference_log_probs, advantages, mask):
            return step(log_probs, old_log_probs, advantages, mask, reference_log_probs)

    else:

        def called(log_probs, old_log_probs, advantages, mask):
            return step(log_probs, old_log_probs, advantages, mask, None)

    called.__doc__ = f"loss_fn({config}), reduction=mean."
    return called


CELLS = {
    "default": cell(),
    "ppo": cell(ppo=True),
    "kl_penalty": cell(kl_penalty_coef=0.04),
    "sequence": cell(importance_sampling_level="sequence"),
}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: {**talk.about("openpipe-art", [loss_file]), **MISSING})

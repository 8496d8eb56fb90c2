"""TRL: `GRPOTrainer._compute_loss` and `RLOOTrainer._compute_loss`, with the advantages of their own trainers.

Each trainer is built around a model of a few parameters; the model's log-probs are replaced by the batch's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import talk
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer import grpo_trainer, rloo_trainer

LENGTH = 8
FOLDER = tempfile.TemporaryDirectory()


def tiny_model():
    """A Qwen2 of one layer and a tokenizer of twelve words, saved; where they are."""
    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(10))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(
        FOLDER.name
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    Qwen2ForCausalLM(Qwen2Config(vocab_size=12, num_key_value_heads=2, **sizes, **ids)).save_pretrained(FOLDER.name)
    return FOLDER.name


def trainer(kind, config, **settings):
    made = kind(
        model=tiny_model() if not (Path(FOLDER.name) / "config.json").exists() else FOLDER.name,
        args=config(
            output_dir=str(Path(FOLDER.name) / "out"), use_cpu=True, bf16=False, report_to=[], num_generations=2,
            per_device_train_batch_size=2, gradient_accumulation_steps=1, max_completion_length=LENGTH, **settings,
        ),
        reward_funcs=lambda prompts, completions, **_: [0.0] * len(completions),
        processing_class=PreTrainedTokenizerFast.from_pretrained(FOLDER.name),
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2", "w3", "w4"]}),
    )  # fmt: skip
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made


class Fixed(torch.nn.Module):
    """Answers a trainer's call for log-probs with a table."""

    def __init__(self, log_probs):
        super().__init__()
        self.table = log_probs

    def forward(self, **_):
        padded = torch.cat([self.table.new_zeros(len(self.table), 2), self.table], dim=1)
        return SimpleNamespace(log_probs=padded, entropy=torch.zeros_like(padded))


KNOWN = {}


def advantages_of(made, rewards, size):
    """The trainer's own, by its own generate-and-score step, in which the answers and their rewards are given."""
    key = (id(made), made.args.output_dir, getattr(made, "scale_rewards", ""), size, tuple(rewards.tolist()))
    if key not in KNOWN:
        rows, nothing = len(rewards), None
        made.num_generations = size
        answers = [[2]] * rows, [[3, 1]] * rows, nothing, ["w1"] * rows, nothing, {}, nothing, nothing
        made._generate = lambda _: answers if isinstance(made, GRPOTrainer) else (answers[0], answers[1], answers[3])
        made._calculate_rewards = lambda *_: rewards[:, None].float()
        with torch.no_grad():
            found = made._generate_and_score_completions([{"prompt": f"w{row // size}"} for row in range(rows)])
        KNOWN[key] = found["advantages"].double()
        for values in (made._metrics["train"], *made._logs.values()):
            values.clear()
    return KNOWN[key]


def batch_of(log_probs, mask):
    """What both trainers' losses read of a batch, with a prompt of two tokens."""
    prompt = torch.ones(len(mask), 2, dtype=torch.int64)
    answers = {"completion_ids": torch.ones(mask.shape, dtype=torch.int64), "completion_mask": mask.long()}
    return Fixed(log_probs), {"prompt_ids": prompt, "prompt_mask": prompt, **answers}


GRPO = trainer(GRPOTrainer, GRPOConfig, beta=0.04)
RLOO = trainer(RLOOTrainer, RLOOConfig, beta=0.0)


def grpo(loss_type, beta=0.0, scale="group", correction=True, level="token", low=0.2, high=0.2):
    """A cell of GRPOTrainer."""

    def step(log_probs, old_log_probs, rewards, mask, size, tokens, reference=None):
        GRPO.scale_rewards = scale
        advantages = advantages_of(GRPO, rewards, size)
        GRPO.loss_type, GRPO.beta, GRPO.importance_sampling_level = loss_type, beta, level
        GRPO.epsilon_low, GRPO.epsilon_high, GRPO.args.use_bias_correction_kl = low, high, correction
        model, given = batch_of(log_probs, mask)
        given |= {"advantages": advantages, "num_items_in_batch": torch.tensor(tokens)}
        given |= {"old_per_token_logps": old_log_probs, "ref_per_token_logps": reference}
        loss = GRPO._compute_loss(model, given)
        GRPO.beta = 0.04
        return loss

    if beta:

        def called(log_probs, old_log_probs, reference_log_probs, rewards, groups, mask, samples_per_prompt):
            tokens = int(mask.sum())
            return step(log_probs, old_log_probs, rewards, mask, samples_per_prompt, tokens, reference_log_probs)

    elif loss_type in ("dapo", "cispo", "vespo"):

        def called(log_probs, old_log_probs, rewards, groups, mask, samples_per_prompt, num_tokens):
            return step(log_probs, old_log_probs, rewards, mask, samples_per_prompt, num_tokens)

    else:

        def called(log_probs, old_log_probs, rewards, groups, mask, samples_per_prompt):
            return step(log_probs, old_log_probs, rewards, mask, samples_per_prompt, int(mask.sum()))

    kl = f", beta={beta}, use_bias_correction_kl={correction}" if beta else ""
    called.__doc__ = f"GRPOTrainer(loss_type={loss_type}, scale_rewards={scale}, importance {level}{kl})."
    return called


def rloo(log_probs, old_log_probs, rewards, groups, mask, samples_per_prompt):
    """RLOOTrainer(beta=0)."""
    advantages = advantages_of(RLOO, rewards, samples_per_prompt)
    model, given = batch_of(log_probs, mask)
    old_B = torch.where(mask, old_log_probs, torch.zeros_like(old_log_probs)).sum(1)
    return RLOO._compute_loss(model, {**given, "advantages": advantages, "old_logps": old_B})


CELLS = {
    **{name: grpo(name) for name in ("grpo", "bnpo", "dapo", "sapo", "vespo")},
    "dr_grpo": grpo("dr_grpo", scale="none"),
    "cispo": grpo("cispo", high=5.0),
    "luspo": grpo("luspo", level="sequence"),
    "gspo": grpo("grpo", level="sequence", low=3e-4, high=4e-4),
    "scale_by_batch": grpo("dapo", scale="batch"),
    "kl_corrected": grpo("grpo", beta=0.04),
    "kl_uncorrected": grpo("grpo", beta=0.04, correction=False),
    "rloo": rloo,
}
PROMISED = {"dapo": "grpo@trl"}

if __name__ == "__main__":
    talk.serve(CELLS, lambda: talk.about("trl", [grpo_trainer, rloo_trainer]), PROMISED)

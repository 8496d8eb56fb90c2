"""Writes trl_1_16_0.json: what TRL 1.16.0's own GRPOTrainer makes of a few numbers.

    python tests/methods/trl_numbers.py          # needs: pip install -e '.[peers]'

A real GRPOTrainer is built around a model of a few parameters made here. Its `_generate_and_score_completions` gives
the advantages of fixed rewards; its `_compute_loss` is then called with fixed log-probs in float64, and the gradient
is taken with respect to them. Nothing of TRL's is copied; these are inputs and outputs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).parent / "trl_1_16_0.json"
GROUP_SIZE, STEPS, MAX_LENGTH = 3, 5, 8
REWARDS = [0.0, 1.0, 0.25, 1.0, 0.0, 0.0, 0.1, 0.1, 0.1]
LENGTHS = [3, 5, 2, 4, 1, 5, 2, 5, 3]
LOSS_TYPES = ("grpo", "bnpo", "dapo", "dr_grpo")


def inputs() -> dict[str, Any]:
    """Rewards by row, lengths, and three tables of log-probs [B, T]; some ratios lie beyond the clip of 0.2."""
    draw = np.random.Generator(np.random.PCG64(16))
    shape = (len(REWARDS), STEPS)
    log_probs_BT = (-np.abs(draw.standard_normal(shape)) - 0.1).round(4)
    old_BT = (log_probs_BT + 0.3 * draw.standard_normal(shape)).round(4)
    reference_BT = (log_probs_BT + 0.5 * draw.standard_normal(shape)).round(4)
    return {
        "rewards": REWARDS,
        "lengths": LENGTHS,
        "group_size": GROUP_SIZE,
        "max_length": MAX_LENGTH,
        "log_probs": log_probs_BT.tolist(),
        "old_log_probs": old_BT.tolist(),
        "reference_log_probs": reference_BT.tolist(),
    }


def cases() -> list[dict[str, Any]]:
    """Every loss with and without KL, on fresh samples and on older ones; TRL's KL correction off, then as it ships."""
    listed = [
        {"loss_type": loss_type, "beta": beta, "fresh": fresh, "kl_correction": False}
        for loss_type in LOSS_TYPES
        for beta in (0.0, 0.04)
        for fresh in (True, False)
    ]
    shipped = [("grpo", True), ("dapo", False)]
    corrected = [{"loss_type": t, "beta": 0.04, "fresh": fresh, "kl_correction": True} for t, fresh in shipped]
    return [*listed, *corrected]


FURTHER: list[dict[str, Any]] = [
    {"loss_type": "sapo", "beta": 0.0},
    {"loss_type": "dapo", "beta": 0.04, "kl_correction": True, "off_policy_mask": 0.05},
    {"loss_type": "dapo", "beta": 0.0, "top_entropy": 0.4},
]
"""On older samples. The entropy of a token is taken to be -log π of it."""


BETAS = (0.0, 0.1, 0.5, 1.0)
"""Of the distillation's divergence: 0 is KL(teacher ‖ student), 1 KL(student ‖ teacher)."""


def divergences() -> dict[str, Any]:
    """TRL's distillation loss of two tables of logits [N, V], and its gradient; in float32, as it computes."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    draw = np.random.Generator(np.random.PCG64(17))
    student_NV, teacher_NV = (
        (1.5 * draw.standard_normal((4, 7))).round(4),
        (1.5 * draw.standard_normal((4, 7))).round(4),
    )
    found: list[dict[str, Any]] = []
    for beta in BETAS:
        table = torch.tensor(student_NV, dtype=torch.float32)[None].requires_grad_()
        teacher = torch.tensor(teacher_NV, dtype=torch.float32)[None]
        head, mask = torch.eye(7), torch.ones(1, 4)
        loss, _, _ = _chunked_divergence_loss(table, teacher, head, head, mask, beta=beta, temperature=0.7)
        (gradient,) = torch.autograd.grad(loss, table)
        found.append({"beta": beta, "loss": loss.item(), "gradient": gradient[0].tolist()})
    return {"temperature": 0.7, "student": student_NV.tolist(), "teacher": teacher_NV.tolist(), "cases": found}


class FixedLogProbs(torch.nn.Module):
    """Answers TRL's call for log-probs with a table, so that the gradient can be read off it."""

    def __init__(self, log_probs_BT: Tensor, prompt_length: int) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(log_probs_BT)
        self.prompt_length = prompt_length

    def forward(self, **_: Any) -> SimpleNamespace:
        before = self.table.new_zeros(self.table.shape[0], self.prompt_length)
        log_probs = torch.cat([before, self.table], dim=1)
        return SimpleNamespace(log_probs=log_probs, entropy=-log_probs.detach())


def trainer(folder: Path) -> Any:
    """TRL's GRPOTrainer with its defaults, on a tiny Qwen2 and a tokenizer of twelve words."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(10))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    Qwen2ForCausalLM(Qwen2Config(vocab_size=12, num_key_value_heads=2, **sizes, **ids)).save_pretrained(folder)
    settings = GRPOConfig(
        output_dir=str(folder / "out"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        beta=0.04,
        num_generations=GROUP_SIZE,
        per_device_train_batch_size=len(REWARDS),
        gradient_accumulation_steps=1,
        max_completion_length=MAX_LENGTH,
    )
    made = GRPOTrainer(
        model=str(folder),
        args=settings,
        reward_funcs=lambda prompts, completions, **_: REWARDS,
        processing_class=fast,
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2", "w3", "w4"]}),
    )
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made


def loss_and_gradient(made: Any, case: dict[str, Any], given: dict[str, Any], advantages_B: Tensor) -> dict[str, Any]:
    """One call of TRL's `_compute_loss`."""
    made.loss_type, made.beta = case["loss_type"], case["beta"]
    made.args.use_bias_correction_kl = case.get("kl_correction", False)
    made.off_policy_mask_threshold = case.get("off_policy_mask")
    made.top_entropy_quantile = case.get("top_entropy", 1.0)
    rows = len(given["rewards"])
    mask_BT = torch.arange(STEPS)[None] < torch.tensor(given["lengths"])[:, None]
    model = FixedLogProbs(torch.tensor(given["log_probs"], dtype=torch.float64), prompt_length=2)
    batch = {
        "prompt_ids": torch.ones(rows, 2, dtype=torch.int64),
        "prompt_mask": torch.ones(rows, 2, dtype=torch.int64),
        "completion_ids": torch.ones(rows, STEPS, dtype=torch.int64),
        "completion_mask": mask_BT.long(),
        "advantages": advantages_B.double(),
        "num_items_in_batch": mask_BT.sum(),
        "ref_per_token_logps": torch.tensor(given["reference_log_probs"], dtype=torch.float64),
    }
    if not case.get("fresh", False):
        batch["old_per_token_logps"] = torch.tensor(given["old_log_probs"], dtype=torch.float64)
    loss = made._compute_loss(model, batch)
    (gradient_BT,) = torch.autograd.grad(loss, model.table)
    return {**case, "loss": loss.item(), "gradient": [[round(g, 12) for g in row] for row in gradient_BT.tolist()]}


def made_by_trl() -> dict[str, Any]:
    """The whole content of the file."""
    import trl

    given = inputs()
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(Path(folder))
        prompts = [{"prompt": prompt} for prompt in ("w1 w2", "w3", "w4") for _ in range(GROUP_SIZE)]
        advantages_B = made._generate_and_score_completions(prompts)["advantages"]
        return {
            "made_by": f"trl {trl.__version__}, torch {torch.__version__}",
            "how": "python tests/methods/trl_numbers.py: GRPOTrainer._generate_and_score_completions, ._compute_loss",
            "inputs": given,
            "advantages": advantages_B.tolist(),
            "cases": [loss_and_gradient(made, case, given, advantages_B) for case in cases()],
            "divergences": divergences(),
            "further": [loss_and_gradient(made, case, given, advantages_B) for case in FURTHER],
        }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made_by_trl(), separators=(",", ":")) + "\n", encoding="utf-8")

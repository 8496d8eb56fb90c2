"""One process: the GRPO step of TRL's GRPOTrainer, by phase. Arguments: measured steps, samples, compute type."""

from __future__ import annotations

import sys
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from workload import (
    LEARNING_RATE,
    NEW_TOKENS,
    OPENINGS,
    PROMPTS,
    SAMPLES,
    answer,
    model_folder,
    peak_gib,
    reward,
    steps_asked,
)

samples = int(sys.argv[2]) if len(sys.argv) > 2 else SAMPLES
bf16 = len(sys.argv) > 3 and sys.argv[3] == "bfloat16"
folder = str(model_folder())
steps = steps_asked()
seconds = {"sample": 0.0}
rows: list[dict[str, float]] = []


class Timed(GRPOTrainer):
    """TRL's trainer; the clock is around its own calls."""

    def _generate(self, *args, **kwargs):
        began = time.perf_counter()
        result = super()._generate(*args, **kwargs)
        seconds["sample"] += time.perf_counter() - began
        return result

    def training_step(self, *args, **kwargs):
        began = time.perf_counter()
        seconds["sample"] = 0.0
        loss = super().training_step(*args, **kwargs)
        rows.append({"began": began, "sample": seconds["sample"]})
        return loss


config = GRPOConfig(
    output_dir=tempfile.mkdtemp(),
    per_device_train_batch_size=PROMPTS * samples,
    num_generations=samples,
    max_completion_length=NEW_TOKENS,
    generation_kwargs={"min_new_tokens": NEW_TOKENS},
    max_steps=steps + 1,
    learning_rate=LEARNING_RATE,
    lr_scheduler_type="constant",
    beta=0.0,
    loss_type="grpo",
    temperature=1.0,
    bf16=bf16,
    use_cpu=not torch.cuda.is_available(),  # without it bf16 is refused on a processor that has it
    gradient_checkpointing=False,
    report_to=[],
    save_strategy="no",
    logging_steps=1,
    disable_tqdm=True,
)
trainer = Timed(
    model=AutoModelForCausalLM.from_pretrained(folder),
    processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
    reward_funcs=lambda prompts, completions, **columns: reward(completions),
    args=config,
    train_dataset=Dataset.from_dict({"prompt": list(OPENINGS) * (steps + 1)}),
)
trainer.train()
ends = [row["began"] for row in rows[1:]] + [time.perf_counter()]
measured = [
    {
        "sample": row["sample"],
        "learn": end - row["began"] - row["sample"],
        "step": end - row["began"],
        "tokens": PROMPTS * samples * NEW_TOKENS,
    }
    for row, end in zip(rows, ends, strict=True)
]
answer({"steps": measured[1:], "peak_gib": peak_gib()})

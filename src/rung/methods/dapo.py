"""DAPO (Yu et al. 2025): four changes to GRPO, for long chains of thought."""

from __future__ import annotations

from rung.methods.grpo import GRPO
from rung.methods.parts.aggregations import PerToken
from rung.methods.parts.filters import AccuraciesDiffer, SoftOverlong
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.parts.optimizers import AdamW

DAPO = GRPO.changed(
    name="dapo",
    paper="arXiv:2503.14476",
    summary="GRPO with a higher upper clip, only prompts of mixed results, equal token weights, a soft length penalty.",
    samples_per_prompt=16,
    keep_group=AccuraciesDiffer(refill=True),
    shape_reward=SoftOverlong(limit=20480, cache=4096),
    reference_kl=None,
    objective=ClippedSurrogate(low=0.2, high=0.28),
    aggregation=PerToken(),
    optimizer=AdamW(learning_rate=1e-6, warmup_steps=320),
    num_minibatches=16,
    deviations=(
        "Refilling stops after 10 rounds (verl's recipe does the same); the paper samples until the batch is full.",
        "The warm-up of 20 rollouts is counted in updates, 16 a rollout: 320.",
        "The paper's rule gives 1 or -1, so the length penalty of at most -1 is half of what an answer can lose; "
        "beside rewards of 0 and 1 it weighs twice as much. Rewards of 1 and -1, or of weight 2, make it the paper's.",
        "Overlong filtering, which the paper's soft penalty replaces, is `method.drop_rows: DropTruncated`.",
    ),
)

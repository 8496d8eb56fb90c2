"""The run of `grpo_loop.py` through the library: sampling with a cache, held-out scores, resume, a report.

python examples/grpo_library.py runs/example [STEPS]
"""

from __future__ import annotations

import sys

import rung

rung.train(
    model="tiny",
    task="arithmetic",
    method=rung.GRPO.changed(samples_per_prompt=8),
    learning_rate=3e-4,
    steps=int(sys.argv[2]) if len(sys.argv) > 2 else 40,
    prompts_per_step=16,
    max_new_tokens=16,
    recipe="none",  # exactly these settings, without those that the tiny model brings
    out=sys.argv[1] if len(sys.argv) > 1 else "runs/example",
)

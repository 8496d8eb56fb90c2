"""The run of `grpo_loop.py` through the library: sampling with a cache, held-out scores, resume, a report.

python examples/grpo_library.py runs/example
"""

from __future__ import annotations

import sys
from pathlib import Path

from rung import Settings, train

settings = Settings.model_validate(
    {
        "model": "tiny",
        "task": "arithmetic",
        "method": {"name": "grpo", "samples_per_prompt": 8, "step": {"learning_rate": 3e-4}},
        "steps": 40,
        "prompts_per_step": 16,
        "max_new_tokens": 16,
    }
)
summary = train(settings, Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
print("\n".join(summary.lines()))

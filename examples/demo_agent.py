"""`make demo-agent`: a tiny model learns to call a tool, by GRPO, in a minute or two on two CPU cores.

It is asked for products of two-digit numbers, which it cannot work out, and calls the calculator in one of ten answers
at first. The run's page shows each conversation: who said what, what the tool answered, and the credit of each turn.
This is the same as

    rung train grpo --recipe tiny_turns --model tiny --task calculator
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rung.errors import RungError
from rung.library import train
from rung.trainers.reading import read_run


def main() -> int:
    began = time.perf_counter()
    number = 1 + sum(1 for _ in Path("runs").glob("demo-agent-*"))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs") / f"demo-agent-{number}"
    reading = read_run(recipe="tiny_turns", flags={"method": "grpo", "model": "tiny", "task": "calculator"})
    summary = train(reading.required(), folder)
    print(f"the whole demo took {(time.perf_counter() - began) / 60:.1f} minutes; its page: {folder / 'report.html'}")
    return summary.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RungError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)

"""Records a finished `make demo` for the README: its scores as JSON, its curves as a picture.

    make demo && python experiments/record_demo.py runs/demo-1
    python docs/generate.py

Pass line, fixed before the run: the held-out score rises by at least three standard errors of the paired difference.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from running import PICTURES, record, seconds

from rung.runs.statistics import mean_at_k, paired_difference
from rung.settings import read_settings
from rung.trainers.held_out import load_scores


def main(folder: Path) -> None:
    settings = read_settings(folder / "settings.yaml")
    before, after = load_scores(folder, 0), load_scores(folder, settings.steps)
    assert before is not None and after is not None, f"{folder} is not a finished run"
    gain = paired_difference(before, after)
    result = {
        "model": "SmolLM2-135M, dequantised from 4 bit,",
        "minutes": seconds(folder) / 60,
        "seed": settings.seed,
        "steps": settings.steps,
        "before": asdict(mean_at_k(before)),
        "after": asdict(mean_at_k(after)),
        "gain": {**asdict(gain), "in_standard_errors": gain.in_standard_errors},
        "pass_line": "at least 3 standard errors",
        "passed": (gain.in_standard_errors or 0.0) >= 3.0,
    }
    record("demo", result, runs_in=[folder], command="make demo")
    shutil.copyfile(folder / "curves.png", PICTURES / "demo.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

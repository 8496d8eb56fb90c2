"""Records a finished `make demo` for the README: its scores as JSON, its curves as a picture.

    make demo && python experiments/record_demo.py runs/demo-1
    python docs/generate.py

Pass line, fixed before the run: the held-out score rises by at least three standard errors of the paired difference.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from rung.reports.json_lines import read_rows
from rung.reports.machine import machine
from rung.reports.statistics import mean_at_k, paired_difference
from rung.settings import read_settings
from rung.training.held_out import load_scores

ROOT = Path(__file__).parent.parent


def main(folder: Path) -> None:
    settings = read_settings(folder / "settings.yaml")
    before, after = load_scores(folder, 0), load_scores(folder, settings.steps)
    assert before is not None and after is not None, f"{folder} is not a finished run"
    gain = paired_difference(before, after)
    seconds = [row.get("seconds/step") or 0.0 for row in read_rows(folder / "timings.jsonl").rows]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    result = {
        "command": "make demo",
        "commit": commit.stdout.strip(),
        "model": "SmolLM2-135M, dequantised from 4 bit,",
        "machine": machine(),
        "minutes": sum(seconds) / 60,
        "hours": sum(seconds) / 3600,
        "seed": settings.seed,
        "steps": settings.steps,
        "before": asdict(mean_at_k(before)),
        "after": asdict(mean_at_k(after)),
        "gain": {**asdict(gain), "in_standard_errors": gain.in_standard_errors},
        "pass_line": "at least 3 standard errors",
        "passed": (gain.in_standard_errors or 0.0) >= 3.0,
    }
    target = ROOT / "experiments" / "results" / "demo.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    (ROOT / "docs" / "pictures").mkdir(exist_ok=True)
    shutil.copyfile(folder / "curves.png", ROOT / "docs" / "pictures" / "demo.png")
    print(f"{target}: passed: {result['passed']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

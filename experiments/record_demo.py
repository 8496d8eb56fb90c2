"""Records a finished `make demo` for the README: its scores as JSON, its curves as a picture.

    make demo && python experiments/record_demo.py runs/demo-1
    python docs/generate.py

Pass line, fixed before the run: the held-out score rises by at least three standard errors of the paired difference.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from running import PICTURES, plots, record, save_picture, seconds

from rung.runs.record.json_lines import Row, read_rows
from rung.runs.statistics import mean_at_k, paired_difference
from rung.settings import read_settings
from rung.trainers.held_out import load_scores

PANELS = {
    "Held-out score (95 %) and reward": ("held_out/score", "reward/mean"),
    "KL to the start, nats a token": ("kl/start",),
    "Entropy, nats a token": ("entropy",),
    "Completion length, tokens": ("length/mean", "length/p90"),
    "Groups of samples, shares": ("groups/no_spread", "groups/all_right", "groups/all_wrong"),
    "Gradient norm": ("grad/norm",),
}


def picture(rows: Sequence[Row], path: Path) -> None:
    """The metrics of a README's reader, a panel each; where there are many steps, means of ten of them."""
    figure, panels = plots().subplots(2, 3, figsize=(11, 5.2))
    for panel, (title, names) in zip(panels.flat, PANELS.items(), strict=True):
        panel.set_title(title, loc="left", fontsize=10)
        for name in names:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            each = 10 if len(points) > 50 else 1
            means = [
                [sum(values) / len(values) for values in zip(*points[i : i + each], strict=True)]
                for i in range(0, len(points), each)
            ]
            panel.plot(*zip(*means, strict=True), label=name)
        if len(names) > 1:
            panel.legend(fontsize=8)
    scored = [row for row in rows if row.get("held_out/low") is not None]
    ends = ([row[f"held_out/{end}"] for row in scored] for end in ("low", "high"))
    panels.flat[0].fill_between([row["step"] for row in scored], *ends, alpha=0.16, linewidth=0)
    save_picture(figure, path)


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
    picture(read_rows(folder / "metrics.jsonl").rows, PICTURES / "demo.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

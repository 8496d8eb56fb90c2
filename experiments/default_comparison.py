"""`rung compare` as it comes: the ladder on the tiny model and arithmetic, at equal generated tokens, three seeds.

    python experiments/default_comparison.py    about a quarter of an hour on two cores that do nothing else
    python docs/generate.py                     prints it into README.md and docs/compare.md

Pass line, fixed before the run: it ends within fifteen minutes on two cores, the making of the tiny model left out, and
every run of every method ends without an error. Which method is ahead is no line: it is what is measured.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from running import PICTURES, ROOT, plots, provenance, record, recorded, rung, save_picture

FOLDER = ROOT / "runs" / "default_comparison"
MOST_MINUTES = 15.0


def picture(result: dict[str, Any], path: Path) -> None:
    """Each method's score with its interval, and the score against generated tokens."""
    rows = sorted(result["methods"], key=lambda row: row["score"])
    figure, (bars, curves) = plots().subplots(1, 2, figsize=(11, 3.6), width_ratios=(1, 1.3))
    for place, row in enumerate(rows):
        low, high = row["interval"]
        colour = f"C{[one['method'] for one in result['methods']].index(row['method'])}"
        bars.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        bars.plot(100 * row["score"], place, "o", color=colour)
        points = zip(*(run["curve"] for run in row["runs"]), strict=False)
        means = [[sum(p[axis] for p in at) / len(at) for axis in (0, 1)] for at in points]
        curves.plot([x / 1000 for x, _ in means], [100 * y for _, y in means], color=colour)
    bars.axvline(100 * result["start"], color="grey", linewidth=0.8, linestyle="--")
    bars.set_yticks(range(len(rows)), [row["method"] for row in rows])
    curves.set_ylabel("right, %")
    bars.set_xlabel("right on held-out problems, %; dashed: the start")
    curves.set_xlabel("generated tokens, thousands; colours as on the left")
    save_picture(figure, path)


def summary(data: dict[str, Any], minutes: float) -> dict[str, Any]:
    """What the docs print of a comparison.json."""
    kept = ("method", "score", "interval", "spent", "worst_seed")
    methods = [
        {
            **{name: row[name] for name in kept},
            "runs": [
                {"seed": run["seed"], "curve": [[at["spent"]["tokens"], at["score"]] for at in run["curve"]]}
                for run in row["runs"]
            ],
        }
        for row in data["methods"]
    ]
    starts = [run["curve"][0][1] for row in methods for run in row["runs"]]
    failed = sum(len(row["failed"]) + len(row["not_run"]) for row in data["methods"])
    return {
        "seeds": data["methods"][0]["seeds"],
        "minutes": minutes,
        "pass_line": f"within {MOST_MINUTES:g} minutes on two cores, and no run fails",
        "passed": minutes <= MOST_MINUTES and not failed,
        "start": sum(starts) / len(starts),
        "verdict": data["verdict"],
        "methods": methods,
    }


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("default_comparison")
    if run is None:
        return "Not recorded yet."
    lines = [
        run["verdict"]["headline"],
        "",
        "| method | right on held-out problems | interval | worst seed | 10⁹ operations a run | seconds a run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(run["methods"], key=lambda row: -row["score"]):
        low, high = row["interval"]
        spent = f"{row['spent']['flops'] / 1e9:,.0f} | {row['spent']['seconds']:.0f}"
        score = f"{100 * row['score']:.1f} % | {100 * low:.1f} to {100 * high:.1f}"
        lines.append(f"| `{row['method']}` | {score} | {100 * row['worst_seed']['score']:.1f} % | {spent} |")
    before = f"Before training: {100 * run['start']:.1f} %. It took {run['minutes']:.1f} minutes."
    return "\n".join([*lines, "", before, "", provenance(run)])


def main() -> None:
    began = time.perf_counter()
    rung("check", "grpo", "--model", "tiny", "--task", "arithmetic")
    rung("compare", "--out", str(FOLDER))
    minutes = (time.perf_counter() - began) / 60
    data = json.loads((FOLDER / "comparison.json").read_text())
    result = record("default_comparison", summary(data, minutes), command="rung compare")
    picture(result, PICTURES / "default_comparison.png")


if __name__ == "__main__":
    main()

"""`rung compare` as it comes: the ladder on the tiny model and arithmetic, at equal generated tokens, three seeds.

About a quarter of an hour on two cores that do nothing else.

Pass line, fixed before the run: it ends within fifteen minutes on two cores, the making of the tiny model left out, and
every run of every method ends without an error. Which method is ahead is no line: it is what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from experiment import Experiment, Result, Work
from pictures import GREY, panels, say
from words import percent, provenance, table

MOST_MINUTES = 15.0
SMALL = ("grpo", "rft", "--budget", "tokens=2K", "--set", "evaluation.num_items=8")
"""What is compared where it is only tried."""


def measure(work: Work, folders: object) -> dict[str, Any]:
    began = time.perf_counter()
    work.rung("check", "grpo", "--model", "tiny", "--task", "arithmetic")
    work.rung("compare", *(SMALL if work.small else ()), "--out", str(work.folder))
    return summary(json.loads((work.folder / "comparison.json").read_text()), (time.perf_counter() - began) / 60)


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
        "command": "rung compare",
        "passed": minutes <= MOST_MINUTES and not failed,
        "start": sum(starts) / len(starts),
        "verdict": data["verdict"],
        "methods": methods,
    }


def title(run: Result) -> str:
    return run["verdict"]["headline"]


def picture(run: Result) -> Any:
    """Each method's score with its interval, and the score against generated tokens."""
    figure, (bars, curves) = panels(1, 2, size=(11, 3.6), width_ratios=(1, 1.3))
    colours = {row["method"]: f"C{place}" for place, row in enumerate(run["methods"])}
    for place, row in enumerate(sorted(run["methods"], key=lambda row: row["score"])):
        low, high = row["interval"]
        colour = colours[row["method"]]
        bars.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        bars.plot(100 * row["score"], place, "o", color=colour)
        shortest = min(len(one["curve"]) for one in row["runs"])
        tokens, scores = np.mean([one["curve"][:shortest] for one in row["runs"]], axis=0).T
        curves.plot(tokens / 1000, 100 * scores, color=colour)
    bars.axvline(100 * run["start"], **GREY)
    bars.set_yticks(
        range(len(colours)), [row["method"] for row in sorted(run["methods"], key=lambda row: row["score"])]
    )
    say(bars, "right on held-out problems, %; dashed: the start")
    say(curves, "generated tokens, thousands; colours as on the left", "right, %")
    return figure


def lines(run: Result) -> Iterator[str]:
    yield from (run["verdict"]["headline"], "")
    rows = [
        (
            *(f"`{row['method']}`", f"{percent(row['score'])} %", " to ".join(map(percent, row["interval"]))),
            f"{percent(row['worst_seed']['score'])} %",
            *(f"{row['spent']['flops'] / 1e9:,.0f}", f"{row['spent']['seconds']:.0f}"),
        )
        for row in sorted(run["methods"], key=lambda row: -row["score"])
    ]
    head = "right on held-out problems | interval | worst seed | 10⁹ operations a run | seconds a run"
    yield from table(f"method | {head}", rows)
    yield from ("", f"Before training: {percent(run['start'])} %. It took {run['minutes']:.1f} minutes.", "")
    yield provenance(run)


EXPERIMENT = Experiment.here(
    globals(),
    pass_line=f"within {MOST_MINUTES:g} minutes on two cores, and no run fails",
    origin_first=False,
)

if __name__ == "__main__":
    EXPERIMENT.main()

"""CartPole beside Stable-Baselines3, sb3-contrib and a C program: environment steps a second of one core, in one run.

    make bench-control                              with the peers installed beside rung
    python benchmarks/control.py --python P         with the interpreter of an environment that has the peers

Every hyper-parameter is the peer's. The C program (control.c) does PPO's work and no other; it is compiled with `cc`
where there is one. Processor seconds are what counts, because other work may run beside; seconds on the wall stand in
brackets. rung's loops are compiled before its clock runs, and what that took is told. Writes
`benchmarks/results/control.json`, from which benchmarks/README.md is generated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from environment_cases import CARTPOLE, CASES, EQUAL, Case
from environment_steps import ONE_THREAD
from grpo_step import measured

from rung.runs.record.machine import machine

HERE = Path(__file__).parent
LINES = {"PPO": 28, "TRPO": 10, "actor-critic": 10, "DQN": 10}
"""rung's steps a second are to be so many times the peer's, by processor seconds; PPO's also 50,000."""


def in_c(steps: int, seed: int) -> dict[str, Any] | None:
    """The C program's result; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program, flags = f"{folder}/control", ("-O3", "-march=native", "-ffast-math")
        subprocess.run([compiler, *flags, "-o", program, str(HERE / "control.c"), "-lm"], check=True)
        said = subprocess.run([program, str(steps), str(seed)], check=True, capture_output=True, text=True)
    return json.loads(said.stdout)


def row_of(number: int, case: Case, asked: argparse.Namespace) -> dict[str, Any]:
    """A case: rung, the peer and C in turn, seed after seed."""
    found: dict[str, Any] = {"method": case.method, "differs": case.differs, "rung": [], "peer": [], "c": []}
    steps = round(case.steps * asked.scale)
    for seed in range(asked.repeats):
        given = (str(number), str(steps), str(seed))
        found["rung"].append(measured("environment_rung.py", *given, **ONE_THREAD))
        found["peer"].append(measured("environment_sb3.py", *given, python=asked.python, **ONE_THREAD))
        if case.method == "PPO" and (ran := in_c(steps, seed)) is not None:
            found["c"].append(ran)
    return found


def rate(runs: list[dict[str, Any]], clock: str) -> float:
    """Steps a second of this clock, the median of the seeds."""
    return median(run["steps"] / run[clock] for run in runs)


def rates(runs: list[dict[str, Any]]) -> str:
    return f"{rate(runs, 'processor'):,.0f} ({rate(runs, 'seconds'):,.0f})" if runs else ""


def line_of(row: dict[str, Any]) -> str:
    times, line = rate(row["rung"], "processor") / rate(row["peer"], "processor"), LINES[row["method"]]
    scores = [" ".join(f"{run['score']:.0f}" for run in row[side]) for side in ("rung", "peer", "c")]
    verdict = f"{line}x" if times >= line else f"{line}x, **missed**"
    ran = " | ".join(rates(row[side]) for side in ("rung", "peer", "c"))
    return (
        f"| {row['method']} | {row['rung'][0]['steps']:,} | {ran} | {times:.1f}x | {verdict} | {' / '.join(scores)} |"
    )


def markdown(result: dict[str, Any]) -> str:
    first = max(run["first"] for row in result["rows"] for run in row["rung"])
    return "\n".join(
        [
            f"{result['machine']}, one core each, Stable-Baselines3 and sb3-contrib {result['version']}, every "
            f"hyper-parameter the peer's. Steps a second of the processor, in brackets on the wall, the median of "
            f"seeds 0 to {result['repeats'] - 1}; the score is the mean of 20 greedy episodes, seed by seed. Commit "
            f"{result['commit']}, {result['date']}: `{result['command']}`, {result['minutes']:.0f} minutes. The "
            f"slowest first {result['first_steps']:,} steps, with what is compiled or read from the cache, took "
            f"{first:.0f} s.",
            "",
            "| | steps | rung, steps/s | SB3, steps/s | C, steps/s | ratio | line | score, rung / SB3 / C |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(line_of(row) for row in result["rows"]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", default=sys.executable, help="the Python that has stable-baselines3 and sb3-contrib"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="times the cases' steps")
    parser.add_argument("--repeats", type=int, default=3, help="seeds")
    asked = parser.parse_args()
    if not asked.scale > 0 or asked.repeats < 1:
        parser.error(f"--scale, --repeats: got {asked.scale:g}, {asked.repeats}, expected more than 0, at least 1")
    began = time.perf_counter()
    cases = [(n, case) for n, case in enumerate(CASES) if case.task == CARTPOLE and case.settings == EQUAL]
    rows = [row_of(number, case, asked) for number, case in cases]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "machine": machine(),
        "version": rows[0]["peer"][0]["version"],
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python benchmarks/control.py --scale {asked.scale:g} --repeats {asked.repeats}",
        "repeats": asked.repeats,
        "first_steps": rows[0]["rung"][0]["first_steps"],
        "minutes": (time.perf_counter() - began) / 60,
        "rows": rows,
    }
    result["markdown"] = markdown(result)
    (HERE / "results" / "control.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result["markdown"])


if __name__ == "__main__":
    main()

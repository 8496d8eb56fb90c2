"""Environment steps a second beside Stable-Baselines3 and sb3-contrib, on the same machine and in one run.

    make bench-environments                              with the peers installed beside rung
    python benchmarks/environment_steps.py --python P    with the interpreter of an environment that has the peers
    python benchmarks/environment_steps.py --scale 0.2 --only dqn     a shorter look, at some rows

Each measurement is a process of its own, one at a time, with one thread of torch; its clock runs while it learns, not
while it is built or scored. The score is the mean return of 20 greedy episodes of Gymnasium's own environment, with
the same seeds for both. Lines, cases and what differs between the two stand in environment_cases.py. Writes
`benchmarks/results/environment_steps.json`, from which benchmarks/README.md is generated.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from environment_cases import CASES, EPISODES, Case
from grpo_step import measured

from rung.runs.record.machine import machine

HERE = Path(__file__).parent
SIDES = ("rung", "peer")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def rows(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Every case, rung and the peer in turn; what a peer did is measured once where two cases ask for the same."""
    found: list[dict[str, Any]] = []
    peers: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for number, case in enumerate(CASES):
        if asked.only and not any(word.lower() in f"{case.method} {case.task}".lower() for word in asked.only):
            continue
        if case.engine == "envpool" and importlib.util.find_spec("envpool") is None:
            found.append({**stated(case), "missing": "envpool is not installed here"})
            continue
        steps = str(round(case.steps * asked.scale))
        same = (case.peer, case.task, case.num_environments, steps, json.dumps(case.arguments, sort_keys=True))
        mine: list[dict[str, Any]] = []
        known = same in peers
        for seed in range(asked.repeats if case.scored else 1):
            given = (str(number), steps, str(seed))
            mine.append(measured("environment_rung.py", *given, **ONE_THREAD))
            if not known:
                theirs = measured("environment_sb3.py", *given, python=asked.python, **ONE_THREAD)
                peers.setdefault(same, []).append(theirs)
        found.append({**stated(case), "rung": mine, "peer": peers[same]})
    return found


def stated(case: Case) -> dict[str, Any]:
    """What is known of a case before it is measured."""
    names = ("method", "task", "settings", "engine", "line", "differs")
    return {name: getattr(case, name) for name in names} | {"num_environments": case.num_environments}


def rate(runs: list[dict[str, Any]]) -> float:
    """Environment steps a second: the median of the repeats."""
    return median(run["steps"] / run["seconds"] for run in runs)


def reached(runs: list[dict[str, Any]]) -> int | None:
    """The return as a whole number: the median of the repeats; None: not scored."""
    scores = [run["score"] for run in runs]
    return None if None in scores else round(median(scores))


def both(row: dict[str, Any]) -> str:
    """rung's return and the peer's."""
    return " / ".join("not scored" if (found := reached(row[side])) is None else str(found) for side in SIDES)


def lower(row: dict[str, Any]) -> bool:
    """Whether rung's return is below the peer's: a line holds at an equal or better one."""
    mine, theirs = (reached(row[side]) for side in SIDES)
    return mine is not None and theirs is not None and mine < theirs


def taken(row: dict[str, Any]) -> str:
    """Environment steps; the peer's too where whole rollouts of its size end elsewhere."""
    mine, theirs = row["rung"][0]["steps"], row["peer"][0]["steps"]
    return f"{mine:,}" if mine == theirs else f"{mine:,} / {theirs:,}"


def line_of(row: dict[str, Any]) -> str:
    engine = ", envpool" if row["engine"] == "envpool" else ""
    begins = f"| {row['method']}, {row['task']} | {row['settings']}{engine} |"
    if "missing" in row:
        return f"{begins} not measured: {row['missing']} | | | | | | |"
    mine, theirs = rate(row["rung"]), rate(row["peer"])
    ratio = mine / theirs
    missed = ratio < row["line"] or lower(row)
    line = f"{row['line']:g}x{', **missed**' if missed else ''}{' (a lower return)' if lower(row) else ''}"
    return (
        f"{begins} {taken(row)} | {mine:,.0f} | {theirs:,.0f} | {ratio:.1f}x | {line} | "
        f"{both(row)} | {row['differs']} |"
    )


def seeds_of(result: dict[str, Any]) -> str:
    """Which seeds the rows' numbers are of."""
    repeats = max(len(row.get("rung", [])) for row in result["rows"])
    return "one seed" if repeats == 1 else f"the median of {repeats} seeds (one where nothing is scored)"


def markdown(result: dict[str, Any]) -> str:
    lines = [
        f"{result['machine']}. One thread of torch each, Stable-Baselines3 and sb3-contrib {result['version']}; the "
        f"return is the mean of {EPISODES} greedy episodes after those steps, {seeds_of(result)}. Commit "
        f"{result['commit']}, {result['date']}: `{result['command']}`, {result['minutes']:.0f} minutes.",
        "",
        "| | settings | steps | rung, steps/s | SB3, steps/s | ratio | line | return, rung / SB3 | what differs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(line_of(row) for row in result["rows"]),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", default=sys.executable, help="the Python that has stable-baselines3 and sb3-contrib"
    )
    parser.add_argument("--scale", type=float, default=2.0, help="times the cases' steps; 2 is about 15 minutes")
    parser.add_argument(
        "--repeats", type=int, default=1, help="of what is scored, each with its own seed; the median counts"
    )
    parser.add_argument("--only", nargs="*", default=[], help="words of a method or task; the result is not written")
    asked = parser.parse_args()
    if not asked.scale > 0 or asked.repeats < 1:
        parser.error(
            f"--scale and --repeats: got {asked.scale:g} and {asked.repeats}, expected more than 0, at least 1"
        )
    began = time.perf_counter()
    found = rows(asked)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    version = next((row["peer"][0]["version"] for row in found if "peer" in row), "not measured")
    result: dict[str, Any] = {
        "machine": machine(),
        "version": version,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python benchmarks/environment_steps.py --scale {asked.scale:g} --repeats {asked.repeats}",
        "minutes": (time.perf_counter() - began) / 60,
        "rows": found,
    }
    result["markdown"] = markdown(result)
    if not asked.only:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "environment_steps.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result["markdown"])


if __name__ == "__main__":
    main()

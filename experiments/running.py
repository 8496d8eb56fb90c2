"""What the experiments share: runs in processes of their own that go on where they stopped, and a result's record.

    runs = [Run("ppo-0", "train", "ppo", "--task", "CartPole-v1", "--seed", "0", settings=("steps=40",))]
    run_all(runs, ROOT / "runs" / "cartpole")
    record("cartpole", {"seeds": [0], "pass_line": "...", "passed": True}, runs_in=folders)

An experiment is one file: its docstring states the pass lines before the run, `main` runs and records, and `words`
says the recorded result for the docs (`python docs/generate.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rung.runs.record.json_lines import read_rows
from rung.runs.record.machine import machine

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
PICTURES = ROOT / "docs" / "pictures"
QUIETLY = ("reporting.page=false", "saving.every=20")
"""Settings of every run of an experiment: nobody reads its page, and a kill costs at most 20 steps."""


@dataclass(frozen=True, init=False)
class Run:
    """One `rung` command with a folder of its own.

    Example: `Run("dqn-3", "train", "dqn", "--task", "CartPole-v1", "--seed", "3", settings=("steps=100",))`.
    """

    name: str
    command: tuple[str, ...]

    def __init__(self, name: str, *command: str, settings: Iterable[str] = ()) -> None:
        sets = [word for setting in (*QUIETLY, *settings) for word in ("--set", setting)]
        object.__setattr__(self, "name", name.replace(" ", "_"))
        object.__setattr__(self, "command", (*command, *sets, "--quiet"))

    def finish(self, folder: Path) -> None:
        """Runs it, or what is left of it. A run with a final model is left alone."""
        if (folder / "final").is_dir():
            return
        begun = (folder / "settings.yaml").exists()
        began = time.perf_counter()
        rung(*(("resume", str(folder)) if begun else (*self.command, "--out", str(folder))))
        print(f"{self.name}: {time.perf_counter() - began:.0f} s", flush=True)


def rung(*command: str) -> str:
    """One command of rung in a process of its own, on one thread; returns what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = [sys.executable, "-m", "rung.cli", *command]
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"rung {' '.join(command)}\nexit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def run_all(runs: Sequence[Run], under: Path, *, at_once: int = 2) -> list[Path]:
    """Finishes every run, `at_once` at a time; returns their folders, `under / name`."""
    under.mkdir(parents=True, exist_ok=True)
    folders = [under / run.name for run in runs]
    assert len(set(folders)) == len(folders), "two runs in one folder"
    finish_all([partial(run.finish, folder) for run, folder in zip(runs, folders, strict=True)], at_once)
    return folders


def finish_all(jobs: Sequence[Callable[[], None]], at_once: int) -> None:
    """Every job, `at_once` at a time; the first that fails ends what has not begun."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(job) for job in jobs]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def metrics(folder: Path) -> list[dict[str, Any]]:
    """A run's metrics, a row a step."""
    return list(read_rows(folder / "metrics.jsonl").rows)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The rows with a held-out score."""
    return [row for row in metrics(folder) if row.get("held_out/score") is not None]


def seconds(folder: Path) -> float:
    """What the run's steps took."""
    return sum(row.get("seconds/step") or 0.0 for row in read_rows(folder / "timings.jsonl").rows)


def commit() -> str:
    """The commit that the code is of, with a + where the working tree has other code in src."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")


def record(name: str, result: Mapping[str, Any], *, runs_in: Iterable[Path] = (), command: str = "") -> dict[str, Any]:
    """Writes experiments/results/NAME.json: the result under what says how it was got."""
    whole = {
        "command": command or f"python experiments/{name}.py",
        "commit": commit(),
        "machine": machine(),
        "hours": sum(seconds(folder) for folder in runs_in) / 3600,
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    written = json.dumps(whole, indent=1).replace(f"{ROOT}/", "")  # where the repository lies is nobody's business
    (RESULTS / f"{name}.json").write_text(written + "\n")
    said = f"passed: {whole['passed']}" if "passed" in whole else whole.get("verdict", "recorded")
    print(f"{name}: {said}", flush=True)
    return whole


def recorded(name: str) -> dict[str, Any] | None:
    """The recorded result of an experiment; None: there is none yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def provenance(run: Mapping[str, Any]) -> str:
    """A recorded result's first line in the docs."""
    return f"{origin(run)} Pass line: {run['pass_line']}. Passed: {'yes' if run['passed'] else '**no**'}."


def origin(run: Mapping[str, Any]) -> str:
    """How a recorded result was got: machine, commit, seeds, hours, command."""
    hours = f", {_core_time(run['hours'])} of one core" if run.get("hours", 0.0) > 1 / 60 else ""
    beside = f" ({run['beside']})" if run.get("beside") else ""
    seeds = f", seeds {_span(run['seeds'])}" if "seeds" in run else f", seed {run['seed']}" if "seed" in run else ""
    return f"{run['machine']}; commit {run['commit']}{seeds}{hours}{beside}. Command: `{run['command']}`."


def _core_time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 0.95 else f"{60 * hours:.0f} minutes"


def _span(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def plots() -> Any:
    """matplotlib.pyplot, drawing without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def save_picture(figure: Any, path: Path, below: float = 0.0) -> None:
    """A faint grid in every panel, and the file; `below`: the share of the height left to a common legend."""
    for panel in figure.axes:
        panel.grid(alpha=0.2)
    figure.tight_layout(rect=(0, below, 1, 1))
    figure.savefig(path, dpi=110)

"""An experiment as data, and what runs, records and says every one of them.

    EXPERIMENT = Experiment.here(globals(), seeds=range(3), pass_line="...", shows="...")     with runs, measure, lines

    python experiments/NAME.py                   runs what is missing, two at a time, records it and draws its picture
    python experiments/NAME.py --try             the same at its smallest size, in a folder that is thrown away
    python experiments/NAME.py --seeds 100       other seeds at full size; the result is printed, not recorded
    python experiments/NAME.py --draw            the picture anew, out of the recorded result
    python docs/generate.py                      prints the recorded result into docs

A run that was stopped goes on where it stopped. Pass lines are fixed before the run and stand in the declaration.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Self

from pictures import save
from words import provenance

from rung.runs.record.files import read_rows
from rung.runs.record.machine import machine

ROOT = Path(__file__).parent.parent
RESULTS, PICTURES = ROOT / "experiments" / "results", ROOT / "docs" / "pictures"
QUIETLY = ("reporting.page=false", "saving.every=20")
"""Settings of every run: nobody reads its page, and a kill costs at most 20 steps."""
TRIED = {
    **{"evaluation.num_items": "4", "evaluation.num_samples": "2", "evaluation.every": "1", "saving.every": "1"},
    **{"prompts_per_step": "4", "prompts": "24", "method.num_minibatches": "2", "preferences.labels": "40"},
    **{"method.pairs_per_step": "4", "method.optimizer.warmup_steps": "0", "method.horizon": "128"},
}
"""What `--try` makes of a setting that a command has; steps become a few, and budgets go."""
TRIED_FLAGS = {"--items": "4"}
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One training: what `rung train` is told. Example: `Run("dqn", "CartPole-v1", 3, ("steps=100",))`."""

    method: str
    task: str
    seed: int
    settings: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    """Further words: a model, a recipe, rewards."""
    stage: int = 0
    """A later stage begins when all runs of the earlier ones have ended."""

    @property
    def command(self) -> tuple[str, ...]:
        words = ("train", self.method, "--task", self.task, "--seed", str(self.seed), *self.more)
        return (*words, *sets(*QUIETLY, *self.settings), "--quiet")


def sets(*settings: str) -> tuple[str, ...]:
    """Settings as words of a command."""
    return tuple(word for setting in settings for word in ("--set", setting))


def tried(command: Sequence[str], steps: int = 2) -> tuple[str, ...]:
    """The command at its smallest size.

    >>> tried(["train", "ppo", "--set", "steps=40", "--set", "budget.tokens=9", "--items", "60"])
    ('train', 'ppo', '--items', '4', '--set', 'steps=2', '--set', 'evaluation.num_items=4')
    """
    made: list[str] = []
    words = iter(command)
    for word in words:
        value = next(words) if word == "--set" or word in TRIED_FLAGS else ""
        key = value.partition("=")[0]
        if word in TRIED_FLAGS:
            made += [word, TRIED_FLAGS[word]]
        elif word != "--set":
            made.append(word)
        elif key in TRIED and key != "evaluation.num_items":
            made += ["--set", f"{key}={TRIED[key]}"]
        elif key not in ("steps", "evaluation.num_items") and not key.startswith("budget."):
            made += ["--set", value]
    items = sets("evaluation.num_items=4") if command[0] == "train" else ()
    return (*made, *(sets(f"steps={steps}") if command[0] in ("train", "sft") else ()), *items)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One working-through of an experiment: where its runs are, of which seeds, and whether it is only tried."""

    root: Path
    name: str
    seeds: tuple[int, ...]
    small: bool = False
    asked: argparse.Namespace = field(default_factory=argparse.Namespace)
    trained: list[Path] = field(default_factory=list[Path])

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def few(self, many: Sequence[Any], few: int = 2) -> Any:
        """All of these, or the first ones where it is only tried."""
        return many[:few] if self.small else many

    def points(self, steps: Sequence[int]) -> tuple[int, ...]:
        """Steps that are looked at: the first ones where it is only tried. Step 0 stays."""
        first = min(1, steps[0])
        return tuple(range(first, first + len(steps))) if self.small else tuple(steps)

    def rung(self, *command: str, steps: int = 2) -> str:
        return rung_here(*tried(command, steps)) if self.small else rung(*command)

    def beside(self, jobs: Sequence[Callable[[], Any]], at_once: int = 2) -> list[Any]:
        """What every job returns; one after the other where it is only tried, for then they share this process."""
        return [job() for job in jobs] if self.small else side_by_side(jobs, at_once)

    def train(self, runs: Mapping[Any, Run], *, at_once: int = 2, steps: int = 2) -> dict[Any, Path]:
        """Every run, finished, by its key; the folder has the key's name."""
        folders = {key: self.folder / name_of(key) for key in runs}
        assert len(set(folders.values())) == len(folders), "two runs in one folder"
        for stage in sorted({run.stage for run in runs.values()}):
            at_stage = [key for key, run in runs.items() if run.stage == stage]
            jobs = [partial(self.finish, runs[key], folders[key], steps) for key in at_stage]
            self.beside(jobs, at_once)
        self.trained.extend(folders.values())
        return folders

    def finish(self, run: Run, folder: Path, steps: int = 2) -> None:
        """Runs it, or what is left of it. A run with a final model is left alone."""
        if (folder / "final").is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        begun, began = (folder / "settings.yaml").exists(), time.perf_counter()
        self.rung(*(("resume", str(folder)) if begun else (*run.command, "--out", str(folder))), steps=steps)
        print(f"{folder.name}: {time.perf_counter() - began:.0f} s", flush=True)


def name_of(key: Any) -> str:
    """A folder's name. Example: `name_of(("dqn, one step", 8, 0))` is `dqn-one_step-8-0`."""
    parts = key if isinstance(key, tuple) else (key,)
    return "-".join(map(str, parts)).replace(", ", "-").replace(" ", "_").replace("'", "")


def rung(*command: str) -> str:
    """One command of rung in a process of its own, on one thread; returns what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = [sys.executable, "-m", "rung.cli", *command]
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"rung {' '.join(command)}\nexit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def rung_here(*command: str) -> str:
    """The same in this process, which has loaded everything once: for runs so short that loading would take longest."""
    from typer.testing import CliRunner

    from rung.cli import app

    done = CliRunner().invoke(app, list(command))
    if done.exit_code:
        raise SystemExit(f"rung {' '.join(command)}\nexit {done.exit_code}\n{done.stderr[-2000:]}") from done.exception
    return done.stdout


def side_by_side(jobs: Sequence[Callable[[], Any]], at_once: int = 2) -> list[Any]:
    """What every job returns, `at_once` at a time; the first that fails ends what has not begun."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(job) for job in jobs]
        try:
            return [one.result() for one in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def metrics(folder: Path) -> list[dict[str, Any]]:
    """A run's metrics, a row a step."""
    return list(read_rows(folder / "metrics.jsonl").rows)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """The rows with a held-out score."""
    return [row for row in metrics(folder) if row.get("held_out/score") is not None]


def scores(folder: Path, against: str = "environment/steps") -> list[list[float]]:
    """[what was spent, held-out score] of each evaluation."""
    return [[row.get(against) or 0.0, row["held_out/score"]] for row in evaluations(folder)]


def read_all(folders: Mapping[Any, Path], read: Callable[[Path], Any]) -> dict[Any, Any]:
    """What is read of each run, by the parts of its key: `found[arm][seed]`."""
    found: dict[Any, Any] = {}
    for key, folder in folders.items():
        place = found
        for part in key[:-1]:
            place = place.setdefault(part, {})
        place[key[-1]] = read(folder)
    return found


def seconds(folder: Path) -> float:
    """What the run's steps took."""
    return sum(row.get("seconds/step") or 0.0 for row in read_rows(folder / "timings.jsonl").rows)


def commit() -> str:
    """The commit that the code is of, with a + where the working tree has other code in src."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")


def recorded(name: str) -> dict[str, Any] | None:
    """The recorded result of an experiment; None: there is none yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def required(name: str) -> dict[str, Any]:
    """The recorded result that another experiment reads. SystemExit where there is none."""
    found = recorded(name)
    if found is None:
        raise SystemExit(f"experiments/{name}.py has no recorded result; run it first: its runs are read here")
    return found


def no_runs(work: Work) -> Mapping[Any, Run]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is asked, what must be reached, what is run, what is read of it, and how it is shown."""

    name: str
    about: str | None
    """The docstring of its file: title and question, protocol, pass lines."""
    seeds: Sequence[int] = (0,)
    pass_line: str = ""
    measure: Callable[[Work, dict[Any, Path]], dict[str, Any]]
    """The result, of the runs' folders by key."""
    lines: Callable[[Result], Iterable[str]]
    """What the docs say below the pass line."""
    runs: Callable[[Work], Mapping[Any, Run]] = no_runs
    prepare: Callable[[Work], object] | None = None
    """What the runs begin with: models, pairs."""
    picture: Callable[[Result], Any] | None = None
    """Its figure, of the result alone."""
    title: Callable[[Result], str] | None = None
    """What the figure shows to be so, of the result alone: it stands above it."""
    shows: str = ""
    """The picture, in words."""
    film: str = ""
    """The film beside it, in words."""
    origin_first: bool = True
    """Whether the docs begin with how the result was got; otherwise `lines` says it."""
    options: Callable[[argparse.ArgumentParser], object] | None = None
    at_once: int = 2
    tried_steps: int = 2

    @classmethod
    def here(cls, module: Mapping[str, Any], **given: Any) -> Self:
        """That of a file: its name, its docstring, and its functions that have the names of slots."""
        slots = {one.name for one in fields(cls)} - given.keys()
        found = {name: module[name] for name in slots if callable(module.get(name))}
        return cls(name=Path(module["__file__"]).stem, about=module["__doc__"], **found, **given)

    @property
    def command(self) -> str:
        return f"python experiments/{self.name}.py"

    @property
    def key(self) -> str:
        """The name of its recorded result."""
        return self.name

    @property
    def image(self) -> Path:
        return PICTURES / f"{self.name}.svg"

    def worked(self, work: Work) -> dict[str, Any]:
        """The whole result, as it would be recorded."""
        if self.prepare is not None:
            self.prepare(work)
        at_once = getattr(work.asked, "at_once", self.at_once)
        found = self.measure(work, work.train(self.runs(work), at_once=at_once, steps=self.tried_steps))
        whole = {
            "command": self.command,
            "commit": commit(),
            "machine": machine(),
            "hours": sum(seconds(folder) for folder in work.trained) / 3600,
            "seeds": list(work.seeds),
            **({"pass_line": self.pass_line} if self.pass_line else {}),
            **({"passed": all(map(held, found["lines"].values()))} if "lines" in found else {}),
            **found,
        }
        return json.loads(json.dumps(whole).replace(f"{ROOT}/", ""))  # where it lies is nobody's business

    def record(self, whole: Mapping[str, Any]) -> None:
        """Writes experiments/results/NAME.json and the picture."""
        (RESULTS / f"{self.key}.json").write_text(json.dumps(whole, indent=1) + "\n")
        self.draw(whole, self.image)

    def draw(self, result: Result, path: Path) -> None:
        if self.picture is not None:
            save(self.picture(result), path, self.heading(result))

    def heading(self, result: Result) -> str:
        """What stands above the picture."""
        return "" if self.title is None else self.title(result)

    def try_out(self, asked: argparse.Namespace | None = None) -> str:
        """Everything at its smallest size in a folder that is thrown away; what the docs would say of it."""
        with tempfile.TemporaryDirectory() as place:
            asked = asked or self._parser().parse_args(["--try"])
            work = Work(root=Path(place), name=self.name, seeds=tuple(self.seeds[:2]), small=True, asked=asked)
            whole = self.worked(work)
            self.draw(whole, Path(place) / "picture.svg")
            return "\n".join(self.said(whole)).replace(place, "PLACE")

    def said(self, run: Result) -> Iterator[str]:
        """What the docs say of a result."""
        if self.shows:
            yield from (f"![{self.shows}](pictures/{self.image.name})", "")
        if self.film:
            yield from (f"![{self.film}](pictures/{self.name}.gif)", "")
        if self.origin_first:
            yield provenance(run)
        yield from self.lines(run)

    def words(self) -> str:
        """What the docs say of the recorded result."""
        run = recorded(self.key)
        return "Not recorded yet." if run is None else "\n".join(self.said(run))

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(description=(self.about or "").split("\n\n")[0])
        parser.add_argument("--try", action="store_true", dest="small", help="at its smallest size; nothing is kept")
        parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="other seeds; printed, not recorded")
        parser.add_argument("--draw", action="store_true", help="the picture anew, of the recorded result")
        if self.options is not None:
            self.options(parser)
        return parser

    def main(self, words: Sequence[str] | None = None) -> None:
        asked = self._parser().parse_args(words)
        if asked.draw:
            self.draw(required(self.key), self.image)
        elif asked.small:
            print(self.try_out(asked))
        else:
            seeds = tuple(asked.seeds or self.seeds)
            whole = self.worked(Work(root=ROOT / "runs", name=self.name, seeds=seeds, asked=asked))
            print("\n".join(self.said(whole)))
            if seeds == tuple(self.seeds):
                self.record(whole)


def held(line: Any) -> bool:
    """Whether a pass line was reached: a truth value, or what says so under `passed`; without one there is no line."""
    return bool(line.get("passed", True)) if isinstance(line, Mapping) else bool(line)


def load(name: str) -> Experiment:
    """The declaration in a file of experiments or of experiments/claims."""
    for home in (ROOT / "experiments", ROOT / "experiments" / "claims"):
        if str(home) not in sys.path:
            sys.path.insert(0, str(home))
    return importlib.import_module(name).EXPERIMENT

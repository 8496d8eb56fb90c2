"""The runs of a comparison, some at a time: finished ones are left alone, begun ones resumed, failed ones repeated.

Each is made in a process of its own: its memory is its own, and its failure nobody else's.

    python -m rung.lab.compare.runs         its input's first line: {"folder": ..., "shared": ..., "settings": {...}}

The input stays open as long as the parent lives. When it ends, this process ends at once, as by a power cut: a run
loses nothing by that, and nobody is left at work behind a comparison that was killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RungError, SettingsError
from rung.lab.compare.plan import Comparison, RunName, outcome_file, run_folder, shared_folder
from rung.runs.loop import STOPPED_BY_SIGNAL, StopRequest
from rung.runs.record.console import duration
from rung.tasks.own_environment import module_of
from rung.trainers.handed import Handed
from rung.whole_files import write_whole

if TYPE_CHECKING:
    from rung.settings import Settings
    from rung.trainers.handed import Handed


POLL_S = 0.05
LAST_WORDS = 2000
"""Characters kept of what a failed run printed."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run's process ended. Example: `Outcome(exit=1, error="NonFiniteError: the loss is nan ...")`."""

    exit: int
    error: str = ""

    @property
    def finished(self) -> bool:
        return self.exit == 0


def outcomes(comparison: Comparison, folder: Path) -> dict[RunName, Outcome]:
    """How the runs so far ended; a run that has not ended is left out."""
    found: dict[RunName, Outcome] = {}
    for name in comparison.names():
        file = outcome_file(folder, name)
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            found[name] = Outcome(exit=int(content["exit"]), error=str(content.get("error", "")))
    return found


def run_all(comparison: Comparison, folder: Path, *, jobs: int, say: Say) -> bool:
    """Runs what is missing, `jobs` at a time; False when it was asked to stop before all of them had ended.

    A signal stops the runs after their step, with everything saved; the second one ends this process, and the runs
    end with it.
    """
    for part in ("runs", "outcomes", "logs"):
        (folder / part).mkdir(exist_ok=True)
    before = outcomes(comparison, folder)
    waiting = [name for name in comparison.names() if name not in before or not before[name].finished]
    total = len(comparison.names())
    if len(waiting) < total:
        say(f"{total - len(waiting)} of {total} runs are finished already")
    if comparison.handed is not None:
        return _all_here(comparison, folder, waiting, comparison.handed, say)
    working: dict[RunName, Process] = {}
    told, begun, first = False, time.monotonic(), len(waiting)
    with StopRequest() as stop:
        while working or (waiting and not stop.asked):
            while waiting and len(working) < jobs and not stop.asked:
                name = waiting.pop(0)
                working[name] = Process(comparison, folder, name)
            if stop.asked and not told:
                say(f"{stop.asked}: the runs at work finish their step and save")
                for process in working.values():
                    process.stop()
                told = True
            for name, process in list(working.items()):
                outcome = process.outcome()
                if outcome is not None:
                    del working[name]
                    left = len(waiting) + len(working)
                    _ended(folder, name, outcome, say, f"{total - left}/{total}{_time_left(begun, first - left, left)}")
            time.sleep(POLL_S)
    return not stop.asked


def _time_left(begun: float, done: int, left: int) -> str:
    """In words, by the mean pace so far; empty when nothing is left."""
    return f", about {duration((time.monotonic() - begun) / done * left)} left" if left else ""


def _all_here(comparison: Comparison, folder: Path, waiting: list[RunName], handed: Handed, say: Say) -> bool:
    """The runs in this process, one after another: objects cannot go into another one."""
    total, begun = len(comparison.names()), time.monotonic()
    for number, name in enumerate(waiting, total - len(waiting) + 1):
        at, settings = run_folder(folder, name), comparison.run_settings(name)
        try:
            with (folder / "logs" / f"{name}.txt").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
                code, error = begun_or_resumed(at, shared_folder(folder), settings, handed), ""
        except RungError as raised:
            code, error = raised.exit_code, f"error: {raised}"
        if code == STOPPED_BY_SIGNAL:
            return False
        done = number - total + len(waiting)
        left = _time_left(begun, done, total - number)
        _ended(folder, name, Outcome(exit=code, error=error), say, f"{number}/{total}{left}")
    return True


def _ended(folder: Path, name: RunName, outcome: Outcome, say: Say, count: str) -> None:
    if outcome.exit == STOPPED_BY_SIGNAL:
        return
    content = {"exit": outcome.exit, **({"error": outcome.error} if outcome.error else {})}
    write_whole(outcome_file(folder, name), json.dumps(content).encode())
    failed = f"FAILED, {reason(outcome.error) or f'exit code {outcome.exit}'}"
    say(f"  {count}  {name.method}, seed {name.seed}: {'done' if outcome.finished else failed}")


def reason(error: str) -> str:
    """The line that says why: the last one that begins with `error:`, as rung's own do, or the very last.

    >>> reason("warning: hot\\nerror: the loss is nan\\nat step 3")
    'the loss is nan'
    """
    lines = error.strip().splitlines() or [""]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return ours[-1] if ours else lines[-1]


class Process:
    """The process of one run."""

    def __init__(self, comparison: Comparison, folder: Path, name: RunName) -> None:
        settings, self.log = comparison.run_settings(name), folder / "logs" / f"{name}.txt"
        threads, module = settings.learner.threads, module_of(settings.task.name)
        request = {
            "folder": str(run_folder(folder, name).absolute()),
            "shared": str(shared_folder(folder).absolute()),
            "settings": settings.as_data(),
            "module": module if module in sys.modules else None,  # of the task, where the user named it here
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rung.lab.compare.runs"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # One thread a core in all: what waits in a pool of threads would only slow the others.
                env={**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})},
                start_new_session=True,  # a Ctrl-C is for the comparison, which tells its runs
            )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; its outcome says so
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()  # and it stays open: its end would be the run's

    def stop(self) -> None:
        """Asks the run to save and leave."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def outcome(self) -> Outcome | None:
        """How it ended; None while it is at work."""
        code = self.process.poll()
        if code is None:
            return None
        assert self.process.stdin is not None
        self.process.stdin.close()
        if code in (0, STOPPED_BY_SIGNAL):
            return Outcome(exit=code)
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LAST_WORDS))
            said = log.read().decode("utf-8", "backslashreplace")
        killed = f"\nended by {signal.Signals(-code).name}" if code < 0 else ""
        return Outcome(exit=code, error=said.strip() + killed)


def end_with_parent() -> None:
    """Starts the thread that ends this process when the input ends."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def run(request: Mapping[str, Any]) -> int:
    """Begins the run, or goes on with it; returns its exit code."""
    from rung.lab.labels.people import people
    from rung.runs.run import handed
    from rung.settings import settings_from
    from rung.tasks.own_environment import import_named

    if request["module"] is not None:
        import_named(f"{request['module']}:")
    folder, shared, settings = Path(request["folder"]), Path(request["shared"]), settings_from(request["settings"])
    return begun_or_resumed(folder, shared, settings, handed(people))


def begun_or_resumed(folder: Path, shared: Path, settings: Settings, hands: Handed) -> int:
    """Trains in the folder, or goes on with the run in it; returns the exit code."""
    from rung.lab.watching import watching
    from rung.runs.folder import SETTINGS, run_settings
    from rung.runs.run import resume, train

    parts, observers = settings.method.parts, watching(page=settings.reporting.page)
    if not (folder / SETTINGS).is_file():
        if folder.exists():  # killed before it had begun: nothing was trained
            shutil.rmtree(folder)
        return train(settings, folder, quiet=True, shared=shared, observers=observers, hands=hands).exit_code
    if run_settings(folder, parts) != settings:
        raise SettingsError([f"{folder}: its settings.yaml is not this comparison's; was it changed by hand?"])
    return resume(folder, parts=parts, quiet=True, shared=shared, observers=observers, hands=hands).exit_code


def main() -> int:
    """The entry point of the process."""
    request = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    try:
        return run(request)
    except RungError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

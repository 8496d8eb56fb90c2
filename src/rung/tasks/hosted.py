"""The environment and the tools of a user's files, in child processes that can be killed.

    rung train grpo --model MODEL --task guess.py:Guess --tools tools.py:times

Each answer has a deadline, at which its process is killed with all that it started. The other episodes that lived in it
go on in a fresh one, which does again what was asked of them, from their seeds: so a hang, a crash or a full memory is
one episode's own. Before each answer the global generators are seeded from the episode's seed and the place of the
question.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic_core import ArgsKwargs

from rung.child import DIED, TIMEOUT, WRONG_TYPE, Child, ChildError, Limits
from rung.errors import RewardError, SettingsError
from rung.rewards.reward import Prompt
from rung.rewards.user import split_source
from rung.tasks.hosted_job import digest_of
from rung.tasks.others import source_of
from rung.tasks.task import Item, TextTask
from rung.tasks.tools import BAD_ARGUMENTS
from rung.tasks.turns import DEADLINE_S, EVERY_ITEM, Step, first_read, task_of

WORKERS = 4
"""Processes of one environment, or of a run's tools, at most; each is started when an episode needs it."""
LIMITS = Limits(memory_bytes=4 * 2**30)


class Host:
    """The processes that play the episodes of one environment, or answer the calls of one list of tools.

    Attributes:
        about: what the job said of itself (`hosted_job.py`).
    """

    def __init__(
        self, what: str, sources: Sequence[str], setup: Mapping[str, Any], python: str = sys.executable
    ) -> None:
        files = [split_source(source, what) for source in sources]
        whole = {**setup, "what": what, "of": [[str(file), name] for file, name in files]}
        self.name = setup.get("name") or ", ".join(f"{file.name}:{name}" for file, name in files)
        self._workers = [_Worker(whole, python) for _ in range(WORKERS)]
        self._keys = itertools.count()
        try:
            self.about: Any = self._workers[0].child.start()
        except ChildError as error:
            raise SettingsError([f"{what}: {self.name} could not be loaded: {error}"]) from None

    def episode(self, deadline_s: float) -> HostedEpisode:
        """An episode that has not begun."""
        key = next(self._keys)
        return HostedEpisode(self, self._workers[key % WORKERS], key, deadline_s)


class _Worker:
    """A child, and the thread that alone speaks with it: a child ends with the thread that started it."""

    def __init__(self, setup: Mapping[str, Any], python: str) -> None:
        self.child = Child("hosted", setup, limits=LIMITS, python=python)
        self.ended: list[int] = []
        self._thread = ThreadPoolExecutor(1)

    def ask(self, request: Mapping[str, Any], deadline_s: float) -> Any:
        ended = self.ended.copy()
        del self.ended[: len(ended)]
        return self._thread.submit(self.child.ask, {**request, "ended": ended}, deadline_s=deadline_s).result()


class HostedEpisode:
    """An episode in a child: an environment with `reset` and `step`, or tools with `begin` and `call`.

    An environment that fails raises RewardError, with the status; what goes wrong in a tool is its answer.
    """

    apart = True
    """Several of these may be asked at once, from threads."""

    def __init__(self, host: Host, worker: _Worker, key: int, deadline_s: float) -> None:
        self.host, self.schemas, self.deadline_s = host, host.about, deadline_s
        self._worker, self._key, self._seed = worker, key, 0
        self._log: list[tuple[list[Any], bool, str | None]] = []
        """What was asked, whether it is to be asked again in a fresh process, and a digest of the answer."""
        weakref.finalize(self, worker.ended.append, key).atexit = False

    def reset(self, item: Item, seed: int) -> Prompt:
        self._seed = seed
        return first_read(self._answer(["reset", item.columns[EVERY_ITEM], seed]))

    def step(self, reply: str) -> Step:
        found = self._answer(["step", reply])
        return Step(**{**found, "calls": tuple(found["calls"]), "results": ()})

    def begin(self, seed: int) -> None:
        """The seed of an episode of tools."""
        self._seed = seed

    def call(self, name: str, arguments: Any) -> tuple[str, str]:
        """(what the policy reads, the status) of a call."""
        given = [list(arguments.args), arguments.kwargs or {}] if isinstance(arguments, ArgsKwargs) else arguments
        ask = ["call", name, given]
        try:
            text, status = self._asked(ask)
        except ChildError as error:
            failure = error.failure
            if failure.status == WRONG_TYPE:
                return f"error: {name}: arguments must be plain values", BAD_ARGUMENTS
            self._log.append(([], False, None))
            said = {DIED: "its process ended", TIMEOUT: f"no answer within {self.deadline_s:g} s"}
            return f"error: {name}: {said.get(failure.status, failure.detail)}", failure.status
        self._log.append((ask, True, None))
        return text, status

    def _answer(self, ask: list[Any]) -> Any:
        try:
            try:
                found = self._asked(ask)
            except ChildError as error:
                if error.failure.status != DIED:
                    raise
                found = self._asked(ask)  # another episode may have been its end
        except ChildError as error:
            raise RewardError(self.host.name, error.failure.status, error.failure.detail) from None
        self._log.append((ask, True, digest_of(found)))
        return found

    def _asked(self, ask: list[Any]) -> Any:
        log = [*self._log, (ask, True, None)]
        return self._worker.ask({"key": self._key, "seed": self._seed, "log": log}, self.deadline_s)


def file_turn_task(source: str, *, seed: int = 0, **options: Any) -> TextTask | None:
    """An environment's class in a file, `guess.py:Guess`, as a task; None where it answers in no turns.

    Raises SettingsError: the file cannot be loaded, the class takes no such option or cannot be made.
    """
    return _hosted(source, source, seed, options, sys.executable)


def other_task(spec: str, *, seed: int = 0, python: str = sys.executable, **options: Any) -> TextTask:
    """An environment of another package (`rung.tasks.others`), played in the interpreter `python`.

    Raises SettingsError: the package is not there, or its environment cannot be made with these options.
    """
    package, _, name = spec.partition("/")
    found = shutil.which(python)
    if found is None:
        raise SettingsError([f"task.python: there is no interpreter {python}"])
    try:
        task = _hosted(spec, source_of(spec), seed, {"name": name, **options}, found)
    except SettingsError as error:
        if "ModuleNotFoundError" not in str(error):
            raise
        how = f"install {package} here, or name an interpreter that has it, pydantic and numpy: task.python=PATH"
        raise SettingsError([f"{error}; {how}"]) from None
    assert task is not None
    return task


def _hosted(spec: str, source: str, seed: int, options: Mapping[str, Any], python: str) -> TextTask | None:
    try:
        json.dumps(options)
    except TypeError as error:
        raise SettingsError([f"task: {spec}: {error}; options of a file's environment are plain values"]) from error
    name = spec.rpartition("/")[2] if spec == source else spec
    host = Host("task", [source], {"name": name, "options": options, "seed": seed}, python)
    if host.about is None:
        return None
    return task_of(spec, host.about, lambda deadline_s=DEADLINE_S: host.episode(deadline_s), seed)

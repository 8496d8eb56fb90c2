"""What rung raises, and how an error points at the nearest valid name.

RungError
├── SettingsError (ValueError)     exit code 2: a setting, all problems at once
├── DataError (ValueError)         exit code 2: a row of a file, with file and row
├── MissingExtra (ImportError)     exit code 2: an optional dependency, with what to install
├── RewardError (RuntimeError)     exit code 1: a reward failed, with its name and status
├── EnvironmentFailure (RuntimeError)  exit code 1: an environment failed, with its name, step and action
├── EngineError (RuntimeError)     exit code 1: the engine that draws failed, or draws from other weights
├── NonFiniteError (RuntimeError)  exit code 1: a NaN or infinity was stopped before the weights
├── RankError (RuntimeError)       exit code 1: a process that learns with this one died or hangs, with its last lines
├── CheckpointError (RuntimeError) exit code 1: a checkpoint cannot be written or does not verify
└── StorageError (OSError)         exit code 1: the operating system refused a file or a folder
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class RungError(Exception):
    """Base of every error that rung raises on purpose; `exit_code` is the command line's."""

    exit_code = 1


class _Problems(RungError, ValueError):
    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class SettingsError(_Problems):
    """One or more settings are wrong; `problems` lists every one, each a full sentence.

    >>> SettingsError("steps: got 'ten', expected a whole number").problems
    ["steps: got 'ten', expected a whole number"]
    """


class DataError(_Problems):
    """A row of a data file cannot be used; `problems` lists them, each with file and row."""


class MissingExtra(RungError, ImportError):
    """An optional dependency is needed: the message says what to install."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'rung[{extra}]'")


class RewardError(RungError, RuntimeError):
    """A reward raised, hung, or returned what cannot be a reward. It is never turned into a zero."""

    def __init__(self, reward: str, status: str, detail: str) -> None:
        self.reward, self.status, self.detail = reward, status, detail
        super().__init__(f"reward '{reward}': {status}: {detail}")


class EnvironmentFailure(RungError, RuntimeError):
    """An environment raised, or gave what is no observation or reward: its name, the step and the action."""


class EngineError(RungError, RuntimeError):
    """The engine that draws died too often, hung, or draws from other weights than it was given."""


class NonFiniteError(RungError, RuntimeError):
    """A NaN or an infinity appeared; it was stopped before it could reach the weights."""


class CheckpointError(RungError, RuntimeError):
    """A checkpoint could not be written, or what is there does not verify."""


class RankError(RungError, RuntimeError):
    """A process that learns together with this one ended, or did not answer in time; nothing saved is lost."""


class StorageError(RungError, OSError):
    """The operating system refused a file or a folder: no space, no right, no such place."""


class LeaveAtOnce(SystemExit):
    """The user asked a second time to stop: the process ends, and nobody on the way may take it for their own error."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name closest to a mistyped one, or None when nothing is close.

    A dotted name is also compared by its last part, so `learning_rat` finds `method.optimizer.learning_rate`.

    >>> nearest("learning_rat", ["steps", "method.optimizer.learning_rate"])
    'method.optimizer.learning_rate'
    """
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if close:
        return close[0]
    by_leaf = {full.rsplit(".", 1)[-1]: full for full in names}
    close = difflib.get_close_matches(name.rsplit(".", 1)[-1], list(by_leaf), n=1, cutoff=0.6)
    return by_leaf[close[0]] if close else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`"; did you mean 'x'?"`, or the empty string when nothing is close."""
    close = nearest(name, valid)
    return f"; did you mean '{close}'?" if close else ""


def last_line(error: BaseException) -> str:
    """What was raised and where, on one line; control characters are escaped, for it may quote a model's text.

    >>> last_line(ValueError("no\\x1b[31mred"))
    'ValueError: no\\\\x1b[31mred'
    """
    text = "".join(traceback.format_exception_only(error)).strip()
    if len(text) > 1000:
        text = f"{text[:1000]}..."
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else text

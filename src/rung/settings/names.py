"""Other names of settings: those that other libraries give them, and former ones, which older runs still use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from rung.errors import did_you_mean


def data_of(file: str) -> Any:
    return yaml.safe_load(files("rung.settings").joinpath(file).read_text(encoding="utf-8"))


def _elsewhere() -> dict[str, tuple[tuple[str, ...], str]]:
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for ours, theirs in (entry for row in data_of("elsewhere.yaml") for entry in row.items()):
        names, words = (theirs, "") if isinstance(theirs, str) else theirs
        found |= dict.fromkeys(names.split(), (tuple(ours.split()), words))
    return found


WORDS: Mapping[str, Mapping[str, str]] = data_of("words.yaml")
ELSEWHERE: Mapping[str, tuple[tuple[str, ...], str]] = _elsewhere()
"""By the name elsewhere: our keys, of which the first that there is counts, and what differs in meaning."""


def suggestion(typed: str, keys: Iterable[str], own: Sequence[str] = ()) -> str:
    """`"; did you mean 'x'?"` of these keys, what another library calls `typed` first; empty when nothing is close.

    `own`: the keys that the run's method has as it is; none: the method is not known.

    >>> suggestion("lr", ["lora", "method.optimizer.learning_rate"])
    "; did you mean 'method.optimizer.learning_rate'?"
    >>> suggestion("actor.rollout.n", ["method", "method.samples_per_prompt"])
    "; did you mean 'method.samples_per_prompt'?"
    """
    keys, parts = list(keys), typed.split(".")
    named = next((name for at in range(len(parts)) if (name := ".".join(parts[at:])) in ELSEWHERE), None)
    if named is None:
        return did_you_mean(typed, keys)
    ours, words = ELSEWHERE[named]
    without_slots = "method" in keys and "method.optimizer" not in keys
    there = [key for key in ours if key in keys or (without_slots and key.startswith("method."))]
    if not there:
        return f"; {words}" if words and not ours else ""
    meant = next((key for key in there if key in own), there[0])
    said = f" ({words})" if words else ""
    if own and meant.startswith("method.") and meant not in own:
        return f"; it would be '{meant}'{said}, but the method's part there has no such number"
    return f"; did you mean '{meant}'{said}?"


FORMER = WORDS["former"]


def todays(typed: str) -> str:
    """A key, or the end of one, as it is called today.

    >>> todays("method.step.learning_rate"), todays("minibatches"), todays("steps")
    ('method.optimizer.learning_rate', 'num_minibatches', 'steps')
    """
    for path, name in FORMER.items():
        parent, _, last = path.rpartition(".")
        for former, now in ((path, f"{parent}.{name}".lstrip(".")), (last, name)):
            if typed == former or typed.startswith(f"{former}."):
                typed = now + typed[len(former) :]
                break
    return typed

"""TRL's configurations as ours: GRPO's, RLOO's and DPO's, from the YAML or JSON that `trl grpo --config` takes.

elsewhere.yaml says what a field is called here; trl.yaml lists the fields, their defaults, and those that have no
counterpart; what is worked out from several fields, as the batch, is worked out in trl_counterparts.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rung.errors import SettingsError, did_you_mean
from rung.settings.given import plain, read_yaml
from rung.settings.layers import settled
from rung.settings.schema import Settings
from rung.settings.trl_counterparts import LOSSES, MACHINE, METHODS, TRL, Translation, Work, fields_of


def from_trl(path: Path, trainer: str | None = None, *, processes: int = 1, rows: int | None = None) -> Translation:
    """The configuration in a file. `trainer` None: told by its fields.

    SettingsError with every problem: fields that TRL does not have, values of a wrong type, batches that do not divide.
    """
    given = _read(path)
    if trainer is not None and trainer not in METHODS:
        raise SettingsError(f"--method: got {trainer!r}, expected one of {', '.join(METHODS)}")
    chosen = trainer or _trainer(path, given)
    own = {*fields_of(chosen), *fields_of(chosen, "none"), *MACHINE}
    said = f"is no field of TRL's {chosen.upper()}"
    if wrong := sorted(given.keys() - own):
        raise SettingsError([f"{path}: {name} {said}{did_you_mean(name, own)}" for name in wrong])
    work = Work(chosen, given, processes, rows)
    found = work.translated()
    if work.problems:
        raise SettingsError([f"{path}: {problem}" for problem in work.problems])
    if trainer is None and not given.keys() - {*fields_of("rloo"), *fields_of("rloo", "none"), *MACHINE}:
        found.batch.insert(0, "Read as GRPO's; --method rloo where it is RLOO's.")
    try:
        settled(Settings, [{"model": "?", "task": "?", **found.settings}])
    except SettingsError as error:
        raise SettingsError([f"{path}, in our terms: {problem}" for problem in error.problems]) from error
    return found


def _read(path: Path) -> dict[str, Any]:
    problems: list[str] = []
    try:
        tree = read_yaml(path.read_text(encoding="utf-8-sig"), str(path), problems)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8, expected a text file") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    if problems:
        raise SettingsError(problems)
    values = None if tree is None else plain(tree)
    if not isinstance(values, dict) or not values:
        raise SettingsError(f"{path}: expected the keys and values of a TRL configuration, as learning_rate: 1.0e-6")
    return {TRL["former"].get(name, name): value for name, value in values.items()}


def _trainer(path: Path, given: Mapping[str, Any]) -> str:
    """Whose configuration it is, by the fields that not every trainer has, and by the loss."""
    every = {name: {*fields_of(name), *fields_of(name, "none"), *MACHINE} for name in METHODS}
    if not given.keys() & set().union(*every.values()):
        raise SettingsError(f"{path}: none of its keys is TRL's; expected a configuration of GRPO, DPO or RLOO")
    unknown = given.keys() - set().union(*every.values())
    can = [name for name, own in every.items() if given.keys() - unknown <= own]
    losses = given.get("loss_type")
    first = losses[0] if isinstance(losses, list) and losses else losses
    if isinstance(first, str) and (told := [name for name in can if first in LOSSES.get(name, ())]):
        can = told
    if can == ["grpo", "rloo"]:
        return "grpo"
    if len(can) != 1:
        raise SettingsError(f"{path}: its fields do not tell whose it is; say --method grpo, rloo or dpo")
    return can[0]

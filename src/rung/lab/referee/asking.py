"""Asks losses in another process for their gradients: a library's own, or the user's, in an interpreter of choice.

JSON goes in and out of an adapter (`adapters/`), numbers alone, so that a library's pinned versions never meet rung's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from rung.errors import SettingsError, did_you_mean

ADAPTERS = Path(__file__).parent / "adapters"
NOT_ADAPTERS = ("__init__", "own", "talk")
LIBRARIES = tuple(sorted(file.stem for file in ADAPTERS.glob("*.py") if file.stem not in NOT_ADAPTERS))
Numbers = Mapping[str, Any]
"""A batch by the names that a loss asks for."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one loss made of every batch."""

    asked: tuple[str, ...]
    """The arguments that it takes."""
    says: str
    """Its docstring."""
    gradients: tuple[Tensor, ...]
    """[B,T] each, to the batch's log-probs; NaN or infinite where the loss is."""
    whole: bool
    """One call is a whole update, which the library cuts into parts afterwards."""
    error: str
    """What the first batch that raised said."""
    promised: str | None
    """The method of rung's that the cell's name stands for."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an adapter said: who answered, and each cell's answers or why there are none."""

    version: str
    files: Mapping[str, str]
    """SHA-256 of each file whose code was called."""
    cells: Mapping[str, Answers | str]


def ask(
    adapter: str,
    batches: Sequence[Numbers],
    *,
    python: str | None = None,
    arguments: Sequence[str] = (),
    cells: Sequence[str] | None = None,
    deadline_s: float = 600.0,
) -> Reply:
    """Runs an adapter once over the batches; its processes are killed at the deadline.

    Raises SettingsError: the interpreter or the library is not there, the adapter did not answer, or has no such cell.
    """
    what = " ".join([adapter, *(cells or arguments)])
    lists = [{k: v.tolist() if isinstance(v, Tensor) else v for k, v in one.items()} for one in batches]
    command = [python or sys.executable, str(ADAPTERS / f"{adapter}.py"), *arguments]
    request = {"cells": None if cells is None else list(cells), "batches": lists}
    text = _ran(what, command, json.dumps(request), deadline_s)
    try:
        data = cast("dict[str, Any]", json.loads(text))
        for name in cells or ():
            if name not in data["cells"]:
                valid = [str(one) for one in data["valid"]]
                raise SettingsError(f"{adapter}: got '{name}'{did_you_mean(name, valid)}; valid: {', '.join(valid)}")
        found = {str(name): _cell(one, batches) for name, one in data["cells"].items()}
        return Reply(version=str(data.get("version", "")), files=dict(data.get("files", {})), cells=found)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{what}: the answer is not what an adapter writes ({error}): {text[:200]!r}") from error


def _cell(data: Mapping[str, Any], batches: Sequence[Numbers]) -> Answers | str:
    if "error" in data:
        return str(data["error"])
    gradients: list[Tensor] = []
    for batch, answer in zip(batches, data["answers"], strict=True):
        unknown = torch.full(batch["mask"].shape, torch.nan).tolist()
        gradient_BT = torch.tensor(answer.get("gradient", unknown), dtype=torch.float64)
        if gradient_BT.shape != batch["mask"].shape:
            return f"the gradient has the shape {list(gradient_BT.shape)}; expected {list(batch['mask'].shape)}"
        gradients.append(gradient_BT)
    first = next((str(one["error"]) for one in data["answers"] if "error" in one), "")
    asked, says, promised = tuple(data["asked"]), str(data["says"]), data.get("promised")
    rest = {"whole": bool(data.get("whole")), "error": first, "promised": promised}
    return Answers(asked=asked, says=says, gradients=tuple(gradients), **rest)


def _ran(what: str, command: Sequence[str], text: str, deadline_s: float) -> str:
    """The command's stdout. It runs in a session of its own, which is killed as a whole."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        process = subprocess.Popen(command, text=True, start_new_session=True, env=environment, **pipes)
    except OSError as error:
        raise SettingsError(f"--python: {command[0]} cannot be started: {error.strerror}") from error
    with process:
        try:
            said, noise = process.communicate(text, timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise SettingsError(f"{what}: no answer within {deadline_s:g} s; it was stopped") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        last = noise.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise SettingsError(f"{what}: could not be called in {Path(command[0]).name}: {last[0][:500]}")
    return said

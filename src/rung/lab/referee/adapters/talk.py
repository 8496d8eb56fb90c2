"""What every adapter shares: it reads batches of numbers as JSON, calls losses on them, and writes their gradients.

It runs in the interpreter of the library that is looked at, so it imports torch and the standard library alone.
B rows, T tokens, padded on the right with zeros.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

sys.path[:] = [one for one in sys.path if Path(one).resolve() != Path(__file__).resolve().parent]
"""An adapter has its library's name, and must not be found in its place."""

MEANINGS = {
    "log_probs": "[B,T] of the tokens drawn, under the policy as it is now; the gradient is taken to these",
    "old_log_probs": "[B,T] under the policy that this step began with",
    "sampler_log_probs": "[B,T] under the distribution that the tokens were drawn from",
    "reference_log_probs": "[B,T] under the reference policy",
    "advantages": "[B,T] the reward less the mean of the group's other samples, which has no bias",
    "sequence_advantages": "[B] the same, one number a row",
    "rewards": "[B] one number a row",
    "token_rewards": "[B,T] each row's reward on its last token",
    "groups": "[B] rows with the same number answer the same prompt",
    "mask": "[B,T] bool: True at the tokens that were drawn",
    "actions": "[B,T] the tokens",
    "lengths": "[B] tokens of each row",
    "truncated": "[B] bool: the row was cut at the limit",
    "num_tokens": "tokens of the whole step, whatever part of it these rows are",
    "num_sequences": "rows of the whole step",
    "samples_per_prompt": "rows of one group",
}
"""What a function may ask for, by the name of its argument."""


def names_of(function: Callable[..., Any]) -> list[str]:
    """The arguments that the function asks for; ValueError where it needs one that nobody gives."""
    asked: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in MEANINGS:
            asked.append(name)
        elif parameter.default is parameter.empty:
            near = difflib.get_close_matches(name, MEANINGS, 1, 0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"the argument '{name}' is not known{hint} A loss may ask for: {', '.join(MEANINGS)}")
    return asked


def tensors(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A batch as it came through the pipe, as tensors in float64."""
    found: dict[str, Any] = {}
    for name, value in numbers.items():
        given = torch.tensor(value) if isinstance(value, list) else value
        found[name] = given.double() if isinstance(given, Tensor) and given.is_floating_point() else given
    return found


def loss_of(function: Callable[..., Any], given: Mapping[str, Any]) -> Tensor:
    """The function's loss of a batch. A function without `log_probs` gives advantages, and the loss is the textbook's:
    -A log π, summed over a row, averaged over rows.

    Raises ValueError: what came back is no scalar, or no advantages.
    """
    asked = names_of(function)
    value = function(**{name: given[name] for name in asked})
    if isinstance(value, tuple):
        value = value[0]
    value = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
    log_probs, mask = given["log_probs"], given["mask"]
    if "log_probs" in asked:
        if value.numel() != 1:
            raise ValueError(f"the loss has the shape {list(value.shape)}; expected one number")
        return value.reshape(())
    if value.shape not in (mask.shape, mask.shape[:1]):
        raise ValueError(
            f"the advantages have the shape {list(value.shape)}; expected [B] or [B,T], {list(mask.shape)}"
        )
    value = value[:, None] if value.ndim == 1 else value
    terms = value.detach().double() * log_probs
    return -torch.where(mask, terms, torch.zeros_like(terms)).sum() / len(mask)


def gradient_of(function: Callable[..., Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A batch's loss and its gradient to each log-prob: zeros where it does not depend on them, and an `error`
    where the function raises.
    """
    given = tensors(numbers)
    log_probs = given["log_probs"].requires_grad_()
    try:
        loss = loss_of(function, given)
    except Exception as error:  # noqa: BLE001  whatever a library raises is told through the pipe
        return {"error": f"{type(error).__name__}: {error}"[:1000]}
    gradient = torch.autograd.grad(loss, log_probs, allow_unused=True)[0] if loss.requires_grad else None
    gradient = torch.zeros_like(log_probs) if gradient is None else gradient
    return {"loss": float(loss.detach()), "gradient": gradient.tolist()}


def about(package: str, files: Sequence[Any]) -> dict[str, Any]:
    """The installed version, and a SHA-256 of each of its files whose code is called."""
    hashes: dict[str, str] = {}
    for module in files:
        path = Path(inspect.getfile(module))
        at = path.parts.index(package.replace("-", "_")) if package.replace("-", "_") in path.parts else -2
        hashes["/".join(path.parts[at:])] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"version": importlib.metadata.version(package), "files": hashes}


def serve(
    cells: Mapping[str, Callable[..., Any]],
    known: Callable[[], Mapping[str, Any]] = dict,
    promised: Mapping[str, str] = {},
    whole: bool = False,
) -> None:
    """Answers one request, `{"cells": [NAME, ...] or null for all, "batches": [...]}`, with every cell's gradients.

    `promised` are the methods of rung's that the cells' names stand for. `whole`: one call is a whole update, which the
    library itself cuts into parts afterwards. Whatever a library prints goes to stderr, not to the pipe.
    """
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.read())
    reply: dict[str, Any] = {**known(), "valid": list(cells), "cells": {}}
    for name in request["cells"] or cells:
        if name not in cells:
            continue
        function = cells[name]
        try:
            found: dict[str, Any] = {
                "asked": names_of(function),
                "says": inspect.getdoc(function) or "",
                "promised": promised.get(name),
                "whole": whole,
            }
            found["answers"] = [gradient_of(function, numbers) for numbers in request["batches"]]
        except Exception as error:  # noqa: BLE001  whatever a library raises is told through the pipe
            found = {"error": f"{type(error).__name__}: {error}"[:2000]}
        reply["cells"][name] = found
    pipe.write(json.dumps(reply))
    pipe.close()


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that answer every name with a mock, in place of packages that are not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if any(name == one or name.startswith(f"{one}.") for one in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__version__ = spec, [], "0"
        return module

    def exec_module(self, module: Any) -> None:
        pass


def without(*names: str) -> dict[str, Any]:
    """Puts mocks where these packages are not installed: engines and kernels that a library imports at its top and that
    the called functions never use. A module of the library's own, with a dot, is always replaced. Says which.
    """
    missing = [name for name in names if "." in name or importlib.util.find_spec(name) is None]
    sys.meta_path.insert(0, _StandIns(missing))
    return {"without": missing}

"""Tensors by name, as checkpoints hold them: taken over whole or not at all, and kept in a folder with their shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rung.errors import CheckpointError, DataError, NonFiniteError, RungError


def take_over(
    mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor], owner: str, *, wrong: Sequence[str] = ()
) -> None:
    """Copy `tensors` into those of the same names.

    Args:
        owner: whose they are, for the error, such as "this Q network".
        wrong: what else is known to be wrong.

    Raises:
        CheckpointError: names, shapes or types differ; nothing is changed then.
    """
    if problems := [*wrong, *_misfits(mine, tensors, owner)]:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise CheckpointError(f"the state does not fit {owner}: " + "; ".join(problems[:5]) + more)
    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])


def _misfits(mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor], owner: str) -> Iterator[str]:
    yield from (f"{name} is missing" for name in mine if name not in tensors)
    yield from (f"{name} is no part of {owner}" for name in tensors if name not in mine)
    for name, tensor in tensors.items():
        own = mine.get(name)
        if own is not None and (tensor.shape != own.shape or tensor.dtype != own.dtype):
            got, expected = ((tuple(one.shape), one.dtype) for one in (tensor, own))
            yield f"{name}: got {got[0]} {got[1]}, expected {expected[0]} {expected[1]}"


def require_finite(
    whose: str, tensors: Mapping[str, Tensor], error: type[RungError] = NonFiniteError, *, what: str = ""
) -> None:
    """Raises `error`, naming the first tensor, where a number is NaN or infinite; `what` says what to do.

    One pass over the numbers as a rule: a sum is finite only where every number is.
    """
    held = {name: getattr(t, "to_local", lambda t=t: t)() for name, t in tensors.items()}  # of a sharded one, its share
    named = {name: t.detach() for name, t in held.items() if t.is_floating_point() and t.numel()}
    if not named or bool(torch.stack([tensor.sum() for tensor in named.values()]).isfinite().all()):
        return
    bad = {name: int((~tensor.isfinite()).sum()) for name, tensor in named.items()}
    name = next((name for name, count in bad.items() if count), None)
    if name is None:  # but for a sum that was too large
        return
    total = sum(tensor.numel() for tensor in named.values())
    raise error(
        f"{whose} hold NaN or infinity: {sum(bad.values()):,} of {total:,} numbers, the first in {name} "
        f"({bad[name]:,} of {named[name].numel():,}), expected finite numbers{what}"
    )


class _Shape(Protocol):
    def numbers(self) -> int: ...


class _Network(Protocol):
    def load_state(self, tensors: Mapping[str, Tensor]) -> None: ...


S = TypeVar("S", bound=_Shape)
N = TypeVar("N", bound=_Network)


def save_shaped(folder: Path, name: str, shape: Any, tensors: Mapping[str, Tensor]) -> None:
    """Write `NAME.json`, the fields of `shape`, and `NAME.safetensors` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.cpu().contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(asdict(shape), indent=2) + "\n", encoding="utf-8")


def load_shaped(folder: Path, name: str, kind: type[S], make: Callable[[S], N]) -> N:
    """The network that `save_shaped` wrote: `make` of its shape, with its tensors. Lists in the shape become tuples.

    Raises:
        DataError: the folder holds none, or its files do not fit together.
    """
    config, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    try:
        shape = _read(config, kind)
        tensors = load_file(weights)
        if shape.numbers() > 2 * sum(t.numel() for t in tensors.values()):  # before the memory is asked for
            raise DataError([f"policy: {config} states a larger network than {weights.name} holds"])
        made = make(shape)
        made.load_state(tensors)
        require_finite(f"policy: {weights}: the tensors", tensors, DataError)
    except (OSError, SafetensorError, CheckpointError) as error:
        raise DataError([f"policy: {folder} could not be loaded: {error}"]) from error
    return made


def _read(path: Path, kind: type[S]) -> S:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return kind(**{key: _tuples(value) for key, value in content.items()})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError([f"{path}: no {kind.__name__} ({error})"]) from error


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value

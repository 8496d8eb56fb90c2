"""Checkpoints: complete and verified, or ignored.

A checkpoint is a folder `step_000010` of safetensors and JSON files, written whole or not at all, with a manifest of
sizes and hashes. What does not verify is not a checkpoint; the newest that verifies is the one in use, and older ones
are removed only after a newer one is in place. No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rung.errors import CheckpointError
from rung.faults import fault_point
from rung.whole_files import SUFFIX, folder_written_aside

MANIFEST = "manifest.json"
PIECE, PIECES = "piece", "frames-"
"""A piece's tensor inside its file; how the names of such files begin."""
_NAME = re.compile(r"step_(\d{6,})")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint folder. Example: `Checkpoint(step=10, folder=Path("runs/a/checkpoints/step_000010"))`."""

    step: int
    folder: Path

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors saved under that name. CheckpointError when the file cannot be read."""
        try:
            return load_file(self.folder / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / name}.safetensors cannot be read: {error}") from error

    def pieces(self) -> dict[str, Tensor]:
        """The pieces, by name: every file that holds one tensor of that kind."""
        names = sorted(path.stem for path in self.folder.glob(f"{PIECES}*.safetensors"))
        return {name: self.tensors(name)[PIECE] for name in names}

    def state(self) -> dict[str, Any]:
        """The numbers saved beside the tensors. CheckpointError when they cannot be read."""
        try:
            return dict(json.loads((self.folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.folder / 'state.json'} cannot be read: {error}") from error


def write(
    root: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    pieces: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Writes checkpoint `step` under `root`. CheckpointError, with what it needed and what there is, when it cannot.

    Nothing but a complete checkpoint ever bears its name; what was written of a failed one is removed. A piece that
    the checkpoint before holds under the same name is linked, not written: one file on the disk, in both folders.
    """
    pieces = pieces or {}
    kept = _kept_pieces(root, pieces)
    final = root / f"step_{step:06d}"
    new = {name: {PIECE: piece} for name, piece in pieces.items() if f"{name}.safetensors" not in kept}
    needed = sum(t.numel() * t.element_size() for group in (*tensors.values(), *new.values()) for t in group.values())
    try:
        with folder_written_aside(final) as aside:
            if _free(root) < needed * 1.02:
                raise OSError(f"no space: needs {needed / 2**20:.1f} MiB, has {_free(root) / 2**20:.1f} MiB")
            fault_point("checkpoint.open")
            for name, (source, _) in kept.items():
                os.link(source, aside / name)
            for name, group in (*tensors.items(), *new.items()):
                held = {key: value.detach().cpu().contiguous() for key, value in group.items()}
                save_file(held, aside / f"{name}.safetensors")
                fault_point("checkpoint.file")
            (aside / "state.json").write_text(json.dumps(state, sort_keys=True))
            _write_manifest(aside, {name: entry for name, (_, entry) in kept.items()})
            fault_point("checkpoint.manifest")
        fault_point("checkpoint.rename")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {step} could not be written to {root}: {error}. It needs {needed / 2**20:.1f} MiB "
            f"and there are {_free(root) / 2**20:.1f} MiB free; older checkpoints are "
            "untouched. Free some space, then: rung resume"
        ) from error
    return Checkpoint(step, final)


def newest(root: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and a sentence for each newer folder that does not."""
    refused: list[str] = []
    for step, folder in reversed(_by_step(root)):
        problem = _problem(folder)
        if problem is None:
            return Checkpoint(step, folder), refused
        refused.append(f"checkpoint {folder.name} is not used: {problem}")
    return None, refused


def steps(root: Path) -> list[int]:
    """The steps of which there is a checkpoint, whole or not, in order."""
    return [step for step, _ in _by_step(root)]


def of_step(root: Path, step: int) -> Checkpoint:
    """The checkpoint of one step. CheckpointError when it does not verify."""
    folder = root / f"step_{step:06d}"
    problem = _problem(folder)
    if problem is not None:
        raise CheckpointError(f"checkpoint {folder.name} cannot be used: {problem}")
    return Checkpoint(step, folder)


def tidy(root: Path, keep: int, newest_step: int) -> None:
    """Removes what half-written checkpoints left, checkpoints past `newest_step`, and all but the newest `keep`."""
    found = _by_step(root)
    for folder in _folders(root):
        if folder.name.endswith(SUFFIX):
            shutil.rmtree(folder)
    for step, folder in found:
        if step > newest_step:
            shutil.rmtree(folder)
    for _, folder in [one for one in found if one[0] <= newest_step][:-keep]:
        shutil.rmtree(folder)
        fault_point("checkpoint.remove")


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()] if root.is_dir() else []


def _by_step(root: Path) -> list[tuple[int, Path]]:
    """Folders that are named as checkpoints are, whole or not, in the order of their steps."""
    return sorted((int(match[1]), folder) for folder in _folders(root) if (match := _NAME.fullmatch(folder.name)))


def _free(root: Path) -> int:
    return shutil.disk_usage(root if root.exists() else root.parent).free


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept_pieces(root: Path, pieces: Mapping[str, Tensor]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Pieces that the newest checkpoint under `root` holds already: the file, and its entry in the manifest."""
    found = _by_step(root)
    if not pieces or not found:
        return {}
    before = found[-1][1]
    try:
        listing = json.loads((before / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    names = (f"{name}.safetensors" for name in pieces)
    return {name: (before / name, listing[name]) for name in names if name in listing and (before / name).is_file()}


def _write_manifest(folder: Path, known: Mapping[str, dict[str, Any]]) -> None:
    """`known`: entries of files that are links and were hashed when they were written."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST and path.name not in known)
    listing = {path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in files} | dict(known)
    (folder / MANIFEST).write_text(json.dumps({"files": listing, "torch": torch.__version__}, sort_keys=True))


def _problem(folder: Path) -> str | None:
    """Why a folder is not a checkpoint, or None when each listed file has its size and hash."""
    try:
        listing = json.loads((folder / MANIFEST).read_text())["files"]
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
        if present != set(listing):
            return f"its files are {sorted(present)}, the manifest lists {sorted(listing)}"
        for name, expected in listing.items():
            path = folder / name
            if path.is_symlink() or path.stat().st_size != expected["bytes"] or _digest(path) != expected["sha256"]:
                return f"{name} does not have the size and hash that the manifest lists"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read ({type(error).__name__}: {error})"
    return None

"""Weights & Biases: offline in the run's own folder, unless the user's WANDB_MODE says online."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from rung.runs.record.trackers.tracker import TrackedRun

PATIENCE_S = 30.0
"""How long the service may keep a run waiting at its start and at its end."""


class WandbTracker:
    """Project WANDB_PROJECT or `rung`. Nothing but the numbers and the settings is told: no code, machine or console.

    Offline, a resumed run is written anew from its metrics. Online, the service knows the steps that it has; they are
    not told again: a resumed run makes the same ones.
    """

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the library's own reports about itself
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        if mode != "online":
            for old in (run.folder / "wandb").glob(f"offline-run-*-{run.id}"):
                shutil.rmtree(old)
        settings = wandb.Settings(
            mode=mode,
            console="off",
            silent=True,
            init_timeout=PATIENCE_S,
            login_timeout=PATIENCE_S,
            finish_timeout=PATIENCE_S,
            disable_git=True,
            disable_code=True,
            save_code=False,
            symlink=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rung"),
            name=run.name,
            id=run.id,
            dir=str(run.folder),
            config=dict(run.settings),
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        self._next = self._run.step
        url = self._run.url
        self.where = f"W&B: {url}" if url else f"W&B, offline; to send it: wandb sync {run.folder}/wandb/offline-run-*"
        for step, numbers in run.history:
            self.row(step, numbers)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        if step >= self._next:
            self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()

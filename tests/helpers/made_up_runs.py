"""Run folders as training writes them, with numbers that a test can name; and the page over them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rung.batch import Batch, Episode, Judgement
from rung.lab.pages import PageServer
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.viewer_page import ViewerPage
from rung.runs.record.files import RunFiles
from rung.trainers.assemble import assemble

PIECES = ("so", " it", " is", " 5", "<end>")
ADVANTAGES = (-1.0, -0.5, 0.0, 0.5, 1.0)
LOG_PROBS = (-0.1, -0.2, -0.3, -0.4, -4.0)
ENTROPY = (0.0, 0.5, 1.0, 1.5, 2.0)
CLIPPED = (True, False, False, False, True)


def episode(group: int, sample: int, **changes: Any) -> Episode:
    """One of five tokens; sample 0 is right, the others wrong."""
    right = float(sample == 0)
    fields: dict[str, Any] = {
        "item": f"add-{group}",
        "group": group,
        "sample": sample,
        "context": np.array([1, 2, 3]),
        "actions": np.arange(10, 15),
        "action_mask": np.ones(5, dtype=bool),
        "log_probs": np.array(LOG_PROBS, dtype=np.float32),
        "terminated": True,
        "truncated": False,
        "text": f"so it is {5 if right else 6}",
        "pieces": PIECES,
        "judgement": Judgement(
            total=right + 0.5 * (sample % 2), parts={"correct": right, "format": float(sample % 2)}, accuracy=right
        ),
    }
    return Episode(**{**fields, **changes})


def learnt(episodes: Sequence[Episode]) -> Batch:
    """The batch after learning, each row with the numbers above: the ratio to the reference is 2 everywhere."""
    batch = assemble(episodes)
    rows = len(episodes)
    learner = torch.tensor(LOG_PROBS).repeat(rows, 1) + 0.001
    return batch.changed(
        old_log_probs_BT=learner,
        reference_log_probs_BT=learner - float(np.log(2)),
        entropy_BT=torch.tensor(ENTROPY).repeat(rows, 1),
        clipped_BT=torch.tensor(CLIPPED).repeat(rows, 1),
        advantages_BT=torch.tensor(ADVANTAGES).repeat(rows, 1),
    )


def write_step(files: RunFiles, step: int, episodes: Sequence[Episode] = (), **metrics: float) -> None:
    """A step's rows, and its samples where there are any."""
    row = {"step": step, "reward/mean": 0.1 * step, "kl/start": 0.4 * step, **metrics}
    if step % 2 == 0:
        row |= {"held_out/score": 0.5, "held_out/low": 0.4, "held_out/high": 0.6}
    files.metrics.append(row)
    files.timings.append({"step": step, "seconds/sample": 1.0, "seconds/learn": 2.0 + step, "seconds/step": 3.0 + step})
    if episodes:
        prompts = [f"{e.group}+3=" for e in episodes]
        seen = learnt(episodes)
        assert seen.advantages_BT is not None
        files.write_samples(step, episodes, prompts=prompts, advantages=list(seen.advantages_BT), learnt=seen)


def make_run(folder: Path, steps: int = 3, *, text: bool = True, **metrics: float) -> RunFiles:
    """A run that goes on: two groups of three samples a step, whose right share is a third."""
    files = RunFiles(folder)
    (folder / "settings.yaml").write_text("method: grpo\nseed: 0\n")
    for step in range(1, steps + 1):
        episodes = [episode(group, sample) for group in (0, step) for sample in range(3)] if text else []
        write_step(files, step, episodes, **metrics)
    return files


@contextmanager
def served(*folders: Path) -> Iterator[PageServer]:
    """The page over these runs, from a thread of this process."""
    with PageServer(ViewerPage([OpenedRun(folder) for folder in folders]).routes(), people=["viewer"]) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(30)

"""A method of your own: GRPO with an advantage that rung does not have. It is trained, killed, resumed and compared.

    python examples/own_method.py [STEPS] [BUDGET] [FOLDER]

A part is a frozen dataclass that satisfies its slot's protocol, here `rung.parts.Advantage`.
"""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch

import rung
from rung import GRPO, parts
from rung.batch import Batch


@dataclasses.dataclass(frozen=True)
class AboveMedian:
    """A sample's return less the median of its prompt's samples: one lucky answer does not lower the others."""

    scale: Annotated[float, parts.ABOVE_0] = 1.0
    formula: ClassVar[str] = "A = scale · (R − median of the prompt's R)"
    needs_group: ClassVar[bool] = True  # the method then asks for two samples of a prompt

    def __call__(self, batch: Batch) -> torch.Tensor:
        returns_B = batch.returns_B()
        median_B = torch.stack([returns_B[batch.group_ids_B == group].median() for group in batch.group_ids_B])
        return self.scale * (returns_B - median_B)[:, None] * batch.action_mask_BT


MINE = GRPO.changed(name="median_grpo", parent="grpo", samples_per_prompt=8, advantage=AboveMedian(scale=2.0))
SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "task": "arithmetic",
    "saving": {"every": 1},
    "evaluation": {"num_items": 64},
}


def train(folder: Path, steps: int) -> None:
    rung.train(method=MINE, steps=steps, out=folder, quiet=True, **SETTINGS)


def train_and_kill(folder: Path, steps: int) -> int:
    """Trains in another process and kills it in the middle, as `kill -9` does. Returns the last step it had done."""
    child = subprocess.Popen([sys.executable, __file__, "--child", str(folder), str(steps)])
    rows = folder / "metrics.jsonl"
    while child.poll() is None and (not rows.is_file() or rows.read_text().count("\n") <= steps // 2):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the child ended before it could be killed"
    return rung.open(folder, parts=[AboveMedian]).step


def main(steps: int, budget: str, folder: Path) -> None:
    print(rung.explain(MINE))
    print("\nMINE and GRPO differ in:")
    for change in rung.difference(GRPO, MINE):
        print("-", change.words())

    killed = train_and_kill(folder / "run", steps)
    print(f"\nkilled after step {killed}")
    run = rung.resume(folder / "run", parts=[AboveMedian], quiet=True)  # the class is handed in, never looked up
    print(f"resumed to step {run.step}: held-out score {run.score:.3f}")

    grpo = GRPO.changed(samples_per_prompt=8)
    data = rung.compare([grpo, MINE], budget={"tokens": budget}, seeds=2, out=folder / "compare", **SETTINGS)
    print(data["verdict"]["headline"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        train(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        given = sys.argv[1:] + ["20", "40K", "runs/own-method"][len(sys.argv) - 1 :]
        main(int(given[0]), given[1], Path(given[2]))

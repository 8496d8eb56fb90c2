"""A long run keeps the number of its files and its memory bounded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import pytest

from rung.library import train
from rung.models.language.tiny import tiny_model
from rung.runs.observers import Finished, Row


class Watch:
    """Memory and files after each step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mib, self.files = folder, list[float](), list[int]()

    def stepped(self, metrics: Sequence[Row]) -> Iterable[str]:
        self.mib.append(psutil.Process().memory_info().rss / 2**20)
        self.files.append(sum(1 for path in self.folder.rglob("*") if path.is_file()))
        return ()

    def finished(self, run: Finished) -> Iterable[str]:
        return ()


@pytest.mark.parametrize(
    ("steps", "settled", "most_mib", "span"), [(40, 15, 40, 4), pytest.param(2000, 400, 80, 64, marks=pytest.mark.slow)]
)
def test_files_and_memory_of_a_long_run_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, settled: int, most_mib: int, span: int
) -> None:
    monkeypatch.setattr("rung.runs.record.samples.SPANS", (span, span**2))
    tiny_model(0).save(tmp_path / "model")
    watch = Watch(tmp_path / "run")
    run = train(
        out=tmp_path / "run",
        model=str(tmp_path / "model"),
        method="reinforce",
        task={"name": "arithmetic", "levels": [1, 2, 3], "size": 200, "held_out": 4},
        steps=steps,
        prompts_per_step=3,
        max_new_tokens=8,
        learner={"threads": 1, "compute": "bfloat16" if steps > 100 else "float32"},
        evaluation={"every": 0, "num_items": 2},
        saving={"every": 0},
        reporting={"page": False, "kl_rows": 0},
        observers=[watch],
        quiet=True,
    )
    assert len(watch.mib) == steps + 1
    assert max(watch.mib[settled:]) - watch.mib[settled] < most_mib
    assert max(watch.files) < 3 * span + steps / span**2 + 15, "parts are gathered while the run goes on"
    kept = [str(path.relative_to(run.folder)) for path in run.folder.rglob("*.parquet")]
    assert kept == ["samples.parquet"], "no sample is stored twice"
    assert len(run.samples(step=steps)) == 3 and len(run.samples()) == 3 * steps


def test_shapes_that_were_compiled_are_not_all_kept() -> None:
    import rung.models  # noqa: F401

    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) <= 128

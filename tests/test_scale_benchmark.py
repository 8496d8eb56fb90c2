"""The step on many GPUs that benchmarks/scale.py computes: what docs/scale.md shows of it, and its arithmetic."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_docs_show_what_is_computed() -> None:
    told = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
    page = (ROOT / "docs" / "scale.md").read_text()
    assert all("| " + " | ".join(row) + " |" in page for row in told["rows"]())


def test_a_step_is_the_sum_or_the_longer_of_its_parts() -> None:
    told = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
    step = told["Step"](drawing=10.0, longest=40.0, learning=15.0, delivery=1.0)
    assert [step.takes(ahead) for ahead in (0, 1, 2, 4)] == [56.0, 41.0, 21.0, 16.0]
    assert [step.dominates(ahead) for ahead in (1, 4)] == ["the longest answer", "learning"]
    eight = told["MODELS"][1]
    few, many = (told["step_of"](eight, 8, gpus) for gpus in (8, 16))
    assert few.learning == pytest.approx(2 * many.learning) and few.drawing == many.drawing

"""Every kind of run on text ends as it did when it was recorded: golden.py says how, and how to record anew.

Runs in environments are in test_golden_worlds.py, so that two processes share the work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parent))
import golden


def kinds() -> Iterator[Any]:
    """Each kind. A method that is a row of variants.yaml, others with a slot or two changed, is for `make test-all`."""
    rows = yaml.safe_load(files("rung.methods").joinpath("variants.yaml").read_text(encoding="utf-8"))
    variants = {f"text-{name}" for name in rows}
    for kind in golden.TEXT_KINDS:
        yield pytest.param(kind.name, marks=[pytest.mark.slow] if kind.name in variants else [])


@pytest.mark.parametrize("name", kinds())
def test_a_run_on_text_ends_as_recorded(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    golden.check(name, tmp_path / "here", record_property)


def test_every_kind_is_recorded_and_nothing_else() -> None:
    assert list(golden.recorded()["kinds"]) == list(golden.KINDS)


def test_a_difference_is_told_in_words() -> None:
    was = {"rows": [{"step": 0, "loss": None}, {"step": 1, "loss": 0.5}], "final": "a"}
    now = {"rows": [{"step": 0, "loss": None}, {"step": 1, "loss": 0.5000000000000001}], "final": "b"}
    assert golden.differences(was, was, exactly=True) == []
    assert golden.differences(was, now, exactly=True) == [
        "final: not the same bytes as recorded",
        "rows: step 1, loss: was 0.5, is 0.5000000000000001",
    ]
    assert golden.differences(was, now, exactly=False) == []
    now["rows"][1] = {"step": 1, "loss": 0.51}
    assert golden.differences(was, now, exactly=False) == ["rows: step 1, loss: was 0.5, is 0.51"]

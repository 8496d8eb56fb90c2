"""In a notebook a run is one bar that is redrawn, not a flood of lines; hostile text stays text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rung.batch import Episode
from rung.runs.record.console import NotebookReport, in_notebook


class Cell:
    """A notebook's output cell: what was shown, and what it was replaced by."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.pages: list[str] = []

    def __call__(self, page: Any, *, display_id: bool) -> Cell:
        assert display_id, "else it cannot be redrawn"
        self.outputs.append(page._repr_html_())
        self.pages.append(page._repr_html_())
        return self

    def update(self, page: Any) -> None:
        self.pages.append(page._repr_html_())


def test_a_run_is_one_output_that_is_redrawn(make_episode: Callable[..., Episode], hostile: list[str]) -> None:
    cell = Cell()
    with NotebookReport(total_steps=4, samples_every=1, display=cell) as report:
        report.start(["a plan"])
        for step in range(5):
            report.step({"step": step, "reward/mean": 0.25 * step}, {"seconds/step": 2.0})
            report.samples([make_episode(hostile[0])], [hostile[1]])
            report.warn("<b>hot</b>")
        report.finish(["held-out score: 1.0"])
    assert len(cell.outputs) == 1 and len(cell.pages) > 5
    assert '<progress value="3" max="4"' in cell.pages[-6] or any('value="3" max="4"' in page for page in cell.pages)
    assert any("2s left" in page and "reward 0.75" in page for page in cell.pages)
    assert "held-out score: 1.0" in cell.pages[-1] and "<progress" not in cell.pages[-1]
    whole = "".join(cell.pages)
    assert "<script" not in whole and "<img" not in whole and "<b>hot" not in whole and "&lt;b&gt;hot" in whole


def test_quiet_shows_warnings_alone() -> None:
    cell = Cell()
    report = NotebookReport(total_steps=4, quiet=True, display=cell)
    report.start([])
    report.step({"step": 1})
    assert cell.outputs == []
    report.warn("hot")
    assert len(cell.outputs) == 1 and "hot" in cell.outputs[0]


@pytest.mark.parametrize(("shell", "is_one"), [("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)])
def test_a_notebook_is_known_by_its_shell(shell: str, is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=type(shell, (), {})))  # type: ignore[arg-type]
    assert in_notebook() is is_one
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))  # type: ignore[arg-type]
    assert not in_notebook()

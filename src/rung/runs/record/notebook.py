"""Progress in a notebook: one bar with the newest numbers, redrawn in place, and warnings below it."""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from typing import Any

from rung.batch import Episode
from rung.runs.record.console import Row, RunReport, sample_text

MOST_WARNINGS = 20
"""Shown below the bar, the newest last."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookReport(RunReport):
    """Shows a run in a notebook's cell; the same calls as `ConsoleReport`. `quiet` shows nothing but warnings."""

    def __init__(self, *, display: Any = None, **of_run: Any) -> None:
        super().__init__(**of_run)
        self._said: list[str] = []
        self._sample = self._end = ""
        if display is None:
            from IPython.display import display
        self._display = display
        self._shown: Any = None

    def start(self, plan_lines: Sequence[str]) -> None:
        """Show the bar, before the first step."""
        self._draw()

    def step(self, metrics: Row, timings: Row | None = None) -> None:
        """One step's numbers."""
        self.note(metrics, timings)
        self._draw()

    def samples(self, episodes: Sequence[Episode], prompts: Sequence[str | None] | None = None) -> None:
        """Show the step's first completion in place of the one before."""
        if not episodes or self.samples_every <= 0 or self._step % self.samples_every:
            return
        title, body = sample_text(episodes[0], prompts[0] if prompts is not None else None)
        self._sample = f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(body)}</pre></details>"

    def warn(self, warning: str) -> None:
        """A warning in words, also when quiet."""
        self._said = [*self._said, warning][-MOST_WARNINGS:]
        self._draw(always=True)

    def finish(self, summary: Sequence[str]) -> None:
        """Show the summary in place of the bar."""
        self._end = "".join(f"<div>{html.escape(line)}</div>" for line in summary)
        self._draw()

    def _draw(self, *, always: bool = False) -> None:
        if self.quiet and not always:
            return
        bar = f'<progress value="{self._step}" max="{max(self.total_steps, 1)}" style="width:60%"></progress>'
        head = f"<div>{bar} step {self._step}/{self.total_steps} {html.escape(self.time_left())}</div>"
        numbers = f"<div>{html.escape('   '.join(self.newest_numbers()))}</div>"
        warnings = "".join(f"<div>warning: {html.escape(one)}</div>" for one in self._said)
        page = self._end + warnings if self._end else head + numbers + self._sample + warnings
        if self._shown is None:
            self._shown = self._display(_Html(page), display_id=True)
        else:
            self._shown.update(_Html(page))


class _Html:
    """HTML, as a notebook asks an object for it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text

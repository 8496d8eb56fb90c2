"""Console output of a run: the plan, a live line with a progress bar, warnings, some completions, a summary.

On a terminal one line is redrawn; elsewhere (a file, a pipe, CI) there is one plain line a step and no escape code.
Completions are hostile: they are shown through `visible`, and nothing is read as markup.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TextIO

from jinja2 import Template
from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from rung.runs.metrics import STEPS, in_environment, shown
from rung.runs.record.visible import encodable, visible

if TYPE_CHECKING:
    from rung.batch import Episode

Row = Mapping[str, float | None]

_LINE = (
    ("reward", "reward/mean"),
    ("pairs right", "preference/accuracy"),
    ("held-out", "held_out/score"),
    ("KL", "kl/start"),
    ("length", "length/mean"),
    ("tokens/s", "tokens_per_second"),
)


def _labels(row: Row) -> Sequence[tuple[str, str]]:
    """What a line shows, by (label, metric): an environment's tokens are its steps."""
    if not in_environment([row]):
        return _LINE
    return [(f"{STEPS}/s" if name == "tokens_per_second" else label, name) for label, name in _LINE]


class RunReport:
    """The newest numbers of a run, for whoever shows it; a context manager that closes itself."""

    def __init__(self, *, total_steps: int, first_step: int = 0, samples_every: int = 10, quiet: bool = False) -> None:
        """`first_step` is where a resumed run goes on; `samples_every` 0 shows no completions."""
        self.total_steps, self.samples_every, self.quiet = total_steps, samples_every, quiet
        self._step = first_step
        self._seconds: deque[float] = deque(maxlen=20)
        self._latest: dict[str, float] = {}
        self._held_out_step: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing open; safe to call twice."""

    def note(self, metrics: Row, timings: Row | None) -> dict[str, float | None]:
        """Keeps one step's numbers, as in metrics.jsonl and timings.jsonl, and returns them together."""
        self._step = int(metrics.get("step") or 0)
        numbers = {**metrics, **(timings or {})}
        self._latest |= {name: value for name, value in numbers.items() if value is not None}
        if metrics.get("held_out/score") is not None:
            self._held_out_step = self._step
        seconds = numbers.get("seconds/step")
        if seconds is not None and self._step > 0:
            self._seconds.append(seconds)
        return numbers

    def time_left(self) -> str:
        """`3m 20s left`, from the mean of the last 20 steps; empty before the first and after the last."""
        steps = self.total_steps - self._step
        known = bool(self._seconds) and steps > 0
        return f"{duration(steps * sum(self._seconds) / len(self._seconds))} left" if known else ""

    def newest_numbers(self) -> list[str]:
        """The newest value of what a line shows, each with its label; of a score also the step it was taken at."""
        found = [(label, name) for label, name in _labels(self._latest) if name in self._latest]
        at = "" if self._held_out_step is None else f" (step {self._held_out_step})"
        return [f"{label} {shown(name, self._latest[name])}{at * (name == 'held_out/score')}" for label, name in found]


class ConsoleReport(RunReport):
    """Prints a run as it goes; leaving it gives the terminal back, also after an error.

    `quiet` keeps the warnings and the end only. When the output goes away (a closed pipe or terminal), the run goes
    on without it.
    """

    def __init__(self, *, samples_shown: int = 2, stream: TextIO | None = None, **of_run: Any) -> None:
        super().__init__(**of_run)
        self.samples_shown = samples_shown
        self._stream = stream or sys.stdout
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._console = Console(file=self._stream, markup=False, emoji=False, highlight=False)
        self._live_wanted = self._console.is_terminal and not self._console.is_dumb_terminal and not self.quiet
        self._live: Live | None = None
        self._gone = False
        self._shown_samples = False

    def start(self, plan_lines: Sequence[str]) -> None:
        """Prints the plan (method card, units, memory) and begins the live line."""
        if not self.quiet:
            for line in plan_lines:
                self._print(visible(line, keep_newlines=True))
        if self._live_wanted:
            self._bar = Progress(
                TextColumn("step {task.completed:.0f}/{task.total:.0f}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:.0f} %", markup=False),
                TextColumn("{task.fields[left]}", markup=False),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=self.total_steps, completed=self._step, left="")
            self._live = Live(self._picture(), console=self._console, refresh_per_second=4)
            self._live.start()

    def step(self, metrics: Row, timings: Row | None = None) -> None:
        """One step's numbers, as in metrics.jsonl and timings.jsonl; row 0 is the model before training."""
        numbers = self.note(metrics, timings)
        if self.quiet:
            return
        if self._live is not None:
            self._bar.update(self._task, completed=self._step, left=self.time_left())
            self._out(partial(self._live.update, self._picture(), refresh=True))
        else:
            self._print(self.plain_line(numbers))

    def plain_line(self, now: Row) -> str:
        """The line of one step where there is no terminal: only what this step measured."""
        parts = [f"{label} {shown(name, now[name])}" for label, name in _labels(now) if now.get(name) is not None]
        width = len(str(self.total_steps))
        line = "  ".join([f"step {self._step:>{width}}/{self.total_steps}", *parts, self.time_left()])
        return line.rstrip()

    def samples(self, episodes: Sequence[Episode], prompts: Sequence[str | None] | None = None) -> None:
        """Shows some of this step's completions at the first step seen and at every `samples_every`th: the best and
        the worst rewarded, then the first ones. May be called at every step."""
        due = self.samples_every > 0 and (not self._shown_samples or self._step % self.samples_every == 0)
        if self.quiet or not due or not episodes:
            return
        self._shown_samples = True
        for i in _chosen(episodes, self.samples_shown):
            prompt = prompts[i] if prompts is not None else None
            title, body = sample_text(episodes[i], prompt)
            if self._live is not None:
                label = Text(f" step {self._step}  {title} ")
                self._print(Panel(Text(body), title=label, title_align="left", box=ROUNDED, border_style="dim"))
            else:
                indented = "\n".join(f"    {line}" for line in body.splitlines())
                self._print(f"  sample at step {self._step}: {title}\n{indented}")

    def warn(self, warning: str) -> None:
        """A warning in words, also when quiet."""
        text = visible(warning)
        if self._live_wanted:
            self._print(Text.assemble(("warning ", "bold yellow"), text))
        else:
            self._print(f"warning: {text}")

    def finish(self, summary: Sequence[str]) -> None:
        """Ends the live line and prints the summary, also when quiet."""
        self.close()
        for line in summary:
            self._print(visible(line, keep_newlines=True))

    def close(self) -> None:
        """Ends the live line."""
        live, self._live = self._live, None
        if live is not None:
            self._out(live.stop)

    def _picture(self) -> RenderableType:
        line = "  ".join(self.newest_numbers()) or "the first step is being made"
        return Group(self._bar, Text(line, no_wrap=True, overflow="ellipsis"))

    def _print(self, what: Text | Panel | str) -> None:
        """A string goes out as it is, unwrapped; anything else through rich."""
        if not isinstance(what, str):
            self._out(lambda: self._console.print(what))
        elif self._live is not None:
            self._out(lambda: self._console.print(Text(encodable(what, self._encoding)), soft_wrap=True))
        else:
            self._out(lambda: print(encodable(what, self._encoding), file=self._stream, flush=True))

    def _out(self, write: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            write()
        except OSError:  # the terminal or pipe is closed: the run is worth more than its output
            self._gone = True


def sample_text(episode: Episode, prompt: str | None, *, limit: int = 400) -> tuple[str, str]:
    """A title (item, rewards, status) and a body (prompt and completion) that are safe to print."""
    from rung.batch import OK

    judged = episode.judgement
    title = "not judged"
    if judged is not None:
        parts = ", ".join(f"{visible(name, limit=40)} {shown('', judged.parts[name])}" for name in sorted(judged.parts))
        title = f"reward {shown('', judged.total)}" + (f" ({parts})" if parts else "")
        if judged.status != OK:
            title += f"  {visible(judged.status, limit=120)}"
    title += "  truncated" if episode.truncated else ""
    title += f"  item {visible(episode.item, limit=40)}"
    body = f"→ {visible(said_text(episode), limit=limit, keep_newlines=True)}" if episode.text else "→ (nothing)"
    if prompt is not None:
        start = "… " if len(prompt) > limit else ""
        body = f"{start}{visible(prompt[-limit:], keep_newlines=True)}\n{body}"
    return title, body


def said_text(episode: Episode) -> str:
    """The completion; over turns one line each, and what came back behind an arrow."""
    if episode.played is None:
        return episode.text
    told = (
        f"{turn.said.rstrip()}\n← {turn.told.rstrip()}" if turn.told else turn.said for turn in episode.played.turns
    )
    return "\n→ ".join(told)


def _chosen(episodes: Sequence[Episode], count: int) -> list[int]:
    """Indices of the best and the worst rewarded (the first of equals), then the first others."""
    rewarded = [(e.judgement.total, i) for i, e in enumerate(episodes) if e.judgement and e.judgement.total is not None]
    best = [max(rewarded, key=lambda pair: (pair[0], -pair[1]))[1], min(rewarded)[1]] if rewarded else []
    order = dict.fromkeys([*best, *range(len(episodes))])
    return list(order)[:count]


def duration(seconds: float) -> str:
    """`45s`, `3m 20s`, `2h 05m`."""
    (minutes, rest), (hours, over) = divmod(round(seconds), 60), divmod(round(seconds) // 60, 60)
    return f"{hours}h {over:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


_PAGE = Template(Path(__file__).with_name("notebook.html").read_text(encoding="utf-8"), autoescape=True)
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
        self._warnings: list[str] = []
        self._sample: tuple[str, str] | None = None
        self._summary: Sequence[str] = ()
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
        self._sample = sample_text(episodes[0], prompts[0] if prompts is not None else None)

    def warn(self, warning: str) -> None:
        """A warning in words, also when quiet."""
        self._warnings = [*self._warnings, warning][-MOST_WARNINGS:]
        self._draw(always=True)

    def finish(self, summary: Sequence[str]) -> None:
        """Show the summary in place of the bar."""
        self._summary = summary
        self._draw()

    def _draw(self, *, always: bool = False) -> None:
        if self.quiet and not always:
            return
        numbers = {"step": self._step, "steps": self.total_steps, "left": self.time_left()}
        numbers["numbers"] = "   ".join(self.newest_numbers())
        page = _PAGE.render(**numbers, sample=self._sample, summary=self._summary, warnings=self._warnings)
        shown = SimpleNamespace(_repr_html_=lambda: page)  # HTML, as a notebook asks an object for it
        if self._shown is None:
            self._shown = self._display(shown, display_id=True)
        else:
            self._shown.update(shown)

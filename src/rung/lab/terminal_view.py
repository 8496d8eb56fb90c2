"""A run in a terminal, also while it trains: its score, what is wrong, and samples beside what was right.

It is for a machine that is reached by ssh. Text of models and files is made visible, and is never markup."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rung.errors import DataError
from rung.lab.run_page.opened_run import OpenedRun

EVERY_S = 2.0
MOST_SAMPLES = 12
MOST_WARNINGS = 4
SHOWN = 240
"""Characters of a prompt's end, an answer's end, and of what was right."""


def view(run: OpenedRun, console: Console | None = None) -> None:
    """Shows a run until q or Ctrl-C, drawn anew every two seconds; where nobody sits at a terminal, once."""
    console = console or Console()
    if not (console.is_terminal and sys.stdin.isatty()):
        console.print(frame(run, console.height))
        return
    live = Live(console=console, screen=True, auto_refresh=False)
    with contextlib.suppress(KeyboardInterrupt), _keys() as pressed, live:
        while True:
            live.update(frame(run, console.height), refresh=True)
            if pressed(EVERY_S) in ("q", "Q", "\x03"):
                return


def frame(run: OpenedRun, height: int) -> RenderableType:
    """The run at a glance; as many samples as the height leaves room for."""
    seen = run.overview()
    parts: list[RenderableType] = [Text(f"{run.name}  {seen['state']}", style="bold")]
    parts += [Text.assemble((value, "bold cyan"), f"  {caption}") for value, caption in seen["figures"]]
    warnings = seen["warnings"]
    for one in warnings[:MOST_WARNINGS]:
        parts.append(Text(f"! {one['says']} ({one['when']}). {one['advice']}", style="yellow"))
    if not warnings:
        parts.append(Text("Nothing looks wrong.", style="green"))
    elif len(warnings) > MOST_WARNINGS:
        parts.append(Text(f"! and {len(warnings) - MOST_WARNINGS} more: rung diagnose {run.folder}", style="yellow"))
    parts += [Text(problem, style="red") for problem in seen["problems"]]
    room = max(2, (height - len(parts) - 6) // 3)
    return Group(*parts, Text(), *_samples(run, min(room, MOST_SAMPLES)))


def _samples(run: OpenedRun, most: int) -> Iterator[RenderableType]:
    state = run.state()
    if not state["steps"]:
        yield Text(state["problem"] or "No samples are stored yet.")
        return
    try:
        step = run.step(state["steps"][-1])
    except (DataError, LookupError) as error:
        yield Text(str(error)[:SHOWN])
        return
    prompts = {group["group"]: group["prompt"] for group in step["groups"]}
    table = Table(title=f"Samples of step {step['step']:,}", title_justify="left", expand=True)
    known = any(sample["answer"] is not None for sample in step["samples"])
    for name, wide in (("prompt", 3), ("answer", 4), *((("right", 2),) if known else ())):
        table.add_column(name, ratio=wide, overflow="fold")
    table.add_column("reward", justify="right")
    apart = max(1, len(step["samples"]) // most)
    for sample in step["samples"][::apart][:most]:
        reward = "" if sample["reward"] is None else f"{sample['reward']:.3g}"
        answer = Text(_end(sample["completion"]), style=_colour(sample))
        right = [Text(_end(sample["answer"] or ""))] if known else []
        table.add_row(Text(_end(prompts[sample["group"]])), answer, *right, Text(reward))
    yield table


def _colour(sample: Mapping[str, Any]) -> str:
    if sample["accuracy"] is None:
        return ""
    return "green" if sample["accuracy"] >= 1 else "red"


def _end(text: str) -> str:
    text = text.strip()
    return text if len(text) <= SHOWN else f"…{text[-SHOWN:]}"


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds for a key, and gives it, or an empty text. The terminal is put back."""
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def pressed(seconds: float) -> str:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([number], [], [], left)[0]:
                return os.read(number, 1).decode("ascii", "replace")
        return ""

    tty.setcbreak(number)
    try:
        yield pressed
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)

"""`rung`: the command line. Each command lives in `rung.commands`; heavy libraries are loaded by what needs them.

What rung raises on purpose is told in its own words, without a traceback, and exits with its code. Everything else is
a bug and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from rung import __version__
from rung.commands.catalogue import diff, explain, explain_metric, from_trl, methods, settings, tasks
from rung.commands.compare import compare
from rung.commands.evaluate import chat, evaluate
from rung.commands.pages import diagnose, label, listing, view
from rung.commands.play import play
from rung.commands.serve import serve
from rung.commands.shared import complain, say
from rung.commands.train import check, pairs, resume, rlhf, sft, train
from rung.commands.verify import verify
from rung.errors import RungError
from rung.whole_files import storage_in_words

DEBUG = "RUNG_DEBUG"
"""Set to anything, this environment variable shows the traceback as well."""


class Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with storage_in_words():
                return super().invoke(ctx)
        except RungError as error:
            if os.environ.get(DEBUG):
                traceback.print_exc()
            complain(str(error))
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="rung",
    cls=Commands,
    help="Train language models with reinforcement learning, every method on one core.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad settings, data or usage, 75 stopped by a signal with everything saved.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_ON_RUNS = (
    train,
    check,
    resume,
    sft,
    pairs,
    rlhf,
    compare,
    evaluate,
    play,
    chat,
    serve,
    label,
    view,
    listing,
    diagnose,
    verify,
)
for command in (*_ON_RUNS, methods, explain, diff, settings, tasks, explain_metric, from_trl):
    app.command({evaluate: "eval", listing: "list"}.get(command))(command)


def _version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Train language models with reinforcement learning, every method on one core."""


def main() -> None:
    """The console script."""
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a log is no place for a bar that redraws itself
    app()


if __name__ == "__main__":
    main()

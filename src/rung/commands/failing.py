"""Errors as messages: what rung raises on purpose is told in its own words, without a traceback, and exits with its
code. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

import os
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from rung.commands.output import complain
from rung.errors import RungError

DEBUG = "RUNG_DEBUG"
"""Set to anything, this environment variable shows the traceback as well."""


class Commands(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RungError as error:
            if os.environ.get(DEBUG):
                traceback.print_exc()
            complain(str(error))
            raise typer.Exit(error.exit_code) from error

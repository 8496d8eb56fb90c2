"""`rung diagnose`: what is wrong with a run, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import AsJson
from rung.commands.output import print_json, say


def diagnose(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")], as_json: AsJson = False
) -> None:
    """Say what is wrong with a run.

    From its folder alone, also while it trains: the evidence, the likely cause, the setting to change.
    """
    from rung.lab.diagnosis.rules import diagnose as diagnosed

    found = diagnosed(folder)
    if as_json:
        print_json(found.as_data())
        return
    for line in found.lines():
        say(line)

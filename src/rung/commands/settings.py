"""`rung settings`: every setting with its type, range, default and a sentence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from rung.commands.options import AsJson
from rung.commands.output import print_json, say


def settings(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="A setting, a section, or the end of one, such as evaluation.every.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What can be set.

    Each setting's type, range, default and meaning; the method's slots and the numbers of its parts included.
    """
    from rung.settings.listing import found, listed

    wanted = listed() if key is None else found(key, listed())
    if as_json:
        print_json({"settings": [asdict(one) for one in wanted]})
        return
    for setting in wanted:
        for line in setting.lines():
            say(line)

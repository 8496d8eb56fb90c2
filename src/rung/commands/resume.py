"""`rung resume`: go on with a run as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.commands.options import Quiet, Sets
from rung.errors import SettingsError


def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The run's folder.")],
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Go on with a stopped run.

    It starts from the newest good checkpoint. --set steps=N changes its length.
    """
    from rung.settings import read_settings
    from rung.trainers.reading import read_changes

    file = folder / "settings.yaml"
    if not file.is_file():
        raise SettingsError([f"{folder}: holds no run (there is no {file})"])
    changes = read_changes(read_settings(file), sets or ())
    from rung.library import resume as go_on

    raise typer.Exit(go_on(folder, changes, quiet=quiet).exit_code)

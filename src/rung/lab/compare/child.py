"""One run of a comparison in a process of its own: its memory is its own, and its failure nobody else's.

    python -m rung.lab.compare.child        its input's first line: {"folder": ..., "shared": ..., "settings": {...}}

The input stays open as long as the parent lives. When it ends, this process ends at once, as by a power cut: a run
loses nothing by that, and nobody is left at work behind a comparison that was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RungError, SettingsError

if TYPE_CHECKING:
    from rung.settings import Settings
    from rung.trainers.handed import Handed


def end_with_parent() -> None:
    """Starts the thread that ends this process when the input ends."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def run(request: Mapping[str, Any]) -> int:
    """Begins the run, or goes on with it; returns its exit code."""
    from rung.lab.labels.people import people
    from rung.runs.run import handed
    from rung.settings import settings_from
    from rung.tasks.own_environment import import_named

    if request["module"] is not None:
        import_named(f"{request['module']}:")
    folder, shared, settings = Path(request["folder"]), Path(request["shared"]), settings_from(request["settings"])
    return begun_or_resumed(folder, shared, settings, handed(people))


def begun_or_resumed(folder: Path, shared: Path, settings: Settings, hands: Handed) -> int:
    """Trains in the folder, or goes on with the run in it; returns the exit code."""
    from rung.lab.watching import watching
    from rung.runs.run import resume, train
    from rung.runs.saved import SETTINGS, run_settings

    parts, observers = settings.method.parts, watching(page=settings.reporting.page)
    if not (folder / SETTINGS).is_file():
        if folder.exists():  # killed before it had begun: nothing was trained
            shutil.rmtree(folder)
        return train(settings, folder, quiet=True, shared=shared, observers=observers, hands=hands).exit_code
    if run_settings(folder, parts) != settings:
        raise SettingsError([f"{folder}: its settings.yaml is not this comparison's; was it changed by hand?"])
    return resume(folder, parts=parts, quiet=True, shared=shared, observers=observers, hands=hands).exit_code


def main() -> int:
    """The entry point of the process."""
    request = json.loads(sys.stdin.buffer.readline())
    end_with_parent()
    try:
        return run(request)
    except RungError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

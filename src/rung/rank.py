"""A process that learns with the one that started it: `python -P -m rung.rank PARENT_PID`, from `trainers/team.py`.

It is told over standard input: first settings and rank, then work after work. It dies with the one that leads.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from rung.processes import die_with


def main(parent: int) -> None:
    """Join the team, build what is learnt with, and do what is told."""
    die_with(parent, signal.SIGKILL)
    from rung.settings import Settings
    from rung.trainers.choose import follower
    from rung.trainers.team import START_S, Following, Told

    told = Told(sys.stdin.buffer)
    first = told.next(START_S)
    if first is None:
        return
    rank, folder, settings = int(first["rank"]), Path(first["folder"]), Settings.model_validate(first["settings"])
    (folder / f"rank_{rank}.ready").touch()
    ranks = Following(told, rank, int(first["size"]), folder, settings.learner)
    follower(settings, ranks)
    ranks.follow()
    ranks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))

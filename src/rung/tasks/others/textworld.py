"""Games of TextWorld: `textworld/GAME.z8`, or a folder of them, one an item.

A reward is what the score gained, as a share of the most that the game gives; success is to have won.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rung.tasks.others import opening
from rung.tasks.turns import Step

_STATUS = re.compile(r"\n> {2,}-= .*")


class TextWorld:
    """A game, or a folder's.

    Args:
        name: a file that `tw-make` wrote, or a folder of them.
        chat: begin with a message; else with a text, in which a reply ends with its line.
    """

    def __init__(self, name: str, chat: bool = False) -> None:
        import textworld  # noqa: F401  that it is missing is said before a file is

        self.path, self.chat, self.score = Path(name), chat, 0.0
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        self.games = [str(file) for file in files if file.suffix in (".z8", ".ulx") and file.is_file()]
        if not self.games:
            raise ValueError(f"{name} is no game, and no folder of them; expected files that end in .z8 or .ulx")
        self.game: Any = None

    def items(self, seed: int) -> list[str]:
        """The games."""
        return self.games

    def reset(self, item: Any, seed: int) -> Any:
        import textworld

        self.close()
        self.game = textworld.start(item, textworld.EnvInfos(won=True, lost=True, max_score=True, score=True))
        self.score, state = 0.0, self.game.reset()
        return opening(_tidy(state.feedback), self.chat)

    def step(self, reply: str) -> Step:
        state, score, done = self.game.step(reply.strip() or "look")
        gained, self.score = (score - self.score) / max(state.max_score or 1, 1), score
        return Step(_tidy(state.feedback), gained, bool(done), float(bool(state.won)) if done else None)

    def close(self) -> None:
        if self.game is not None:
            self.game.close()


def _tidy(text: str) -> str:
    """Without the banner, which has no letters, before a game's first words, and without the line of its status."""
    lines = [line.rstrip() for line in _STATUS.sub("", text).split("\n")]
    while lines and not any(letter.isalpha() for letter in lines[0]):
        del lines[0]
    return "\n".join(lines).strip("> \n") + "\n"

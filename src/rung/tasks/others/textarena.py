"""Games of TextArena for one player: `textarena/GuessTheNumber-v0`.

The package's own wrappers repeat the whole history in every observation; here a turn reads only what is new, and a
reply without brackets gets the ones that the games look for. Games draw from Python's global generator, which is
therefore an episode's own. Partial credit is a reward and no success: that is a reward of 1.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rung.tasks.others import opening
from rung.tasks.turns import Step


class TextArena:
    """A game.

    Args:
        name: the game's id.
        first: what the policy reads first, in place of the rules.
        chat: begin with a message; else with a text, in which a reply ends with its line.
    """

    def __init__(self, name: str, first: str = "", chat: bool = False) -> None:
        import textarena

        self.game: Any = textarena.make(name)
        while hasattr(self.game, "env"):
            self.game = self.game.env
        self.first, self.chat = first, chat
        self._luck = random.getstate()

    def reset(self, item: Any, seed: int) -> Any:
        with self._own_luck():
            random.seed(seed)
            self.game.reset(num_players=1, seed=seed)
            rules = self._new()
        return opening(self.first or rules, self.chat)

    def step(self, reply: str) -> Step:
        with self._own_luck():
            done, _ = self.game.step(reply if "[" in reply else f"[{reply.strip()}]")
            if not done:
                return Step(self._new())
            rewards, _ = self.game.close()
        reward = float(rewards[0])
        return Step(reward=reward, done=True, success=float(reward >= 1))

    def _new(self) -> str:
        player, told = self.game.get_observation()
        return "".join(f"{text}\n" for sender, text, _ in told if sender != player)

    @contextmanager
    def _own_luck(self) -> Iterator[None]:
        """Python's global generator as this game left it."""
        others = random.getstate()
        random.setstate(self._luck)
        try:
            yield
        finally:
            self._luck = random.getstate()
            random.setstate(others)

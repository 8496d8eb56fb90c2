"""Gymnasium's environments in text: `gymnasium/FrozenLake-v1`, with a number or a word for each action.

What is read is the `ansi` picture where the environment has one, else the observation as Python shows it. Pictures mark
places by colours, which stand as `<red>S</>`. Where the environment states a return from which it counts as solved,
that is success.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rung.tasks.others import opening
from rung.tasks.turns import Step

_COLOURS = ("gray", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_CODE = re.compile(r"\x1b\[([\d;]*)m")


class TextGymnasium:
    """An environment with a discrete space of actions.

    Args:
        name: the environment's id.
        actions: a word for each action, in order; else their numbers.
        chat: begin with a message; else with a text, in which a reply ends with its line.
        options: of the environment's maker.
    """

    def __init__(self, name: str, actions: Sequence[str] = (), chat: bool = False, **options: Any) -> None:
        import gymnasium

        plain: Any = gymnasium.make(name, **options)
        self.has_picture = "ansi" in plain.metadata.get("render_modes", ())
        self.environment: Any = gymnasium.make(name, render_mode="ansi", **options) if self.has_picture else plain
        space, self.chat, self.total = self.environment.action_space, chat, 0.0
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise ValueError(f"its actions are {space}, which no word names; expected a Discrete space")
        self.words = tuple(actions) or tuple(str(int(space.start) + place) for place in range(int(space.n)))
        self.start = int(space.start)
        if len(self.words) != space.n:
            raise ValueError(f"actions: got {len(self.words)} words, expected {space.n}, one for each action")

    def reset(self, item: Any, seed: int) -> Any:
        self.total = 0.0
        observation, _ = self.environment.reset(seed=seed)
        return opening(f"{self._shown(observation)}{self._asks()}", self.chat)

    def step(self, reply: str) -> Step:
        word = reply.strip()
        if word not in self.words:
            return Step(f"expected {self._asks()}")
        observation, reward, ended, cut, _ = self.environment.step(self.start + self.words.index(word))
        self.total += float(reward)
        solved = self.environment.spec.reward_threshold
        success = None if solved is None else float(self.total >= solved)
        return Step(self._shown(observation), float(reward), bool(ended or cut), success)

    def close(self) -> None:
        self.environment.close()

    def _asks(self) -> str:
        return f"one of {', '.join(self.words)}\n"

    def _shown(self, observation: Any) -> str:
        text = self.environment.render() if self.has_picture else str(observation)
        return _CODE.sub(_colour, text).strip("\n") + "\n"


def _colour(code: re.Match[str]) -> str:
    """`<red>` for the code that begins red letters or a red ground, `</>` for the one that ends it."""
    found = [int(one) % 10 for one in code[1].split(";") if one.isdigit() and 30 <= int(one) < 48]
    return f"<{_COLOURS[found[0]]}>" if found and found[0] < len(_COLOURS) else "</>"

"""Atari games as the DQN papers play them: every fourth frame, the maximum of two, grey, 84x84, four at once.

The emulator's own frame-skip, sticky actions and time limit are off, so that each is applied
once, here. Rewards are the game's own; their sign is taken by the method, and only for learning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rung.tasks.environment import EnvironmentTask

Array = npt.NDArray[Any]


class AtariGame:
    """One game. Looks like a `gymnasium.Env` whose observation is the stack [4, 84, 84] uint8, the newest last.

    Example:
        game = AtariGame(environment_task("ALE/Pong-v5"))
        stack, _ = game.reset(seed=0)
        stack, reward, terminated, truncated, facts = game.step(2)
    """

    metadata = {"render_fps": 15}  # noqa: RUF012  gymnasium's own name and kind

    def __init__(self, task: EnvironmentTask) -> None:
        self.task = task
        self._environment = task.make()
        self._ale = self._environment.unwrapped.ale
        self._actions = self._environment.unwrapped._action_set
        height, width = self._ale.getScreenDims()
        frames, *size = task.frames
        self._screens = np.zeros((2, height, width), np.uint8)
        self._down, self._across = area_weights(height, size[0]), area_weights(width, size[1]).T.copy()
        self._stack = np.zeros((frames, *size), np.uint8)
        self._taken = 0

    def reset(self, *, seed: int) -> tuple[Array, dict[str, Any]]:
        """Begin an episode, with as many frames of doing nothing as the seed says, so that games differ."""
        self._environment.reset(seed=seed)
        for _ in range(seed % (self.task.most_noops + 1)):
            self._ale.act(self._actions[0])
            if self._ale.game_over():
                self._environment.reset(seed=seed)
        self._taken = 0
        self._stack[:] = 0
        self._screens[:] = 0
        self._ale.getScreenGrayscale(self._screens[1])
        self._stack[-1] = self._small()
        return self._stack, {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """The same action for `frame_skip` frames. `facts["lost"]`: a life was lost and the game goes on."""
        ale, skip = self._ale, self.task.frame_skip
        lives, reward = ale.lives(), 0.0
        for frame in range(skip):
            reward += ale.act(self._actions[action])
            if frame >= skip - 2:
                ale.getScreenGrayscale(self._screens[frame - skip + 2])
            if ale.game_over():
                ale.getScreenGrayscale(self._screens[1])
                break
        if skip == 1:
            self._screens[0] = self._screens[1]
        self._taken += 1
        self._stack[:-1] = self._stack[1:]
        self._stack[-1] = self._small()
        ended, limit = bool(ale.game_over()), self.task.max_episode_steps
        cut = limit is not None and self._taken >= limit
        return self._stack, float(reward), ended, cut, {"lost": not ended and ale.lives() < lives}

    def _small(self) -> Array:
        """The maximum of the last two screens, because some things are drawn in every other frame only."""
        brightest = np.maximum(self._screens[0], self._screens[1]).astype(np.float32)
        return np.rint(self._down @ brightest @ self._across).astype(np.uint8)

    def render(self) -> Array:
        """The screen in colour, for a film."""
        return self._ale.getScreenRGB()

    def close(self) -> None:
        """Close the emulator."""
        self._environment.close()


def area_weights(before: int, after: int) -> npt.NDArray[np.float32]:
    """[after, before]: each of the `after` places is the mean of what it covers of the `before` ones.

    >>> area_weights(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    edges = np.arange(after + 1) * before / after
    low, high = edges[:-1, None], edges[1:, None]
    covered = np.clip(np.minimum(high, np.arange(1, before + 1)) - np.maximum(low, np.arange(before)), 0, None)
    return (covered / covered.sum(1, keepdims=True)).astype(np.float32)

"""Episodes of a fixed length: an ending says how well it went, and nothing that learns a reward may see it."""

from __future__ import annotations

from typing import Any


class FixedLength:
    """A Gymnasium environment whose episodes all have `steps` steps; none is ever terminated.

    Where the environment itself ends, it is reset at once and the episode goes on from a start state: the observation
    that follows the last action is the start state's, with no penalty and no mark. The time limit counts on. The start
    state comes from the environment's own generator, which the episode's seed has set; so an episode is still a
    function of its seed and its actions.

    Example: `FixedLength(task.make(), 200)`.
    """

    def __init__(self, environment: Any, steps: int) -> None:
        self.environment, self.steps = environment, steps
        self.metadata = environment.metadata
        self._taken = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._taken = 0
        return self.environment.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; the fourth value is True at the episode's last, the third never is."""
        observation, reward, terminated, truncated, info = self.environment.step(action)
        self._taken += 1
        over = self._taken >= self.steps
        if (terminated or truncated) and not over:
            observation, info = self.environment.reset()
        return observation, reward, False, over, info

    def render(self) -> Any:
        """As the environment's own."""
        return self.environment.render()

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()

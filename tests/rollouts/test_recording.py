from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rung.rollouts.environments.recording import MOST_FRAMES, record_episode
from rung.tasks.environment import environment_task


class Screen:
    """Shows a grey that grows by one with each step; ends after `steps`."""

    def __init__(self, steps: int = 6, fps: int = 25, width: int = 30, broken: str = "") -> None:
        self.metadata = {"render_fps": fps}
        self.steps, self.width, self.broken, self.taken, self.seeds, self.closed = steps, width, broken, 0, [], False

    def reset(self, *, seed: int) -> tuple[int, dict[str, Any]]:
        self.seeds.append(seed)
        return 0, {}

    def render(self) -> Any:
        if self.broken == "raises":
            raise RuntimeError("an OpenGL platform library has not been loaded\nsecond line")
        return None if self.broken == "nothing" else np.full((20, self.width, 3), 10 * self.taken % 250, np.uint8)

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert action == self.taken
        self.taken += 1
        return self.taken, 1.0, False, self.taken == self.steps, {}

    def close(self) -> None:
        self.closed = True


def frames_of(path: Path) -> list[tuple[int, int]]:
    """(grey, milliseconds) of each frame."""
    with Image.open(path) as picture:
        found = []
        for index in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(index)
            found.append((picture.convert("RGB").getpixel((5, 5))[0], picture.info["duration"]))  # type: ignore[index]
        return found


def test_every_frame_of_a_short_episode_is_shown_at_its_speed(tmp_path: Path) -> None:
    screen = Screen(steps=6, fps=25)
    assert record_episode(lambda: screen, lambda seen: seen, tmp_path / "episode.gif", seed=7)
    assert frames_of(tmp_path / "episode.gif") == [(10 * i, 40) for i in range(6)]
    assert screen.seeds == [7] and screen.closed
    assert [path.name for path in tmp_path.iterdir()] == ["episode.gif"]


def test_action_value_and_return_stand_beside_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "episode.gif"
    record_episode(lambda: Screen(steps=4, width=300), lambda seen: seen, path, value=float)
    assert [grey for grey, _ in frames_of(path)] == [0, 10, 20, 30]
    with Image.open(path) as film:
        blue = []
        for index in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(index)
            beside = np.asarray(film.convert("RGB"))[:, 230:].astype(int)
            blue.append(int((beside[:, :, 2] - beside[:, :, 0] > 100).sum()))
    assert 0 < blue[0] < blue[1] < blue[2] < blue[3]  # the value's course as far as it was
    record_episode(Screen, lambda seen: seen, path, value=lambda _: None)  # a policy that judges no state
    assert len(frames_of(path)) == 6


def test_fast_and_long_episodes_leave_frames_out(tmp_path: Path) -> None:
    record_episode(lambda: Screen(steps=8, fps=50), lambda seen: seen, tmp_path / "fast.gif")
    assert frames_of(tmp_path / "fast.gif") == [(20 * i, 40) for i in range(4)]
    record_episode(lambda: Screen(steps=2 * MOST_FRAMES), lambda seen: seen, tmp_path / "long.gif")
    assert len(frames_of(tmp_path / "long.gif")) == MOST_FRAMES
    record_episode(Screen, lambda seen: seen, tmp_path / "stopped.gif", most_steps=3)
    assert len(frames_of(tmp_path / "stopped.gif")) == 3


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    record_episode(lambda: Screen(width=1200), lambda seen: seen, tmp_path / "wide.gif")
    with Image.open(tmp_path / "wide.gif") as picture:
        assert picture.size == (400, 6)


@pytest.mark.parametrize(("broken", "words"), [("raises", "OpenGL"), ("nothing", "render.. gave NoneType")])
def test_what_cannot_be_rendered_is_skipped_with_a_warning(broken: str, words: str, tmp_path: Path) -> None:
    screen = Screen(broken=broken)
    with pytest.warns(UserWarning, match=words):
        assert not record_episode(lambda: screen, lambda seen: seen, tmp_path / "episode.gif")
    assert screen.closed and list(tmp_path.iterdir()) == []


def test_an_environment_that_cannot_be_made_for_rendering_is_skipped(tmp_path: Path) -> None:
    def make() -> Any:
        raise ImportError("pygame is not installed")

    with pytest.warns(UserWarning, match="pygame is not installed"):
        assert not record_episode(make, lambda seen: seen, tmp_path / "episode.gif")


def test_a_fault_of_the_policy_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        record_episode(Screen, lambda seen: 1 // 0, tmp_path / "episode.gif")


def test_cartpole_is_filmed(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    task = environment_task("CartPole-v1", max_episode_steps=6)
    assert record_episode(lambda: task.make("rgb_array"), lambda seen: 0, tmp_path / "episode.gif", seed=1)
    with Image.open(tmp_path / "episode.gif") as picture:
        assert picture.size[0] == 400 and picture.n_frames == 3  # type: ignore[attr-defined]

"""One episode of an environment as an animated GIF."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rung.errors import EnvironmentFailure
from rung.whole_files import write_whole

MOST_FRAMES = 300
"""A longer episode is shown faster."""
_GIF_FPS = 25
_WIDTH = 400


def record_episode(
    make: Callable[[], Any],
    act: Callable[[Any], Any],
    path: Path,
    *,
    value: Callable[[Any], float | None] | None = None,
    seed: int = 0,
    most_steps: int = 10_000,
) -> bool:
    """Plays one episode and writes it to `path`. True when it was written.

    A picture is no reason to end a run: where the environment cannot be rendered here, a warning says why and
    nothing is written.

    Args:
        make: makes the environment with `render_mode="rgb_array"`; it is closed here.
        act: from an observation, as the environment gives it, to an action, as it takes it.
        value: from an observation to the return that is expected from it. Where it is given, action, value and return
            so far stand beside each picture, and the value's course below them.
        seed: of the episode's reset.

    Example:
        record_episode(lambda: task.make("rgb_array"), policy.act, folder / "episode.gif")
    """
    without_display()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a render mode that it does not have
            environment = _asked(make)
        with contextlib.closing(environment):
            if environment.metadata.get("render_modes") == []:
                return False  # it says itself that it draws nothing
            frames, moments, fps = _frames(environment, act, value or (lambda _: None), seed, most_steps)
    except EnvironmentFailure as error:
        return _skipped(error)
    if value is not None:
        for at, frame in enumerate(frames):
            frames[at] = _beside(frame, moments, at)
    write_whole(path, animated(frames, fps))
    return True


Moment = tuple[Any, float | None, float]
"""What was done, what was expected, and the return so far."""


def _frames(
    environment: Any, act: Callable[[Any], Any], value: Callable[[Any], float | None], seed: int, most_steps: int
) -> tuple[list[Any], list[Moment], float]:
    """The pictures of one episode, a moment to each, and how many of them a second."""
    frames: list[Any] = []
    moments: list[Moment] = []
    total = 0.0
    observation, _ = _asked(environment.reset, seed=seed)
    over = False
    while not over and len(frames) < most_steps:
        frame = frame_of(environment)
        if isinstance(frame, Exception):
            raise EnvironmentFailure(str(frame)) from frame
        frames.append(frame)
        action, expected = act(observation), value(observation)
        observation, reward, terminated, truncated, _ = _asked(environment.step, action)
        total += float(reward)
        moments.append((action, expected, total))
        over = bool(terminated or truncated)
    return frames, moments, float(environment.metadata.get("render_fps") or 30)


def _asked(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What an environment answers; EnvironmentFailure with its own words when it raises."""
    try:
        return call(*given, **named)
    except (Exception, SystemExit) as error:  # what renderers and environments raise differs
        raise EnvironmentFailure(str(error) or type(error).__name__) from error


def without_display() -> None:
    """Lets environments render into memory where there is no display. To be called before one is made."""
    if not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would greet on stdout


def frame_of(environment: Any) -> Any:
    """The current picture, or the exception that says why there is none."""
    try:
        pixels = environment.render()
    except Exception as error:  # noqa: BLE001  renderers raise what they like: pygame, OpenGL, a missing library
        return error
    if getattr(pixels, "ndim", 0) != 3:
        return ValueError(f"render() gave {type(pixels).__name__}, expected an image [height, width, 3]")
    return pixels


def animated(frames: list[Any], fps: float) -> bytes:
    """A GIF of these pictures [height, width, 3], which repeats."""
    from PIL import Image

    every = max(1, round(fps / _GIF_FPS), -(-len(frames) // MOST_FRAMES))
    pictures = []
    for pixels in frames[::every]:
        picture = Image.fromarray(pixels)
        if picture.width > _WIDTH:
            picture = picture.resize((_WIDTH, max(1, picture.height * _WIDTH // picture.width)))
        pictures.append(picture.quantize(64))
    held = io.BytesIO()
    milliseconds = max(20, round(1000 * max(1, round(fps / _GIF_FPS)) / fps))
    pictures[0].save(held, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    return held.getvalue()


_BESIDE = 170
"""Pixels of what stands beside a picture."""


def _beside(pixels: Any, moments: Sequence[Moment], at: int) -> Any:
    """A picture of an episode with its moment beside it, in words, and the course of the value below them."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    width = min(picture.width, _WIDTH - _BESIDE)
    height = max(120, picture.height * width // picture.width)
    whole = Image.new("RGB", (width + _BESIDE, height), "white")
    whole.paste(picture.resize((width, max(1, picture.height * width // picture.width))))
    draw = ImageDraw.Draw(whole)
    action, expected, total = moments[at]
    said = [f"step {at + 1} of {len(moments)}", f"action {_in_short(action)}", f"return so far {total:.4g}"]
    said += [] if expected is None else [f"value {expected:.4g}"]
    draw.multiline_text((width + 8, 6), "\n".join(said), fill="black", spacing=3)
    values = [value for _, value, _ in moments if value is not None]
    if len(values) == len(moments) > 1:
        low, span = min(values), (max(values) - min(values)) or 1.0
        across, top, bottom = (_BESIDE - 16) / (len(values) - 1), 72, height - 8
        course = [(width + 8 + across * i, bottom - (bottom - top) * (v - low) / span) for i, v in enumerate(values)]
        draw.line(course, fill="#9aa4af")
        draw.line(course[: at + 1], fill="#0969da", width=2) if at else None
        x, y = course[at]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="#0969da")
    return np.asarray(whole)


def _in_short(action: Any) -> str:
    numbers = np.asarray(action).ravel()[:4].tolist()
    return " ".join(f"{one:.2f}" if isinstance(one, float) else str(one) for one in numbers)[:22]


def _skipped(error: Exception) -> bool:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    warnings.warn(f"no picture of an episode: the environment cannot be rendered here ({reason})", stacklevel=3)
    return False

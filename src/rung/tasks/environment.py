"""A Gymnasium environment as a task: the state is an observation, an action a choice or a vector of numbers."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rung.errors import MissingExtra, SettingsError, did_you_mean
from rung.tasks.others import is_other
from rung.tasks.own_environment import findings, image_note, require_imported, require_working

ENGINES = ("gymnasium", "envpool")
OWN_OPTIONS = (
    *("normalize_observations", "normalize_rewards", "discount"),
    *("engine", "frame_skip", "most_noops", "action_bins"),
)
"""A task's options that are not Gymnasium's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvironmentTask:
    """What an environment is like, without one standing open. `environment_task("CartPole-v1")` gives one.

    Observations are flattened to O numbers. The policy's action is an index 0..`choices` − 1, or a vector of
    `dimensions` numbers that is clipped to the action space's bounds on its way to the environment (the batch keeps
    it as drawn, so that its log-probability stays true).
    """

    name: str
    """Gymnasium's id."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For `gymnasium.make`, such as `{"max_episode_steps": 200}`."""
    observation_space: Any
    """`gymnasium.spaces.Box`."""
    action_space: Any
    """`gymnasium.spaces.Discrete` or `Box`."""
    threshold: float | None
    """The mean return at which the environment counts as solved; None where its authors name none."""
    max_episode_steps: int | None
    """The time limit, at which an episode is truncated; None: there is none."""
    normalize_observations: bool = False
    """Scale observations by their running mean and variance, clipped to ±10."""
    normalize_rewards: bool = False
    """Divide rewards by the running standard deviation of the discounted return, clipped to ±10."""
    discount: float = 0.99
    """Of that return; the method's own discount."""
    fixed_length: bool = False
    """Every episode lasts until the time limit; what would end it begins it anew, unseen. See `FixedLength`."""
    engine: str = "gymnasium"
    """What steps the environments that are learnt from: `gymnasium`, or `envpool` (C++, many at once, the extra of that
    name). Scores are always Gymnasium's."""
    frame_skip: int = 4
    """Of an Atari game: frames that one action lasts. The 2013 paper takes 3 for Space Invaders."""
    most_noops: int = 30
    """Of an Atari game: up to so many frames of doing nothing at the start, so that games differ."""
    action_bins: int | None = None
    """Of actions that are vectors: in each dimension so many values, evenly from bound to bound. An action is then a
    choice among all combinations, `action_bins` to the power of the dimensions. None: as they are."""

    frames: ClassVar[tuple[int, int, int]] = (4, 84, 84)
    """What a network sees of an Atari game at once: frames, height, width."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        if not 0.0 <= self.discount <= 1.0:
            problems.append(f"discount: got {self.discount}, expected a number from 0 to 1")
        if self.engine not in ENGINES:
            hint = did_you_mean(str(self.engine), ENGINES)
            problems.append(f"engine: got {self.engine!r}{hint}, expected one of {', '.join(ENGINES)}")
        for name, least in (("frame_skip", 1), ("most_noops", 0), ("action_bins", 2)):
            value = getattr(self, name)
            if (value is not None or name != "action_bins") and (type(value) is not int or value < least):
                problems.append(f"{name}: got {value!r}, expected a whole number of at least {least}")
        if problems:
            raise SettingsError(problems)

    @property
    def is_atari(self) -> bool:
        """Whether observations are screens of an Atari game."""
        return is_atari(self.name)

    @property
    def observations(self) -> int:
        """O: numbers of an observation."""
        return int(np.prod(self.observation_space.shape, dtype=np.int64))

    @property
    def observation_form(self) -> tuple[tuple[int, ...], type[np.generic]]:
        """Shape and kind of the numbers that environments are kept in: vectors, or stacks of screens."""
        return (self.frames, np.uint8) if self.is_atari else ((self.observations,), np.float32)

    @property
    def _numbers(self) -> int:
        """Numbers of an action of the environment's own space, where that is a box."""
        return int(np.prod(self.action_space.shape, dtype=np.int64))

    @cached_property
    def choices(self) -> int | None:
        """How many actions there are to choose among; None: actions are vectors."""
        if self.action_bins is not None:
            return self.action_bins**self._numbers
        return int(self.action_space.n) if hasattr(self.action_space, "n") else None

    @cached_property
    def dimensions(self) -> int | None:
        """A: numbers of an action; None: actions are choices."""
        return None if self.choices is not None else self._numbers

    def make(self, render_mode: str | None = None) -> Any:
        """A new `gymnasium.Env`, the caller's to close. It never resets itself."""
        environment = _make(self.name, self.options, render_mode)
        return FixedLength(environment, self.require_time_limit()) if self.fixed_length else environment

    def to_environment(self, actions_N: npt.NDArray[Any]) -> list[Any]:
        """The policy's actions as the environment takes them: whole numbers, or arrays within the bounds."""
        space, bins = self.action_space, self.action_bins
        if bins is not None:  # points of the grid; the last dimension changes fastest
            places_NA = np.stack(np.unravel_index(actions_N, (bins,) * self._numbers), axis=1)
            low_A, high_A = np.ravel(space.low), np.ravel(space.high)
            values_NA = low_A + (high_A - low_A) * (places_NA / (bins - 1))
            return list(values_NA.reshape(len(actions_N), *space.shape).astype(space.dtype))
        if self.choices is not None:
            return list(actions_N + int(space.start))  # numpy's whole numbers, as Discrete.sample() gives them
        shaped_N = actions_N.reshape(len(actions_N), *space.shape)
        return list(np.minimum(np.maximum(shaped_N, space.low), space.high).astype(space.dtype, copy=False))

    def notes(self) -> tuple[str, ...]:
        """What is to be said of it before a run: what Gymnasium's checker finds, and what becomes of images."""
        return (*findings(self), *image_note(self))

    def require_gymnasium(self) -> None:
        """SettingsError where another engine is asked for: it cannot begin an episode from a seed."""
        if self.engine != "gymnasium":
            remedy = "set gymnasium, or choose a method that learns from stretches of steps, such as ppo"
            what = f"got '{self.engine}', which cannot begin several episodes from one start state"
            raise SettingsError(f"task.engine: {what}; {remedy}")

    def require_time_limit(self) -> int:
        """The time limit. SettingsError where there is none: a whole episode might never end."""
        if self.max_episode_steps is None:
            remedy = "give it one with the task's option max_episode_steps"
            raise SettingsError(f"task: '{self.name}' has no time limit, so a whole episode might never end: {remedy}")
        return self.max_episode_steps


class FixedLength:
    """A Gymnasium environment whose episodes all have `steps` steps; none is ever terminated.

    An ending says how well an episode went, and nothing that learns a reward may see it.

    Where the environment itself ends, it is reset at once and the episode goes on from a start state: the observation
    that follows the last action is the start state's, with no penalty and no mark. The time limit counts on. The start
    state comes from the environment's own generator, which the episode's seed has set; so an episode is still a
    function of its seed and its actions.
    """

    def __init__(self, environment: Any, steps: int) -> None:
        self.environment, self.steps, self._taken = environment, steps, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.environment, name)

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


def environment_task(name: str, **options: Any) -> EnvironmentTask:
    """The task of an environment: Gymnasium's id, or `module:id` with a module that is imported already.

    The options are `OWN_OPTIONS`, see `EnvironmentTask`; all others are for `gymnasium.make`.

    SettingsError for an unknown environment or option, or spaces that rung has no policy for.

    Example: `environment_task("CartPole-v1").threshold` is 475.0, its `choices` 2, its `max_episode_steps` 500.
    """
    own = {option: options.pop(option) for option in OWN_OPTIONS if option in options}
    most_steps = options.pop("max_episode_steps", ATARI_STEPS) if is_atari(name) else None
    options = _atari_options(name, options) if is_atari(name) else options
    environment = _make(name, options, None)
    for space in ("observation_space", "action_space"):
        if getattr(environment, space, None) is None:
            raise SettingsError(f"task: '{name}' has no {space}, expected a space of gymnasium.spaces")
    try:
        spec = environment.spec
        task = EnvironmentTask(
            name=name,
            options=dict(options),
            observation_space=environment.observation_space,
            action_space=environment.action_space,
            threshold=None if spec is None else spec.reward_threshold,
            max_episode_steps=most_steps if spec is None or is_atari(name) else spec.max_episode_steps,
            **own,
        )
        _require_known_spaces(task)
        require_working(task, environment)
    finally:
        environment.close()
    return task


def handed_environment(name: str, given: Any, **options: Any) -> EnvironmentTask:
    """The task of an environment of your own: its class, a function that makes one, or an environment itself, which is
    copied. Gymnasium knows it by `name` from then on, such as `given:MyEnv-v0`."""
    gymnasium = _gymnasium()
    known = f"{name.partition(':')[0]}/{name.partition(':')[2]}"
    takes = inspect.signature(given).parameters if callable(given) else {}
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())

    def made(**asked: Any) -> Any:
        if not callable(given):
            return copy.deepcopy(given)
        known = open_ended or "render_mode" in takes
        return given(**{key: value for key, value in asked.items() if known or key != "render_mode"})

    limit = getattr(getattr(given, "spec", None), "max_episode_steps", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name again, from the same notebook cell
        gymnasium.register(known, entry_point=made, max_episode_steps=limit)
    return environment_task(known, **options)


MOST_CHOICES = 1 << 16
"""Combinations of binned actions beyond these are refused: each is an output of the network."""
ATARI_STEPS = 27_000
"""Steps of the agent after which a game of Atari is cut: half an hour at 60 frames a second and 4 frames a step."""


def is_atari(name: str) -> bool:
    """Whether a name is that of an Atari game, such as `ALE/Pong-v5`."""
    return name.startswith("ALE/")


def _atari_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The emulator's own frame-skip and time limit off, because rung applies them; sticky actions off, as in 2013."""
    fixed = {"frameskip": 1, "obs_type": "grayscale", "max_num_frames_per_episode": None}
    for word in fixed.keys() & options.keys():
        why = "would be applied twice: rung reads the screens itself"
        own = "its own options are frame_skip, most_noops and max_episode_steps"
        raise SettingsError(f"task: '{name}' got the option {word}, which {why}; {own}")
    return {"repeat_action_probability": 0.0, **options, **fixed}


def looks_like_environment(spec: str) -> bool:
    """Whether a name is of the form of Gymnasium's ids, such as `CartPole-v1` or `ALE/Pong-v5`."""
    return re.fullmatch(r"[\w:./-]+-v\d+", spec) is not None and not is_other(spec)


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise MissingExtra("a Gymnasium environment", "control") from error
    return gymnasium


def _make(name: str, options: Mapping[str, Any], render_mode: str | None) -> Any:
    gymnasium = _gymnasium()
    if is_atari(name):
        _register_atari(gymnasium)
    require_imported(name)
    if name.rpartition(":")[2] not in gymnasium.registry:
        hint = did_you_mean(name.rpartition(":")[2], gymnasium.registry)
        raise SettingsError(f"task: unknown environment '{name}'{hint}; expected an id of Gymnasium's registry")
    shown = {} if render_mode is None else {"render_mode": render_mode}
    if "mujoco" in str(getattr(gymnasium.registry.get(name), "entry_point", "")):
        _hear_mujoco()
    try:
        return gymnasium.make(name, disable_env_checker=True, **{**options, **shown})
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        where = getattr(gymnasium.registry.get(name), "entry_point", "")
        for word, extra in (("mujoco", "mujoco"), ("pygame", "control")):
            if word in f"{where} {error}".lower():
                raise MissingExtra(f"the environment '{name}'", extra) from error
        raise SettingsError(f"task: '{name}' cannot be made: {error}") from error
    except (Exception, SystemExit) as error:  # its __init__ is the user's code
        said = f"{type(error).__name__}: {error}"
        raise SettingsError(f"task: '{name}' with options {dict(options)} cannot be made: {said}") from error


def _register_atari(gymnasium: Any) -> None:
    try:
        import ale_py
    except ImportError as error:
        raise MissingExtra("Atari", "atari") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # it would greet on stderr
    if "ALE/Pong-v5" not in gymnasium.registry:
        gymnasium.register_envs(ale_py)


def _hear_mujoco() -> None:
    """MuJoCo's warnings as Python's, each said once; by itself it prints each one for every environment made, and
    writes a log into the folder that one happens to work in."""

    def warn(text: str) -> None:
        kind = DeprecationWarning if "deprecated" in text else RuntimeWarning
        warnings.warn(f"MuJoCo: {text}", kind, stacklevel=2)

    with contextlib.suppress(ImportError):  # Gymnasium says so with the name of the environment
        import mujoco

        mujoco.set_mju_user_warning(warn)


def _require_known_spaces(task: EnvironmentTask) -> None:
    from gymnasium.spaces import Box, Discrete

    problems: list[str] = []
    space, bins = task.action_space, task.action_bins
    if not isinstance(task.observation_space, Box):
        expected = "expected Box (numbers); wrap it in gymnasium.wrappers.FlattenObservation"
        problems.append(f"task: '{task.name}' has observations {task.observation_space}, {expected}")
    if not isinstance(space, (Box, Discrete)):
        problems.append(f"task: '{task.name}' has actions {space}, expected Discrete or Box")
    elif bins is not None and isinstance(space, Discrete):
        said = f"'{task.name}' has actions to choose among already: {space}; leave it out"
        problems.append(f"action_bins: got {bins}, but {said}")
    elif bins is not None and not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        said = f"actions of '{task.name}' have no bounds to lay a grid between: {space}"
        problems.append(f"action_bins: got {bins}, but {said}")
    elif bins is not None and (task.choices or 0) > MOST_CHOICES:
        many = f"{bins} values in each of the {np.prod(space.shape, dtype=np.int64)} dimensions of '{task.name}'"
        problems.append(
            f"action_bins: got {bins}, but {many} are {task.choices:,} actions, expected at most {MOST_CHOICES:,}; set "
            "fewer, or choose a method that has a distribution over continuous actions, such as ppo"
        )
    if problems:
        raise SettingsError(problems)

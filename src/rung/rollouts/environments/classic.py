"""Gymnasium's classic control, computed: CartPole, MountainCar, Acrobot and Pendulum.

Gymnasium's own takes 20 microseconds a step and more, nearly all of it Python's cost for each scalar operation; here
one call, compiled where that can be done, moves all rows. It is the same environment bit by bit (a test walks both), so
nothing else depends on which one is used. Gymnasium's own vector forms are not used: they reset themselves, and have
one random stream for all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rung.compiled import compiled
from rung.models.small.passes import Layers, draw_choices, draw_vectors
from rung.tasks.environment import EnvironmentTask

Array = npt.NDArray[Any]

_ENTRY = "gymnasium.envs.classic_control.{}"
CART_POLE, MOUNTAIN_CAR, ACROBOT, PENDULUM = range(4)
WORLDS = {
    _ENTRY.format("cartpole:CartPoleEnv"): CART_POLE,
    _ENTRY.format("mountain_car:MountainCarEnv"): MOUNTAIN_CAR,
    _ENTRY.format("acrobot:AcrobotEnv"): ACROBOT,
    _ENTRY.format("pendulum:PendulumEnv"): PENDULUM,
}
"""By Gymnasium's entry point."""
NO_LIMIT = 1 << 60


def world_of(task: EnvironmentTask) -> int | None:
    """Which of Gymnasium's classic environments the task is, with no other option than a time limit; None: none."""
    import gymnasium

    spec = gymnasium.registry.get(task.name)
    if spec is None or spec.kwargs or set(task.options) - {"max_episode_steps"} or task.fixed_length:
        return None
    return WORLDS.get(str(spec.entry_point))


class World(NamedTuple):
    """What compiled functions know of a task."""

    which: int
    limit: int
    """Steps after which an episode is cut."""
    meant_V: Array
    """float64: the environment's own action of each choice; empty where actions are vectors."""
    two: float = 2.0
    """Gymnasium's x ** 2 is the C library's power, whose last bit is not always that of x · x, and x · x is what a
    compiler makes of it that sees the 2."""


class Now(NamedTuple):
    """Where the rows are."""

    state_BS: Array
    """float64; of the four numbers an environment uses as many as it has."""
    observations_BO: Array
    taken_B: Array
    """Steps taken in each row's episode."""


class Kept(NamedTuple):
    """A stretch that is filled."""

    observations_BTO: Array
    choices_BT: Array
    """Empty where actions are vectors."""
    vectors_BTA: Array
    """Empty where they are choices."""
    log_probs_BT: Array
    rewards_BT: Array
    ended_BT: Array
    returns_B: Array
    """Of the episodes in progress; they go on."""


class ClassicRows:
    """The same as `EnvironmentRows`, for the environments in `WORLDS`."""

    def __init__(self, task: EnvironmentTask, count: int) -> None:
        which = world_of(task)
        assert which is not None
        self.task = task
        self.observations_BO = np.zeros((count, task.observations), np.float32)
        self.lost_B = np.zeros(count, bool)
        """As `EnvironmentRows` has it: there are no lives."""
        choices = np.arange(task.choices or 0)
        meant_V = np.array(task.to_environment(choices) if task.choices else [], np.float64).reshape(-1)
        self.world = World(which, NO_LIMIT if task.max_episode_steps is None else task.max_episode_steps, meant_V)
        self.now = Now(np.zeros((count, 4)), self.observations_BO, np.zeros(count, np.int64))
        self._begins = task.make().unwrapped

    def __len__(self) -> int:
        return len(self.observations_BO)

    def reset(self, row: int, seed: int) -> None:
        """Begin an episode where Gymnasium begins it."""
        self.observations_BO[row], _ = self._begins.reset(seed=seed)
        state = self._begins.state
        self.now.state_BS[row, : len(state)] = state
        self.now.taken_B[row] = 0

    def step(self, actions_N: Array, rows_N: Sequence[int]) -> tuple[Array, Array, Array]:
        """One step of these rows, given in ascending order: rewards, terminated, truncated, each [N]."""
        meant_V = self.world.meant_V
        meant_N = meant_V[actions_N] if len(meant_V) else np.asarray(actions_N, np.float64).reshape(-1)
        return step(self.world, self.now, np.asarray(rows_N), meant_N)

    def close(self) -> None:
        """There is nothing to close."""


@compiled
def step(world: World, now: Now, rows_N: Array, meant_N: Array) -> tuple[Array, Array, Array]:
    """As `ClassicRows.step`, of actions that are the environment's own."""
    count = len(rows_N)
    rewards_N, ended_N, cut_N = np.empty(count), np.empty(count, np.bool_), np.empty(count, np.bool_)
    for n in range(count):
        row = rows_N[n]
        rewards_N[n], ended_N[n] = moved(world, now.state_BS[row], meant_N[n], now.observations_BO[row])
        now.taken_B[row] += 1
        cut_N[n] = now.taken_B[row] >= world.limit
    return rewards_N, ended_N, cut_N


@compiled
def play(world: World, now: Now, policy: Layers, log_std_A: Array, luck_TX: Array, kept: Kept, t: int) -> int:
    """Steps of every row from step t of the stretch on, until an episode is over or the stretch is full; the step that
    comes next. `luck_TX`: for each step and row uniform numbers, or normal ones for vectors."""
    rows_B, meant_B = np.arange(len(now.taken_B)), np.empty(len(now.taken_B))
    while t < len(luck_TX):
        kept.observations_BTO[:, t] = now.observations_BO
        if len(world.meant_V):
            choices_B, log_probs_B = draw_choices(policy, now.observations_BO, luck_TX[t])
            kept.choices_BT[:, t] = choices_B
            for b in rows_B:
                meant_B[b] = world.meant_V[choices_B[b]]
        else:
            normals_BA = luck_TX[t].reshape((len(rows_B), len(log_std_A)))
            vectors_BA, log_probs_B = draw_vectors(policy, log_std_A, now.observations_BO, normals_BA)
            kept.vectors_BTA[:, t] = vectors_BA
            meant_B[:] = vectors_BA[:, 0]
        rewards_B, ended_B, cut_B = step(world, now, rows_B, meant_B)
        kept.log_probs_BT[:, t] = log_probs_B
        kept.rewards_BT[:, t] = rewards_B
        kept.ended_BT[:, t] = ended_B
        kept.returns_B[:] += rewards_B
        t += 1
        if (ended_B | cut_B).any():
            break
    return t


@compiled
def moved(world: World, state_S: Array, action: float, seen_O: Array) -> tuple[float, bool]:
    """One step of one row, in Gymnasium's order of operations: its reward, and whether it ended the episode."""
    if world.which == CART_POLE:
        return _cart_pole(state_S, action, seen_O)
    if world.which == MOUNTAIN_CAR:
        return _mountain_car(state_S, action, seen_O)
    if world.which == ACROBOT:
        return _acrobot(state_S, action, seen_O, world.two)
    return _pendulum(state_S, action, seen_O, world.two)


GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TOTAL, POLE_LENGTH = POLE + CART, POLE * HALF_LENGTH
FARTHEST, STEEPEST = 2.4, 12 * 2 * math.pi / 360


@compiled
def _cart_pole(state_4: Array, action: float, seen_4: Array) -> tuple[float, bool]:
    """Position, speed, angle and angular speed 0.02 s later (Barto, Sutton and Anderson 1983; Euler's method)."""
    place, speed, angle, spin = state_4[0], state_4[1], state_4[2], state_4[3]
    force = FORCE if action == 1 else -FORCE
    cos, sin = np.cos(angle), np.sin(angle)
    push = (force + POLE_LENGTH * (spin * spin) * sin) / TOTAL
    turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - POLE * (cos * cos) / TOTAL))
    speed_up = push - POLE_LENGTH * turn * cos / TOTAL
    state_4[0], state_4[1] = place + SECONDS * speed, speed + SECONDS * speed_up
    state_4[2], state_4[3] = angle + SECONDS * spin, spin + SECONDS * turn
    seen_4[:] = state_4
    return 1.0, abs(state_4[0]) > FARTHEST or abs(state_4[2]) > STEEPEST


@compiled
def _mountain_car(state_4: Array, action: float, seen_2: Array) -> tuple[float, bool]:
    """Position and speed of a car that is too weak for the hill (Moore 1990)."""
    speed = state_4[1] + ((action - 1) * 0.001 + math.cos(3 * state_4[0]) * (-0.0025))
    speed = min(max(speed, -0.07), 0.07)
    place = min(max(state_4[0] + speed, -1.2), 0.6)
    if place == -1.2 and speed < 0:
        speed = 0.0
    state_4[0], state_4[1] = place, speed
    seen_2[:] = state_4[:2]
    return -1.0, place >= 0.5 and speed >= 0


@compiled
def _swung(state_4: Array, torque: float, two: float) -> Array:
    """Acrobot's two speeds and two accelerations (Sutton and Barto 2018); links of 1 m and 1 kg."""
    first, second, first_speed, second_speed = state_4[0], state_4[1], state_4[2], state_4[3]
    d1 = 1.0 * 0.5**2 + 1.0 * (1.0**2 + 0.5**2 + 2 * 1.0 * 0.5 * np.cos(second)) + 1.0 + 1.0
    d2 = 1.0 * (0.5**2 + 1.0 * 0.5 * np.cos(second)) + 1.0
    phi2 = 1.0 * 0.5 * 9.8 * np.cos(first + second - np.pi / 2.0)
    phi1 = (
        -1.0 * 1.0 * 0.5 * second_speed**two * np.sin(second)
        - 2 * 1.0 * 1.0 * 0.5 * second_speed * first_speed * np.sin(second)
        + (1.0 * 0.5 + 1.0 * 1.0) * 9.8 * np.cos(first - np.pi / 2)
        + phi2
    )
    up = torque + d2 / d1 * phi1 - 1.0 * 1.0 * 0.5 * first_speed**two * np.sin(second) - phi2
    second_up = up / (1.0 * 0.5**2 + 1.0 - d2**two / d1)
    return np.array([first_speed, second_speed, -(d2 * second_up + phi1) / d1, second_up])


@compiled
def _acrobot(state_4: Array, action: float, seen_6: Array, two: float) -> tuple[float, bool]:
    """Two angles and their speeds 0.2 s later (Runge and Kutta's method)."""
    begun_4, torque = state_4.copy(), action - 1
    k1 = _swung(begun_4, torque, two)
    k2 = _swung(begun_4 + 0.2 / 2.0 * k1, torque, two)
    k3 = _swung(begun_4 + 0.2 / 2.0 * k2, torque, two)
    k4 = _swung(begun_4 + 0.2 * k3, torque, two)
    state_4[:] = begun_4 + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
    for angle in range(2):
        while state_4[angle] > np.pi:
            state_4[angle] -= np.pi - (-np.pi)
        while state_4[angle] < -np.pi:
            state_4[angle] += np.pi - (-np.pi)
    state_4[2] = min(max(state_4[2], -4 * np.pi), 4 * np.pi)
    state_4[3] = min(max(state_4[3], -9 * np.pi), 9 * np.pi)
    seen_6[0], seen_6[1] = np.cos(state_4[0]), np.sin(state_4[0])
    seen_6[2], seen_6[3] = np.cos(state_4[1]), np.sin(state_4[1])
    seen_6[4:] = state_4[2:]
    high = -np.cos(state_4[0]) - np.cos(state_4[1] + state_4[0]) > 1.0
    return (0.0 if high else -1.0), high


@compiled
def _pendulum(state_4: Array, action: float, seen_3: Array, two: float) -> tuple[float, bool]:
    """Angle and its speed 0.05 s later; the torque is a float32, as in Gymnasium."""
    angle, speed = state_4[0], state_4[1]
    torque = np.float32(min(max(action, -2.0), 2.0))
    upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
    cost = upright**two + 0.1 * speed**two + np.float32(0.001) * torque ** np.float32(two)
    speed = speed + (3 * 10.0 / (2 * 1.0) * np.sin(angle) + np.float32(3.0) * torque) * 0.05
    speed = min(max(speed, -8.0), 8.0)
    angle = angle + speed * 0.05
    state_4[0], state_4[1] = angle, speed
    seen_3[0], seen_3[1], seen_3[2] = np.cos(angle), np.sin(angle), speed
    return -cost, False

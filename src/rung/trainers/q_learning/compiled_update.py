"""Q-learning in compiled loops: exploring a classic environment, and an update of a small network from a replay.

Legend: **B** rows of environments, **N** steps drawn, **K** steps of a window, **V** actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rung.compiled import compiled
from rung.formulas import slopes
from rung.formulas.slopes import ErrorSlope
from rung.models.small.passes import Layers, Moved, backward, forward, moved_by
from rung.rollouts.environments.classic import Now, World, step
from rung.rollouts.replay import Held, added, picked, seen, windows

Array = npt.NDArray[Any]

bootstrapped_window, error_slope = compiled(slopes.bootstrapped_window), compiled(slopes.error_slope)


class Aim(NamedTuple):
    """What an update moves Q towards, in numbers."""

    discount: float
    steps: int
    twice: bool
    """Q chooses the next action and the other network judges it; else that network does both."""
    slope: ErrorSlope
    summed: bool
    """The gradient is a sum over the minibatch, not a mean."""


class Learning(NamedTuple):
    """A small network, what moves it, and the numbers that draw each update's steps [U, N]."""

    q: Layers
    gradients: Layers
    judge: Layers
    """Makes targets; Q itself where there is no copy."""
    judge_P: Array
    """The copy's weights in a row; empty where there is none."""
    every: int
    """Updates between two of the copy."""
    share: float
    before: int
    """Updates before these."""
    aim: Aim
    moved: Moved
    uniforms_UN: Array


class Said(NamedTuple):
    """What each update brought, float32 [U, N], and the norm of its gradient [U]."""

    errors_UN: Array
    targets_UN: Array
    norms_U: Array


class Ahead(NamedTuple):
    """Steps to be taken, T of each row."""

    luck_TB: Array
    epsilons_T: Array
    updates_T: Array
    """Updates that come due with each."""
    clips: bool
    actions_TB: Array
    """Filled with what was done."""


@compiled
def explore(
    world: World, now: Now, held: Held, returns_B: Array, ahead: Ahead, learning: Learning, said: Said, owed: int
) -> tuple[int, int]:
    """The updates that are owed, then steps by ε-greedy actions, which are kept in the replay, each with the updates
    that come due with it, until an episode is over, whose last step leaves its updates owing; steps, and updates.
    It stops before the first update that meets a number that is none.
    """
    rows_B, choices, meant_B = np.arange(len(returns_B)), len(world.meant_V), np.empty(len(returns_B))
    made = updates(learning, held, said, 0, owed)
    if made < owed:
        return 0, made
    for t in range(len(ahead.luck_TB)):
        best_B = np.zeros(len(returns_B), np.int64)
        if ahead.epsilons_T[t] < 1:
            best_B[:] = _best(forward(learning.q, now.observations_BO, False)[len(learning.q.weights)])
        for b in rows_B:
            luck = ahead.luck_TB[t, b]
            drawn = min(int(luck / max(ahead.epsilons_T[t], 1e-300) * choices), choices - 1)
            ahead.actions_TB[t, b] = drawn if luck < ahead.epsilons_T[t] else best_B[b]
            meant_B[b] = world.meant_V[ahead.actions_TB[t, b]]
        rewards_B, ended_B, cut_B = step(world, now, rows_B, meant_B)
        returns_B += rewards_B
        for b in rows_B:
            learnt = np.sign(rewards_B[b]) if ahead.clips else rewards_B[b]
            added(held, b, ahead.actions_TB[t, b], learnt, ended_B[b], cut_B[b], now.observations_BO[b])
        if (ended_B | cut_B).any():
            return t + 1, made
        due = made + ahead.updates_T[t]
        made = updates(learning, held, said, made, due)
        if made < due:
            return t + 1, made
    return len(ahead.luck_TB), made


@compiled
def updates(learning: Learning, held: Held, said: Said, first: int, end: int) -> int:
    """Updates first, first + 1, ... before `end`, each after the one before; the number of the next."""
    for u in range(first, end):
        said.errors_UN[u], said.targets_UN[u], said.norms_U[u] = update(learning, held, u)
        if not np.isfinite(said.norms_U[u]):
            return u
        if len(learning.judge_P) and (learning.before + u + 1) % learning.every == 0:
            share, weights_P = np.float32(learning.share), learning.moved.weights_P
            learning.judge_P[:] = share * weights_P + (1 - share) * learning.judge_P
    return end


@compiled
def _best(values_NV: Array) -> Array:
    """The first of the best actions."""
    best_N = np.zeros(len(values_NV), np.int64)
    for n in range(len(values_NV)):
        best_N[n] = np.argmax(values_NV[n])
    return best_N


@compiled
def update(learning: Learning, held: Held, u: int) -> tuple[Array, Array, float]:
    """One update: the errors y − Q, the targets y, and the norm of the gradient. Where the errors' sum or the norm is
    no number, nothing is changed."""
    q, judge, aim, uniforms_N = learning.q, learning.judge, learning.aim, learning.uniforms_UN[u]
    rows_N, numbers_N = picked(held, uniforms_N)
    actions_N, rewards_NK, discounts_NK, cut_NK = windows(held, rows_N, numbers_N, aim.steps)
    count = len(rows_N)
    returns_N, factors_N = np.empty(count, np.float32), np.empty(count, np.float32)
    steps_N = np.empty(count, np.int64)
    for n in range(count):
        window = bootstrapped_window(rewards_NK[n], discounts_NK[n], cut_NK[n], aim.discount)
        returns_N[n], factors_N[n], steps_N[n] = window
    after_NO = seen(held, rows_N, numbers_N, steps_N)
    judged_NV = forward(judge, after_NO, False)[len(judge.weights)]
    best_N = _best(forward(q, after_NO, False)[len(q.weights)] if aim.twice else judged_NV)
    given = forward(q, seen(held, rows_N, numbers_N, np.zeros_like(numbers_N)), False)
    values_NV = given[len(given) - 1]
    slope_NV, errors_N, targets_N = np.zeros_like(values_NV), np.empty_like(returns_N), np.empty_like(returns_N)
    for n in range(count):
        after = judged_NV[n, best_N[n]] if factors_N[n] != 0 else np.float32(0.0)
        targets_N[n] = returns_N[n] + factors_N[n] * after
        errors_N[n] = targets_N[n] - values_NV[n, actions_N[n]]
        slope_NV[n, actions_N[n]] = error_slope(errors_N[n], aim.slope) / (1 if aim.summed else count)
    if not np.isfinite(errors_N.sum()):
        return errors_N, targets_N, np.nan
    backward(q, given, slope_NV, learning.gradients, False)
    return errors_N, targets_N, moved_by(learning.moved, u)

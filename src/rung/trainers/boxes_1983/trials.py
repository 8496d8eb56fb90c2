"""One trial of the cart-pole, acting and learning at every time step: the inner loop of the methods of 1968 and 1983.

Half a million steps of a dozen scalar operations each are no work for tensors. The loop is written once, from the
equations in `formulas.adaptive_elements` and the physics in `tasks.cart_pole`, and compiled by numba where that is
installed (the extra `classic`). Without it the same source runs in Python, a hundred times slower and equal to the
last bit.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rung.formulas.adaptive_elements import (
    element_output,
    eligibility,
    internal_reinforcement,
    reinforced,
)
from rung.tasks.cart_pole import FORCE, box_of, moved

Jit = Callable[[Any], Any]


@dataclass(frozen=True)
class Loops:
    """The loops, compiled or not."""

    elements: Callable[..., Any]
    boxes: Callable[..., Any]
    balance: Callable[..., Any]
    compiled: bool

    def array(self, values: Any) -> Any:
        """Numbers as the loops are fastest with: arrays when compiled, else lists."""
        return values if self.compiled else values.tolist()


@functools.cache
def loops(*, compiled: bool | None = None) -> Loops:
    """The loops; compiled where numba is installed, unless the caller says otherwise."""
    if compiled is None:
        compiled = importlib.util.find_spec("numba") is not None
    jit: Jit = _numba_jit() if compiled else lambda function: function
    return Loops(_elements_loop(jit), _boxes_loop(jit), _balance_loop(jit), compiled)


def _numba_jit() -> Jit:
    import numba

    return numba.njit(fastmath=False, error_model="python")


def _elements_loop(jit: Jit) -> Callable[..., Any]:
    output, trace, internal, learnt = map(jit, (element_output, eligibility, internal_reinforcement, reinforced))
    move, box_at = jit(moved), jit(box_of)

    def elements(
        state: Any,
        tables: tuple[Any, Any],
        traces: tuple[Any, Any],
        entered: Any,
        count: int,
        noise: Any,
        rates: tuple[float, float],
        decays: tuple[float, float],
        discount: float,
        friction: tuple[float, float],
    ) -> tuple[int, bool, int]:
        """Steps until the failure or until the noise is used up: how many, whether it failed, boxes entered.

        Traces live in the boxes that this trial has entered (`entered[:count]`); those of all others are 0. A box's
        trace is renewed before r̂ is applied, and p after a failure is 0.
        """
        push, prediction = tables
        actor_trace, critic_trace = traces
        position, speed, angle, spin = state[0], state[1], state[2], state[3]
        box = box_at(position, speed, angle, spin)
        for step in range(len(noise)):
            action = output(push[box], noise[step])
            known = False
            for index in range(count):
                here = 1.0 if entered[index] == box else 0.0
                known = known or here == 1.0
                at = entered[index]
                actor_trace[at] = trace(actor_trace[at], action * here, decays[0])
                critic_trace[at] = trace(critic_trace[at], here, decays[1])
            if not known:
                entered[count] = box
                count += 1
                actor_trace[box] = trace(0.0, action * 1.0, decays[0])
                critic_trace[box] = trace(0.0, 1.0, decays[1])
            before = prediction[box]
            position, speed, angle, spin = move(position, speed, angle, spin, FORCE * action, friction[0], friction[1])
            box = box_at(position, speed, angle, spin)
            failed = box < 0
            if failed:
                reinforcement = internal(-1.0, 0.0, before, discount)
            else:
                reinforcement = internal(0.0, prediction[box], before, discount)
            for index in range(count):
                at = entered[index]
                push[at] = learnt(push[at], reinforcement, actor_trace[at], rates[0])
                prediction[at] = learnt(prediction[at], reinforcement, critic_trace[at], rates[1])
            if failed:
                return step + 1, True, count
        state[0], state[1], state[2], state[3] = position, speed, angle, spin
        return len(noise), False, count

    return jit(elements)


def _boxes_loop(jit: Jit) -> Callable[..., Any]:
    output, move, box_at = jit(element_output), jit(moved), jit(box_of)

    def boxes(push: Any, entries: Any, times: Any, most: int, friction: tuple[float, float]) -> tuple[int, bool]:
        """A trial with every box's decision as it is: steps, whether it failed; into the arrays go, for each box, how
        often it was entered and the sum of the time steps at which it was."""
        position, speed, angle, spin = 0.0, 0.0, 0.0, 0.0
        box, before = box_at(position, speed, angle, spin), -1
        for step in range(most):
            if box != before:
                entries[box] += 1.0
                times[box] += step
            before = box
            action = output(push[box], 0.0)
            position, speed, angle, spin = move(position, speed, angle, spin, FORCE * action, friction[0], friction[1])
            box = box_at(position, speed, angle, spin)
            if box < 0:
                return step + 1, True
        return most, False

    return jit(boxes)


def _balance_loop(jit: Jit) -> Callable[..., Any]:
    output, move, box_at = jit(element_output), jit(moved), jit(box_of)

    def balance(state: Any, push: Any, noise: Any, friction: tuple[float, float]) -> tuple[int, bool]:
        """Steps until the failure or until the noise is used up, with nothing learnt: how many, whether it failed."""
        position, speed, angle, spin = state[0], state[1], state[2], state[3]
        for step in range(len(noise)):
            action = output(push[box_at(position, speed, angle, spin)], noise[step])
            position, speed, angle, spin = move(position, speed, angle, spin, FORCE * action, friction[0], friction[1])
            if box_at(position, speed, angle, spin) < 0:
                return step + 1, True
        state[0], state[1], state[2], state[3] = position, speed, angle, spin
        return len(noise), False

    return jit(balance)

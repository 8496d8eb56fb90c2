"""Optimizer steps for small networks whose updates are compiled: one equation for AdamW and RMSprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Rule(NamedTuple):
    """The numbers of an optimizer."""

    beta1: float
    """β1, of the running mean of the gradient; 0: the gradient itself."""
    beta2: float
    """β2, of the running mean of its square."""
    epsilon: float
    under_root: bool
    """ε under the root, not behind it."""
    corrected: bool
    """Both means are divided by 1 − β^t: they began at 0."""
    weight_decay: float


def constants(rule: Rule, rate: float, update: int) -> Any:
    """float32 [7]: what is the same for every weight in update t = 1, 2, ...: 1 − β1, 1 − β2, the second mean's
    correction, ε under the root and behind it, the rate over the first mean's correction, and 1 − rate · decay."""
    first = 1.0 - rule.beta1**update if rule.corrected else 1.0
    second = 1.0 - rule.beta2**update if rule.corrected else 1.0
    inside, outside = (rule.epsilon, 0.0) if rule.under_root else (0.0, rule.epsilon)
    keep = 1.0 - rate * rule.weight_decay
    numbers = (1.0 - rule.beta1, 1.0 - rule.beta2, 1.0 / second, inside, outside, rate / first, keep)
    return np.array(numbers, dtype=np.float32)


def adaptive_step(weight: Any, gradient: Any, mean: Any, square: Any, c_7: Any) -> tuple[Any, Any, Any]:
    """θ ← (1 − rate · decay) θ − rate · m / (√v + ε), with m ← β1 m + (1 − β1) g and v ← β2 v + (1 − β2) g².

    One weight or many; gives θ, m and v. `c_7` are the `constants`.

    >>> c_7 = constants(Rule(0.9, 0.999, 1e-8, False, True, 0.0), 0.5, 1)
    >>> float(adaptive_step(np.float32(1.0), np.float32(4.0), np.float32(0.0), np.float32(0.0), c_7)[0])
    0.5
    """
    mean = mean + c_7[0] * (gradient - mean)
    square = square + c_7[1] * (gradient * gradient - square)
    return c_7[6] * weight - c_7[5] * mean / (np.sqrt(square * c_7[2] + c_7[3]) + c_7[4]), mean, square

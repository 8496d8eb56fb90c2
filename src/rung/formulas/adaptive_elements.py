"""The two adaptive elements of 1983, one equation a function, on plain numbers.

A loop over single time steps calls these half a million times a run, so they take floats and not tensors: the same
source runs in Python and, where numba is installed, compiled. Only the operations stand here that both round alike.
"""

from __future__ import annotations


def element_output(weight: float, noise: float) -> int:
    """y = 1 if w·x + noise ≥ 0 else −1: push right or left.

    With one box switched on, w·x is that box's weight. Barto, Sutton and Anderson 1983, eq. 1.

    >>> element_output(0.0, 0.0), element_output(-0.02, 0.01)
    (1, -1)
    """
    return 1 if weight + noise >= 0.0 else -1


def eligibility(trace: float, signal: float, decay: float) -> float:
    """e ← δ e + (1 − δ) signal, a running mean of what a box has lately done.

    For the search element the signal is y·x, for the critic x (1983, eqs. 3 and 6). Without the factor 1 − δ
    the learning rate would be 1 / (1 − δ) times as large.

    Args:
        trace: of one box. signal: 0 for every box but the one the state is in. decay: δ or λ, in [0, 1).

    >>> eligibility(0.5, 1.0, 0.75)
    0.625
    """
    return decay * trace + (1.0 - decay) * signal


def internal_reinforcement(reward: float, prediction: float, prediction_before: float, discount: float) -> float:
    """r̂ = r + γ p(t) − p(t − 1), how much better things went than the critic had predicted.

    Barto, Sutton and Anderson 1983, eq. 4. At a failure p(t) is 0: it is not the prediction of the state from which
    the next trial starts.

    >>> internal_reinforcement(-1.0, 0.0, -0.25, 0.95)
    -0.75
    """
    return reward + discount * prediction - prediction_before


def reinforced(weight: float, reinforcement: float, trace: float, rate: float) -> float:
    """w ← w + α r̂ e, for the search element with α, for the critic with β (1983, eqs. 2 and 5).

    >>> reinforced(0.5, -1.0, 0.25, 2.0)
    0.0
    """
    return weight + rate * reinforcement * trace


def attained(life: float, usage: float, target: float, weight: float) -> float:
    """value = (life + K·target) / (usage + K), how long the system lives on after a decision taken in a box.

    The mean lifetime so far, drawn towards the desired level as if that had been seen K times (Michie and Chambers
    1968).

    Args:
        life: decayed sum of lifetimes that followed, in time steps. usage: decayed count of them. weight: K.

    >>> attained(30.0, 2.0, 15.0, 2.0)
    15.0
    """
    return (life + weight * target) / (usage + weight)

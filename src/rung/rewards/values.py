"""What a reward function may return, checked: exactly one finite number, None or Failure for each completion.

Nothing is broadcast and nothing is guessed. A one-element list for 16 completions is an error, not 16 equal rewards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rung.errors import RewardError
from rung.rewards.reward import NOT_FINITE, WRONG_LENGTH, WRONG_TYPE, Failure, Score


def checked_scores(name: str, returned: Any, expected: int) -> list[Score]:
    """One score for each completion, as Python floats.

    Booleans, numpy scalars and tensors of one element become floats; lists, tuples and one-dimensional arrays are
    read in order.

    >>> checked_scores("f", [True, None, 0.5], 3)
    [1.0, None, 0.5]
    >>> checked_scores("f", [1.0], 16)
    RewardError: reward 'f': wrong length: returned 1 value for 16 completions

    Raises:
        RewardError: a wrong length, a scalar, dict, generator or text instead of a list, a value that is not a
            number, a NaN or an infinity. It names the reward and the index.
    """
    values = _as_list(name, returned, expected)
    if len(values) != expected:
        raise RewardError(name, WRONG_LENGTH, f"returned {_count(len(values))} for {expected} completions")
    return [_as_score(name, value, index) for index, value in enumerate(values)]


def _as_list(name: str, returned: Any, expected: int) -> Sequence[Any]:
    if isinstance(returned, (list, tuple)):
        return returned
    if getattr(returned, "ndim", None) == 1 and hasattr(returned, "tolist"):
        return returned.tolist()
    kind, dimensions = type(returned).__name__, getattr(returned, "ndim", None)
    what = f"one {kind}" if dimensions is None else f"one {dimensions}-d {kind}"
    wanted = f"expected a list of {expected} numbers"
    if isinstance(returned, (bool, int, float)) or dimensions == 0:
        raise RewardError(name, WRONG_LENGTH, f"returned 1 value for {expected} completions ({what}); {wanted}")
    raise RewardError(name, WRONG_TYPE, f"returned {what} for {expected} completions; {wanted}")


def _count(n: int) -> str:
    return "1 value" if n == 1 else f"{n} values"


def _as_score(name: str, value: Any, index: int) -> Score:
    if value is None or isinstance(value, Failure):
        return value
    if not isinstance(value, (bool, int, float)):
        one_element = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
        value = value.item() if one_element else value
        if not isinstance(value, (bool, int, float)):
            raise RewardError(
                name,
                WRONG_TYPE,
                f"value {index} is a {type(value).__name__} ({_shown(value)}); expected a number or None",
            )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardError(name, NOT_FINITE, f"value {index} is {number}; a reward must be a finite number or None")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Natural gradient: conjugate gradients solve F s = g without forming F, and the step's length follows from F."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], goal_P: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """s with F s ≈ g for a symmetric positive definite F that is given as v -> F v (Hestenes and Stiefel 1952). [P].

    Stops when |F s - g|² has fallen to `tolerance` times |g|². Dot products are taken in float64.

    >>> conjugate_gradient(lambda v: 2 * v, torch.tensor([1.0, 3.0]), iterations=5)
    tensor([0.5000, 1.5000])
    """
    solution_P, residual_P = torch.zeros_like(goal_P), goal_P.clone()
    direction_P = residual_P.clone()
    squared = _dot(residual_P, residual_P)
    enough = tolerance * squared
    for _ in range(iterations):
        if squared <= enough:
            break
        image_P = product(direction_P)
        step = squared / _dot(direction_P, image_P)
        solution_P = solution_P + step.to(goal_P) * direction_P
        residual_P = residual_P - step.to(goal_P) * image_P
        before, squared = squared, _dot(residual_P, residual_P)
        direction_P = residual_P + (squared / before).to(goal_P) * direction_P
    return solution_P


def longest_step(direction_P: Tensor, image_P: Tensor, max_kl: float) -> Tensor:
    """β = √(2δ / sᵀFs): how far along s the quadratic model of the KL reaches δ (TRPO, arXiv:1502.05477, appendix C).

    >>> longest_step(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), max_kl=0.01)
    tensor(0.1000, dtype=torch.float64)
    """
    return (2 * max_kl / _dot(direction_P, image_P)).sqrt()


def _dot(a_P: Tensor, b_P: Tensor) -> Tensor:
    return torch.dot(a_P.double(), b_P.double())

"""Passes of small networks, compiled where that can be done: forward, backward, drawing, and whole epochs of updates.

Torch spends on each operation on a few rows more than the operation takes, and so, less, does numpy. Here an epoch is
one call. Of everything the sums have one order, so that the same call gives the same bits.

Legend: **N** own steps, **O** numbers of an observation, **V** choices, **A** dimensions of an action, **M** updates,
**P** all trained numbers, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rung.compiled import compiled, compiles
from rung.formulas import optimizer_steps, slopes
from rung.formulas.optimizer_steps import Rule
from rung.formulas.slopes import Slope
from rung.models.small.tanh import tanh

Array = npt.NDArray[Any]
product = np.dot
"""Every product of matrices here, by this name: who counts operations stands in for it, in an `uncompiled` copy."""
LEAST = -1e30
"""In place of the log of a chance of 0, so that 0 log 0 is 0."""
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)

adaptive_step, constants = compiled(optimizer_steps.adaptive_step), compiled(optimizer_steps.constants)
own_ratio, surrogate_slope = compiled(slopes.own_ratio), compiled(slopes.surrogate_slope)
squared_error_slope, softmax_slope = compiled(slopes.squared_error_slope), compiled(slopes.softmax_slope)
softmax_fisher, whitened_rows = compiled(slopes.softmax_fisher), compiled(slopes.whitened_rows)


class Layers(NamedTuple):
    """A network's layers, in their order, float32 and contiguous."""

    weights: tuple[Array, ...]
    """[out, in] each, as torch has them."""
    biases: tuple[Array, ...]


class Steps(NamedTuple):
    """What an epoch learns from, float64 where nothing else is said."""

    observations_NO: Array
    """float32."""
    choices_N: Array
    """int64; empty where actions are vectors."""
    vectors_NA: Array
    """float32; [N, 0] where actions are choices."""
    old_log_probs_N: Array
    """Empty: the current ones are the old ones."""
    advantages_N: Array
    targets_N: Array
    """Of the critic; empty where there is none."""
    policy_weights_N: Array
    """Of the objective's losses in their sum."""
    critic_weights_N: Array


class Aim(NamedTuple):
    """What is minimised, in numbers."""

    slope: Slope
    entropy_bonus: float
    value_coefficient: float
    temperature: float
    whitens: bool
    """Each update's advantages are whitened, by the next three."""
    shift: bool
    epsilon: float
    ddof: int


class Moved(NamedTuple):
    """What the optimizer moves, each [P], and how."""

    weights_P: Array
    gradient_P: Array
    mean_P: Array
    """Of the gradient; empty where the rule has none."""
    square_P: Array
    rule: Rule
    max_norm: float
    begun: int
    """Updates before these."""
    rates_M: Array


class Said(NamedTuple):
    """What the policy said of each step at its update, before it, float32."""

    log_probs_N: Array
    entropy_N: Array
    values_N: Array
    norms_M: Array
    """Of the gradient, float64."""
    advantages_N: Array
    """As they were learnt from, float64."""


@compiled
def forward(layers: Layers, inputs_N: Array, smooth: bool) -> list[Array]:
    """The input of each layer, and, last, the output. Between layers stands tanh where it is `smooth`, else ReLU.

    >>> layer = np.array([[2.0]], np.float32), np.array([1.0], np.float32)
    >>> layers = Layers((layer[0], layer[0]), (layer[1], layer[1]))
    >>> [input_N.tolist() for input_N in forward(layers, np.array([[-3.0]], np.float32), False)]
    [[[-3.0]], [[0.0]], [[1.0]]]
    """
    given, last = [inputs_N], len(layers.weights) - 1
    for place in range(last + 1):
        inside_N = product(given[place], layers.weights[place].T)
        inside_N += layers.biases[place]
        if place < last:
            if smooth:
                tanh(inside_N)
            else:
                np.maximum(inside_N, np.float32(0.0), inside_N)
        given.append(inside_N)
    return given


@compiled
def backward(layers: Layers, given: Sequence[Array], slope_N: Array, found: Layers, smooth: bool) -> None:
    """Fills `found` with the gradients of the layers, from the slope in the output of `forward`."""
    ones_N = np.ones(len(slope_N), np.float32)
    for place in range(len(layers.weights) - 1, -1, -1):
        product(slope_N.T, given[place], found.weights[place])
        np.dot(ones_N, slope_N, found.biases[place])
        if place > 0:
            slope_N = product(slope_N, layers.weights[place])
            if smooth:
                slope_N *= np.float32(1.0) - given[place] * given[place]
            else:
                slope_N *= given[place] > 0


@compiled
def choice_log_probs(logits_NV: Array, temperature: float) -> Array:
    """[V, N] log π of every choice, float64."""
    log_probs_VN = logits_NV.T.astype(np.float64) / temperature
    top_N = log_probs_VN[0].copy()
    for v in range(1, len(log_probs_VN)):
        top_N = np.maximum(top_N, log_probs_VN[v])
    total_N = np.zeros_like(top_N)
    for v in range(len(log_probs_VN)):
        total_N += np.exp(log_probs_VN[v] - top_N)
    return log_probs_VN - (top_N + np.log(total_N))


@compiled
def fisher_image(
    policy: Layers, given: Sequence[Array], log_std_A: Array, along: Layers, found: Layers, temperature: float
) -> None:
    """Fills `found` with Jᵀ M J v: F v of the layers, F the Hessian of the mean KL(π_old ‖ π) at π = π_old, J what the
    output does with the weights, M the Hessian in the output. `given` is of `forward`; `along` is v."""
    out_N = given[len(given) - 1]
    tangent_N = product(given[0], along.weights[0].T) + along.biases[0]
    for place in range(1, len(policy.weights)):
        tangent_N *= np.float32(1.0) - given[place] * given[place]
        straight_N = product(given[place], along.weights[place].T) + along.biases[place]
        tangent_N = product(tangent_N, policy.weights[place].T) + straight_N
    slope_N, mean_N = np.empty_like(out_N), np.zeros(len(out_N))
    if len(log_std_A) == 0:
        chances_VN = np.exp(choice_log_probs(out_N, temperature))
        for v in range(len(chances_VN)):
            mean_N += chances_VN[v] * tangent_N[:, v]
        for v in range(len(chances_VN)):
            slope_N[:, v] = softmax_fisher(chances_VN[v], tangent_N[:, v], mean_N) / (temperature**2 * len(out_N))
    for a in range(len(log_std_A)):  # ∂²KL/∂μ² = 1/σ²
        slope_N[:, a] = tangent_N[:, a] * math.exp(-2.0 * log_std_A[a]) / (temperature * len(out_N))
    backward(policy, given, slope_N, found, True)


@compiled
def _choice(steps: Steps, log_probs_VN: Array) -> tuple[Array, Array]:
    """[N] log π(a) and the entropy −∑ π log π, in nats."""
    own_N, entropy_N = np.zeros(len(steps.choices_N)), np.zeros(len(steps.choices_N))
    for v in range(len(log_probs_VN)):
        own_N = np.where(steps.choices_N == v, log_probs_VN[v], own_N)
        entropy_N -= np.exp(log_probs_VN[v]) * np.maximum(log_probs_VN[v], LEAST)
    return own_N, entropy_N


@compiled
def normal_log_probs(actions_NA: Array, mean_NA: Array, log_std_A: Array) -> tuple[Array, Array]:
    """The actions' distances from the mean in deviations [N, A], and log π(a)."""
    standard_NA = (actions_NA.astype(np.float64) - mean_NA) * np.exp(-log_std_A.astype(np.float64))
    own_N = np.zeros(len(mean_NA))
    for a in range(len(log_std_A)):
        own_N -= 0.5 * standard_NA[:, a] * standard_NA[:, a] + (log_std_A[a] + HALF_LOG_2_PI)
    return standard_NA, own_N


@compiled
def _log_prob_slope(steps: Steps, aim: Aim, own_N: Array) -> Array:
    """[N] of the weighed losses in log π(a)."""
    ratio_N = np.ones_like(own_N)
    if len(steps.old_log_probs_N):
        ratio_N = own_ratio(own_N, steps.old_log_probs_N)
    return steps.policy_weights_N * surrogate_slope(ratio_N, steps.advantages_N, aim.slope)


@compiled
def _policy_pass(
    policy: Layers, gradients: Layers, log_std_A: Array, log_std_gradient_A: Array, steps: Steps, aim: Aim
) -> tuple[Array, Array]:
    """Fills the policy's gradients; log π(a) and the entropy."""
    given = forward(policy, steps.observations_NO, True)
    out_N = given[len(given) - 1]
    slope_N = np.empty_like(out_N)
    entropy_slope_N = -aim.entropy_bonus * steps.policy_weights_N
    if len(log_std_A) == 0:
        log_probs_VN = choice_log_probs(out_N, aim.temperature)
        own_N, entropy_N = _choice(steps, log_probs_VN)
        log_prob_N = _log_prob_slope(steps, aim, own_N) / aim.temperature
        entropy_slope_N = entropy_slope_N / aim.temperature
        for v in range(len(log_probs_VN)):
            picked_N = steps.choices_N == v
            slope_N[:, v] = softmax_slope(log_prob_N, entropy_slope_N, picked_N, log_probs_VN[v], entropy_N)
    else:
        warm_A = log_std_A.astype(np.float64) + 0.5 * math.log(aim.temperature)
        standard_NA, own_N = normal_log_probs(steps.vectors_NA, out_N, warm_A)
        entropy_N = np.full(len(own_N), warm_A.sum() + len(warm_A) * (HALF_LOG_2_PI + 0.5))
        log_prob_N = _log_prob_slope(steps, aim, own_N)
        for a in range(len(warm_A)):
            # ∂log π(a)/∂μ = (a − μ)/σ²; ∂log π(a)/∂log σ = ((a − μ)/σ)² − 1; ∂H/∂log σ = 1
            slope_N[:, a] = log_prob_N * standard_NA[:, a] * math.exp(-warm_A[a])
            squares_N = standard_NA[:, a] * standard_NA[:, a] - 1.0
            log_std_gradient_A[a] = (log_prob_N * squares_N).sum() + entropy_slope_N.sum()
    backward(policy, given, slope_N, gradients, True)
    return own_N, entropy_N


@compiled
def _critic_pass(critic: Layers, gradients: Layers, steps: Steps, coefficient: float) -> Array:
    """Fills the critic's gradients; its values."""
    given = forward(critic, steps.observations_NO, True)
    values_N1 = given[len(given) - 1]
    slope_N1 = np.empty_like(values_N1)
    errors_N = squared_error_slope(values_N1[:, 0], steps.targets_N)
    slope_N1[:, 0] = steps.critic_weights_N * coefficient * errors_N
    backward(critic, given, slope_N1, gradients, True)
    return values_N1[:, 0]


@compiled
def _taken(steps: Steps, which_N: Array, whitens: bool, shift: bool, epsilon: float, ddof: int) -> Steps:
    """The steps of one update; what is empty stays so."""
    none_N = which_N[:0]
    advantages_N = steps.advantages_N[which_N]
    if whitens:
        advantages_N = whitened_rows(advantages_N, shift, epsilon, ddof)
    return Steps(
        steps.observations_NO[which_N],
        steps.choices_N[which_N if len(steps.choices_N) else none_N],
        steps.vectors_NA[which_N],
        steps.old_log_probs_N[which_N if len(steps.old_log_probs_N) else none_N],
        advantages_N,
        steps.targets_N[which_N if len(steps.targets_N) else none_N],
        steps.policy_weights_N[which_N],
        steps.critic_weights_N[which_N],
    )


def _step(moved: Moved, c_7: Array) -> None:
    given = (moved.weights_P, moved.gradient_P, moved.mean_P, moved.square_P)
    moved.weights_P[:], moved.mean_P[:], moved.square_P[:] = adaptive_step(*given, c_7)


@compiled
def _step_of_each(moved: Moved, c_7: Array) -> None:
    """The same weight by weight, which compiled takes a quarter of the time."""
    weights_P, gradient_P, mean_P, square_P = moved.weights_P, moved.gradient_P, moved.mean_P, moved.square_P
    for p in range(len(weights_P)):
        weights_P[p], mean_P[p], square_P[p] = adaptive_step(weights_P[p], gradient_P[p], mean_P[p], square_P[p], c_7)


step = _step_of_each if compiles() else _step


@compiled
def moved_by(moved: Moved, m: int) -> float:
    """One step of the optimizer, its gradient's norm bounded; the norm it had. A norm that is none changes nothing."""
    gradient_P = moved.gradient_P
    norm = math.sqrt(np.dot(gradient_P, gradient_P))
    if math.isfinite(norm):
        if norm > moved.max_norm:
            gradient_P *= np.float32(moved.max_norm / (norm + 1e-6))
        step(moved, constants(moved.rule, moved.rates_M[m], moved.begun + m + 1))
    return norm


@compiled
def epoch(
    networks: tuple[Layers, Layers, Layers, Layers],
    log_std: tuple[Array, Array],
    steps: Steps,
    order: tuple[Array, Array],
    aim: Aim,
    moved: Moved,
    which: tuple[bool, bool],
) -> tuple[Said, int]:
    """Updates of the policy and of the critic, or of one of them, one after another; how many were made. It stops
    before the first whose gradient is no number.

    Args:
        networks: the policy, its gradients, the critic, its gradients. log_std: of vectors [A], and its gradient; empty
            for choices.
        order: the steps in the order of their use [N], and where in it each update ends [M], int64.
        which: whether the policy learns, and the critic.
    """
    policy, policy_gradients, critic, critic_gradients = networks
    order_N, ends_M = order
    number, updates = len(steps.observations_NO), len(ends_M)
    none_N = np.zeros(number, np.float32)
    said = Said(none_N, none_N.copy(), none_N.copy(), np.zeros(updates), np.zeros(number))
    begin = 0
    for m in range(updates):
        which_N = order_N[begin : ends_M[m]]
        taken = _taken(steps, which_N, aim.whitens, aim.shift, aim.epsilon, aim.ddof)
        said.advantages_N[which_N] = taken.advantages_N
        if which[0]:
            own_N, entropy_N = _policy_pass(policy, policy_gradients, *log_std, taken, aim)
            said.log_probs_N[which_N] = own_N
            said.entropy_N[which_N] = entropy_N
        if which[1]:
            said.values_N[which_N] = _critic_pass(critic, critic_gradients, taken, aim.value_coefficient)
        said.norms_M[m] = moved_by(moved, m)
        if not math.isfinite(said.norms_M[m]):
            return said, m
        begin = ends_M[m]
    return said, updates


@compiled
def draw_choices(layers: Layers, inputs_NO: Array, uniforms_N: Array) -> tuple[Array, Array]:
    """The first choice of each state whose cumulative chance lies above its uniform number, and log π of it."""
    log_probs_VN = choice_log_probs(forward(layers, inputs_NO, True)[len(layers.weights)], 1.0)
    drawn_N, end_N, total_N = np.zeros(len(inputs_NO), np.int64), np.zeros(len(inputs_NO)), np.zeros(len(inputs_NO))
    for v in range(len(log_probs_VN)):
        total_N += np.exp(log_probs_VN[v])
    picked_N = log_probs_VN[0].copy()
    for v in range(len(log_probs_VN)):
        passed_N = end_N <= uniforms_N * total_N
        here_N = passed_N & (log_probs_VN[v] > -np.inf)
        drawn_N = np.where(here_N, v, drawn_N)
        picked_N = np.where(here_N, log_probs_VN[v], picked_N)
        end_N += np.exp(log_probs_VN[v])
    return drawn_N, picked_N.astype(np.float32)


@compiled
def draw_vectors(layers: Layers, log_std_A: Array, inputs_NO: Array, normals_NA: Array) -> tuple[Array, Array]:
    """μ + σ · normal [N, A], and log π of it."""
    mean_NA = forward(layers, inputs_NO, True)[len(layers.weights)]
    drawn_NA = (mean_NA + np.exp(log_std_A) * normals_NA).astype(np.float32)
    return drawn_NA, normal_log_probs(drawn_NA, mean_NA, log_std_A)[1].astype(np.float32)


def layers_of(tensors: Sequence[tuple[Any, Any]], *, gradients: bool = False) -> Layers:
    """(weight, bias) tensors as arrays: views, which follow the tensors as they are trained, of them or of their
    gradients."""
    pairs = [(w.grad, b.grad) if gradients else (w.detach(), b.detach()) for w, b in tensors]
    return Layers(tuple(w.cpu().numpy() for w, _ in pairs), tuple(b.cpu().numpy() for _, b in pairs))


def layers_in(row_P: Array, like: Layers) -> Layers:
    """A row of numbers as layers of these shapes, each weight before its bias: views."""
    parts, end = [], 0
    for one in (one for pair in zip(like.weights, like.biases, strict=True) for one in pair):
        parts.append(row_P[end : end + one.size].reshape(one.shape))
        end += one.size
    return Layers(tuple(parts[::2]), tuple(parts[1::2]))

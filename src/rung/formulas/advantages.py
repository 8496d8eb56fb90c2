"""Advantages: how much better an episode was than expected, by comparison with other episodes.

All take [B] returns and [B] bool `counted_B`: rows that are not counted (a reward that failed, an overlong
completion that was filtered) are in no mean and get exactly 0. In a group whose counted returns are all equal
every advantage is exactly 0, whatever rounding says of the mean. Means and deviations are taken in float64, where
no square of a float32 can overflow or vanish; the result has the returns' own type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def _group_index(group_ids_B: Tensor) -> tuple[Tensor, int]:
    ids, index_B = cast("tuple[Tensor, Tensor]", torch.unique(group_ids_B, return_inverse=True))  # pyright: ignore[reportUnknownMemberType]
    return index_B, ids.numel()


def group_sum(values_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """∑ over the counted rows of each row's group. [B] -> [B].

    >>> group_sum(torch.tensor([1., 2., 5.]), torch.tensor([7, 7, 9]), torch.tensor([True, True, True]))
    tensor([3., 3., 5.])
    """
    same_shape(values_B, group_ids_B, counted_B)
    index_B, groups = _group_index(group_ids_B)
    kept_B = torch.where(counted_B, values_B, torch.zeros_like(values_B))
    return values_B.new_zeros(groups).index_add(0, index_B, kept_B)[index_B]


def group_count(group_ids_B: Tensor, counted_B: Tensor) -> int:
    """How many groups have at least one counted row."""
    return _group_index(group_ids_B[counted_B])[1]


def group_size(group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """How many counted rows each row's group has. int64 [B]."""
    return group_sum(counted_B.to(torch.int64), group_ids_B, counted_B)


def _bounds(values_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest counted value of each row's group; ∞ and -∞ where nothing counts."""
    same_shape(values_B, group_ids_B, counted_B)
    index_B, groups = _group_index(group_ids_B)
    low_B = torch.where(counted_B, values_B, torch.full_like(values_B, torch.inf))
    high_B = torch.where(counted_B, values_B, torch.full_like(values_B, -torch.inf))
    lowest = low_B.new_full((groups,), torch.inf).scatter_reduce(0, index_B, low_B, "amin")
    highest = high_B.new_full((groups,), -torch.inf).scatter_reduce(0, index_B, high_B, "amax")
    return lowest[index_B], highest[index_B]


def group_differs(values_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """bool [B]: the counted values of this row's group are not all equal.

    >>> group_differs(torch.tensor([.1, .1, .1, 1.]), torch.tensor([0, 0, 0, 0]),
    ...               torch.tensor([True, True, True, False]))
    tensor([False, False, False, False])
    """
    low_B, high_B = _bounds(values_B, group_ids_B, counted_B)
    return high_B > low_B


def _centred(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """R_i - mean_j R_j in float64; exactly 0 where the group does not differ or the row is not counted.

    Taken from the group's lowest return, so that a large common part rounds nothing away.
    """
    exact_B = returns_B.double()
    low_B, _ = _bounds(exact_B, group_ids_B, counted_B)
    above_B = exact_B - low_B
    mean_B = group_sum(above_B, group_ids_B, counted_B) / group_size(group_ids_B, counted_B).clamp(min=1)
    return torch.where(counted_B, above_B - mean_B, torch.zeros_like(above_B))


def group_centred(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """A_i = R_i - mean_j R_j over the group (Dr. GRPO, arXiv:2503.20783, without the length term). [B] -> [B].

    Its expected gradient is (G-1)/G of the true one, because R_i is in its own baseline.
    """
    return _centred(returns_B, group_ids_B, counted_B).to(returns_B.dtype)


def group_normalized(
    returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor, epsilon: float = 1e-6, ddof: int = 0
) -> Tensor:
    """A_i = (R_i - mean_j R_j) / (std_j R_j + ε) over the group (GRPO, arXiv:2402.03300, section 4.1.2). [B] -> [B].

    `ddof` 0 is the population deviation, 1 the sample one. With 0/1 rewards and ε = 0 the expected gradient is
    c(p,G) times the true one, c(p,G) = E[std]/(p(1-p)): 1 at G = 2, √2 at G = 3, for every p.

    >>> group_normalized(torch.tensor([1., 0., 0., 1.]), torch.tensor([0, 0, 0, 0]), torch.ones(4, dtype=torch.bool))
    tensor([ 1.0000, -1.0000, -1.0000,  1.0000])
    """
    centred_B = _centred(returns_B, group_ids_B, counted_B)
    deviation_B = group_deviation(returns_B, group_ids_B, counted_B, ddof)
    scale_B = torch.where(deviation_B > 0, deviation_B + epsilon, torch.ones_like(deviation_B))
    return (centred_B / scale_B).to(returns_B.dtype)


def each_normalized(
    parts: Mapping[str, Tensor],
    weights: Mapping[str, float],
    group_ids_B: Tensor,
    counted_B: Tensor,
    epsilon: float = 1e-6,
    ddof: int = 0,
) -> Tensor:
    """A_i = ∑_k w_k (r_{k,i} - mean_j r_{k,j}) / (std_j r_{k,j} + ε): each by itself (GDPO, arXiv:2601.05242, eq. 4).

    The sum of two rewards forgets which of them was earned; here an answer with the rarer one is told from one with the
    other. A reward that is NaN, because it did not apply, is left out. [B] each -> [B].

    >>> parts = {"right": torch.tensor([1.0, 0.0]), "short": torch.tensor([0.0, 1.0])}
    >>> each_normalized(parts, {"right": 1.0, "short": 0.5}, torch.tensor([0, 0]), torch.tensor([True, True]))
    tensor([ 0.5000, -0.5000])
    """
    total_B = torch.zeros_like(group_ids_B, dtype=torch.float64)
    for name, values_B in parts.items():
        applies_B = counted_B & ~values_B.isnan()
        known_B = torch.where(applies_B, values_B, torch.zeros_like(values_B))
        total_B = total_B + weights[name] * group_normalized(known_B, group_ids_B, applies_B, epsilon, ddof).double()
    return total_B.to(next(iter(parts.values())).dtype)


def group_deviation(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor, ddof: int = 0) -> Tensor:
    """The standard deviation of each row's group, float64 [B]; exactly 0 where its counted returns are all equal.

    >>> group_deviation(torch.tensor([1.0, 3.0]), torch.tensor([0, 0]), torch.tensor([True, True]))
    tensor([1., 1.], dtype=torch.float64)
    """
    centred_B = _centred(returns_B, group_ids_B, counted_B)
    size_B = group_size(group_ids_B, counted_B)
    return (group_sum(centred_B.square(), group_ids_B, counted_B) / (size_B - ddof).clamp(min=1)).sqrt()


def normalized_by_others(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor, epsilon: float = 1e-6) -> Tensor:
    """A_i = (R_i - mean_{j≠i} R_j) / (std_{j≠i} R_j + ε), with the others' sample deviation (NeMo RL). [B] -> [B].

    Where the others are all equal their deviation says nothing, and R_i - mean_{j≠i} R_j is left as it is. A group of
    two has one other, whose deviation is 0 of 0: it counts as equal.

    >>> every = torch.ones(4, dtype=torch.bool)
    >>> normalized_by_others(torch.tensor([0., 0., 1., 3.]), torch.tensor([2, 2, 2, 2]), every)
    tensor([-0.8729, -0.8729,  0.0000,  4.6188])
    """
    left_out_B = leave_one_out(returns_B.double(), group_ids_B, counted_B)
    others_B = (group_size(group_ids_B, counted_B) - 1).clamp(min=1)
    centred_B = _centred(returns_B, group_ids_B, counted_B)
    # ∑_{j≠i} (R_j - mean_{≠i})² = ∑_j (R_j - mean)² - n/(n-1) (R_i - mean)², here over n - 1 - 1
    size_B = others_B + 1
    squares_B = group_sum(centred_B.square(), group_ids_B, counted_B) - centred_B.square() * size_B / others_B
    equal_B = squares_B <= 1e-12 * group_sum(centred_B.square(), group_ids_B, counted_B)
    deviation_B = (squares_B.clamp(min=0) / (others_B - 1).clamp(min=1)).sqrt()
    scale_B = torch.where(equal_B, torch.ones_like(deviation_B), deviation_B + epsilon)
    return (left_out_B / scale_B).to(returns_B.dtype)


def process_normalized(
    rewards_BT: Tensor, step_ends_BT: Tensor, group_ids_B: Tensor, mask_BT: Tensor, epsilon: float = 1e-6, ddof: int = 0
) -> Tensor:
    """A_{i,t} = ∑_{steps ending at k ≥ t} (r_{i,k} - mean) / (std + ε) (GRPO, arXiv:2402.03300, section 4.1.3). [B,T].

    Mean and deviation are over all step rewards of all the group's samples together. `step_ends_BT` is True where a
    step ends; a reward that stands elsewhere is not read. Equal step rewards give exactly 0. With one step a sample
    it is `group_normalized` at every token.

    >>> ends = torch.tensor([[True, True], [True, True]])
    >>> process_normalized(torch.tensor([[1., 1.], [0., 0.]]), ends, torch.tensor([3, 3]), ends, epsilon=0.0)
    tensor([[ 2.,  1.],
            [-2., -1.]])
    """
    same_shape(rewards_BT, step_ends_BT, mask_BT)
    ends_BT = step_ends_BT & mask_BT
    row_N, step_N = torch.nonzero(ends_BT, as_tuple=True)
    counted_N = torch.ones_like(row_N, dtype=torch.bool)
    normal_N = group_normalized(rewards_BT[row_N, step_N], group_ids_B[row_N], counted_N, epsilon, ddof)
    normal_BT = torch.zeros_like(rewards_BT)
    normal_BT[row_N, step_N] = normal_N.to(rewards_BT)
    return zeroed(normal_BT.flip(1).cumsum(1).flip(1), mask_BT)


def right_answers(scores_B: Tensor, counted_B: Tensor) -> Tensor:
    """I(o) = 1 where the answer is right, else 0: what weighs log π in rejection-sampling fine-tuning. float64 [B].

    The gradient coefficient of RFT and online RFT (DeepSeekMath, arXiv:2402.03300, section 5.2 and appendix A.1). An
    accuracy below 1 is no right answer; nothing is compared, so a wrong answer pushes nothing away.

    >>> right_answers(torch.tensor([1.0, 0.5, 0.0, 1.0]), torch.tensor([True, True, True, False]))
    tensor([1., 0., 0., 0.], dtype=torch.float64)
    """
    same_shape(scores_B, counted_B)
    return (counted_B & (scores_B >= 1)).double()


def group_relative(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """A_i = (R_i - mean_j R_j) / mean_j R_j over the group, 0 where the mean is not above 0 (MaxRL, arXiv:2602.02710).

    With 0/1 rewards the divisor is the group's success rate: a prompt seldom solved weighs more, as it does in the
    likelihood of solving it. [B] -> [B].

    >>> group_relative(torch.tensor([1., 0., 0., 0.]), torch.tensor([0, 0, 0, 0]), torch.ones(4, dtype=torch.bool))
    tensor([ 3., -1., -1., -1.])
    """
    size_B = group_size(group_ids_B, counted_B).clamp(min=1)
    mean_B = group_sum(returns_B.double(), group_ids_B, counted_B) / size_B
    divisor_B = torch.where(mean_B > 0, mean_B, torch.full_like(mean_B, torch.inf))
    return (_centred(returns_B, group_ids_B, counted_B) / divisor_B).to(returns_B.dtype)


def over_mixed_groups(
    returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor, total: Callable[[Tensor], Tensor]
) -> Tensor:
    """A_i = B/B_mixed (R_i - mean_j R_j), B_mixed the batch's samples whose group differs (GPG, arXiv:2504.02546). [B].

    A prompt that is always or never solved teaches nothing; the others make up for it, so that the step does not
    shrink as prompts are learnt. `total` sums a count over all processes.

    >>> every = torch.ones(4, dtype=torch.bool)
    >>> over_mixed_groups(torch.tensor([1., 0., 1., 1.]), torch.tensor([0, 0, 1, 1]), every, lambda count: count)
    tensor([ 1., -1.,  0.,  0.])
    """
    mixed_B = group_differs(returns_B, group_ids_B, counted_B) & counted_B
    share = total(counted_B.sum()) / total(mixed_B.sum()).clamp(min=1)
    return (share * _centred(returns_B, group_ids_B, counted_B)).to(returns_B.dtype)


def length_weighted_mean(returns_B: Tensor, lengths_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """b = ∑_j |o_j| R_j / ∑_j |o_j| over the group (OPO, arXiv:2505.23585, eq. 7). [B].

    The baseline of least variance where each token's log-prob has a gradient of the same size, uncorrelated with the
    others'. R_i is in its own baseline.

    >>> length_weighted_mean(torch.tensor([1., 0.]), torch.tensor([1, 3]), torch.tensor([0, 0]), torch.ones(2).bool())
    tensor([0.2500, 0.2500])
    """
    weights_B = lengths_B.double()
    top_B = group_sum(weights_B * returns_B.double(), group_ids_B, counted_B)
    return (top_B / group_sum(weights_B, group_ids_B, counted_B).clamp(min=1)).to(returns_B.dtype)


def pass_at_k(right_B: Tensor, group_ids_B: Tensor, counted_B: Tensor, k: int, normalize: bool = True) -> Tensor:
    """What an answer adds to the chance that one of k is right, of all sets of k (arXiv:2508.10751, eq. 12 to 15). [B].

    With w wrong ones of n the mean over sets is m = 1 - C(w,k)/C(n,k). A right answer's sets all pass: A = 1 - m. A
    wrong one's fail where all others are wrong: A = 1 - m - C(w-1,k-1)/C(n-1,k-1). Both over √(m (1-m)) where
    `normalize`, else the expected gradient is (1/k - 1/n) times that of pass@k, exactly. 0 in a group of fewer than k,
    and in one whose sets all pass or all fail.

    >>> right, every = torch.tensor([True, False, False]), torch.ones(3, dtype=torch.bool)
    >>> pass_at_k(right, torch.tensor([0, 0, 0]), every, k=2, normalize=False)
    tensor([ 0.3333, -0.1667, -0.1667], dtype=torch.float64)
    """
    same_shape(right_B, group_ids_B, counted_B)
    size_B = group_size(group_ids_B, counted_B).double()
    wrong_B = group_size(group_ids_B, counted_B & ~right_B).double()

    def all_wrong(wrong_B: Tensor, size_B: Tensor, k: int) -> Tensor:
        """C(w,k)/C(n,k)."""
        steps = [(wrong_B - step).clamp(min=0) / (size_B - step).clamp(min=1) for step in range(k)]
        return torch.stack(steps).prod(0) if steps else torch.ones_like(wrong_B)

    fail_B = all_wrong(wrong_B, size_B, k)
    own_B = torch.where(right_B, torch.zeros_like(fail_B), all_wrong(wrong_B - 1, size_B - 1, k - 1))
    scale_B = (fail_B * (1 - fail_B)).sqrt() if normalize else torch.ones_like(fail_B)
    tells_B = counted_B & (size_B >= k) & (fail_B > 0) & (fail_B < 1)
    return torch.where(tells_B, (fail_B - own_B) / torch.where(tells_B, scale_B, 1.0), torch.zeros_like(fail_B))


def leave_one_out(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> Tensor:
    """A_i = R_i - mean_{j≠i} R_j over the group (RLOO, arXiv:2402.14740, eq. 9). [B] -> [B].

    The baseline does not depend on the row's own actions, so the gradient is unbiased. A row that is alone in its
    group has nothing to be compared with and gets 0.

    >>> leave_one_out(torch.tensor([1., 0., 0.]), torch.tensor([4, 4, 4]), torch.ones(3, dtype=torch.bool))
    tensor([ 1.0000, -0.5000, -0.5000])
    """
    size_B = group_size(group_ids_B, counted_B)
    left_out_B = _centred(returns_B, group_ids_B, counted_B) * size_B / (size_B - 1).clamp(min=1)
    return left_out_B.to(returns_B.dtype)

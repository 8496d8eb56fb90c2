"""Losses on preferences: one number a pair [M] (or an answer [B]), to be minimised.

Legend: **M** pairs; w the chosen answer of a pair, l the rejected one. A log-prob is that of a whole answer, the sum
over its own tokens, in nats. A **log-ratio** is log π(y|x) - log π_ref(y|x); h is the chosen answer's log-ratio less
the rejected one's. A **mean** log-prob or log-ratio is divided by the answer's tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rung.formulas.masked import same_shape, zeroed


def summed_log_probs(log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log π(y|x) = ∑_t m_t log π(y_t|x, y_<t), [B], in float64: then it does not depend on how far rows are padded.

    >>> summed_log_probs(torch.tensor([[-1.0, -0.5, 7.0]]), torch.tensor([[True, True, False]]))
    tensor([-1.5000], dtype=torch.float64)
    """
    return zeroed(log_probs_BT, mask_BT).double().sum(1)


def log_ratio_margin(chosen_M: Tensor, rejected_M: Tensor, ref_chosen_M: Tensor, ref_rejected_M: Tensor) -> Tensor:
    """h = [log π(y_w) - log π_ref(y_w)] - [log π(y_l) - log π_ref(y_l)], from four log-probs. [M], nats.

    >>> log_ratio_margin(*(torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -2.5)))
    tensor([1.5000])
    """
    same_shape(chosen_M, rejected_M, ref_chosen_M, ref_rejected_M)
    return (chosen_M - ref_chosen_M) - (rejected_M - ref_rejected_M)


def dpo(margins_M: Tensor, beta: float) -> Tensor:
    """-log σ(β h): the Bradley-Terry likelihood of the answer's implicit reward (DPO, arXiv:2305.18290, eq. 7).

    Its gradient is -β σ(-β h) ∂h. With policy and reference alike it is log 2.

    >>> dpo(torch.tensor([0.0, 10.0]), beta=0.1)
    tensor([0.6931, 0.3133])
    """
    return -logsigmoid(beta * margins_M)


def dpo_with_likelihood(margins_M: Tensor, chosen_mean_M: Tensor, beta: float, weight: float) -> Tensor:
    """-log σ(β h) - w log π(y_w)/|y_w| (iterative RPO, arXiv:2404.19733, eq. 1, at its α of 1). [M].

    Its least value is not where DPO's is: the second term draws to the chosen answers whatever the reference says.

    >>> dpo_with_likelihood(torch.tensor([0.0]), torch.tensor([-1.0]), beta=0.1, weight=0.5)
    tensor([1.1931])
    """
    same_shape(margins_M, chosen_mean_M)
    return dpo(margins_M, beta) - weight * chosen_mean_M


def cdpo(margins_M: Tensor, beta: float, flipped: float) -> Tensor:
    """(1-ε) L(h) + ε L(-h), L of DPO: a share ε of the labels is believed to be flipped (Mitchell 2023).

    Least where σ(β h) = 1-ε, so h stays finite. [M].

    >>> cdpo(torch.tensor([10.0]), beta=0.1, flipped=0.1)
    tensor([0.4133])
    """
    return (1 - flipped) * dpo(margins_M, beta) + flipped * dpo(-margins_M, beta)


def rdpo(margins_M: Tensor, beta: float, flipped: float) -> Tensor:
    """[(1-ε) L(h) - ε L(-h)] / (1-2ε), L of DPO (robust DPO, arXiv:2403.00409). [M].

    Its mean over labels of which a share ε was flipped is DPO's loss on the true labels.

    >>> round(0.9 * rdpo(torch.tensor(2.0), 1.0, 0.1).item() + 0.1 * rdpo(torch.tensor(-2.0), 1.0, 0.1).item(), 4)
    0.1269
    >>> round(dpo(torch.tensor(2.0), 1.0).item(), 4)
    0.1269
    """
    if not 0 <= flipped < 0.5:
        raise ValueError(f"flipped: got {flipped}, expected at least 0 and below 0.5")
    return ((1 - flipped) * dpo(margins_M, beta) - flipped * dpo(-margins_M, beta)) / (1 - 2 * flipped)


def ipo(margins_M: Tensor, tau: float) -> Tensor:
    """(h - 1/(2τ))²: the margin is drawn to a finite value and not beyond (IPO, arXiv:2310.12036, eq. 17). [M].

    >>> ipo(torch.tensor([0.0, 5.0]), tau=0.1)
    tensor([25.,  0.])
    """
    return (margins_M - 1 / (2 * tau)) ** 2


def simpo(chosen_mean_M: Tensor, rejected_mean_M: Tensor, beta: float, target: float) -> Tensor:
    """-log σ(β [log π(y_w)/|y_w| - log π(y_l)/|y_l|] - γ) of mean log-probs (SimPO, arXiv:2405.14734, eq. 6). [M].

    >>> simpo(torch.tensor([-0.5]), torch.tensor([-1.0]), beta=2.0, target=1.0)
    tensor([0.6931])
    """
    same_shape(chosen_mean_M, rejected_mean_M)
    return -logsigmoid(beta * (chosen_mean_M - rejected_mean_M) - target)


def odds_ratio(chosen_mean_M: Tensor, rejected_mean_M: Tensor) -> Tensor:
    """-log σ(log odds(y_w) - log odds(y_l)), odds p/(1-p), p = exp(mean log-prob) (ORPO, arXiv:2403.07691, eq. 7). [M].

    >>> odds_ratio(torch.tensor([0.75]).log(), torch.tensor([0.5]).log())
    tensor([0.2877])
    """
    same_shape(chosen_mean_M, rejected_mean_M)
    return -logsigmoid(log_odds(chosen_mean_M) - log_odds(rejected_mean_M))


def log_odds(log_p: Tensor) -> Tensor:
    """log p/(1-p) from log p < 0. At p = 1 it is bounded by the type's resolution, where it would be infinite.

    >>> log_odds(torch.tensor([0.75]).log())
    tensor([1.0986])
    """
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).eps)
    return log_p - (-torch.expm1(log_p)).log()


def kto(log_ratios_B: Tensor, desirable_B: Tensor, anchor: Tensor | float, beta: float) -> Tensor:
    """1 - σ(β (r - z)) of a desirable answer with log-ratio r, 1 - σ(β (z - r)) of another (KTO, arXiv:2402.01306).

    Unpaired: one value an answer, [B], before its weight λ. `anchor` z is the KL to the reference, at least 0,
    taken from mismatched pairs (`kto_anchor`) without gradient.

    >>> kto(torch.tensor([2.0, 2.0]), torch.tensor([True, False]), anchor=2.0, beta=0.1)
    tensor([0.5000, 0.5000])
    """
    same_shape(log_ratios_B, desirable_B)
    sign_B = desirable_B.to(log_ratios_B.dtype) * 2 - 1
    return 1 - torch.sigmoid(beta * sign_B * (log_ratios_B - anchor))


def kto_anchor(mismatched_log_ratios_B: Tensor) -> Tensor:
    """z = max(0, mean log-ratio of answers to other prompts), a scalar without gradient (KTO, arXiv:2402.01306).

    >>> kto_anchor(torch.tensor([-1.0, 2.0]))
    tensor(0.5000)
    """
    return mismatched_log_ratios_B.detach().mean().clamp(min=0)


def apo_zero(chosen_ratios_M: Tensor, rejected_ratios_M: Tensor, beta: float) -> Tensor:
    """1 - σ(β r_w) + σ(β r_l) of the log-ratios r: chosen up, rejected down (APO-zero, arXiv:2408.06266). [M].

    >>> apo_zero(torch.tensor([0.0]), torch.tensor([0.0]), beta=0.1)
    tensor([1.])
    """
    same_shape(chosen_ratios_M, rejected_ratios_M)
    return 1 - torch.sigmoid(beta * chosen_ratios_M) + torch.sigmoid(beta * rejected_ratios_M)


def apo_down(chosen_ratios_M: Tensor, rejected_ratios_M: Tensor, beta: float) -> Tensor:
    """σ(β r_w) + 1 - σ(β (r_w - r_l)): both down, the rejected more (APO-down, arXiv:2408.06266). [M].

    For answers that are all worse than the policy's own.

    >>> apo_down(torch.tensor([0.0]), torch.tensor([0.0]), beta=0.1)
    tensor([1.])
    """
    same_shape(chosen_ratios_M, rejected_ratios_M)
    return torch.sigmoid(beta * chosen_ratios_M) + 1 - torch.sigmoid(beta * (chosen_ratios_M - rejected_ratios_M))


def bradley_terry(chosen_scores_M: Tensor, rejected_scores_M: Tensor, at_least_M: Tensor) -> Tensor:
    """-log σ(r(y_w) - r(y_l) - m) of a reward model's scores r (Bradley & Terry 1952; arXiv:2307.09288, eq. 2).

    `at_least_M` is the margin m by which the chosen answer is held to be better; 0 where nobody said. [M].

    >>> bradley_terry(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([0.6931])
    """
    same_shape(chosen_scores_M, rejected_scores_M, at_least_M)
    return -logsigmoid(chosen_scores_M - rejected_scores_M - at_least_M)


def unlikelihood(chosen_M: Tensor, rejected_M: Tensor, alpha: float) -> Tensor:
    """-log π(y_w) + α log π(y_l): the baseline of the DPO paper (section 6); α 0 is fine-tuning on the chosen. [M].

    It has no lower bound for α > 0, so answers degenerate in the end.

    >>> unlikelihood(torch.tensor([-1.0]), torch.tensor([-2.0]), alpha=0.5)
    tensor([0.])
    """
    same_shape(chosen_M, rejected_M)
    return -chosen_M + alpha * rejected_M

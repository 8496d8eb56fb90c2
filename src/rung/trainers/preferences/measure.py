"""Preference metrics of one step: how well the model tells the preferred answers from the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rung.methods.parts.preference_losses import Answers
from rung.methods.preference_learning import PreferenceLearning
from rung.trainers.trainer import Metrics


def rewards_of_answers(answers: Answers, method: PreferenceLearning) -> Tensor:
    """[B] the implied rewards: the log-ratio to the reference where there is one, else the log-prob per token, or a
    reward model's score."""
    if method.loss.has_reference:
        return answers.log_ratios_B()
    return answers.means_B() if method.trains_policy() else answers.values_B


def right_of_each(answers: Answers, method: PreferenceLearning) -> Tensor:
    """Accuracy per pair: 1 where the chosen answer has the higher reward, 0 where the rejected one has, a half where
    they are equal.

    Answers that were labelled alone, [B], count as if the other answer had a reward of 0.
    """
    rewards_B = rewards_of_answers(answers, method).detach()
    if len(answers.pairs_M2):
        return (answers.margins_M(rewards_B).sign() + 1) / 2
    sign_B = answers.desirable_B.to(rewards_B) * 2 - 1
    return ((sign_B * rewards_B).sign() + 1) / 2


def of_answers(answers: Answers, method: PreferenceLearning) -> Metrics:
    """Accuracy, margin, and the numbers of both answers separately: a growing margin may hide that both fall."""
    rewards_B, values_B = rewards_of_answers(answers, method).detach(), answers.values_B.detach()
    good_B, bad_B = answers.desirable_B, ~answers.desirable_B
    found: Metrics = {
        "preference/accuracy": _mean(right_of_each(answers, method)),
        "preference/margin": _difference(_mean(rewards_B[good_B]), _mean(rewards_B[bad_B])),
        "preference/chosen_reward": _mean(rewards_B[good_B]),
        "preference/rejected_reward": _mean(rewards_B[bad_B]),
        "length/chosen": _mean(answers.lengths_B[good_B]),
        "length/rejected": _mean(answers.lengths_B[bad_B]),
    }
    if method.trains_policy():
        found["preference/chosen_log_prob"] = _mean(values_B[good_B])
        found["preference/rejected_log_prob"] = _mean(values_B[bad_B])
    if not method.loss.paired:
        found["preference/anchor"] = answers.anchor
    return found


def calibration_error(margins_M: npt.NDArray[np.float64]) -> float | None:
    """Calibration error of σ(margin): |mean σ - share of right pairs| over ten equally full bins, weighted. 0 to 1.

    A pair counts both ways round (σ right, 1 - σ wrong), so a model that always says a half is calibrated.

    >>> calibration_error(np.full(100, 20.0)) < 1e-6
    True
    >>> round(calibration_error(np.array([20.0, -20.0])), 3)
    0.5
    """
    if not len(margins_M):
        return None
    said = 1 / (1 + np.exp(-np.clip(np.abs(margins_M), 0, 700)))
    right = (np.sign(margins_M) + 1) / 2
    order = np.argsort(said, kind="stable")
    gaps = [abs(said[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, 10) if len(part)]
    return float(sum(gaps) / len(margins_M))


def _mean(numbers: Tensor) -> float | None:
    return float(numbers.double().mean()) if len(numbers) else None


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second

"""KL of whole answers: its mean is the enumerated KL of the distribution of answers; failures and lengths do not
matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from table_policy import TablePolicy

from rung.batch import Episode, Judgement
from rung.runs import evaluate as module
from rung.runs.evaluate import kl_of_answers

VOCABULARY, LENGTH, END = 4, 3, 0


def table(seed: int) -> TablePolicy:
    policy = TablePolicy(VOCABULARY, seed)
    policy.tokenizer = range(VOCABULARY)  # type: ignore[attr-defined]
    return policy


def episode(actions: tuple[int, ...], judgement: Judgement | None = None) -> Episode:
    return Episode(
        item="0",
        group=0,
        sample=0,
        context=np.array([1]),
        actions=np.array(actions),
        action_mask=np.ones(len(actions), dtype=np.bool_),
        log_probs=np.zeros(len(actions), dtype=np.float32),
        terminated=actions[-1] == END,
        truncated=actions[-1] != END,
        judgement=judgement,
    )


def answers() -> list[tuple[int, ...]]:
    """Every answer of at most LENGTH tokens that ends with END or at the limit."""
    found = [a for n in range(1, LENGTH + 1) for a in itertools.product(range(VOCABULARY), repeat=n)]
    return [a for a in found if END not in a[:-1] and (a[-1] == END or len(a) == LENGTH)]


def log_prob(policy: TablePolicy, actions: tuple[int, ...], temperature: float) -> float:
    log_probs_VV = torch.log_softmax(policy.table_VV.detach() / temperature, -1)
    return float(sum(log_probs_VV[a, b] for a, b in itertools.pairwise((1, *actions))))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_its_mean_is_the_kl_of_the_law_of_answers(temperature: float) -> None:
    policy, base = table(0), table(1)
    every = answers()
    mine, theirs = (np.array([log_prob(p, a, temperature) for a in every]) for p in (policy, base))
    assert np.exp(mine).sum() == pytest.approx(1)
    exact = float((np.exp(mine) * (mine - theirs)).sum())
    found = kl_of_answers(policy, base, [episode(a) for a in every], temperature=temperature)  # type: ignore[arg-type]
    assert (found > 0).all()
    assert float((np.exp(mine) * found).sum()) == pytest.approx(exact, rel=1e-9)


def test_one_by_one_and_together_are_the_same_and_failures_count(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, base = table(0), table(1)
    failed = Judgement(total=None, parts={}, accuracy=None, status="r: timeout")
    some = [episode(a, failed if n % 2 else None) for n, a in enumerate(answers()[:9])]
    together = kl_of_answers(policy, base, some, temperature=1.0)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 1)
    assert np.allclose(kl_of_answers(policy, base, some, temperature=1.0), together)  # type: ignore[arg-type]
    assert (kl_of_answers(policy, policy, some, temperature=1.0) == 0).all()  # type: ignore[arg-type]
    assert kl_of_answers(policy, base, [], temperature=1.0).shape == (0,)  # type: ignore[arg-type]

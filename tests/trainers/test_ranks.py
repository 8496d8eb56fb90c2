"""Learning on several processes: every method's gradient, weights and metrics are those of one process."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import random_pairs, rows_with_reference
from teams import in_team, small_policy, text_batch, whole

from rung.methods import METHODS, PolicyGradient, PreferenceLearning
from rung.methods.parts.protocols import fact
from rung.methods.parts.reference_kl import KLInLoss
from rung.models.language.reward_model import RewardModel
from rung.random import Stream
from rung.rollouts.sampling import Prompt
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.preferences.learner import PreferenceLearner
from rung.trainers.ranks import ONE, Ranks
from rung.trainers.team import Team
from rung.trainers.wire import packed, unpacked

GRPO, PPO = METHODS["grpo"], METHODS["ppo"]
TOLERANCE = 1e-9
"""Of float64, in which what is summed in another order differs by 1e-15."""
TOKENS = 16
"""Of a micro-batch: the batch is cut into about ten."""


def _on_text(method: Any) -> bool:
    return (
        isinstance(method, PolicyGradient) and method.learned_reward is None and not fact(method.optimizer, "alone", "")
    )


def smaller(method: Any) -> Any:
    """The method with two epochs and minibatches at most, and a rate at which steps show."""
    step = dataclasses.replace(method.optimizer, learning_rate=0.01, warmup_steps=0)
    few = {name: min(getattr(method, name), 2) for name in ("num_epochs", "num_minibatches") if hasattr(method, name)}
    return method.changed(optimizer=step, **few)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{
        name: (method, {}) for name, method in METHODS.items() if _on_text(method) and name != "pass_at_k"
    },  # no groups of 5
    **{name: (method, {}) for name, method in METHODS.items() if isinstance(method, PreferenceLearning)},
    "minibatches": (GRPO.changed(num_minibatches=3, num_epochs=2), {}),
    "LoRA": (GRPO, {"lora": True}),
    "recompute": (GRPO, {"recompute": True}),
    "refreshed reference": (GRPO.changed(reference_kl=KLInLoss(0.5, refresh_every=1)), {}),
    "critic beside": (PPO, {}),
    "critic of its own": (PPO.changed(critic=dataclasses.replace(PPO.critic, separate=True)), {}),
    "critic alone first": (PPO.changed(critic=dataclasses.replace(PPO.critic, separate=True, warmup_steps=1)), {}),
    "another architecture": (GRPO, {"foreign": True}),
    "another architecture, LoRA": (GRPO, {"foreign": True, "lora": True}),
    "another architecture's critic": (PPO, {"foreign": True}),
    "no signal at first": (METHODS["rloo"], {"flat": True}),
    "bfloat16": (GRPO, {"low": True}),
    "small norm": (GRPO.changed(optimizer=dataclasses.replace(GRPO.optimizer, max_grad_norm=1e-3)), {}),
}
FEW = ("dapo", "critic of its own", "LoRA", "minibatches", "refreshed reference", "kto")
SLOWER = ("grpo", "another architecture", "bfloat16", "no signal at first", "small norm", "reward_model", "ppo", "dpo")
OVER_THREE = (*FEW, *SLOWER, "recompute", "another architecture, LoRA")


def learnt(name: str, team: Team | None = None) -> dict[str, torch.Tensor]:
    """Two steps: the first gradient as the optimizer saw it, the weights, the metrics."""
    method, how = CASES[name]
    ranks = team or ONE
    learner: Any = (_of_pairs if isinstance(method, PreferenceLearning) else _of_text)(smaller(method), how, ranks)
    seen: dict[str, torch.Tensor] = {}
    began: list[bool] = []
    step = learner.optimizer.step

    def noted() -> None:
        if not began:
            model = getattr(learner, "policy", None) or learner.model
            gradients = {n: p.grad for n, p in model.trainable().items() if p.grad is not None}
            seen.update({f"grad {n}": t for n, t in whole(team, gradients).items()})
        began.append(True)
        step()

    learner.optimizer.step = noted
    for number in (1, 2):
        data = text_batch(number, flat=number == 1 and "flat" in how) if _on_text(method) else _pairs(method, number)
        numbers = learner.update(data, number).metrics()
    model = getattr(learner, "policy", None) or learner.model
    seen |= whole(team, model.state())
    seen |= {f"metric {n}": torch.tensor(number) for n, number in numbers.items() if number is not None}
    return {n: tensor.double() for n, tensor in seen.items()} if ranks.leads else {}


def _of_text(method: PolicyGradient, how: dict[str, Any], ranks: Any) -> Learner:
    separate = None if method.critic is None else method.critic.separate
    recompute, how = how.get("recompute", False), {k: v for k, v in how.items() if k not in ("recompute", "flat")}
    policy, teacher = small_policy(critic=separate, **how), small_policy(seed=3)
    if recompute:
        policy.recompute = True
    if ranks.size > 1:
        policy.shard(ranks.mesh, ranks.sent)
        teacher.shard(ranks.mesh, ranks.sent)
    learner = Learner(
        policy, method, reference=policy.reference(), teacher=teacher, micro_batch_tokens=TOKENS, ranks=ranks
    )
    return learner


def _of_pairs(method: PreferenceLearning, how: dict[str, Any], ranks: Any) -> PreferenceLearner:
    policy: Any = small_policy()
    model: Any = policy
    if not method.trains_policy():
        model = RewardModel(policy, seed=1)
        model.score.double()
    if ranks.size > 1:
        model.shard(ranks.mesh, ranks.sent)
    reference = policy.reference() if method.trains_policy() else None
    return PreferenceLearner(model, method, reference=reference, micro_batch_tokens=TOKENS, ranks=ranks)


def _pairs(method: PreferenceLearning, number: int) -> Any:
    return rows_with_reference(random_pairs(seed=number), small_policy(seed=5) if method.loss.has_reference else None)


def few_over_two(team: Team) -> dict[str, Any]:
    return numbers(FEW, team)


def all_over_two(team: Team) -> dict[str, Any]:
    return numbers([name for name in CASES if name not in FEW], team)


def some_over_three(team: Team) -> dict[str, Any]:
    return numbers(OVER_THREE, team)


def numbers(names: Sequence[str], team: Team | None) -> dict[str, Any]:
    return {name: {part: one.numpy() for part, one in learnt(name, team).items()} for name in names}


@pytest.mark.parametrize(
    ("work", "size"),
    [
        (few_over_two, 2),
        pytest.param(all_over_two, 2, marks=pytest.mark.slow),
        pytest.param(some_over_three, 3, marks=pytest.mark.slow),
    ],
)
def test_processes_together_equal_one(work: Any, size: int, tmp_path: Path) -> None:
    together = in_team(work, size, tmp_path)[0]
    assert together
    for name, found in together.items():
        alone = numbers([name], None)[name]
        assert alone.keys() == found.keys()
        low = CASES[name][1].get("low", False)
        for part, expected in alone.items():
            if low and not part.startswith("grad "):
                continue  # products in bfloat16: a last bit of a weight may be another after a step
            tolerance = 1e-5 if low else TOLERANCE
            close = np.allclose(found[part], expected, rtol=tolerance, atol=tolerance, equal_nan=True)
            assert close, (name, part, np.abs(found[part] - expected).max())


def every_pass_in_each(team: Team) -> float:
    """The gradient's norm of a learner whose passes are not dealt out: each process makes all, and all count."""
    team.dealt = lambda passes: ((one, True) for one in passes)  # type: ignore[method-assign]
    return float(learnt("grpo", team).get("metric grad/norm", 0.0))


@pytest.mark.slow
def test_passes_that_count_twice_would_be_seen(tmp_path: Path) -> None:
    """Negative control."""
    alone = float(learnt("grpo")["metric grad/norm"])
    assert in_team(every_pass_in_each, 2, tmp_path)[0] > 1.2 * alone


def test_passes_go_round_and_nobody_makes_more_than_another() -> None:
    for size in (1, 2, 3):
        for count in range(8):
            dealt = []
            for rank in range(size):
                ranks = Ranks()
                ranks.rank, ranks.size = rank, size
                dealt.append(list(ranks.dealt(range(count))))
            assert len({len(one) for one in dealt}) == 1
            assert sorted(one for mine in dealt for one, counts in mine if counts) == list(range(count))


def test_what_is_sent_arrives_as_it_was() -> None:
    batch = text_batch(1)
    rows = _pairs(METHODS["dpo"], 1)
    prompt = Prompt("q", 3, np.arange(4))
    sent = {"batch": batch, "rows": rows, "none": None, "more": [prompt, Stream(0, 1, "train"), (1, 2.5, "x")]}
    data, tensors = packed(sent)
    got = unpacked(json.loads(json.dumps(data)), [tensor.clone() for tensor in tensors])
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(got["batch"], name), value) and getattr(got["batch"], name).dtype == value.dtype
    assert all(torch.equal(a, b) for a, b in zip(got["batch"].contexts, batch.contexts, strict=True))
    shared = [a is b for a, b in itertools.pairwise(batch.contexts)]
    assert [a is b for a, b in itertools.pairwise(got["batch"].contexts)] == shared and any(shared)
    assert torch.equal(got["rows"].at_least_B, rows.at_least_B) and got["none"] is None
    assert got["more"][0].item == "q" and got["more"][0].ids.tolist() == [0, 1, 2, 3]
    assert got["more"][1] == Stream(0, 1, "train") and got["more"][2] == (1, 2.5, "x")
    with pytest.raises(AssertionError, match="a function is not sent"):
        packed([test_what_is_sent_arrives_as_it_was])

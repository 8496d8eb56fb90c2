"""Q of tokens: targets equal those of the token MDP worked out state by state, and what is learnt of them is Q*."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from token_tables import END, LONGEST, TablePolicy, best_values, completions, everything, prefixes, reward

from rung.errors import NonFiniteError
from rung.methods import METHODS, ValueLearning
from rung.methods.parts.q_learning import Adam, DoubleTarget, Every, MaxTarget, Uniform
from rung.models.language.tiny import tiny_model
from rung.rollouts.token_replay import Kept, TokenReplay
from rung.trainers.q_learning.tokens import Due, TokenValueLearner, micro_batches, rows_of, windows

DISCOUNT = 0.9


def method(**slots: Any) -> ValueLearning:
    plain = {
        "replay": Uniform(capacity=1000, starts=64, batch=64),
        "value_target": MaxTarget(discount=DISCOUNT),
        "optimizer": Adam(learning_rate=0.03),
    }
    return METHODS["dqn"].changed(name="of tokens", **{**plain, **slots})


def learner_of(policy: Any, **slots: Any) -> TokenValueLearner:
    return TokenValueLearner(cast(Any, policy), method(**slots), seed=3)


def by_hand(
    completion: tuple[int, ...], place: int, steps: int, judge: TablePolicy, chooser: TablePolicy | None
) -> float:
    """y of one token: rewards as they came for so many steps, then the value of the prefix that was reached."""
    end = min(place + steps, len(completion))
    earned = DISCOUNT ** (len(completion) - 1 - place) * reward(completion) if end == len(completion) else 0.0
    if end == len(completion):
        return earned  # ended, or cut and judged: nothing follows
    after = completion[:end]
    action = int((chooser or judge).at(after).argmax())
    return earned + DISCOUNT ** (end - place) * float(judge.at(after)[action])


@pytest.mark.parametrize("steps", [1, 2, LONGEST])
@pytest.mark.parametrize("kind", ["none", "copy", "double"])
def test_targets_are_those_worked_out_state_by_state(kind: str, steps: int) -> None:
    policy, copy = TablePolicy(0), TablePolicy(1)
    target = DoubleTarget if kind == "double" else MaxTarget
    learner = learner_of(
        policy,
        value_target=target(discount=DISCOUNT, steps=steps),
        target_network=None if kind == "none" else Every(updates=10),
    )
    learner.copy = None if kind == "none" else cast(Any, copy)
    part = everything().draw((np.arange(64) + 0.5) / 64, 10_000)
    _, errors_N, targets_N = learner._loss(part)
    judge = policy if kind == "none" else copy
    chooser = policy if kind == "double" else None
    tokens = [(tuple(k.actions.tolist()), place) for k in part for place in range(k.steps)]
    wanted = [by_hand(one, place, steps, judge, chooser) for one, place in tokens]
    assert len(tokens) > 100 and torch.allclose(targets_N, torch.tensor(wanted, dtype=torch.float64), atol=1e-6)
    own = [float(policy.at(one[:place])[one[place]]) for one, place in tokens]
    assert torch.allclose(errors_N, targets_N - torch.tensor(own, dtype=torch.float64), atol=1e-6)
    assert policy.passes == 1 and copy.passes == (kind != "none"), "one pass gives all states of a completion"


def test_a_cut_completion_is_judged_as_it_stands_and_nothing_is_added() -> None:
    """Its last token's target is its reward, though the model's values of everything are infinite."""
    policy = TablePolicy(values_SV=torch.full((len(prefixes()), 4), torch.inf, dtype=torch.float64))
    learner = learner_of(policy)
    cut = [one for one in completions() if one[-1] != END]
    replay = TokenReplay(capacity=100, vocabulary=10)
    replay.add(np.array([7]), np.array(cut[0]), np.ones(LONGEST, bool), np.array([0.0, 0.0, reward(cut[0])]))
    _, _, targets_N = learner._loss(replay.draw(np.array([0.0]), 1))
    assert float(targets_N[-1]) == pytest.approx(reward(cut[0])) and float(targets_N[0]) == torch.inf


@pytest.mark.parametrize("target_network", [None, Every(updates=5)], ids=["none", "copy"])
def test_what_is_learnt_of_every_completion_is_the_best_that_can_be_had(target_network: Every | None) -> None:
    policy = TablePolicy(0)
    learner = learner_of(
        policy,
        target_network=target_network,
        replay=Uniform(capacity=1000, starts=200, batch=200),
        optimizer=Adam(learning_rate=0.05),
    )
    learner.update(Due(everything(), 200), 1)
    for prefix, values in best_values(DISCOUNT).items():
        assert policy.at(prefix).tolist() == pytest.approx(values, abs=0.05), prefix
    assert [int(policy.at(prefix).argmax()) for prefix in ((), (2,), (2, 3))] == [2, 3, END]


def test_whole_returns_of_random_completions_are_their_mean_not_the_best() -> None:
    """The negative control: with as many steps as a completion has, nothing is maximised; Q is the random policy's."""
    policy = TablePolicy(0)
    learner = learner_of(
        policy, value_target=MaxTarget(discount=1.0, steps=LONGEST), optimizer=Adam(learning_rate=0.03)
    )
    learner.update(Due(everything(), 300), 1)
    after_2 = [reward(one) for one in completions() if one[0] == 2]
    assert float(policy.at(())[2]) == pytest.approx(float(np.mean(after_2)), abs=0.06)


def test_micro_batches_change_neither_gradient_nor_loss() -> None:
    gradients, losses = [], []
    for tokens in (10_000, 25, 1):
        policy = tiny_model(0, characters="abc=", layers=1, width=16)
        learner = learner_of(policy)
        learner.micro_batch_tokens = tokens
        learned = learner.update(Due(everything(), 1), 1)
        losses.append(learned.metrics()["loss"])
        gradients.append(torch.cat([p.grad.reshape(-1) for p in policy.trainable().values() if p.grad is not None]))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert all(torch.allclose(one, gradients[0], atol=1e-6) for one in gradients[1:])
    assert float(gradients[0].abs().max()) > 1e-3


def test_the_models_values_are_its_logits_and_a_prefix_asked_alone_has_the_same() -> None:
    policy = tiny_model(0, characters="abc=", layers=2, width=16)
    kept = everything().draw((np.arange(30) + 0.5) / 30, 60)
    values_NV = policy.values(rows_of(kept)).detach()
    alone = [
        policy.model(input_ids=torch.from_numpy(np.concatenate([k.context, k.actions[:place]]).astype(np.int64))[None])
        .logits[0, -1]
        .detach()
        for k in kept
        for place in range(k.steps)
    ]
    assert torch.allclose(values_NV, torch.stack(alone), atol=1e-4)


def test_holes_are_skipped_and_give_no_step() -> None:
    whole = Kept(
        context=np.array([7]), actions=np.array([1, 9, 9, 2]), own=np.array([True, False, False, True]),
        rewards=np.array([0.0, 5.0, 5.0, 1.0], np.float32),
    )  # fmt: skip
    rewards_NK, discounts_NK = windows([whole, whole], 2)
    assert rewards_NK.tolist() == [[0.0, 1.0], [1.0, 1.0]] * 2
    assert discounts_NK.tolist() == [[1.0, 0.0], [0.0, 0.0]] * 2


def test_a_micro_batch_holds_at_least_one_completion() -> None:
    drawn = everything().draw((np.arange(6) + 0.5) / 6, 100)
    parts = list(micro_batches(drawn, 5))
    assert [k for part in parts for k in part] == drawn and max(map(len, parts)) <= 2
    assert all(len(part) == 1 for part in micro_batches(drawn, 1))


def test_a_copy_follows_every_so_many_updates_by_its_share() -> None:
    policy = TablePolicy(0)
    learner = learner_of(policy, target_network=Every(updates=2, share=0.5))
    assert learner.copy is not None
    before = policy.table.detach().clone()
    learner.update(Due(everything(), 1), 1)
    copied = cast(TablePolicy, learner.copy).table
    assert torch.equal(copied, before)
    learner.update(Due(everything(), 1), 2)
    assert torch.allclose(copied, (before + policy.table.detach()) / 2)
    model = tiny_model(0, characters="ab", layers=1, width=16)
    older = model.copied()
    with torch.no_grad():
        next(iter(model.trainable().values())).add_(1.0)
    names = list(model.trainable())
    assert not torch.equal(older.weights()[names[0]], model.weights()[names[0]])
    older.follow(model, 1.0)
    assert all(torch.equal(older.weights()[name], model.weights()[name]) for name in names)


def test_it_goes_on_from_its_own_tensors_as_if_it_had_not_stopped() -> None:
    finals = []
    for stop in (False, True):
        policy = TablePolicy(0)
        learner = learner_of(policy, target_network=Every(updates=3))
        learner.update(Due(everything(), 4), 1)
        if stop:
            tensors = {name: tensor.clone() for name, tensor in learner.tensors().items()}
            policy = TablePolicy(values_SV=policy.table.detach().clone())
            learner = learner_of(policy, target_network=Every(updates=3))
            learner.load_tensors(tensors)
            learner.updates = 4
        learner.update(Due(everything(), 4), 2)
        finals.append(policy.table.detach())
    assert torch.equal(*finals)


def test_numbers_that_are_not_finite_do_not_reach_the_weights() -> None:
    policy = TablePolicy(0)
    learner = learner_of(policy)
    replay = TokenReplay(capacity=10, vocabulary=10)
    replay.add(np.array([7]), np.array([1]), np.array([True]), np.array([np.nan]))
    before = policy.table.detach().clone()
    with pytest.raises(NonFiniteError, match="at update 1"):
        learner.update(Due(replay, 1), 1)
    assert torch.equal(policy.table.detach(), before)

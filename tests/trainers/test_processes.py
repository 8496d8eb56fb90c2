"""Every method over two processes: each holds half of the batch's groups, and the gradients are those of one."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import socket
from typing import Any

import pytest
import torch
from episodes import random_episodes
from method_batches import EVERY_METHOD
from pairs import TableAnswers, random_pairs, rows_with_reference
from table_policy import TablePolicy

from rung.errors import SettingsError
from rung.methods import METHODS, PolicyGradient, PreferenceLearning, ValueLearning
from rung.models.small.q_network import QNetwork, QShape
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.preferences.learner import PreferenceLearner
from rung.trainers.q_learning.learner import ValueLearner
from rung.trainers.world import World

STEPS = (51, 52)
"""Steps of the run: VAPO's critic is alone for the first 50; a coefficient that adapts has moved for the second."""
MEASURED = ("kl/old", "kl/sequence", "kl/coefficient", "trpo/kl", "trpo/backtracks")
CASES = {
    **EVERY_METHOD,
    **{name: method for name, method in METHODS.items() if isinstance(method, PreferenceLearning)},
}
REFUSED = {name: method for name, method in METHODS.items() if isinstance(method, ValueLearning)}


def one_batch_an_update(method: Any) -> Any:
    """The method without a bound on its norm or minibatches, which each process draws from its own rows."""
    step = dataclasses.replace(method.optimizer, learning_rate=0.01) if hasattr(method.optimizer, "alpha") else None
    step = step or method.optimizer
    if hasattr(step, "num_critic_minibatches"):
        return method.changed(optimizer=dataclasses.replace(step, num_critic_minibatches=1))
    step = dataclasses.replace(step, max_grad_norm=1e9)
    few = {"num_epochs": min(method.num_epochs, 2), "num_minibatches": 1} if hasattr(method, "num_epochs") else {}
    return method.changed(optimizer=step, **few)


def seen_by_its_optimizer(learner: Any, learn: Any) -> torch.Tensor:
    """The gradient of every update in a row, what `learn` gives, and the weights at the end: TRPO's move without."""
    kept: list[torch.Tensor] = []
    step = learner.optimizer.step

    def noted(*given: Any) -> Any:
        every = [p for group in learner.optimizer.param_groups for p in group["params"]]
        kept.extend(torch.zeros(p.numel()) if p.grad is None else p.grad.flatten().clone() for p in every)
        return step(*given)

    learner.optimizer.step = noted
    kept.append(torch.tensor(learn(), dtype=torch.float64))
    model = getattr(learner, "policy", None) or learner.model
    return torch.cat([*kept, *(parameter.detach().flatten() for parameter in model.trainable().values())])


def of_episodes(method: PolicyGradient, half: int | None) -> torch.Tensor:
    policy, others = TablePolicy(critic=method.critic is not None), (TablePolicy(seed=1), TablePolicy(seed=2))
    method = one_batch_an_update(method)
    learner = Learner(policy, method, reference=others[0], teacher=others[1], world=World.current())

    def learn() -> list[float]:
        """What coefficients that adapt are adapted to."""
        shown: list[float] = []
        for step in STEPS:
            episodes = random_episodes(groups=5, seed=step)  # 2 groups here, 3 there
            half_of_them = episodes[6:] if half else episodes[:6]
            update = learner.update(assemble(episodes if half is None else half_of_them), step)
            shown += [number for name, number in sorted(update.diagnostics.items()) if name in MEASURED]
        return shown

    return seen_by_its_optimizer(learner, learn)


def of_pairs(method: PreferenceLearning, half: int | None) -> torch.Tensor:
    rows = rows_with_reference(random_pairs(), TableAnswers(seed=1))
    if half is not None:
        rows = rows.rows(torch.arange(8, 18) if half else torch.arange(8))
    learner = PreferenceLearner(TableAnswers(seed=0), one_batch_an_update(method), reference=TableAnswers(seed=1))
    return seen_by_its_optimizer(learner, lambda: [float(learner.update(rows, 1).metrics()["grad/norm"])])


def numbers(method: Any, half: int | None = None) -> torch.Tensor:
    return (of_pairs if isinstance(method, PreferenceLearning) else of_episodes)(method, half)


def _rank(rank: int, port: int, results: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    found: dict[str, Any] = {name: numbers(method, half=rank).tolist() for name, method in CASES.items()}
    for name, method in REFUSED.items():
        try:
            ValueLearner(QNetwork(QShape(observation=(2,), choices=2)), method)
        except SettingsError as error:
            found[name] = str(error)
    results.put((rank, found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def over_two() -> dict[int, dict[str, Any]]:
    """What each of the two processes found, by method; all methods one after another in one pair of processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, port, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    got = dict(results.get(timeout=90) for _ in ranks)
    for process in ranks:
        process.join(60)
        assert process.exitcode == 0
    return got


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name: str, over_two: dict[int, dict[str, Any]]) -> None:
    whole = numbers(CASES[name])
    for rank in range(2):
        found = torch.tensor(over_two[rank][name], dtype=torch.float64)
        torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", REFUSED)
def test_what_one_process_alone_can_do_is_refused_in_two(name: str, over_two: dict[int, dict[str, Any]]) -> None:
    assert "one process" in over_two[0][name] and over_two[0][name] == over_two[1][name]


@pytest.mark.parametrize(
    ("name", "share"),
    [("reinforce_baseline", 6 / 15), ("reinforce", 6 / 15), ("kto", 8 / 18), ("dpo", 8 / 18)],
)
def test_means_of_half_the_batch_would_be_seen(name: str, share: float) -> None:
    """Negative control: each half by itself, their first gradients put together by their shares of the rows."""
    whole, first, second = (numbers(CASES[name], half)[:49] for half in (None, 0, 1))
    alike = torch.allclose(share * first + (1 - share) * second, whole, rtol=1e-6)
    assert alike == (name in ("reinforce", "dpo")), "those two compare no rows"


@pytest.mark.parametrize("name", ["ppo_kl", "ppo@lm-human-preferences"])
def test_what_a_coefficient_adapts_to_differs_between_the_halves(name: str) -> None:
    assert not torch.allclose(numbers(CASES[name], half=0), numbers(CASES[name], half=1), rtol=0.1)

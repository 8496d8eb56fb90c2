"""The learner of Q: a network, perhaps an older copy of it, and what steps drawn from a replay do to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.errors import NonFiniteError
from rung.faults import fault_point
from rung.formulas.value_targets import n_step
from rung.methods.parts.protocols import WeightedReplay, fact
from rung.methods.value_learning import ValueLearning
from rung.models.small.q_network import QNetwork
from rung.models.state import take_over
from rung.random import Blocks
from rung.rollouts.replay import Replay, Window
from rung.trainers.optimizer import bound_norm, compiled_step, optimizer_state, optimizer_step, restore_optimizer
from rung.trainers.trainer import Numbers

Array = npt.NDArray[Any]
COPY, FLAT = "copy/", "q"
"""Before the names of the target network's tensors, and before those of the optimizer's, in a checkpoint."""


class QModel(Protocol):
    """A `QNetwork`, or a language model whose outputs are values."""

    def trainable(self) -> dict[str, torch.nn.Parameter]: ...
    def weights(self) -> dict[str, Tensor]: ...
    def follow(self, other: Any, share: float) -> None: ...


M = TypeVar("M", bound=QModel)


class QLearner(Generic[M]):
    """Owns Q, its optimizer and, where the method has a target network, an older copy of Q.

    Which steps are drawn is keyed by (seed, number of the update): a restored learner goes on as one never stopped.

    Attributes:
        parameters: what the optimizer moves, by name.
        copy: the target network.
        updates: updates made so far; the version of the policy.
    """

    def __init__(
        self,
        network: M,
        method: ValueLearning,
        *,
        copy: Callable[[], M],
        parameters: Mapping[str, torch.nn.Parameter],
        seed: int,
    ) -> None:
        self.network, self.method, self.parameters, self.updates = network, method, parameters, 0
        self.copy = None if method.target_network is None else copy()
        self.optimizer = method.optimizer.build(parameters.values())
        self._draws = Blocks(seed, "replay", (method.replay.batch,))

    def _make_step(self, errors: float) -> float:
        """One step on the gradients that were gathered, if they and the sum of the errors are finite; their norm."""
        bound = self.method.optimizer.max_grad_norm
        norm = float(bound_norm(list(self.parameters.values()), math.inf if bound is None else bound))
        self._require_finite(errors, norm)
        optimizer_step(self.optimizer)
        self._stepped()
        return norm

    def _require_finite(self, errors: float, norm: float) -> None:
        if not (math.isfinite(errors) and math.isfinite(norm)):
            raise NonFiniteError(
                f"the errors y − Q add up to {errors}, the gradient's norm is {norm}, at update {self.updates + 1}: "
                "the weights were left as they are. Usual causes: a learning rate too high "
                "(method.optimizer.learning_rate), rewards of enormous size (method.clip_rewards), or Q running away "
                "without a target network (method.target_network)"
            )

    def _stepped(self) -> None:
        """The weights have moved: the copy follows where it is time."""
        copy = self.method.target_network
        self.updates += 1
        fault_point("update.step")
        if copy is not None and self.copy is not None and self.updates % copy.updates == 0:
            self.copy.follow(self.network, copy.share)

    def _copied(self) -> dict[str, Tensor]:
        """The copy's weights that follow the trained ones, by their names in a checkpoint."""
        weights = {} if self.copy is None else self.copy.weights()
        return {f"{COPY}{name}": weights[name] for name in self.network.trainable() if weights}

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, and the target network."""
        return {**optimizer_state(self.optimizer, self.parameters), **self._copied()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(COPY)}
        restore_optimizer(self.optimizer, self.parameters, own)
        copied = {name: tensor for name, tensor in tensors.items() if name.startswith(COPY)}
        take_over(self._copied(), copied, "the target network")

    def _learned(self, losses: Sequence[float], norms: Sequence[float], errors_N: Array, targets_N: Array) -> Numbers:
        """Means over these updates, None where there are none; N: every step that went through them."""
        some = bool(losses)
        return Numbers(
            {
                "loss": sum(losses) / len(losses) if some else None,
                "grad/norm": sum(norms) / len(norms) if some else None,
                "learning_rate": self.method.optimizer.learning_rate,
                "value/error": float(np.abs(errors_N).mean()) if some else None,
                "value/target": float(targets_N.mean()) if some else None,
                "updates": float(len(losses)),
                "tokens/trained": float(len(errors_N)),
            }
        )


class Noted:
    """Rows of N numbers, one an update, in one piece of memory that grows.

    Small tensors that are kept while large ones come and go leave holes in memory: gigabytes of them on Atari.
    """

    def __init__(self) -> None:
        self._rows_UN, self._count = np.empty((0, 0), np.float32), 0

    def add(self, row_N: Array) -> None:
        if self._count == len(self._rows_UN):
            more = np.empty((max(64, self._count), len(row_N)), np.float32)
            self._rows_UN = np.concatenate([self._rows_UN, more]) if self._count else more
        self._rows_UN[self._count] = row_N
        self._count += 1

    def take(self) -> Array:
        """[U, N] all rows since the last call."""
        taken_UN, self._count = self._rows_UN[: self._count].copy(), 0
        return taken_UN


class ValueLearner(QLearner[QNetwork]):
    """The learner of a small network. The collector calls `learn` between its steps; `update` then says what was
    learnt meanwhile."""

    def __init__(self, network: QNetwork, method: ValueLearning, *, seed: int = 0) -> None:
        super().__init__(network, method, copy=network.reference, parameters={FLAT: network.flat}, seed=seed)
        replay: Any = method.replay
        self._priorities: WeightedReplay | None = replay if fact(replay, "weighted", False) else None
        self._errors, self._targets_made, self._weights_used = (Noted() for _ in range(3))
        self._norms: list[float] = []

    def update(self, batch: None, step: int, progress: float = 0.0) -> Numbers:
        """What was learnt since the last call."""
        errors_UN, targets_UN, weights_UN = (n.take() for n in (self._errors, self._targets_made, self._weights_used))
        norms, self._norms = self._norms, []
        weighted = torch.from_numpy(weights_UN) if len(weights_UN) else None
        losses_U = self.method.loss_of(torch.from_numpy(errors_UN), weighted)
        return self._learned(losses_U.tolist(), norms, errors_UN.reshape(-1), targets_UN.reshape(-1))

    def learn(self, replay: Replay) -> None:
        """One round of updates. Raises NonFiniteError before a NaN or infinity could reach the weights."""
        count = self.method.updates
        learning, said = self.ahead(count)
        if learning is None:
            for _ in range(count):
                self._one_update(replay)
            return
        from rung.trainers.q_learning.compiled_update import updates

        self.made(said, updates(learning, replay.held, said, 0, count), count)

    def _one_update(self, replay: Replay) -> None:
        method = self.method
        window = replay.draw(self._draws.at(self.updates), method.value_target.steps)
        targets_N = self._targets(replay, window)
        values_NV, back = self.network.to_learn(torch.from_numpy(replay.before(window)))
        where = values_NV.device
        weights_N = self._weights(replay, window)
        weights_N = None if weights_N is None else weights_N.to(where)
        actions_N = torch.from_numpy(window.actions_N).to(where)
        errors_N = method.errors(values_NV, actions_N, targets_N)
        back(method.gradient(values_NV, actions_N, errors_N, weights_N))
        fault_point("update.backward")
        self._norms.append(self._make_step(float(errors_N.sum())))
        if self._priorities is not None:
            replay.reprioritise(window, self._priorities.priorities(errors_N).double().cpu().numpy())
        self._errors.add(errors_N.numpy(force=True))
        self._targets_made.add(targets_N.numpy(force=True))
        if weights_N is not None:
            self._weights_used.add(weights_N.numpy(force=True))

    def ahead(self, most: int) -> tuple[Any, Any]:
        """What compiled loops make the next updates with, `most` of them, and what these fill; None twice where torch
        makes them: of an image, on another device, or with parts as `beyond_slopes` names them."""
        method, network, target, copied = (
            self.method,
            self.network,
            self.method.value_target,
            self.method.target_network,
        )
        if network.both is None or method.beyond_slopes():
            return None, None
        from rung.trainers.q_learning.compiled_update import Aim, Learning, Said

        judge, rate = self.copy or network, fact(method.optimizer, "learning_rate", 0.0)
        assert network.flat.grad is not None
        moved = compiled_step(method.optimizer, self.optimizer, network.flat, network.flat.grad, [rate] * most)
        learning = Learning(
            *network.both,
            judge.arrays,
            judge.flat.detach().numpy() if self.copy is not None else np.zeros(0, np.float32),
            every=1 if copied is None else copied.updates,
            share=1.0 if copied is None else copied.share,
            before=self.updates,
            aim=Aim(
                target.discount, target.steps, target.asks_twice, fact(method.error, "slope", None), method.sum_errors
            ),
            moved=moved,
            uniforms_UN=self._draws.span(self.updates, most),
        )
        size = (most, method.replay.batch)
        return learning, Said(np.empty(size, np.float32), np.empty(size, np.float32), np.empty(most))

    def made(self, said: Any, made: int, wanted: int) -> None:
        """Takes note of updates that compiled loops made. Raises NonFiniteError where they stopped at one."""
        if made or wanted:
            fault_point("update.backward")
        self.updates += made
        self.optimizer.state[self.network.flat]["step"] += made
        for u in range(made):
            self._norms.append(float(said.norms_U[u]))
            self._errors.add(said.errors_UN[u])
            self._targets_made.add(said.targets_UN[u])
            fault_point("update.step")
        if made < wanted:
            self._require_finite(float(said.errors_UN[made].sum()), float(said.norms_U[made]))

    @torch.no_grad()
    def _targets(self, replay: Replay, window: Window) -> Tensor:
        """[N] y of each window."""
        target = self.method.value_target
        returns_N, factors_N, steps_N = n_step(window.rewards_NK, window.discounts_NK, window.cut_NK, target.discount)
        after_N = torch.from_numpy(replay.after(window, steps_N.numpy()))
        judge = self.network if self.copy is None else self.copy
        judged_NV = judge.values(after_N)
        values_NV = self.network.values(after_N) if target.asks_twice else None
        where = judged_NV.device
        return self.method.targets(returns_N.to(where), factors_N.to(where), values_NV, judged_NV)

    def _weights(self, replay: Replay, window: Window) -> Tensor | None:
        if window.chances_N is None or self._priorities is None:
            return None
        return self._priorities.weights(torch.from_numpy(window.chances_N), len(replay), self.updates).float()


def held_out_value(network: QNetwork, states_N: np.ndarray) -> float:
    """The mean over these states of max_a Q(s, a): figure 2 of the 2013 paper."""
    with torch.inference_mode():
        parts = [
            network.values(torch.from_numpy(part_N)) for part_N in np.array_split(states_N, -(-len(states_N) // 128))
        ]
        return float(torch.cat(parts).amax(1).mean())

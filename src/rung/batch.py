"""The shapes that every part of rung shares.

Legend: **B** rows, **T** steps or tokens, **G** samples of one prompt, **V** vocabulary. A name ends in its
dimensions: `rewards_BT`, `group_ids_B`.

A prompt is a state, a token is an action, a completion is an episode: text and Gymnasium walk the same way.
An `Episode` is what one rollout brought; a `Batch` is the padded arrays that formulas and methods see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

OK = "ok"
"""The status of a reward that was given; any other status says in a word why it was not (`timeout`, ...)."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rewards said of one episode.

    Example: `Judgement(total=1.1, parts={"correct": 1.0, "format": 0.2}, accuracy=1.0)` for weights 1 and 0.5.
    """

    total: float | None
    """The weighted sum of the parts; None when no part applied or one failed (see `status`)."""
    parts: Mapping[str, float | None]
    """Each part before its weight; None where the part did not apply or failed."""
    accuracy: float | None
    """The first part's value: what a group filter looks at, never the shaped total."""
    steps: tuple[tuple[int, float], ...] = ()
    """(characters up to the step's end, the step's weighted score) where a reward judges steps; parts of the total."""
    status: str = OK
    """`ok`, or `NAME: timeout` and the like: such an episode leaves baselines, gradient and denominators."""
    weights: Mapping[str, float] = field(default_factory=dict[str, float], repr=False)
    """Of the parts, in the total."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the policy said once, and what came back."""

    end: int
    """Index of the turn's last own action."""
    own: int
    """How many own actions the turn has."""
    said: str
    told: str = ""
    """What the environment answered, as the policy read it; empty after the last turn."""
    reward: float = 0.0
    calls: tuple[str, ...] = ()
    """The status of each tool call: `ok`, `raised`, `unknown tool`, ..."""
    state: str = ""
    """In which the turn began: what the environment's `state()` said, else what the policy read before it."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """An episode over turns, as its environment saw it."""

    turns: tuple[Turn, ...]
    success: float | None = None
    """The last that the environment said; None: it said nothing of success."""
    ending: str = "done"
    """`done` by the environment; `turns`, `tokens`, `cut` (within a turn) by a limit; `failed`."""
    status: str = OK
    """`ok`, or why the environment failed (`raised`, `timeout`, ...): nothing is learnt from the episode then."""
    detail: str = ""

    @property
    def total(self) -> float:
        """The return: the sum of the turns' rewards."""
        return sum(turn.reward for turn in self.turns)

    @property
    def answer(self) -> str:
        """What the policy said last; nothing where a limit ended the episode after a turn that was answered."""
        return "" if self.ending in ("turns", "tokens") else self.turns[-1].said

    def messages(self) -> list[dict[str, str]]:
        """The turns as messages: the policy is the `assistant`, what answered it a `tool` or the `user`."""
        found: list[dict[str, str]] = []
        for turn in self.turns:
            found.append({"role": "assistant", "content": turn.said})
            if turn.told:
                found.append({"role": "tool" if turn.calls else "user", "content": turn.told})
        return found


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One rollout. Frozen: a later stage adds a field with `dataclasses.replace`, it never overwrites one.

    Example, text, prompt "2+3=" answered "5" and an end token:
    `context=[4, 10, 5, 13]`, `actions=[7, 1]`, `action_mask=[True, True]`, `log_probs=[-0.7, -0.1]`,
    `terminated=True`. A tool's reply between two answers stands in `actions` with `action_mask` False
    and log-prob 0: a hole.
    """

    item: str
    """The task item's id; rows of one prompt are told apart by `group`, never by their text."""
    group: int
    """Which group of samples this belongs to, unique within one step of the run."""
    sample: int
    """0..G-1 within the group; with seed, step and item it keys the episode's random stream."""
    context: npt.NDArray[Any]
    """What the policy saw before its first action: prompt ids [P]; observations [T, ...] for an environment."""
    actions: npt.NDArray[Any]
    """[T] token ids or actions, exactly as drawn; text is never encoded again."""
    action_mask: npt.NDArray[np.bool_]
    """[T] True where the policy chose."""
    log_probs: npt.NDArray[np.float32]
    """[T] log-probability under the distribution each action was truly drawn from (temperature included), 0 in holes.
    """
    terminated: bool
    """The episode came to its own end (an end token, a terminal state)."""
    truncated: bool
    """The episode was cut by a limit. Truncated is not terminated."""
    policy_version: int = 0
    """How many updates the sampling policy had received."""
    versions: npt.NDArray[np.int32] | None = None
    """[T] the same of each token, where weights changed while the answer was drawn; `policy_version` is the oldest."""
    text: str = ""
    """The completion as text: the policy's own tokens alone. Empty for environments that are no text."""
    pieces: tuple[str, ...] = ()
    """Each token as text, special ones included, for people; empty for environments and where nobody asked."""
    answer: str | None = None
    """The item's right answer as text, for people; None where it has none, or one that is no text and no number."""
    judgement: Judgement | None = None
    step_rewards: tuple[tuple[int, float], ...] = ()
    """(index of the action that ends the step, the step's share of the total), where a reward judges steps."""
    played: Played | None = None
    """The turns of an episode in which an environment answered."""


class Processes:
    """The processes that learn from one batch, each with some of its rows. This class is a process by itself."""

    def total(self, count: Tensor) -> Tensor:
        """The sum of a count over all processes."""
        return count

    def gather(self, values_N: Tensor) -> tuple[Tensor, slice]:
        """The values of all processes one after another, and where this one's own stand among them."""
        return values_N, slice(0, len(values_N))


ALONE = Processes()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded arrays, right-padded in T. Everything a method or formula sees.

    There is no `done`: `discounts_BT` is 0 only where an episode truly ended and 1 elsewhere (a method multiplies
    its own discount in). Where an episode was cut by a limit, or the row simply ends, `cut_BT` is True and
    `bootstrap_BT` carries the value to go on with.
    Masked slots may hold anything, NaN included: no formula may read them.
    """

    contexts: tuple[Tensor, ...] | Tensor
    """What the model needs besides the actions. Text: B tensors of prompt ids [P_b], rows of a group share one tensor.
    Environments: the observations of every step, one tensor [B, T, ...]."""
    actions_BT: Tensor
    action_mask_BT: Tensor
    """bool. A multi-turn episode is a mask with holes; every formula skips holes."""
    sampler_log_probs_BT: Tensor
    """float32, as the sampler drew."""
    rewards_BT: Tensor
    """The reward of each step. For text the total stands on the row's last action."""
    discounts_BT: Tensor
    cut_BT: Tensor
    """bool: the row's next step is not this one's future, though the episode had not ended."""
    bootstrap_BT: Tensor
    """The value that follows a cut step; read nowhere else."""
    group_ids_B: Tensor
    """int64. Rows with one id answer the same prompt."""
    scores_B: Tensor
    """Accuracy before shaping; what group filters look at."""
    truncated_B: Tensor
    """bool."""
    reward_parts: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """[B] each, before weights; NaN where a part did not apply. Empty where no judge gave them."""
    reward_weights: Mapping[str, float] = field(default_factory=dict[str, float])
    step_ends_BT: Tensor | None = None
    """bool: a step of the answer's reasoning ends here and is judged; None: no reward judges steps."""
    turns_BT: Tensor | None = None
    """int64: which turn of its episode an own action is of, from 0; None: every episode has one."""
    states_BT: Tensor | None = None
    """int64, 1 or more: equal where two turns of one group began in the same state, at every own action of a turn."""
    old_log_probs_BT: Tensor | None = None
    """The learner's own log-probs before this step's first update; None: the current ones are the old ones."""
    reference_log_probs_BT: Tensor | None = None
    teacher_log_probs_BT: Tensor | None = None
    """Of the model that is distilled from."""
    divergence_BT: Tensor | None = None
    """Of the policy's whole distribution from the teacher's at each token, differentiable."""
    values_BT: Tensor | None = None
    """The critic's, before this rollout's first update."""
    value_targets_BT: Tensor | None = None
    advantages_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    """The learner's, before this rollout's first update; known once it has learnt."""
    clipped_BT: Tensor | None = None
    """bool: the objective's bound took the gradient away in at least one of this rollout's updates; None: no bound."""
    imitated_BT: Tensor | None = None
    """What a token's log-prob weighs beside the objective's loss of it, taken over the whole update."""
    chosen_BT: Tensor | None = None
    """bool: the tokens that an objective chose from all those of its update."""
    processes: Processes = ALONE
    """Who holds the rest of the batch: a part that compares rows asks it for sums or values over the whole."""

    def __post_init__(self) -> None:
        shape = self.actions_BT.shape[:2]
        for name in ("action_mask_BT", "sampler_log_probs_BT", "rewards_BT", "discounts_BT"):
            assert getattr(self, name).shape == shape, (name, getattr(self, name).shape, shape)
        assert self.cut_BT.shape == self.bootstrap_BT.shape == shape, (self.cut_BT.shape, shape)
        for name in ("group_ids_B", "scores_B", "truncated_B"):
            assert getattr(self, name).shape == shape[:1], (name, getattr(self, name).shape, shape)
        assert len(self.contexts) == shape[0], (len(self.contexts), shape)

    def __len__(self) -> int:
        return int(self.actions_BT.shape[0])

    def returns_B(self) -> Tensor:
        """Undiscounted return of each row: ∑_t r_t over the row's own actions.

        A row whose reward 1.0 stands on its last token has the return 1.0.
        """
        zero = torch.zeros_like(self.rewards_BT)
        return torch.where(self.action_mask_BT, self.rewards_BT, zero).sum(1)

    def counted_B(self) -> Tensor:
        """bool: rows that still have an action of the policy's own; the others are in no baseline or denominator."""
        return self.action_mask_BT.any(1)

    def changed(self, **fields: Any) -> Batch:
        """A copy with some fields replaced."""
        copy = self._with(fields)
        copy.__post_init__()
        return copy

    def _with(self, fields: Mapping[str, Any]) -> Batch:
        """A copy with some fields replaced, whose shapes are not looked at: a tenth of what `replace` takes, which a
        small network's update of 64 rows feels."""
        assert fields.keys() <= self.__dict__.keys(), fields.keys() - self.__dict__.keys()
        copy = object.__new__(Batch)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(fields)
        return copy

    def rows(self, index_B: Tensor) -> Batch:
        """The rows at `index_B` (int64), in that order; used for minibatches and micro-batches."""
        taken: dict[str, Any] = {}
        if not isinstance(self.contexts, Tensor):
            taken["contexts"] = tuple(self.contexts[int(i)] for i in index_B)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                taken[name] = value[index_B]
        taken["reward_parts"] = {name: part_B[index_B] for name, part_B in self.reward_parts.items()}
        return self._with(taken)

    def parts(self, chosen: Sequence[Tensor]) -> list[Batch]:
        """The rows of each index (int64), as `rows` gives them: taken once, then seen in pieces, which is cheaper."""
        if not chosen:
            return []
        sizes = [len(index_B) for index_B in chosen]
        taken = self.rows(torch.cat(list(chosen)))
        pieces = {name: torch.split(value, sizes) for name, value in vars(taken).items() if isinstance(value, Tensor)}
        shares = {name: torch.split(part_B, sizes) for name, part_B in taken.reward_parts.items()}
        ends = list(accumulate(sizes, initial=0))
        found: list[Batch] = []
        for n, (begin, end) in enumerate(pairwise(ends)):
            fields: dict[str, Any] = {name: split[n] for name, split in pieces.items()}
            if not isinstance(taken.contexts, Tensor):
                fields["contexts"] = taken.contexts[begin:end]
            fields["reward_parts"] = {name: split[n] for name, split in shares.items()}
            found.append(taken._with(fields))
        return found

    @staticmethod
    def joined(parts: Sequence[Batch]) -> Batch:
        """Batches of equally many steps one below the other, as if `parts` had never taken them apart."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        fields: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name, value in vars(first).items()
            if isinstance(value, Tensor)
        }
        if not isinstance(first.contexts, Tensor):
            fields["contexts"] = tuple(context for part in parts for context in part.contexts)
        names = first.reward_parts
        fields["reward_parts"] = {n: torch.cat([p.reward_parts[n] for p in parts]) for n in names}
        return first.changed(**fields)

    def by_step(self) -> Batch:
        """Every own step as a row of its own, for a policy without memory: minibatches may then mix any steps.

        Only what was already taken over time (advantages, value targets) stays right, and a step has a group of its
        own. Needs one tensor of contexts.
        """
        assert isinstance(self.contexts, Tensor), "steps of a text cannot be taken apart"
        row_N, step_N = torch.nonzero(self.action_mask_BT, as_tuple=True)
        shape = self.actions_BT.shape[:2]
        taken: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                taken[name] = value[row_N, step_N][:, None] if value.shape[:2] == shape else value[row_N]
        taken["group_ids_B"] = torch.arange(len(row_N))
        return self.changed(reward_parts={}, **taken)

    def without(self, excluded_B: Tensor) -> Batch:
        """The same rows with the excluded ones' masks emptied, so that they leave every mean and denominator."""
        return self.changed(action_mask_BT=self.action_mask_BT & ~excluded_B[:, None])

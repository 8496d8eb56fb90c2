"""The interface of a sampler: prompts in, episodes out, and new weights from time to time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Episode
from rung.errors import DataError, SettingsError
from rung.random import Stream
from rung.tasks.task import Item

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


@dataclass(frozen=True)
class Prompt:
    """A prompt to continue. `ids` [P] as `TextPolicy.encode` gives them; `group` is copied to its episodes."""

    item: str
    group: int
    ids: npt.NDArray[np.int64]


def prompts_of(policy: TextPolicy, items: Sequence[Item], first_group: int = 0) -> list[Prompt]:
    """The items' prompts, each a group of its own, numbered from `first_group`. DataError, naming the item, where the
    tokenizer or the chat template cannot take one."""
    prompts: list[Prompt] = []
    for group, item in enumerate(items, first_group):
        try:
            prompts.append(Prompt(item=item.id, group=group, ids=policy.encode(item.prompt)))
        except DataError as error:
            raise DataError([f"item {item.id}: {problem}" for problem in error.problems]) from error
    return prompts


class Sampler(Protocol):
    """Draws answers of a policy. `sampler.InProcessSampler` is the one that reads the learner's own weights.

    A trainer is given its sampler and calls `deliver` at its start and after each change of the weights. A sampler that
    holds processes of its own may have a `close()` beside, which is called at the end, and `told()`, which gives a
    `Told` of what happened since it was last asked.
    """

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        samples_per_prompt: int,
        max_new_tokens: int,
        temperature: float,
        stream: Stream,
        stop: Sequence[str] = (),
        epsilon: float | None = None,
    ) -> list[Episode]:
        """`samples_per_prompt` episodes a prompt, ordered by (prompt, sample).

        Each episode's `policy_version` is the version that was delivered last. What is drawn for one sample depends on
        the weights, its prompt, its item and the stream, and on no other row.

        Args:
            max_new_tokens: an episode that has not ended after so many tokens is `truncated`.
            temperature: of the softmax; 0 is greedy, for evaluation. An episode's `log_probs` are those of the
                distribution it was drawn from.
            stop: texts that end an episode. The token that completes the first of them is its last action, and the
                episode is `terminated`, as it is by an end token.
            epsilon: ε-greedy tokens in place of the softmax.
        """
        ...

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Draw from these weights from now on. `weights` as `TextPolicy.weights` names them."""
        ...


@dataclass(frozen=True)
class Told:
    """What a sampler with engines says of a step: how far they compute the learner's log-probs otherwise, in nats a
    token of stored text, when its latest answers were begun; the seconds that went into deliveries; sentences for the
    user."""

    gap: float | None
    seconds: float
    notes: tuple[str, ...] = ()


MakesSampler = Callable[["TextPolicy"], Sampler]
"""Makes the sampler of a policy."""


def checked(
    episodes: Sequence[Episode], prompts: Sequence[Prompt], samples_per_prompt: int, max_new_tokens: int
) -> Sequence[Episode]:
    """The episodes as a sampler gave them, once they are what it was asked for.

    Raises:
        DataError: there are more or fewer of them, they stand in another order, or one has no action, too many, or
            log-probs that are no logarithms of probabilities. What is learnt from them would be wrong without a word.
    """
    wanted = [(p.item, p.group, n) for p in prompts for n in range(samples_per_prompt)]
    if [(e.item, e.group, e.sample) for e in episodes] != wanted:
        raise DataError(
            [
                f"the sampler gave {len(episodes)} episodes, expected {len(wanted)}: {samples_per_prompt} of each of "
                f"{len(prompts)} prompts, ordered by prompt and sample; mend its `sample`"
            ]
        )
    for e in episodes:
        if not 0 < len(e.actions) <= max_new_tokens:
            found = f"{len(e.actions)} tokens, expected 1 to {max_new_tokens}"
        elif not len(e.actions) == len(e.action_mask) == len(e.log_probs):
            found = f"{len(e.actions)} tokens, {len(e.action_mask)} of its mask and {len(e.log_probs)} log-probs"
        elif not (np.isfinite(e.log_probs).all() and (e.log_probs <= 1e-6).all()):
            found = "log-probs that are not finite or above 0"
        else:
            continue
        raise DataError([f"the sampler's episode {e.sample} of item '{e.item}' has {found}; mend its `sample`"])
    return episodes


@dataclass(frozen=True)
class Drawn:
    """One row's tokens, their log-probabilities, and whether the last token ended it."""

    tokens: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]
    ended: bool


def as_tensors(rows: Sequence[Drawn]) -> dict[str, Tensor]:
    """Rows one behind the other, with the length of each: what is sent or kept of them. At least one."""
    return {
        "lengths": torch.tensor([len(one.tokens) for one in rows]),
        "ended": torch.tensor([bool(one.ended) for one in rows], dtype=torch.uint8),
        "tokens": torch.from_numpy(np.concatenate([one.tokens for one in rows])),
        "log_probs": torch.from_numpy(np.concatenate([one.log_probs for one in rows])),
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> list[Drawn]:
    """The rows that `as_tensors` laid down."""
    lengths = tensors["lengths"].tolist()
    parts = (tensors[name].split(lengths) for name in ("tokens", "log_probs"))
    rows = zip(*parts, tensors["ended"].tolist(), strict=True)
    return [Drawn(tokens.numpy(), log_probs.numpy(), bool(ended)) for tokens, log_probs, ended in rows]


def drawn_episode(
    policy: TextPolicy, prompt: Prompt, sample: int, drawn: Drawn, versions: int | Sequence[int]
) -> Episode:
    """What was drawn for a prompt, by the weights of this version, or of one for each token."""
    each = [versions] if isinstance(versions, int) else versions
    return Episode(
        item=prompt.item,
        group=prompt.group,
        sample=sample,
        context=prompt.ids,
        actions=drawn.tokens,
        action_mask=np.ones(len(drawn.tokens), bool),
        log_probs=drawn.log_probs,
        terminated=drawn.ended,
        truncated=not drawn.ended,
        policy_version=min(each),
        versions=np.array(each, np.int32) if len(set(each)) > 1 else None,
        text=policy.decode(drawn.tokens),
    )


def check_lengths(prompts: Sequence[Prompt], max_new_tokens: int, context: int) -> None:
    """DataError, naming the items, where a prompt is empty or leaves no room in the context."""
    room = context - max_new_tokens
    problems = [f"item '{p.item}': the prompt has no tokens" for p in prompts if len(p.ids) == 0]
    problems += [
        f"item '{p.item}': the prompt has {len(p.ids)} tokens, expected at most {room} "
        f"(context {context} - max_new_tokens {max_new_tokens}): "
        f"lower max_new_tokens or leave the item out"
        for p in prompts
        if len(p.ids) > room
    ]
    if problems:
        raise DataError(problems)


def check_asked(samples_per_prompt: int, max_new_tokens: int, temperature: float, epsilon: float | None) -> None:
    problems = []
    if samples_per_prompt < 1:
        problems.append(f"samples_per_prompt: got {samples_per_prompt}, expected at least 1")
    if max_new_tokens < 1:
        problems.append(f"max_new_tokens: got {max_new_tokens}, expected at least 1")
    if not 0.0 <= temperature < float("inf"):
        problems.append(f"temperature: got {temperature}, expected a finite number, 0 or above")
    if epsilon is not None and not 0.0 <= epsilon <= 1.0:
        problems.append(f"epsilon: got {epsilon}, expected a number from 0 to 1")
    if problems:
        raise SettingsError(problems)

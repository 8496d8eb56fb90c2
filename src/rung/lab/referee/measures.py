"""What is asked of a loss, and what its answers say: each measure lists its batches, and is then sent their gradients.

One process answers for all measures, so a library is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee import closed_forms
from rung.lab.referee.asking import Answers, Numbers
from rung.lab.referee.estimates import compare, every_row, expected_gradient, has_policy_slots
from rung.lab.referee.fitting import Fit, Probe, fit, parting, without_rewards
from rung.lab.referee.grade import numbers_of
from rung.lab.referee.world import Tree, World, expected_return, gradient, kl, random_world
from rung.methods import METHODS
from rung.methods.parts.advantages import EpisodeReturn, OthersInGroup
from rung.random import seeded

Measure = Generator[list[Numbers], Answers, Any]
"""Yields the batches; is sent the answers to them; returns what it found."""
WORLDS = range(3)
TREES = {2: Tree(3, 3), 4: Tree(3, 2)}
"""The tree for each number of samples of a prompt, so that few batches can be drawn."""
PROBES, GROUPS, SAMPLES = 4, 3, 3


def answered(measures: Mapping[str, Callable[[], Measure]], ask: Callable[[list[Numbers]], Any]) -> Any:
    """Every measure's batches put to `ask` at once, which gives a reply; and what reads one cell's answers."""
    reply = ask(next(_together([begin() for begin in measures.values()])))

    def read(answers: Answers) -> dict[str, Any]:
        together = _together([begin() for begin in measures.values()])
        next(together)
        try:
            together.send(answers)
        except StopIteration as done:
            return dict(zip(measures, done.value, strict=True))
        raise AssertionError("a measure asks once")

    return reply, read


# --- on average ---------------------------------------------------------------------------------------------------


def _climbed(world: World, samples: int) -> Generator[list[Numbers], Answers, Tensor]:
    """The expected gradient, [P,N,V]."""
    asked: dict[tuple[int, ...], Numbers] = {}

    def note(batch: Batch, log_probs_BT: Tensor, key: tuple[int, ...]) -> Tensor:
        asked[key] = numbers_of(batch, log_probs_BT)
        return torch.where(batch.action_mask_BT, log_probs_BT, 0.0).sum()

    expected_gradient(note, world, samples)
    answers = yield list(asked.values())
    _own(answers.gradients, [one["mask"] for one in asked.values()], answers.error)
    gradients = dict(zip(asked, answers.gradients, strict=True))

    def again(batch: Batch, log_probs_BT: Tensor, key: tuple[int, ...]) -> Tensor:
        return torch.where(batch.action_mask_BT, gradients[key] * log_probs_BT, 0.0).sum()

    return expected_gradient(again, world, samples)


def climbs(samples: int) -> Measure:
    """How the expected gradient stands to the true one of the expected return: the median over worlds."""
    worlds = [random_world(seed, tree=TREES[samples], rewards="final") for seed in WORLDS]
    worlds = [replace(world, reference_PNV=world.logits_PNV) for world in worlds]  # no KL to a reference
    found = yield from _together([_climbed(world, samples) for world in worlds])
    true = [gradient(expected_return, world) for world in worlds]
    return _median([vars(compare(g, t)) for g, t in zip(found, true, strict=True)])


def climbs_kl() -> Measure:
    """The same against the true gradient of KL(π ‖ π_ref), where every reward is 0; None without a reference."""
    worlds = [random_world(seed, tree=TREES[4], rewards="final") for seed in WORLDS]
    resting = [closed_forms.without_rewards(world) for world in worlds]
    found = yield from _together([_climbed(world, 2) for world in resting])
    sizes = [float(one.norm()) for one in found]
    if max(sizes) < 1e-12:
        return None
    return _median([vars(compare(-g, gradient(kl, world))) for g, world in zip(found, resting, strict=True)])


def _together(parts: Sequence[Generator[list[Numbers], Answers, Any]]) -> Generator[list[Numbers], Answers, list[Any]]:
    batches = [next(part) for part in parts]
    answers = yield [one for listed in batches for one in listed]
    found: list[Any] = []
    at = 0
    for part, listed in zip(parts, batches, strict=True):
        own, at = answers.gradients[at : at + len(listed)], at + len(listed)
        try:
            part.send(replace(answers, gradients=own))
        except StopIteration as done:
            found.append(done.value)
    return found


def _median(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


# --- on batches of older samples ----------------------------------------------------------------------------------


def probes() -> list[Probe]:
    """Batches of three prompts with three samples: lengths 1 to 3, ratios beyond the usual clips, one group whose
    rewards hardly differ, so that an ε beside the deviation shows.
    """
    found: list[Probe] = []
    for seed in range(PROBES):
        draw = seeded(100 + seed)
        world = random_world(seed, prompts=GROUPS, tree=Tree(3, 3), rewards="final")
        now_PST = world.tree.log_probs(world.logits_PNV)
        every = every_row(world, now_PST, now_PST)
        by_length = [[s for s, n in enumerate(world.tree.lengths_S.tolist()) if n == length] for length in (1, 2, 3)]
        lengths_PG = draw.integers(0, 3, (GROUPS, SAMPLES)).tolist()
        first_P = [p * len(world.tree.sequences) for p in range(GROUPS)]
        chosen = [int(f + draw.choice(by_length[k])) for f, row in zip(first_P, lengths_PG, strict=True) for k in row]
        batch = every.rows(torch.tensor(chosen))
        now_BT = now_PST.flatten(0, 1)[torch.tensor(chosen)]

        def moved(by: float, of: Tensor = now_BT, draw: np.random.Generator = draw) -> Tensor:
            return of + by * torch.from_numpy(draw.standard_normal(of.shape))

        old_BT, reference_BT = moved(0.3 if seed % 2 == 0 else 1.2), moved(0.5)
        rewards_B = torch.from_numpy(draw.uniform(0.1, 2.0, len(batch)))
        rewards_B[:SAMPLES] = 0.02 + 0.005 * rewards_B[:SAMPLES]
        last_BT = torch.arange(now_BT.shape[1])[None] == batch.action_mask_BT.sum(1)[:, None] - 1
        batch = batch.changed(
            rewards_BT=torch.where(last_BT, rewards_B[:, None], batch.action_mask_BT * 0.0),
            scores_B=rewards_B,
            old_log_probs_BT=old_BT,
            sampler_log_probs_BT=old_BT,
            reference_log_probs_BT=reference_BT,
        )
        found.append((batch, now_BT))
    return found


def _own(gradients: Sequence[Tensor], masks: Sequence[Tensor], error: str) -> Tensor:
    """The gradients at the tokens that were drawn; ValueError where one is not finite, or was not given."""
    found = torch.cat([g[mask_BT] for g, mask_BT in zip(gradients, masks, strict=True)])
    if not bool(found.isfinite().all()):
        raise ValueError(error or "the loss has a gradient that is not finite, on numbers that are")
    return found


def fitted() -> Generator[list[Numbers], Answers, tuple[Fit, str | None]]:
    """The loss among rung's definitions, and where it first parts from the method that its name stands for."""
    given = probes()
    resting = [(without_rewards(batch), now) for batch, now in given]
    answers = yield [numbers_of(batch, now) for batch, now in (*given, *resting)]
    masks = [batch.action_mask_BT for batch, _ in given]
    halves = answers.gradients[:PROBES], answers.gradients[PROBES:]
    found, at_rest = (_own(part, masks, answers.error) for part in halves)
    method = METHODS[answers.promised] if answers.promised else None
    parts = None
    if has_policy_slots(method):
        given_them = not {"rewards", "token_rewards"} & set(answers.asked)
        slots: dict[str, Any] = {"advantage": EpisodeReturn(OthersInGroup()), "whiten": None} if given_them else {}
        slots |= {} if "reference_log_probs" in answers.asked else {"reference_kl": None}
        parts = parting(found, method.changed(name=method.name, **slots), given)
    return fit(found, at_rest, given, answers.asked), parts


def _padded(numbers: Numbers, columns: int, content: float) -> Numbers:
    """More columns of padding, and other log-probs in all of it."""
    mask_BT = torch.nn.functional.pad(numbers["mask"], (0, columns))
    wide: dict[str, Any] = {}
    for name, value in numbers.items():
        if not (isinstance(value, Tensor) and value.ndim == 2) or name == "mask":
            continue
        there = torch.nn.functional.pad(value, (0, columns))
        wide[name] = torch.where(mask_BT, there, content) if name.endswith("log_probs") else there
    return {**numbers, **wide, "mask": mask_BT}


def _rows(numbers: Numbers, index_B: Tensor) -> Numbers:
    return {name: value[index_B] if isinstance(value, Tensor) else value for name, value in numbers.items()}


def depends() -> Measure:
    """By how much a step's gradient changes, relative to its length, with what should not matter to it."""
    batch, now_BT = probes()[0]
    numbers = numbers_of(batch, now_BT)
    rows, wide = len(batch), now_BT.shape[1]
    within = torch.arange(rows).reshape(GROUPS, SAMPLES)[:, [2, 0, 1]].flatten()
    swapped = torch.arange(rows).reshape(GROUPS, SAMPLES)[[1, 2, 0]].flatten()
    prompts = list(torch.arange(rows).split(SAMPLES))
    singles = list(torch.arange(rows).split(1))
    padded = [_padded(numbers, 3, 0.0), _padded(numbers, 0, -7.0)]
    parts = [_rows(numbers, index) for index in (within, swapped, *prompts, *singles)]
    answers = yield [numbers, *padded, *parts]
    plain, padding, content, *rest = answers.gradients
    orders, pieces = rest[:2], rest[2:]
    totals = {"num_tokens", "num_sequences"} & set(answers.asked)

    def change(found_BT: Tensor) -> float:
        mask_BT = batch.action_mask_BT
        return float((found_BT - plain)[mask_BT].norm() / plain[mask_BT].norm())

    def joined(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts)) / (1 if totals else len(parts))

    def back(index: Tensor, found_BT: Tensor) -> Tensor:
        return torch.empty_like(found_BT).index_copy_(0, index, found_BT)

    found: dict[str, Any] = {
        "padding": max(change(padding[:, :wide]), change(content)),
        "order_of_samples": change(back(within, orders[0])),
        "order_of_prompts": change(back(swapped, orders[1])),
    }
    if answers.whole:
        return found
    reads_groups = {"rewards", "token_rewards", "groups"} & set(answers.asked)
    accumulated = change(joined(pieces[: len(prompts)]))
    return found | {
        "micro_batch": accumulated if reads_groups else change(joined(pieces[len(prompts) :])),
        "accumulation": accumulated,
        "world_size": accumulated,
        "added_up": "summed over the whole step's count" if totals else "averaged over the parts",
    }


def length_preference() -> Measure:
    """How many times as much a token of a row of 1 weighs as one of a row of 3, all else being equal."""
    world = random_world(0, tree=Tree(3, 3), rewards="final")
    now_PST = world.tree.log_probs(world.logits_PNV)
    every = every_row(world, now_PST, now_PST)
    lengths = world.tree.lengths_S.tolist()
    short, long = lengths.index(1), [s for s, n in enumerate(lengths) if n == 3]
    asked: list[Numbers] = []
    for rows in ([short, long[0]], [long[0], short]):
        batch = every.rows(torch.tensor(rows))
        mask_BT = batch.action_mask_BT
        last_BT = torch.arange(mask_BT.shape[1])[None] == mask_BT.sum(1)[:, None] - 1
        rewards_BT = torch.where(last_BT, torch.tensor([[1.0], [0.0]]).double(), mask_BT * 0.0)
        asked.append(numbers_of(batch.changed(rewards_BT=rewards_BT), now_PST[0][torch.tensor(rows)]))
    answers = yield asked
    of_short, of_long = (float(answers.gradients[k][0, 0]) for k in (0, 1))
    return of_short / of_long if of_long else None


MEASURES: Mapping[str, Callable[[], Measure]] = {
    "samples_2": lambda: climbs(2),
    "samples_4": lambda: climbs(4),
    "kl": climbs_kl,
    "fit": fitted,
    "depends": depends,
    "length": length_preference,
}

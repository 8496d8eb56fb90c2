"""The graders of the course's exercises: what a reader's estimator climbs, by summing over everything it could draw.

Nothing is sampled. The world is a policy over 3 tokens (one of which ends the answer) and at most 3 tokens, so that
every answer, every group of answers and every expectation is a finite sum in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.policy_losses import clipped_surrogate
from rung.lab.referee.closed_forms import constant, optimum_PS, total_variation
from rung.lab.referee.estimates import Comparison, all_batches, compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected_return, gradient, random_world
from rung.methods import PolicyGradient
from rung.methods.parts.advantages import GAE, GroupNormalized
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.critics import ValueFunction
from rung.methods.reinforce import REINFORCE, RLOO

EXACT = 1e-9
BETA = 0.5


@dataclass(frozen=True)
class Grade:
    """Whether an exercise is solved, and what was computed of it."""

    passed: bool
    lines: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(("PASSED" if self.passed else "NOT YET", *(f"  {line}" for line in self.lines)))


def scores_STD(world: World) -> Tensor:
    """[S, T, D] the gradient of each token's log-prob by the logits, 0 where masked."""
    tree = world.tree
    probs_NV = world.logits_PNV[0].softmax(-1)
    taken_STV = torch.nn.functional.one_hot(tree.actions_ST, tree.vocabulary) - probs_NV[tree.prefix_ST]
    at_STN = torch.nn.functional.one_hot(tree.prefix_ST, len(tree.prefixes))
    return (at_STN[..., None] * taken_STV[:, :, None] * tree.mask_ST[..., None, None]).flatten(2)


@dataclass(frozen=True)
class Climbed:
    """What an estimator does over all batches that it could draw."""

    mean_D: Tensor
    variance: float
    """E|g - E g|², the noise of one batch."""

    def against(self, true: Tensor) -> Comparison:
        return compare(self.mean_D, true)


def climbed(world: World, samples: int, weights: Callable[[Tensor], Tensor | None]) -> Climbed:
    """`weights`: from the numbers of the drawn answers [B] to each token's coefficient [B, T]; None: left out."""
    tokens_STD = scores_STD(world)
    mean_D, square, kept = torch.zeros(tokens_STD.shape[-1], dtype=torch.float64), 0.0, 0.0
    for share, rows in all_batches(world, samples):
        weights_BT = weights(torch.tensor(rows))
        if weights_BT is None:
            continue
        step_D = (weights_BT.double()[..., None] * tokens_STD[rows]).sum((0, 1))
        mean_D, square, kept = mean_D + share * step_D, square + share * float(step_D @ step_D), kept + share
    mean_D, square = mean_D / kept, square / kept
    return Climbed(mean_D, square - float(mean_D @ mean_D))


def _by_answer(world: World, samples: int, advantage: Callable[[Tensor], Tensor]) -> Climbed:
    """An advantage [G] of the returns [G], at every token of its answer, a mean over answers."""
    returns_S = world.returns_PS()[0]
    return climbed(
        world, samples, lambda rows: advantage(returns_S[rows])[:, None] * world.tree.mask_ST[rows] / samples
    )


def _direction(found: Comparison) -> str:
    return f"length along the true gradient {found.ratio:.4f}, cosine {found.cosine:.6f}"


def baseline(advantage: Callable[[Tensor], Tensor]) -> Grade:
    """Lesson 1: `advantage(returns_G)`; it keeps REINFORCE's expected gradient and takes noise off it."""
    world = random_world(3, tree=Tree(3, 2), rewards="final")
    world = World(world.tree, world.logits_PNV, world.reference_PNV, world.rewards_PST + 2.0 * world.tree.last_ST)
    plain, yours = (_by_answer(world, 3, one) for one in (lambda returns_G: returns_G, advantage))
    found = yours.against(gradient(expected_return, world))
    share = yours.variance / plain.variance
    return Grade(
        found.relative_error < EXACT and share < 0.5,
        (
            f"expected gradient: {_direction(found)} (wanted: 1 and 1)",
            f"noise of a batch: {share:.2f} of plain REINFORCE's (wanted: below 0.5)",
        ),
    )


def values_N(world: World) -> Tensor:
    """The true value of each prefix: the mean return that is still to come."""
    tree, rewards_ST = world.tree, torch.where(world.tree.mask_ST, world.rewards_PST[0], 0.0)
    probs_ST = torch.where(tree.mask_ST, world.probs_PS()[0][:, None], 0.0)
    to_go_ST = rewards_ST.flip(1).cumsum(1).flip(1)
    zeros_N = torch.zeros(len(tree.prefixes), dtype=torch.float64)
    where = tree.prefix_ST.flatten()
    return zeros_N.index_add(0, where, (probs_ST * to_go_ST).flatten()) / zeros_N.index_add(
        0, where, probs_ST.flatten()
    )


def gae(advantages: Callable[[Tensor, Tensor, float], Tensor]) -> Grade:
    """Lesson 2: `advantages(rewards_T, values_T, lam)` of one episode that ended, without discount."""
    world = random_world(3)
    tree, true = world.tree, gradient(expected_return, world)
    right_N = values_N(world)
    wrong_N = torch.randn(len(right_N), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def yours(by_prefix_N: Tensor, lam: float) -> Comparison:
        table_ST = torch.zeros(tree.mask_ST.shape, dtype=torch.float64)
        for s, length in enumerate(tree.lengths_S.tolist()):
            seen_T = by_prefix_N[tree.prefix_ST[s, :length]]
            table_ST[s, :length] = advantages(world.rewards_PST[0, s, :length], seen_T, lam)
        return climbed(world, 1, lambda rows: table_ST[rows]).against(true)

    def ours(lam: float) -> Comparison:
        values_ST = torch.where(tree.mask_ST, wrong_N[tree.prefix_ST], torch.nan)
        method = REINFORCE.changed(
            name="critic", advantage=GAE(discount=1.0, lam=lam), critic=ValueFunction(), aggregation=PerEpisode()
        )
        seen_as: Callable[[Batch], Batch] = lambda batch: batch.changed(values_BT=values_ST)  # noqa: E731
        return compare(expected_gradient(method, world, 1, seen_as=seen_as), true)

    exact = max(yours(right_N, lam).relative_error for lam in (0.0, 0.5, 1.0))
    whole = yours(wrong_N, 1.0).relative_error
    half, same = yours(wrong_N, 0.5).relative_error, ours(0.5).relative_error
    return Grade(
        max(exact, whole) < EXACT and abs(half - same) < EXACT,
        (
            f"with the true values, any λ: error {exact:.2g} (wanted: 0)",
            f"with a wrong critic, λ = 1: error {whole:.2g} (wanted: 0, only what happened counts)",
            f"with a wrong critic, λ = 0.5: error {half:.4f} (rung's GAE: {same:.4f}; this is the critic's bias)",
        ),
    )


def target(backup: Callable[[Tensor, Tensor, bool], Tensor]) -> Grade:
    """Lesson 3: `backup(reward, next_values_V, ended)`; repeated, it must end at the best return of each action."""
    world = random_world(5)
    tree = world.tree
    values_NV = torch.zeros(len(tree.prefixes), tree.vocabulary, dtype=torch.float64)
    best_NV = torch.full_like(values_NV, -torch.inf)
    rewards_ST = torch.where(tree.mask_ST, world.rewards_PST[0], 0.0)
    to_go_ST = rewards_ST.flip(1).cumsum(1).flip(1)
    steps = [(s, t) for s, length in enumerate(tree.lengths_S.tolist()) for t in range(length)]
    for s, t in steps:
        at = tree.prefix_ST[s, t], tree.actions_ST[s, t]
        best_NV[at] = torch.maximum(best_NV[at], to_go_ST[s, t])
    for _ in range(2 * tree.length):
        before_NV = values_NV.clone()
        for s, t in steps:
            ended = bool(tree.last_ST[s, t])
            next_V = before_NV[0 if ended else tree.prefix_ST[s, t + 1]]
            values_NV[tree.prefix_ST[s, t], tree.actions_ST[s, t]] = backup(rewards_ST[s, t], next_V, ended)
    error = float((values_NV - best_NV).abs().max())
    return Grade(error < EXACT, (f"largest error of Q, over every state and action: {error:.2g} (wanted: 0)",))


def clipped(objective: Callable[[Tensor, Tensor, float, float], Tensor]) -> Grade:
    """Lesson 4: `objective(ratio, advantage, low, high)` of tokens, to be made large."""
    world = random_world(7)
    tree, low, high = world.tree, 0.2, 0.2
    value_N = values_N(world)
    seen_ST = value_N[tree.prefix_ST] * tree.mask_ST
    after_ST = torch.cat([seen_ST[:, 1:], torch.zeros(len(seen_ST), 1)], dim=1)
    rewards_ST = torch.where(tree.mask_ST, world.rewards_PST[0], 0.0)
    advantages_ST = rewards_ST + after_ST - seen_ST
    old_ST = torch.where(tree.mask_ST, tree.log_probs(world.logits_PNV)[0], 0.0)
    probs_ST = torch.where(tree.mask_ST, world.probs_PS()[0][:, None], 0.0)
    noise = torch.randn(world.logits_PNV.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def slope(of: Callable[[Tensor], Tensor], move: float) -> Tensor:
        logits = (world.logits_PNV + move * noise).requires_grad_()
        now_ST = torch.where(tree.mask_ST, tree.log_probs(logits)[0], 0.0)
        return torch.autograd.grad((probs_ST * of(now_ST)).sum(), logits)[0]

    def yours(now_ST: Tensor) -> Tensor:
        return objective((now_ST - old_ST).exp(), advantages_ST, low, high)

    def ours(now_ST: Tensor) -> Tensor:
        return -clipped_surrogate((now_ST - old_ST).exp(), advantages_ST, tree.mask_ST, low, high)

    start = compare(slope(yours, 0.0), gradient(expected_return, world))
    later = compare(slope(yours, 0.5), slope(ours, 0.5))
    return Grade(
        start.relative_error < EXACT and later.relative_error < EXACT,
        (
            f"before the first update: {_direction(start)} of the return (wanted: 1 and 1)",
            f"after a long move: {_direction(later)} of rung's clipped objective (wanted: 1 and 1)",
        ),
    )


def weights(weigh: Callable[[Tensor], Tensor]) -> Grade:
    """Lesson 5: `weigh(mask_BT)`, the weight of each token's loss; it must climb the expected reward itself."""
    world = random_world(2, rewards="final")
    returns_S = world.returns_PS()[0]

    def of(rows: Tensor) -> Tensor:
        advantages_B = returns_S[rows] - returns_S[rows].flip(0)  # two answers: each less the other
        return weigh(world.tree.mask_ST[rows]) * advantages_B[:, None]

    found = climbed(world, 2, of).against(gradient(expected_return, world))
    return Grade(
        found.relative_error < EXACT,
        (
            f"expected gradient: {_direction(found)} (wanted: 1 and 1)",
            f"what no step size repairs: {found.off_direction:.3f}",
        ),
    )


def _pairs(world: World) -> tuple[Tensor, Tensor]:
    """[M, 2] every ordered pair of answers, and how often the first is preferred to the second (Bradley-Terry)."""
    pairs_M2 = torch.tensor(list(itertools.permutations(range(len(world.tree.sequences)), 2)))
    returns_S = world.returns_PS()[0]
    wins_M = torch.sigmoid(returns_S[pairs_M2[:, 0]] - returns_S[pairs_M2[:, 1]])
    return pairs_M2, wins_M / wins_M.sum()


def _least(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Where a loss is least, found from `start`."""
    place = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [place], max_iter=500, tolerance_grad=1e-11, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(place)
        value.backward()
        return value

    optimizer.step(closure)
    return place.detach()


def reward_model(loss: Callable[[Tensor, Tensor], Tensor]) -> Grade:
    """Lesson 6: `loss(chosen_M, rejected_M)` of scores; at its least the scores are the hidden rewards."""
    world = random_world(4, rewards="final")
    pairs_M2, share_M = _pairs(world)
    returns_S = world.returns_PS()[0]
    scores_S = _least(
        lambda s: (share_M * loss(s[pairs_M2[:, 0]], s[pairs_M2[:, 1]])).sum(), torch.zeros_like(returns_S)
    )
    error = float(((scores_S - scores_S.mean()) - (returns_S - returns_S.mean())).abs().max())
    return Grade(error < 1e-4, (f"largest error of a learned reward, means taken off: {error:.2g} (wanted: 0)",))


def dpo(loss: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]) -> Grade:
    """Lesson 7: `loss(chosen, rejected, reference_chosen, reference_rejected, beta)` of answers' log-probs."""
    world = random_world(4, tree=Tree(3, 2), rewards="final")
    pairs_M2, share_M = _pairs(world)
    reference_S = world.log_probs_PS(world.reference_PNV)[0]

    def whole(logits_PNV: Tensor) -> Tensor:
        both = (
            values_S[pairs_M2[:, side]]
            for values_S in (world.log_probs_PS(logits_PNV)[0], reference_S)
            for side in (0, 1)
        )
        return (share_M * loss(*both, BETA)).sum()

    end_PS = world.probs_PS(_least(whole, world.reference_PNV))
    off = total_variation(end_PS, optimum_PS(world, BETA))
    start = total_variation(world.probs_PS(world.reference_PNV), optimum_PS(world, BETA))
    return Grade(
        off < 1e-3, (f"distance from the optimum of KL-regularised RL: {off:.2g} (start: {start:.2f}; wanted: 0)",)
    )


def _right_or_wrong() -> World:
    return random_world(11, tree=Tree(3, 2), rewards="binary")


def group(advantage: Callable[[Tensor], Tensor]) -> Grade:
    """Lesson 8: `advantage(rewards_G)` for rewards 0 and 1; it must climb what rung's GRPO climbs."""
    world, samples = _right_or_wrong(), 4
    yours = _by_answer(world, samples, advantage)
    method: PolicyGradient = RLOO.changed(
        reference_kl=None, advantage=GroupNormalized(epsilon=0.0), aggregation=PerEpisode()
    )
    found = yours.against(expected_gradient(method, world, samples))
    true = yours.against(gradient(expected_return, world))
    p = float(expected_return(world))
    equal = advantage(torch.ones(samples, dtype=torch.float64))
    return Grade(
        found.relative_error < 1e-4 and bool(torch.as_tensor(equal).abs().max() == 0),
        (
            f"expected gradient: {_direction(found)} of rung's GRPO (wanted: 1 and 1)",
            f"it is {true.ratio:.3f} times the gradient of p = {p:.2f}, where c(p, G) = {constant(p, samples):.3f}",
            f"a group that is all right gets {torch.as_tensor(equal).tolist()} (wanted: zeros)",
        ),
    )


def keep(keeps: Callable[[Tensor], bool]) -> Grade:
    """Lesson 9: `keeps(accuracies_G)`; what is thrown away must be exactly what teaches nothing."""
    world, samples = _right_or_wrong(), 4
    returns_S, mask_ST = world.returns_PS()[0], world.tree.mask_ST
    thrown = [0.0, 0.0]  # chance of a group that teaches and is thrown away; that teaches nothing and is kept

    def of(rows: Tensor) -> Tensor | None:
        centred_G = returns_S[rows] - returns_S[rows].mean()
        return centred_G[:, None] * mask_ST[rows] / (samples - 1) if keeps(returns_S[rows]) else None

    for share, rows in all_batches(world, samples):
        teaches, kept = bool(returns_S[rows].std() > 0), bool(keeps(returns_S[rows]))
        thrown[0] += share * (teaches and not kept)
        thrown[1] += share * (kept and not teaches)
    found, p = climbed(world, samples, of).against(gradient(expected_return, world)), float(expected_return(world))
    mixed = 1 - p**samples - (1 - p) ** samples
    return Grade(
        max(thrown) < EXACT and abs(found.ratio * mixed - 1) < 1e-6,
        (
            f"groups that teach and were thrown away: {thrown[0]:.3f} of all (wanted: 0)",
            f"groups that teach nothing and were kept: {thrown[1]:.3f} of all (wanted: 0)",
            f"gradient of what is kept: {_direction(found)} (wanted: {1 / mixed:.4f}, 1 / share of mixed ones; and 1)",
        ),
    )


def _flipped(differences: Sequence[float]) -> Iterator[list[float]]:
    """Every assignment of signs: if the two methods are equal, each is as likely as any other."""
    for signs in itertools.product((1, -1), repeat=len(differences)):
        yield [sign * one for sign, one in zip(signs, differences, strict=True)]


def p_value(test: Callable[[list[float]], float]) -> Grade:
    """Lesson 10: `test(differences)` of paired seeds. Equal methods are told apart in at most 5 of 100 cases."""
    worlds = ([0.3, 0.5, 0.2, 0.6, 0.4], [1.0, 1.1, 0.9, 1.2, 1.0, 1.3], [2.0, 0.1, 0.3, 0.2, 0.1, 0.4, 0.2])
    alarms = [sum(test(one) <= 0.05 for one in _flipped(world)) / 2 ** len(world) for world in worlds]
    clear = test(worlds[1])
    return Grade(
        max(alarms) <= 0.05 and clear <= 0.05,
        (
            f"false alarms over all signs, in three cases: {', '.join(f'{one:.3f}' for one in alarms)} (at most 0.05)",
            f"six seeds of six, all in favour: p = {clear:.3f} (wanted: at most 0.05)",
        ),
    )

"""Prints docs/exactness.md: `python tests/exact/table.py > docs/exactness.md`, with rung installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from enumeration import climb
from torch import Tensor

from rung.formulas import divergences
from rung.lab.referee.closed_forms import constant, optimum_PS, total_variation, without_rewards
from rung.lab.referee.estimates import Comparison, compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected, expected_return, gradient, kl, random_world
from rung.methods.parts.advantages import EpisodeReturn, GroupCentred, GroupNormalized
from rung.methods.parts.aggregations import PerConstantLength, PerEpisode, PerSequence, PerToken
from rung.methods.parts.protocols import Aggregation, ReferenceKL
from rung.methods.parts.reference_kl import K1, K2, K3, KLInLoss, KLInReward
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE, RLOO
from rung.methods.variants import ONLINE_RFT, RFT

WORLDS = range(6)
BETA, STEPS, RATE = 0.5, 160, 0.15
RLOO_ALONE = RLOO.changed(reference_kl=None)
CENTRED = RLOO_ALONE.changed(advantage=GroupCentred())
NORMALIZED = RLOO_ALONE.changed(advantage=GroupNormalized(epsilon=0.0))

INTRODUCTION = """\
# What each estimator really climbs

Every number here is computed, none is sampled: a policy over a vocabulary of 3 tokens (one of which ends the
sequence) and at most 3 tokens has 15 sequences, so an expectation over its samples is a finite sum, in float64. The
policy, its reference and its rewards are drawn once from a seed. A method is put through its real code, once for
every batch it could have drawn, weighted by the batch's probability; the sum is compared with the true gradient.

- **ratio**: how long the expected gradient g is along the true one t, ⟨g,t⟩/⟨t,t⟩.
- **cosine**: whether it points the same way.
- **error**: |g - t|/|t|.
- **off direction**: |g - ratio·t|/|t|, the part that no step size repairs.

A single world's bias says little about another's, so biased estimators are shown over {worlds} worlds: median
(smallest to largest). `0` and `1` are exact to 1e-9. The tests in `tests/exact` assert the exact statements;
`python tests/exact/table.py` prints this page, and a test fails when the two differ.
"""


def number(value: float) -> str:
    """Three decimals; whole numbers only where the value is whole to 1e-9."""
    nearest = round(value)
    return str(nearest) if abs(value - nearest) < 1e-9 else f"{value:.3f}"


def spread(values: Iterable[float]) -> str:
    ordered = torch.tensor(sorted(values), dtype=torch.float64)
    low, middle, high = (float(ordered.quantile(q)) for q in (0.0, 0.5, 1.0))
    return number(middle) if high - low < 1e-9 else f"{number(middle)} ({number(low)} to {number(high)})"


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def over_worlds(measure: Callable[[World], Comparison], **of_world: object) -> list[str]:
    found = [measure(random_world(seed, **of_world)) for seed in WORLDS]  # type: ignore[arg-type]
    return [
        spread([getattr(one, name) for one in found]) for name in ("ratio", "cosine", "relative_error", "off_direction")
    ]


def against_return(method: PolicyGradient, samples: int) -> Callable[[World], Comparison]:
    return lambda world: compare(expected_gradient(method, world, samples), gradient(expected_return, world))


def returns_table() -> str:
    normalized = "group mean and deviation (GRPO)"
    centred = "group mean taken off (Dr. GRPO)"
    listed: list[tuple[str, PolicyGradient, int]] = [
        ("`reinforce`", REINFORCE, 1),
        ("`reinforce_baseline`", REINFORCE_BASELINE, 2),
        ("`rloo`, KL off", RLOO_ALONE, 2),
        ("`rloo`, KL off", RLOO_ALONE, 3),
        (centred, CENTRED, 2),
        (centred, CENTRED, 3),
        (normalized, NORMALIZED, 2),
        (normalized, NORMALIZED, 3),
    ]
    head = ["advantage", "samples", "ratio", "cosine", "error", "off direction"]
    short = {"tree": Tree(3, 2), "rewards": "final"}
    return rows(head, [[name, str(g), *over_worlds(against_return(m, g), **short)] for name, m, g in listed])


def constants_table() -> str:
    """c(p, G), each entry checked against enumeration where a group is small."""
    body: list[list[str]] = []
    for samples in (2, 3, 4, 8, 16, 64):
        body.append([str(samples), *(f"{constant(p, samples):.3f}" for p in (0.02, 0.1, 0.3, 0.5))])
    body.append(["∞", *(f"{(p * (1 - p)) ** -0.5:.3f}" for p in (0.02, 0.1, 0.3, 0.5))])
    return rows(["samples", "p = 0.02", "p = 0.1", "p = 0.3", "p = 0.5"], body)


def lengths_table() -> str:
    listed: list[tuple[str, Aggregation]] = [
        ("over a constant length 8 (`PerConstantLength`)", PerConstantLength(length=8)),
        ("mean over a sequence (`PerSequence`, GRPO)", PerSequence()),
        ("mean over the batch's tokens (`PerToken`, DAPO)", PerToken()),
    ]
    head = ["aggregation", "ratio", "cosine", "error", "off direction"]
    return rows(
        head,
        [
            [name, *over_worlds(against_return(RLOO_ALONE.changed(aggregation=part), 2), rewards="final")]
            for name, part in listed
        ],
    )


def right_answers_table() -> str:
    def of_the_start(world: World) -> Comparison:
        found = expected_gradient(RFT, world, 1, drawn_from=world.reference_PNV)
        return compare(found, gradient(expected_return, world))

    listed: list[tuple[str, Callable[[World], Comparison]]] = [
        ("`online_rft` without 1/\\|o\\|", against_return(ONLINE_RFT.changed(aggregation=PerEpisode()), 1)),
        ("`online_rft`", against_return(ONLINE_RFT, 1)),
        ("`rft`: answers of the start", of_the_start),
    ]
    head = ["imitated", "ratio", "cosine", "error", "off direction"]
    return rows(head, [[name, *over_worlds(measure, rewards="binary")] for name, measure in listed])


def value_over_kl(world: World, estimator: Callable[[Tensor, Tensor], Tensor]) -> float:
    policy_PST, reference_PST = (world.tree.log_probs(x) for x in (world.logits_PNV, world.reference_PNV))
    values_PST = torch.where(world.tree.mask_ST, estimator(policy_PST, reference_PST), 0.0)
    return float(expected(world, values_PST.sum(-1)) / kl(world))


def values_table() -> str:
    listed = [("k1", divergences.k1), ("k2", divergences.k2), ("k3", divergences.k3)]
    body = [[name, spread(value_over_kl(random_world(seed), k) for seed in WORLDS)] for name, k in listed]
    return rows(["estimator", "E[estimate] / KL"], body)


def against_kl(part: ReferenceKL, method: PolicyGradient = REINFORCE) -> Callable[[World], Comparison]:
    changed = method.changed(reference_kl=part)
    return lambda world: compare(-expected_gradient(changed, without_rewards(world), 1), gradient(kl, world))


def kl_gradients_table() -> str:
    whole = REINFORCE.changed(advantage=EpisodeReturn())
    listed = [
        ("k1 in the reward, reward-to-go", against_kl(KLInReward(1.0, K1()))),
        ("k1 in the reward, whole return", against_kl(KLInReward(1.0, K1()), whole)),
        ("k1 in the loss", against_kl(KLInLoss(1.0, K1()))),
        ("k2 in the loss", against_kl(KLInLoss(1.0, K2()))),
        ("k3 in the loss (GRPO)", against_kl(KLInLoss(1.0, K3()))),
        ("k2 in the reward", against_kl(KLInReward(1.0, K2()))),
        ("k3 in the reward", against_kl(KLInReward(1.0, K3()))),
    ]
    head = ["placing", "ratio", "cosine", "error", "off direction"]
    return rows(head, [[name, *over_worlds(measure)] for name, measure in listed])


def ends_table() -> str:
    world = random_world(0, rewards="final", tree=Tree(2, 3))
    best_PS = optimum_PS(world, BETA)
    listed: list[tuple[str, ReferenceKL]] = [
        ("k1 in the reward", KLInReward(BETA, K1())),
        ("k1 in the loss", KLInLoss(BETA, K1())),
        ("k2 in the loss", KLInLoss(BETA, K2())),
        ("k3 in the loss (GRPO)", KLInLoss(BETA, K3())),
    ]
    body = [["at the start (π = π_ref)", f"{total_variation(world.probs_PS(world.reference_PNV), best_PS):.2f}"]]
    for name, part in listed:
        ends_PS = climb(REINFORCE.changed(reference_kl=part), world, 1, steps=STEPS, rate=RATE)
        body.append([name, f"{total_variation(ends_PS, best_PS):.2f}"])
    return rows(["placing", "total variation from π*"], body)


def page() -> str:
    """The whole of docs/exactness.md."""
    return "\n".join(
        [
            INTRODUCTION.format(worlds=len(WORLDS)),
            "## The advantage, against ∇E[R]\n",
            "Rewards are drawn from a normal distribution, one for each sequence (here of at most 2 tokens). A\n"
            "group's own mean holds the sample itself, which shrinks the gradient to (G-1)/G. Dividing by the\n"
            "deviation changes the direction: with 2 samples every advantage is ±1, and what is climbed is exactly\n"
            "E[sign(R - R')], the chance to beat another sample less the chance to lose to it.\n",
            returns_table(),
            "## GRPO's constant c(p, G), for rewards 0 and 1\n",
            "With rewards 0 and 1 and no ε the expected gradient is c(p, G) ∇p, where p is the chance of reward 1 and\n"
            "c(p, G) = E[deviation]/(p(1-p)). It is 1 at G = 2 and √2 at G = 3, for every p: prompts weigh alike.\n"
            "From G = 4 on, hard and easy prompts weigh more than middling ones, up to 1/√(p(1-p)). An ε added to the\n"
            "deviation multiplies by ½/(½+ε) at G = 2; the sample deviation (ddof 1) by √((G-1)/G).\n",
            constants_table(),
            "## The aggregation, against ∇E[R]\n",
            "The leave-one-out advantage with 2 samples, KL off, sequences of 1 to 3 tokens. A mean over a sequence\n"
            "climbs exactly E[(R - J)/|o|] with J = E[R] held still: short sequences weigh more. GRPO with rewards 0\n"
            "and 1 climbs c(p, G) times that. Where all lengths are equal, every aggregation is a multiple of the\n"
            "true gradient.\n",
            lengths_table(),
            "## Right answers alone, against ∇E[R]\n",
            "Rewards 0 and 1. Imitating the policy's own right answers is REINFORCE without a baseline: the true\n"
            "gradient, and only the 1/|o| of the paper's equation bends it. Imitating right answers of the start is\n"
            "something else, the more so the further the policy has come from it.\n",
            right_answers_table(),
            "## KL estimators: value\n",
            values_table(),
            "## KL estimators: gradient, against ∇KL(π ‖ π_ref) of whole sequences\n",
            "In the loss, k1 has no gradient at all; k2 has exactly each token's ∇KL(π ‖ π_ref), and k3 exactly each\n"
            "token's ∇KL(π_ref ‖ π), both without the effect of a token on which prefixes come later. In the reward,\n"
            "k2 and k3 lack their own gradient. Only k1 in the reward is exact.\n",
            kl_gradients_table(),
            f"## Where exact ascent ends, β = {BETA}\n",
            "From π_ref, with REINFORCE and a vocabulary of 2 tokens, until it stands still. The optimum of\n"
            "E[R] - β KL(π ‖ π_ref) is π* = π_ref exp(R/β)/Z.\n",
            ends_table(),
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(page(), end="")

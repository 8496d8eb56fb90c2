"""DPO is closer to supervised learning than to RL: its gradient and its optimum beside those of both.

1. Exactly, in 20 enumerable worlds (15 sequences, every pair of them, Bradley-Terry labels, β 0.5; nothing is
   sampled). Along DPO's own descent from the reference, where 100, 75, 50, 25 and 10 % of the loss above its least are
   left, the direction of its step is compared with that of supervised learning on the same pairs (up the chosen answer
   and down the rejected one, every pair alike) and with the true gradient of KL-regularised RL, E[R] - β KL.
2. Where it ends: total variation from π* = π_ref exp(R/β)/Z, RL's optimum, and the same for fine-tuning on the chosen.
3. On the tiny model and arithmetic, 3 seeds: the same cosine with supervised learning before, during and after 100
   updates, and the operations of a step, drawing and learning apart, beside GRPO's. Printed; it enters no rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from claim import HOLDS, Claim, Result, not_here, only_when
from experiment import Work
from in_process import collected, operations, parts_of
from intervals import Number, mean
from pictures import curve, dots, panels, say
from words import table

from rung.lab.referee.closed_forms import optimum_PS, total_variation
from rung.lab.referee.world import Tree, World, expected_return, gradient, kl, random_world
from rung.methods.parts.preference_losses import Answers, DPOLoss, Unlikelihood
from rung.methods.parts.protocols import PreferenceLoss
from rung.runs.recipes.sft import tiny_for
from rung.settings import TaskSettings

WORLDS = range(100, 120)
SEEDS = (61, 62, 63)
BETA = 0.5
LEFT = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Of the loss above its least, at the points that are looked at."""
UPDATES = (0, 25, 100)
"""Of the tiny model, before its gradients are compared."""
TREE = Tree(3, 3)
UP_AND_DOWN, UP = Unlikelihood(alpha=1.0), Unlikelihood(alpha=0.0)


def verdict(nearer: Number, dpo_ends: Sequence[float], sft_ends: Sequence[float]) -> str:
    """`nearer`: the cosine with supervised learning less that with RL; the ends' distances from RL's optimum."""
    goal = max(dpo_ends) < 0.01 and all(sft > dpo for sft, dpo in zip(sft_ends, dpo_ends, strict=True))
    if nearer.low <= 0:
        return not_here("its step is no nearer to supervised learning's than to that of KL-regularised RL")
    return only_when("the step is meant; it ends at the optimum of KL-regularised RL") if goal else HOLDS


# --- exactly ---------------------------------------------------------------------------------------------------------


def pairs_and_labels(world: World) -> tuple[torch.Tensor, torch.Tensor]:
    """[M, 2] every ordered pair of sequences, and the chance [M] that the first is preferred, over their sum."""
    count = len(world.tree.sequences)
    pairs_M2 = torch.tensor([(w, other) for w in range(count) for other in range(count) if w != other])
    returns_S = world.returns_PS()[0]
    wins_M = torch.sigmoid(returns_S[pairs_M2[:, 0]] - returns_S[pairs_M2[:, 1]])
    return pairs_M2, wins_M / wins_M.sum()


def expected_loss(loss: PreferenceLoss, world: World, logits_PNV: torch.Tensor) -> torch.Tensor:
    """The loss over all pairs, each as often as it would be labelled so."""
    pairs_M2, labels_M = pairs_and_labels(world)
    values_S = world.log_probs_PS(logits_PNV)[0]
    answers = Answers(
        values_B=values_S,
        reference_B=world.log_probs_PS(world.reference_PNV)[0],
        lengths_B=world.tree.lengths_S.double(),
        desirable_B=torch.ones(len(values_S), dtype=torch.bool),
        pairs_M2=pairs_M2,
        at_least_M=torch.zeros(len(pairs_M2), dtype=torch.float64),
    )
    return (labels_M * loss(answers)).sum()


def end_of(loss: PreferenceLoss, world: World) -> torch.Tensor:
    """The logits at which the loss is least, found from the reference."""
    logits_PNV = world.reference_PNV.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits_PNV], max_iter=2000, max_eval=4000, tolerance_grad=1e-12, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = expected_loss(loss, world, logits_PNV)
        total.backward()
        return total

    optimizer.step(closure)
    return logits_PNV.detach()


def descent(world: World, least: float) -> list[torch.Tensor]:
    """The logits of plain gradient descent on DPO's loss, where each share of LEFT of the loss is left."""
    logits_PNV = world.reference_PNV.clone().requires_grad_()
    found: list[torch.Tensor] = []
    first = float(expected_loss(DPOLoss(BETA), world, world.reference_PNV))
    for _ in range(20_000):
        loss = expected_loss(DPOLoss(BETA), world, logits_PNV)
        value = float(loss.detach())
        while len(found) < len(LEFT) and value - least <= LEFT[len(found)] * (first - least) + 1e-15:
            found.append(logits_PNV.detach().clone())
        if len(found) == len(LEFT):
            return found
        (step_PNV,) = torch.autograd.grad(loss, logits_PNV)
        with torch.no_grad():
            logits_PNV -= 5.0 * step_PNV
    raise AssertionError("plain descent did not come near enough to the least loss")


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def of_world(seed: int) -> dict[str, Any]:
    """The cosines along the descent, and the ends' distances from RL's optimum."""
    world = random_world(seed, tree=TREE, rewards="final")
    end_PNV = end_of(DPOLoss(BETA), world)
    points: list[dict[str, float]] = []
    for logits_PNV in descent(world, float(expected_loss(DPOLoss(BETA), world, end_PNV))):
        here = replace(world, logits_PNV=logits_PNV)
        step, both, chosen = (
            -gradient(lambda w, logits, loss=loss: expected_loss(loss, w, logits), here)
            for loss in (DPOLoss(BETA), UP_AND_DOWN, UP)
        )
        rl = gradient(lambda w, logits: expected_return(w, logits) - BETA * kl(w, logits), here)
        points.append({"supervised": cosine(step, both), "chosen": cosine(step, chosen), "rl": cosine(step, rl)})
    best_PS = optimum_PS(world, BETA)
    ends = {"dpo": end_PNV, "sft": end_of(UP, world), "start": world.reference_PNV}
    return {
        "points": points,
        "off": {name: total_variation(world.probs_PS(logits), best_PS) for name, logits in ends.items()},
    }


# --- the tiny model --------------------------------------------------------------------------------------------------


def of_tiny(work: Work, seed: int) -> dict[str, Any]:
    """Cosines of DPO's gradient with supervised learning's on the same pairs, and a step's operations."""
    model = str(tiny_for(TaskSettings(name="arithmetic")))
    file = work.folder / f"pairs-{seed}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        ask = ("--k", "4", "--seed", str(seed), "--set", "prompts=512", "--set", "max_new_tokens=16")
        work.rung("pairs", "--model", model, "--task", "arithmetic", *ask, "--out", str(file), "--quiet")
    dpo = parts_of("dpo", str(file), model=model, seed=seed)
    alpha = ("method.loss=Unlikelihood", "method.loss.alpha=1.0")
    supervised = parts_of("dpo", str(file), model=model, seed=seed, sets=alpha)
    cosines: list[float] = []
    for update in range(work.points(UPDATES)[-1] + 1):
        batch = collected(dpo, update + 1)
        state = {name: tensor.clone() for name, tensor in dpo.policy.state().items()}
        dpo.learner.update(batch, update + 1)
        if update in work.points(UPDATES):
            supervised.policy.load_state(state)
            supervised.learner.update(batch, 1)
            cosines.append(cosine(*(gradient_of(parts) for parts in (dpo, supervised))))
    grpo = parts_of("grpo", "arithmetic", model="tiny", seed=seed)
    found = {"cosines": cosines, "dpo": of_step(dpo, generates=False), "grpo": of_step(grpo, generates=True)}
    for parts in (dpo, supervised, grpo):
        parts.collector.close()
    return found


def of_step(parts: Any, *, generates: bool) -> dict[str, float]:
    """One step's tokens and operations."""
    batches: list[Any] = []
    before = operations(lambda: batches.append(collected(parts)), or_none=not generates)
    learning = operations(lambda: parts.learner.update(batches[0], 1))
    batch = batches[0] if generates else batches[0].batch
    tokens = float(batch.action_mask_BT.sum())
    generated = tokens if generates else 0.0
    return {"generated": generated, "trained": tokens, "before": before, "learning": learning}


def gradient_of(parts: Any) -> torch.Tensor:
    """What the latest update went along; the bound on its norm leaves its direction."""
    return torch.cat([p.grad.flatten() for p in parts.policy.trainable().values() if p.grad is not None]).double()


# --- the claim -------------------------------------------------------------------------------------------------------


def measure(work: Work, folders: object) -> dict[str, Any]:
    worlds = [of_world(world) for world in work.few(WORLDS)]
    nearer = mean([float(np.mean([p["supervised"] - p["rl"] for p in one["points"]])) for one in worlds])
    said = verdict(nearer, *([one["off"][name] for one in worlds] for name in ("dpo", "sft")))
    tiny = [of_tiny(work, seed) for seed in work.seeds]
    return {"number": vars(nearer), "verdict": said, "worlds": worlds, "tiny": tiny}


def cosines(run: Result, of: str) -> np.ndarray:
    """[worlds, points]"""
    return np.array([[point[of] for point in one["points"]] for one in run["worlds"]])


def picture(run: Result) -> Any:
    figure, (left, right) = panels(1, 2, size=(10, 3.4))
    said = {"supervised": "supervised: chosen up, rejected down", "chosen": "chosen up", "rl": "KL-regularised RL"}
    for name, label in said.items():
        curve(left, range(len(LEFT)), cosines(run, name), band="range", marker="o", label=label)
    left.set_xticks(range(len(LEFT)), [f"{100 * share:.0f} %" for share in LEFT])
    say(left, "of DPO's loss left", "cosine with DPO's step", legend=True)
    names = {"start": "reference", "sft": "fine-tuned on chosen", "dpo": "DPO"}
    dots(right, {label: [one["off"][name] for one in run["worlds"]] for name, label in names.items()}, alpha=0.5)
    say(right, y="total variation from RL's optimum")
    return figure


def lines(run: Result) -> Iterator[str]:
    said = {
        "supervised": "with supervised learning, chosen up and rejected down",
        "chosen": "with fine-tuning on the chosen",
        "rl": "with KL-regularised RL",
    }
    rows = [(label, *(f"{value:.2f}" for value in cosines(run, name).mean(0))) for name, label in said.items()]
    shares = " | ".join(f"{100 * share:.0f} %" for share in LEFT)
    yield from table(f"cosine of DPO's step, of its loss left: | {shares}", rows)
    off = {name: [one["off"][name] for one in run["worlds"]] for name in ("dpo", "sft")}
    on_tiny = np.mean([one["cosines"] for one in run["tiny"]], axis=0)
    after = ", ".join(f"{value:.4f} after {count} updates" for count, value in zip(UPDATES, on_tiny, strict=True))
    yield from (
        "",
        f"Total variation from RL's optimum, over {len(run['worlds'])} worlds: DPO at most {max(off['dpo']):.1e}, "
        f"fine-tuning on the chosen {min(off['sft']):.2f} to {max(off['sft']):.2f}.",
        "",
        f"On the tiny model, cosine with supervised learning on the same pairs: {after}.",
        "",
        "DPO's pairs were drawn before it began, 4 answers to each of 512 prompts; its reference read each pair once.",
        "",
    )
    steps = {
        name: {key: float(np.mean([one[name][key] for one in run["tiny"]])) for key in run["tiny"][0][name]}
        for name in ("dpo", "grpo")
    }
    yield from table(
        "a later step on the tiny model | tokens drawn | tokens learnt from | operations before the update | of it",
        [
            (f"`{name}`", f"{s['generated']:.0f}", f"{s['trained']:.0f}", f"{s['before']:.1e}", f"{s['learning']:.1e}")
            for name, s in steps.items()
        ],
    )


EXPERIMENT = Claim.here(
    globals(),
    seeds=SEEDS,
    sentence="DPO is closer to supervised learning than to RL",
    measured="cosine of DPO's step with supervised learning's less that with KL-regularised RL's, along its descent",
    unit="",
    rule="the step is supervised learning's: that number's interval is above 0. The goal is RL's: in every world DPO "
    "ends within total variation 0.01 of RL's optimum, and fine-tuning on the chosen answers further off than DPO. "
    "Step and not goal: holds. Step and goal: holds here only where the step is meant. Neither: does not hold here.",
)

if __name__ == "__main__":
    EXPERIMENT.main()

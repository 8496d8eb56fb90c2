"""TRPO is complex and expensive: what one of its updates costs beside PPO's, on the very same rollout.

Both methods update the same network from the same batch, alternately, in one process, each time from the same
weights. Once on CartPole (2048 steps, 64-64 tanh), once on the tiny language model and arithmetic (128 answers). For
each of 3 seeds: operations of one update, of every matrix product that torch or numpy makes, and the median over
rounds of the ratio of seconds, those of the process's own work. Each method has its own settings: PPO 10 epochs of 32
minibatches on CartPole, 4 epochs for text; TRPO 10 iterations of conjugate gradients and 5 epochs of its critic.
In both the critic is a network of its own. Beside that: environment steps until 475 from
experiments/results/cartpole.json, and the lines of code that only one of them needs. "Complex" is only counted: how
many lines are many is no measurement.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from claim import HOLDS, Claim, Result, not_here, numbers, only_when
from experiment import ROOT, Work, recorded
from in_process import collected, operations, parts_of
from intervals import Number, geometric_mean, ratio
from pictures import GREY, panels, say
from words import table

from rung.batch import Batch
from rung.trainers.rollout_trainer import RolloutTrainer

SETTINGS: dict[str, dict[str, Any]] = {
    "a small network on CartPole": {
        "methods": {"ppo": (), "trpo": ()},
        "task": "CartPole-v1",
        "model": None,
        "sets": ("num_environments=1", "method.horizon=2048"),
        "rounds": 10,
    },
    "the tiny language model": {
        "methods": {"ppo@lm-human-preferences": ("method.critic.separate=true",), "trpo": ()},
        "task": "arithmetic",
        "model": "tiny",
        "sets": (),
        "rounds": 4,
    },
}
ONLY_TRPO = ("src/rung/trainers/policy_gradient/natural_step.py", "src/rung/formulas/natural_gradient.py")
ONLY_PPO = ("src/rung/trainers/optimizer.py",)


def expensive(operations: Number, seconds: Number) -> bool:
    return operations.low > 1 and seconds.low > 1


def verdict(costs: Mapping[str, tuple[Number, Number]]) -> str:
    """By setting: the ratio of operations and that of seconds, TRPO's over PPO's."""
    where = [setting for setting, both in costs.items() if expensive(*both)]
    if len(where) == len(costs):
        return HOLDS
    if where:
        return only_when(f"the model is {' or '.join(where)}")
    return not_here("in no setting did an update take both more operations and more seconds than PPO's")


def code_lines(names: Sequence[str]) -> int:
    """Lines that are neither empty nor a comment."""
    lines = [line.strip() for name in names for line in (ROOT / name).read_text().splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def one_update(parts: RolloutTrainer, batch: Batch, start: Mapping[str, Any]) -> float:
    """Seconds of one update from the weights `start`."""
    parts.policy.load_state(start)
    began = time.process_time()
    parts.learner.update(batch, 1)
    return time.process_time() - began


def costs_of(setting: Mapping[str, Any], seed: int, rounds: int) -> dict[str, Any]:
    """Operations and seconds of both methods' updates on one rollout, PPO's. The first round warms up and is left
    out."""
    made = [
        parts_of(method, setting["task"], seed=seed, model=setting["model"], sets=(*setting["sets"], *own))
        for method, own in setting["methods"].items()
    ]
    batch = collected(made[0])
    starts = [{name: tensor.clone() for name, tensor in parts.policy.state().items()} for parts in made]
    counted: list[float] = []
    for parts, start in zip(made, starts, strict=True):
        counted.append(operations(lambda parts=parts, start=start: one_update(parts, batch, start)))
    taken = [
        [one_update(parts, batch, start) for parts, start in zip(made, starts, strict=True)] for _ in range(rounds + 1)
    ][1:]
    for parts in made:
        parts.collector.close()
    return {
        "operations": dict(zip(("ppo", "trpo"), counted, strict=True)),
        "seconds": {name: median(row[i] for row in taken) for i, name in enumerate(("ppo", "trpo"))},
        "seconds_ratio": median(trpo / ppo for ppo, trpo in taken),
        "trained_tokens": int(batch.action_mask_BT.sum()),
    }


def measure(work: Work, folders: object) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    costs: dict[str, tuple[Number, Number]] = {}
    for name, setting in SETTINGS.items():
        found = {seed: costs_of(setting, seed, 1 if work.small else setting["rounds"]) for seed in work.seeds}
        counted = geometric_mean([f["operations"]["trpo"] / f["operations"]["ppo"] for f in found.values()])
        costs[name] = (counted, geometric_mean([f["seconds_ratio"] for f in found.values()]))
        settings[name] = {**numbers(dict(zip(("operations", "seconds"), costs[name], strict=True))), "seeds": found}
    cartpole, solved = recorded("cartpole"), None
    if cartpole is not None:
        trpo, ppo = (list(cartpole["methods"][m]["first_at"].values()) for m in ("trpo", "ppo"))
        solved = asdict(ratio(trpo, ppo)) if all([*trpo, *ppo]) else None
    return {
        "number": settings["the tiny language model"]["operations"],
        "verdict": verdict(costs),
        "settings": settings,
        "steps_to_475": solved,
        "lines_of_code": {"trpo": code_lines(ONLY_TRPO), "ppo": code_lines(ONLY_PPO)},
    }


def picture(run: Result) -> Any:
    figure, axes = panels(1, 2, size=(9, 3.2), sharey=True)
    for panel, what in zip(axes, ("operations", "seconds"), strict=True):
        for place, found in enumerate(run["settings"].values()):
            number = Number.of(found[what])
            ends = [[number.value - number.low], [number.high - number.value]]
            panel.errorbar(place, number.value, yerr=ends, fmt="o", capsize=4)
        panel.axhline(1, **GREY)
        panel.set(yscale="log", xlim=(-0.5, len(run["settings"]) - 0.5))
        panel.set_xticks(range(len(run["settings"])), list(run["settings"]), fontsize=8)
        panel.set_title(f"{what} of an update, TRPO over PPO", fontsize=10)
    say(axes[0], y="times as much")
    return figure


def lines(run: Result) -> Iterator[str]:
    rows = [
        (name, *(Number.of(found[what]).words("times") for what in ("operations", "seconds")))
        for name, found in run["settings"].items()
    ]
    yield from table(
        "an update on the same rollout | operations, TRPO over PPO | processor seconds, TRPO over PPO", rows
    )
    if run["steps_to_475"] is not None:
        yield from ("", f"Steps until 475 on CartPole, TRPO over PPO: {Number.of(run['steps_to_475']).words('times')}.")
    counted = run["lines_of_code"]
    yield f"Lines of code that only its step needs here: TRPO {counted['trpo']}, PPO {counted['ppo']}."


EXPERIMENT = Claim.here(
    globals(),
    seeds=(11, 12, 13),
    sentence="TRPO is complex and expensive",
    measured="operations of one TRPO update over those of one PPO update, same rollout, tiny language model",
    unit="times",
    rule="expensive in a setting: both the operations and the seconds of an update are more than PPO's, lower ends of "
    "both intervals above 1. Both settings: holds; one: holds here only there; none: does not hold here.",
)

if __name__ == "__main__":
    EXPERIMENT.main()

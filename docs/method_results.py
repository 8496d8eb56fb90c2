"""What the recorded experiments say of each method: pictures, what went well, and what did not, for the method's page.

A sentence is here only with numbers out of experiments/results/*.json.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS, PICTURES = ROOT / "experiments" / "results", ROOT / "docs" / "pictures"
Result = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one experiment says of one method."""

    good: str = ""
    bad: tuple[str, ...] = ()
    picture: str = ""
    """Its file's name in docs/pictures; none where another method's page is the place for it."""
    film: str = ""


def measured(method: str) -> Iterator[str]:
    """The lines of a method's page on what was measured and what it is bad at."""
    said = [(result, one) for result, one in _every(method) if one.good or one.bad]
    yield from ("## What was measured", "")
    if not said:
        yield from ("No experiment of this repository has measured it by itself yet.", "")
        return
    for result, one in said:
        title = result.get("sentence") or re.split(r"[.:,] ", one.good or one.bad[0])[0]
        for shown, file in ((title, one.picture), ("the first 10 seconds of a balanced pole", one.film)):
            if file and (PICTURES / file).is_file():
                yield from (f"![{shown}](../pictures/{file})", "")
        if one.good:
            yield from (f"{one.good} ({_experiment(result)}; {result['machine']}, commit {result['commit']})", "")
    yield from ("## What it is bad at", "")
    bad = [f"- {sentence} ({_experiment(result)})" for result, one in said for sentence in one.bad]
    yield from (bad or ["Nothing that was measured here shows a weakness of it."])
    yield ""


def _experiment(result: Result) -> str:
    page = "claims" if "sentence" in result else "experiments"
    return f"[the experiment](../{page}.md)"


def _every(method: str) -> Iterator[tuple[Result, Said]]:
    for name, says in SAYS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text())
            yield from ((result, one) for one in says(result, method))


def _cartpole(result: Result, method: str) -> Iterator[Said]:
    found = result["methods"].get(method)
    if found is None:
        return
    seeds, low = len(result["seeds"]), min(found["final"])
    taken = {name: _mean_steps(one) for name, one in result["methods"].items()}
    best = min(taken, key=lambda name: taken[name])
    bad = [] if found["passed"] else [f"It missed its line on CartPole-v1, {found['needed']} of {seeds} seeds."]
    if taken[method] > 3 * taken[best]:
        bad.append(
            f"On CartPole-v1 it took {taken[method]:,.0f} environment steps to a mean of 475, where `{best}` took "
            f"{taken[best]:,.0f}."
        )
    if found["solved"] and low < 475:
        bad.append(f"A solved CartPole-v1 does not stay solved: the lowest last score of a seed is {low:.0f}.")
    lasting = sum(_module("cartpole").stayed(at["score"] for at in one) for one in found["curves"].values())
    good = (
        f"On CartPole-v1 {found['solved']} of {seeds} seeds reached a held-out mean of 475 at an evaluation within the "
        f"budget, and {lasting} had it over their last hundred episodes."
    )
    yield Said(good=good, bad=tuple(bad), picture="cartpole.svg")


def _mean_steps(found: Result) -> float:
    """Until 475, over the seeds that got there."""
    steps = [at for at in found["first_at"].values() if at is not None]
    return float(np.mean(steps)) if steps else float("inf")


def _of_1983(result: Result, method: str) -> Iterator[Said]:
    found = result["methods"].get(method)
    if found is None:
        return
    ten, every = found["first_ten"], found["all"]
    good = (
        f"Within 100 failures {ten['reached']} of the first {ten['runs']} seeds balanced the pole for the rest of "
        f"500,000 time steps, and {every['reached']} of {every['runs']} seeds in all."
    )
    share, interval = 100 * every["reached"] / every["runs"], f"{100 * every['low']:.0f} to {100 * every['high']:.0f} %"
    bad = f"{100 - share:.0f} % of the seeds did not learn to balance within 100 failures ({interval} did)."
    if not every["reached"]:
        bad = f"No seed learnt to balance: the longest trial of all was {found['longest_of_all']:,} time steps."
    film = "ase_ace.gif" if result["filmed_method"] == method else ""
    yield Said(good=good, bad=(bad,), picture="ase_ace.svg", film=film)


def _dqn_cartpole(result: Result, method: str) -> Iterator[Said]:
    if method != "dqn":
        return
    arms, bad = result["arms"], list[str]()
    solved = [f"{one['solved']} of {len(one['runs'])} with {arm}" for arm, one in arms.items()]
    stayed = _module("cartpole").stayed
    lasting = [
        f"{sum(stayed(score for _, score in run['scores']) for run in one['runs'].values())} with {arm}"
        for arm, one in arms.items()
    ]
    for arm, one in arms.items():
        finals = [run["final"] for run in one["runs"].values()]
        if min(finals) < 475:
            bad.append(f"A solved CartPole-v1 does not stay solved with {arm}: the last scores are {_whole(finals)}.")
    yield Said(
        good=f"On CartPole-v1 seeds reached a held-out mean of 475 at an evaluation: {', '.join(solved)}; over their "
        f"last hundred episodes: {', '.join(lasting)}.",
        bad=tuple(bad),
        picture="dqn_cartpole.svg",
    )


def _whole(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in sorted(values))


def _atari(result: Result, method: str) -> Iterator[Said]:
    if method != "dqn":
        return
    games = result["games"]
    scores = [f"{game} {one['score']:.1f} ({one['low']:.1f} to {one['high']:.1f})" for game, one in games.items()]
    steps = next(iter(games.values()))["steps"]
    yield Said(good=f"From the screens of Atari, after {steps:,.0f} steps: {', '.join(scores)}.", picture="atari.svg")


def _on_tokens(result: Result, method: str) -> Iterator[Said]:
    arms = {arm: found for arm, found in result["arms"].items() if arm.split(",")[0] == method}
    least, most = str(result["sizes"][0]), str(result["sizes"][-1])
    for arm, found in arms.items():
        few, many = (f"{found[size]['mean']:.2f} ± {found[size]['half']:.2f}" for size in (least, most))
        yield Said(
            good=f"A language model from scratch says 3 symbols again: after {result['tokens']:,} tokens `{arm}` has "
            f"{few} of them right where there are {least} symbols.",
            bad=(f"Of {most} symbols, in place of {least}, `{arm}` has {many} right.",),
            picture="dqn_on_tokens.svg" if arm == next(iter(arms)) else "",
        )


def _continuous(result: Result, method: str) -> Iterator[Said]:
    bad = list[str]()
    for task, arms in result["tasks"].items():
        own = {arm: one for arm, one in arms.items() if arm.split(",")[0] == method}
        if not own:
            return
        best, worst = (f(arms, key=lambda arm: arms[arm]["mean"]) for f in (max, min))
        if worst in own and worst != best:
            ends = [f"{arms[arm]['mean']:.0f} ± {arms[arm]['half']:.0f} ({arm})" for arm in (worst, best)]
            bad.append(f"{task} after {result['steps']:,} steps: {ends[0]}, where the best was {ends[1]}.")
    yield Said(bad=tuple(bad), picture="discrete_or_continuous.svg" if method == "dqn" else "")


def _mujoco(result: Result, method: str) -> Iterator[Said]:
    row, rival, in_words = {
        "ppo": ("clip 0.2", "SB3 PPO", "SB3 PPO with settings tuned for each task"),
        "ppo_kl": ("adaptive KL 0.01", "clip 0.2", "`ppo`'s clip"),
        "trpo": ("trpo", "sb3-contrib TRPO", "sb3-contrib TRPO with settings tuned for each task"),
    }.get(method, ("", "", ""))
    if not row:
        return
    (mean, error), (theirs, its_error) = (result["rows"][one]["normalised"] for one in (row, rival))
    good = (
        f"On {len(result['random'])} MuJoCo tasks after {result['steps']:,} steps its mean score is {mean:.2f} ± "
        f"{error:.2f}, where a random policy is 0 and the best run of rung's is 1."
    )
    bad = list[str]()
    if theirs - mean > 2 * (error**2 + its_error**2) ** 0.5:
        bad.append(
            f"On MuJoCo it scored {mean:.2f} ± {error:.2f} with its own settings, {in_words} {theirs:.2f} ± "
            f"{its_error:.2f}."
        )
    yield Said(good=good, bad=tuple(bad), picture="mujoco_v5.svg" if method == "ppo" else "")


def _figure5(result: Result, method: str) -> Iterator[Said]:
    arm = {"rft": "RFT", "online_rft": "Online RFT", "grpo": "GRPO+OS", "grpo_process": "GRPO+PS"}.get(method)
    if arm is None:
        return
    scores = {name: _mean(runs, lambda one: one["final"]) for name, runs in result["arms"].items()}
    best = max(scores, key=lambda name: scores[name])
    start = result["start"]
    widest = [start["pass"][-1], _mean(result["arms"][arm], lambda one: one["pass"][-1])]
    bad = list[str]()
    if arm != best:
        bad.append(f"On running sums {best} comes to {100 * scores[best]:.1f} % with as many samples and updates.")
    if widest[1] < widest[0] - 0.03:
        bad.append(f"Its 64 answers to a problem hold a right one less often: {_percents(widest)} % of problems.")
    good = (
        f"On running sums a small model goes from {100 * start['final']:.1f} to {100 * scores[arm]:.1f} % of single "
        f"answers; by the vote of 8 from {_percents([start['maj'][3], _mean(result['arms'][arm], _vote_of_8)])} %."
    )
    yield Said(good=good, bad=tuple(bad), picture="grpo_figure5.svg" if method in ("grpo", "online_rft") else "")


def _ladder(result: Result, method: str) -> Iterator[Said]:
    if method != "dapo":
        return
    scores = {name: 100 * _mean(runs, lambda one: one["final"]) for name, runs in result["rows"].items()}
    names = list(scores)
    fewer = {name: 100 * value for name, value in result["at_samples"].items()}
    bad = [
        f"On running sums the part {name.removeprefix('+ ')} takes {scores[before]:.1f} % to {scores[name]:.1f} %."
        for before, name in pairwise(names)
        if scores[name] < scores[before]
    ]
    best = max(fewer, key=lambda name: fewer[name])
    if best != names[-1]:
        bad.append(
            f"After {result['samples']:,} generated samples it stands at {fewer[names[-1]]:.1f} %, the row "
            f"“{best}” at {fewer[best]:.1f} %: dynamic sampling draws more."
        )
    good = (
        f"With DAPO's parts added one after another GRPO goes from {scores[names[0]]:.1f} to {scores[names[-1]]:.1f} % "
        "of running sums, after as many updates."
    )
    yield Said(good=good, bad=tuple(bad), picture="dapo_ladder.svg")


def _vote_of_8(run: Result) -> float:
    return run["maj"][3]


def _mean(runs: Mapping[str, Result], of: Callable[[Result], float]) -> float:
    return float(np.mean([of(one) for one in runs.values()]))


def _percents(values: list[float]) -> str:
    return " to ".join(f"{100 * value:.1f}" for value in values)


def _frontier(result: Result, method: str) -> Iterator[Said]:
    if method != "dpo":
        return
    lines = result["lines"]
    model, true = lines["area beside PPO, reward model"], lines["area beside PPO, true reward"]
    good = (
        f"On reviews, up to {model['upto']:.1f} nats from the start, the area under its frontier of reward and KL is "
        f"{model['dpo']:.2f}; PPO with a reward model of the same pairs has {model['ppo']:.2f}, with the true reward "
        f"{true['ppo']:.2f}."
    )
    own, ppo = (_highest(result, family) for family in ("DPO", "PPO, true reward"))
    beyond = f"On reviews its highest reward is {own:.2f}; PPO with the true reward comes to {ppo:.2f}, further away."
    yield Said(good=good, bad=(beyond,) if ppo > own else (), picture="dpo_frontier.svg")


def _highest(result: Result, family: str) -> float:
    return max(reward for arm in result["arms"] if arm["family"] == family for _, reward in arm["points"])


def finding(name: str, result: Result) -> str:
    """A claim's verdict as the page of claims says it: the rule's, or what its checks leave of it."""
    return _module(name).EXPERIMENT.finding(result)


def _module(name: str) -> Any:
    """A file of experiments or of experiments/claims."""
    for home in ("experiments", "experiments/claims"):
        if str(ROOT / home) not in sys.path:
            sys.path.insert(0, str(ROOT / home))
    return importlib.import_module(name)


def _claim(of: str, *, praise: bool) -> Callable[[Result, str], Iterator[Said]]:
    """One sentence of the article on one method: praise of it, or a weakness, if that was found."""

    def says(result: Result, method: str) -> Iterator[Said]:
        if method != of:
            return
        name = result["command"].split("/")[-1].removesuffix(".py")
        number = {end: f"{value:.3g}" for end, value in result["number"].items()}
        unit = f" {result['unit']}" if result["unit"] else ""
        sentence = (
            f"The article says: “{result['sentence']}”. Measured: {result['measured']}, {number['value']}{unit} "
            f"({number['low']} to {number['high']}). It {finding(name, result)}."
        )
        file = f"claim_{name}.svg"
        weakness = not praise and finding(name, result).startswith("holds")
        yield Said(bad=(sentence,), picture=file) if weakness else Said(good=sentence, picture=file)

    return says


def _critics_cost(result: Result, method: str) -> Iterator[Said]:
    """What GRPO's claim says of its parent."""
    if method == "ppo":
        cost = result["ratios"]["a critic of its own"]
        yield Said(
            bad=(
                f"On a language model, a critic of its own makes a step {cost['operations']['value']:.1f} times the "
                f"operations, and {cost['bytes']:.1f} times the memory of weights, of GRPO's.",
            )
        )


def _dapo_counted(result: Result, method: str) -> Iterator[Said]:
    if method == "dapo" and result["gains"]["updates"]["high"] < 0:
        points = {name: f"{100 * value:.1f}" for name, value in result["gains"]["updates"].items()}
        yield Said(
            bad=(
                f"At equal updates of the weights it scored {points['value']} points ({points['low']} to "
                f"{points['high']}) against `grpo`.",
            )
        )


SAYS: dict[str, Callable[[Result, str], Iterator[Said]]] = {
    "cartpole": _cartpole,
    "ase_ace": _of_1983,
    "dqn_cartpole": _dqn_cartpole,
    "atari": _atari,
    "grpo_figure5": _figure5,
    "dapo_ladder": _ladder,
    "dpo_frontier": _frontier,
    "dqn_on_tokens": _on_tokens,
    "discrete_or_continuous": _continuous,
    "mujoco_v5": _mujoco,
    "claims_dqn_continuous": _claim("dqn", praise=False),
    "claims_reinforce_unstable": _claim("reinforce", praise=False),
    "claims_actor_critic_balance": _claim("actor_critic", praise=False),
    "claims_trpo_expensive": _claim("trpo", praise=False),
    "claims_grpo_less_compute": lambda result, method: (
        _critics_cost(result, method) if method == "ppo" else _claim("grpo", praise=True)(result, method)
    ),
    "claims_dapo_over_grpo": lambda result, method: (
        one for says in (_claim("dapo", praise=True), _dapo_counted) for one in says(result, method)
    ),
    "claims_dpo_supervised": _claim("dpo", praise=True),
}
"""What each experiment's result says of a method."""

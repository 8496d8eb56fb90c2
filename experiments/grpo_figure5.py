"""GRPO's figure 5: RFT, online RFT, GRPO with outcome and with process supervision, from one SFT model (2402.03300).

The task is `running-sum`: 3 to 5 one-digit numbers are added and taken away, and a working tells every running total
before the last. A transformer of 0.15 million parameters is warmed up on examples, half of them with the working, and
not to the end. All arms start there and differ by method alone: each step draws 16 answers to each of 16 prompts and
makes one update, so that they have drawn as many samples after as many gradient steps. RFT imitates the start's right
answers, online RFT its own; GRPO+OS is rewarded for the last number, GRPO+PS for each total where it ends, both with
GRPO's KL.

Scaled down from the paper (DeepSeekMath-Instruct 1.3B, GSM8K and MATH, learned reward models, 64 samples a prompt): the
model, the task, rules in the place of reward models, 16 samples. Sizes and the learning rate, one for all arms, were
chosen by short trials of GRPO alone on seed 100, which is not reported: at 3e-4 it learnt, and its workings became
worse while it did, so the rate here is lower. All four arms then ran once on that seed, and nothing was changed.

Accuracy is that of samples at temperature 1: along a run 4 of each of 100 held-out problems, at its end 64 of each of
200, from which Maj@K and Pass@K are taken too (figure 7), the same problems and random numbers for every model.

Pass lines, fixed before the run, over the means of three seeds at the end:
1. RFT < online RFT < GRPO+OS.
2. GRPO+OS is at most GRPO+PS and one standard error of their difference.
3. Maj@8 of GRPO+OS is at least 5 points above the start's.
Whether Pass@64 stays within 3 points of the start's is reported without a line, and so is everything of GRPO+PS else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import running_sums
from experiment import Experiment, Result, Run, Work, read_all, scores, seconds, sets
from pictures import curve, panels, say
from words import YES_NO, percent, table

from rung.rewards.rules import NumberEquals
from rung.runs.statistics import majority_at_k, pass_at_k

LEARNT_BEFORE, STEPS = 1200, 400
RATE = "2e-4"
TOKENS = "16"
"""Of an answer at most; the longest worked one has 13."""
TERMS = (3, 4, 5)
ITEMS, SAMPLES, ASKED = 200, 64, "1000"
"""At the end: problems, answers of each, and the seed of both."""
KS = (1, 2, 4, 8, 16, 32, 64)
RFT, ONLINE, OUTCOME, PROCESS = "RFT", "Online RFT", "GRPO+OS", "GRPO+PS"
ARMS = {RFT: "rft", ONLINE: "online_rft", OUTCOME: "grpo", PROCESS: "grpo_process"}
GAIN, NEAR = 0.05, 0.03
COMMON = (
    running_sums.task_of(TERMS),
    *(f"steps={STEPS}", f"max_new_tokens={TOKENS}", "prompts_per_step=16", "method.samples_per_prompt=16"),
    *(f"method.optimizer.learning_rate={RATE}", "evaluation.every=25", "saving.every=50", "reporting.kl_rows=0"),
    *("learner.threads=1", "learner.micro_batch_tokens=4096"),
)
START = "start"


def run_of(work: Work, arm: str, seed: int) -> Run:
    steps = ("task.steps=true",) if arm == PROCESS else ()
    more = ("--model", str(running_sums.start(work)), "--recipe", "tiny")
    return Run(ARMS[arm], "running-sum", seed, (*COMMON, *steps), more)


def answers(work: Work, model: Path, name: str) -> list[dict[str, Any]]:
    """`SAMPLES` answers to each held-out problem, drawn once."""
    rows = work.folder / "answers" / f"{name}.jsonl"
    if not rows.is_file():
        rows.parent.mkdir(parents=True, exist_ok=True)
        aside = rows.with_suffix(".writing.jsonl")
        aside.unlink(missing_ok=True)
        asked = ("--k", str(SAMPLES), "--items", str(ITEMS), "--seed", ASKED, "--temperature", "1")
        task = ("--task", "running-sum", *sets(running_sums.task_of(TERMS)), "--max-new-tokens", TOKENS)
        work.rung("eval", str(model), *task, "--samples", str(aside), *asked, "--json")
        aside.rename(rows)
    return [json.loads(line) for line in rows.read_text().splitlines()]


def by_k(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Maj@K and Pass@K for each K of KS, of the rows that `rung eval --samples` wrote.

    Pass@K is unbiased from all samples; Maj@K is the mean over as many votes of K samples as there are without
    counting one twice.
    """
    by_item: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_item.setdefault(row["id"], []).append(row)
    scores_NK = np.array([[row["rewards"]["correct"] for row in some] for some in by_item.values()])
    answer = NumberEquals().final_answer
    answers_NK = [[answer(row["completion"]) for row in some] for some in by_item.values()]

    def majority(k: int) -> float:
        votes = [
            majority_at_k(scores_NK[:, at : at + k], [row[at : at + k] for row in answers_NK]).value
            for at in range(0, scores_NK.shape[1] - k + 1, k)
        ]
        return float(np.mean(votes))

    ks = [k for k in KS if k <= scores_NK.shape[1]]
    return {"maj": [majority(k) for k in ks], "pass": [pass_at_k(scores_NK, k).value for k in ks]}


def finals(arms: Mapping[str, Mapping[str, Any]], arm: str) -> list[float]:
    return [one["final"] for one in arms[arm].values()]


def mean_by_k(runs: Mapping[str, Any], name: str) -> list[float]:
    return [float(value) for value in np.mean([one[name] for one in runs.values()], axis=0)]


def lines_held(found: Mapping[str, Any]) -> dict[str, Any]:
    """Each pass line with what was measured."""
    arms, start = found["arms"], found[START]
    means = {arm: float(np.mean(finals(arms, arm))) for arm in ARMS}
    error = float(np.sqrt(sum(np.var(finals(arms, arm), ddof=1) / len(arms[arm]) for arm in (OUTCOME, PROCESS))))
    voted = mean_by_k(arms[OUTCOME], "maj")[KS.index(8)]
    passed = mean_by_k(arms[OUTCOME], "pass")[KS.index(64)]
    return {
        "RFT < online RFT < GRPO+OS": {
            "measured": [means[RFT], means[ONLINE], means[OUTCOME]],
            "passed": all(a < b for a, b in pairwise([means[RFT], means[ONLINE], means[OUTCOME]])),
        },
        "GRPO+OS <= GRPO+PS + 1 SE": {
            "measured": [means[OUTCOME], means[PROCESS], error],
            "passed": means[OUTCOME] <= means[PROCESS] + error,
        },
        "Maj@8 up by 5 points": {
            "measured": [start["maj"][KS.index(8)], voted],
            "passed": voted - start["maj"][KS.index(8)] >= GAIN,
        },
        "Pass@64 within 3 points": {
            "measured": [start["pass"][KS.index(64)], passed],
            "holds": abs(passed - start["pass"][KS.index(64)]) <= NEAR,
        },
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    asked = {START: running_sums.start(work), **{folder.name: folder for folder in folders.values()}}
    drawn = work.beside([partial(answers, work, folder, name) for name, folder in asked.items()])
    voted = {name: by_k(rows) for name, rows in zip(asked, drawn, strict=True)}

    def of_run(folder: Path) -> dict[str, Any]:
        one = voted[folder.name]
        return {**one, "final": one["pass"][0], "curve": scores(folder, "step"), "seconds": seconds(folder)}

    found = {START: {**voted[START], "final": voted[START]["pass"][0]}, "arms": read_all(folders, of_run)}
    settings = {"all": COMMON, "sft_steps": LEARNT_BEFORE}
    return {"lines": lines_held(found), "samples": [ITEMS, SAMPLES], "settings": settings, **found}


def title(run: Result) -> str:
    ends = {arm: 100 * np.mean([one["curve"][-1][1] for one in runs.values()]) for arm, runs in run["arms"].items()}
    said = ", ".join(f"{arm} {value:.1f} %" for arm, value in ends.items())
    return f"Right on held-out problems, from {100 * run['start']['final']:.1f} %: {said}"


def picture(run: Result) -> Any:
    """Left the accuracy along the runs, mean and range over seeds; right Maj@K and Pass@K against K."""
    figure, (left, right) = panels(1, 2, size=(11, 4.2))
    for arm, runs in run["arms"].items():
        points = 100 * np.array([one["curve"] for one in runs.values()], float)
        curve(left, points[0, :, 0] / 100, points[..., 1], band="range", label=arm)
    say(
        left,
        title="mean and range over seeds",
        x="steps: one update and 256 samples each",
        y="right on held-out problems, %",
        legend=True,
    )
    for name in (START, OUTCOME, PROCESS):
        colour = "grey" if name == START else f"C{list(ARMS).index(name)}"
        for kind, style, said in (("maj", "-", "Maj@K"), ("pass", "--", "Pass@K")):
            values = run[START][kind] if name == START else mean_by_k(run["arms"][name], kind)
            right.plot(KS, 100 * np.array(values), style, marker="o", markersize=3, color=colour)
            right.plot([], [], style, color=colour, label=f"{name}, {said}")
    right.set_xscale("log", base=2)
    right.set_xticks(KS, [str(k) for k in KS])
    say(right, "answers to a problem, K", "solved, %", legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    held = [
        (
            *(name, ", ".join(map(percent, one["measured"]))),
            YES_NO[one["passed"]] if "passed" in one else f"{YES_NO[one['holds']]} (no line)",
        )
        for name, one in run["lines"].items()
    ]
    yield from ("", *table("line | measured, % | held", held), "")

    def votes(of: Mapping[str, Sequence[float]]) -> list[str]:
        return [percent(of[name][KS.index(k)]) for name in ("maj", "pass") for k in (8, 64)]

    rows: list[Sequence[str]] = [("start", percent(run[START]["final"]), "", *votes(run[START]), "")]
    for arm, runs in run["arms"].items():
        each = finals(run["arms"], arm)
        took = f"{np.median([one['seconds'] for one in runs.values()]):.0f}"
        voted = votes({name: mean_by_k(runs, name) for name in ("maj", "pass")})
        rows.append(
            (f"{arm} (`{ARMS[arm]}`)", percent(float(np.mean(each))), ", ".join(map(percent, each)), *voted, took)
        )
    head = "right, % | each seed | Maj@8 | Maj@64 | Pass@8 | Pass@64 | seconds a run, median"
    yield from table(f" | {head}", rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(3),
    pass_line="RFT < online RFT < GRPO+OS; GRPO+OS at most GRPO+PS and one standard error; Maj@8 of GRPO+OS 5 points "
    "above the start's",
    prepare=lambda work: running_sums.make_start(work, terms=TERMS, steps=LEARNT_BEFORE, tokens=int(TOKENS)),
    runs=lambda work: {(arm, seed): run_of(work, arm, seed) for seed in work.seeds for arm in ARMS},
    shows="Accuracy along the runs, an arm a colour; Maj@K and Pass@K against K",
)

if __name__ == "__main__":
    EXPERIMENT.main()

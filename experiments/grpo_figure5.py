"""GRPO's figure 5: RFT, online RFT, GRPO with outcome and with process supervision, from one SFT model (2402.03300).

    python experiments/grpo_figure5.py            runs what is missing, two at a time, then writes the results
    python experiments/grpo_figure5.py --trial    one seed that is not reported, printed only
    python docs/generate.py                       prints them into docs/experiments.md

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

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import running_sums
from running import (
    PICTURES,
    ROOT,
    Run,
    evaluations,
    plots,
    provenance,
    record,
    recorded,
    run_all,
    rung,
    save_picture,
    seconds,
)

from rung.rewards.rules import NumberEquals
from rung.runs.statistics import majority_at_k, pass_at_k

RUNS = ROOT / "runs" / "grpo_figure5"
SEEDS, TRIAL = (0, 1, 2), (100,)
LEARNT_BEFORE, STEPS = 1200, 400
RATE = "2e-4"
TOKENS = "16"
"""Of an answer at most; the longest worked one has 13."""
TERMS = (3, 4, 5)
TASK = running_sums.task_of(TERMS)
ITEMS, SAMPLES, ASKED = 200, 64, "1000"
"""At the end: problems, answers of each, and the seed of both."""
KS = (1, 2, 4, 8, 16, 32, 64)
RFT, ONLINE, OUTCOME, PROCESS = "RFT", "Online RFT", "GRPO+OS", "GRPO+PS"
ARMS = {RFT: "rft", ONLINE: "online_rft", OUTCOME: "grpo", PROCESS: "grpo_process"}
GAIN, NEAR = 0.05, 0.03
COMMON = (
    *(f"steps={STEPS}", f"max_new_tokens={TOKENS}", "prompts_per_step=16", "method.samples_per_prompt=16"),
    *(f"method.optimizer.learning_rate={RATE}", "evaluation.every=25", "saving.every=50", "reporting.kl_rows=0"),
    *("learner.threads=1", "learner.micro_batch_tokens=4096"),
)
START = "start"


def start_model() -> Path:
    """Where every run starts, and GRPO's reference."""
    return running_sums.start_model(RUNS, terms=TERMS, steps=LEARNT_BEFORE, tokens=int(TOKENS))


def folder_of(arm: str, seed: int) -> Path:
    return RUNS / f"{ARMS[arm]}-{seed}"


def run_of(arm: str, seed: int) -> Run:
    words = ("--model", str(start_model()), *TASK, "--recipe", "tiny", "--seed", str(seed))
    steps = ("task.steps=true",) if arm == PROCESS else ()
    return Run(folder_of(arm, seed).name, "train", ARMS[arm], *words, settings=(*COMMON, *steps))


def answers(model: str, name: str) -> Path:
    """A file of `SAMPLES` answers to each held-out problem, drawn once."""
    rows = RUNS / "answers" / f"{name}.jsonl"
    if not rows.is_file():
        rows.parent.mkdir(parents=True, exist_ok=True)
        aside = rows.with_suffix(".writing.jsonl")
        aside.unlink(missing_ok=True)
        asked = ("--k", str(SAMPLES), "--items", str(ITEMS), "--seed", ASKED, "--temperature", "1")
        words = (*TASK, "--max-new-tokens", TOKENS, "--samples", str(aside))
        rung("eval", model, *words, *asked, "--json")
        aside.rename(rows)
    return rows


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


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


def measured(seeds: Sequence[int]) -> dict[str, Any]:
    """Maj@K and Pass@K of the start, and by arm of every seed, with its curve."""
    keys = [(arm, seed) for arm in ARMS for seed in seeds]
    asked = [(str(start_model()), START), *((str(folder_of(*key)), folder_of(*key).name) for key in keys)]
    with ThreadPoolExecutor(2) as pool:
        found = [by_k(rows_of(file)) for file in pool.map(lambda one: answers(*one), asked)]
    arms: dict[str, dict[str, Any]] = {arm: {} for arm in ARMS}
    for (arm, seed), one in zip(keys, found[1:], strict=True):
        curve = [[row["step"], row["held_out/score"]] for row in evaluations(folder_of(arm, seed))]
        arms[arm][str(seed)] = {
            **one,
            "final": one["pass"][0],
            "curve": curve,
            "seconds": seconds(folder_of(arm, seed)),
        }
    return {START: {**found[0], "final": found[0]["pass"][0]}, "arms": arms}


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


def summary(found: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    held = lines_held(found)
    return {
        "seeds": list(seeds),
        "pass_line": "RFT < online RFT < GRPO+OS; GRPO+OS at most GRPO+PS and one standard error; Maj@8 of GRPO+OS 5 "
        "points above the start's",
        "lines": held,
        "passed": all(one.get("passed", True) for one in held.values()),
        "samples": [ITEMS, SAMPLES],
        "settings": {"all": COMMON, "sft_steps": LEARNT_BEFORE},
        **found,
    }


def picture(result: Mapping[str, Any], path: Path) -> None:
    """Left the accuracy along the runs, mean and range over seeds; right Maj@K and Pass@K against K."""
    figure, (left, right) = plots().subplots(1, 2, figsize=(11, 4.2))
    for arm, runs in result["arms"].items():
        steps = [step for step, _ in next(iter(runs.values()))["curve"]]
        scores = 100 * np.array([[score for _, score in one["curve"]] for one in runs.values()])
        (line,) = left.plot(steps, scores.mean(0), label=arm)
        left.fill_between(steps, scores.min(0), scores.max(0), alpha=0.15, linewidth=0, color=line.get_color())
    left.set_xlabel("steps: one update and 256 samples each")
    left.set_ylabel("right on held-out problems, %")
    left.legend(fontsize=8)
    models = {START: (result[START]["maj"], result[START]["pass"])}
    models |= {arm: tuple(mean_by_k(result["arms"][arm], name) for name in ("maj", "pass")) for arm in ARMS}
    colours = {START: "grey", **{arm: f"C{number}" for number, arm in enumerate(ARMS)}}
    for name in (START, OUTCOME, PROCESS):
        for values, style, said in zip(models[name], ("-", "--"), ("Maj@K", "Pass@K"), strict=True):
            right.plot(KS, 100 * np.array(values), style, marker="o", markersize=3, color=colours[name])
            right.plot([], [], style, color=colours[name], label=f"{name}, {said}")
    right.set_xscale("log", base=2)
    right.set_xticks(KS, [str(k) for k in KS])
    right.set_xlabel("K")
    right.legend(fontsize=8)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("grpo_figure5")
    return "Not recorded yet." if run is None else "\n".join([*_lines(run), *_table(run)])


def _lines(run: Mapping[str, Any]) -> Iterator[str]:
    yield "![Accuracy along the runs, an arm a colour; Maj@K and Pass@K against K](pictures/grpo_figure5.png)"
    yield from ("", provenance(run), "", "| line | measured, % | held |", "| --- | --- | --- |")
    for name, held in run["lines"].items():
        said = ", ".join(_percent(value) for value in held["measured"])
        passed = {True: "yes", False: "**no**"}[held.get("passed", held.get("holds"))]
        yield f"| {name} | {said} | {passed}{'' if 'passed' in held else ' (no line)'} |"
    yield ""


def _table(run: Mapping[str, Any]) -> Iterator[str]:
    shown = [KS.index(k) for k in (8, 64)]
    yield "| | right, % | each seed | Maj@8 | Maj@64 | Pass@8 | Pass@64 | seconds a run, median |"
    yield "| --- " * 8 + "|"
    start = run[START]
    votes = " | ".join(_percent(start[name][at]) for name in ("maj", "pass") for at in shown)
    yield f"| start | {_percent(start['final'])} | | {votes} | |"
    for arm, runs in run["arms"].items():
        each = ", ".join(_percent(value) for value in finals(run["arms"], arm))
        votes = " | ".join(_percent(mean_by_k(runs, name)[at]) for name in ("maj", "pass") for at in shown)
        took = np.median([one["seconds"] for one in runs.values()])
        mean = _percent(float(np.mean(finals(run["arms"], arm))))
        yield f"| {arm} (`{ARMS[arm]}`) | {mean} | {each} | {votes} | {took:.0f} |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trial", action="store_true", help="a seed that is not reported")
    seeds = TRIAL if parser.parse_args().trial else SEEDS
    start_model()
    folders = run_all([run_of(arm, seed) for seed in seeds for arm in ARMS], RUNS)
    found = measured(seeds)
    if seeds == TRIAL:
        print(json.dumps(found))
        return
    result = record("grpo_figure5", summary(found, seeds), runs_in=folders)
    picture(result, PICTURES / "grpo_figure5.png")


if __name__ == "__main__":
    main()

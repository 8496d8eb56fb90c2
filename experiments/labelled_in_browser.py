"""The whole way from a judgement to a better model: 200 pairs labelled through the page, then `rung rlhf`.

A few minutes on two cores; a stage that is finished is left alone.

Model and language are those of dpo_frontier.py: a transformer of 0.2 million parameters that writes reviews. An oracle
stands in for the person: it opens the page in a real Chromium, reads the two endings on the screen, has VADER
(sentiment.py) say which is kinder, and presses a key; "tie" where they differ by less than 0.05. Nothing but the page's
keys reaches the labels. `rung rlhf` trains the reward model on the export and PPO against it. At the end 8 endings of
each of 60 held-out prompts are judged by the oracle itself. Sizes were chosen on other pairs (seed 100).

Pass lines, fixed before the run: every stage ends without an error; all 200 pairs have one vote each; the oracle's mean
is above the start's, with the whole 95 % interval of the paired difference.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import stages
from experiment import Experiment, Result, Work, evaluations, sets
from playwright.sync_api import Page, expect, sync_playwright
from sentiment import gold
from words import plain, table

WANTED, SEED, TIE, STEPS = 200, 0, 0.05, 30
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = {
    "reward_model": (
        *("steps=80", "method.pairs_per_step=16", "method.optimizer.learning_rate=3e-4"),
        *("method.optimizer.warmup_steps=10", "evaluation.every=20", "evaluation.num_items=480"),
    ),
    "policy": (
        *(f"steps={STEPS}", "prompts_per_step=8", "method.samples_per_prompt=8", f"max_new_tokens={stages.TOKENS}"),
        *("method.optimizer.learning_rate=1e-4", "method.optimizer.warmup_steps=10", "temperature=1"),
        *("method.reference_kl.target=null", "method.reference_kl.coefficient=0.2", "evaluation.num_items=16"),
    ),
}


def make_pairs(work: Work, wanted: int) -> Path:
    """Two endings of each of many prompts; the first `wanted` prompts with two different ones."""
    every, pairs = (work.folder / f"{name}.jsonl" for name in ("every", "pairs"))
    if not pairs.exists():
        drawn = sets("task.held_out=0", "prompts=240", f"max_new_tokens={stages.TOKENS}")
        task = ("--task", str(stages.data(work, "prompts")), "--unlabelled", "--k", "2", "--seed", str(SEED), *drawn)
        work.rung("pairs", "--model", str(stages.start(work)), *task, "--out", str(every), "--quiet")
        lines = every.read_text().splitlines()[:wanted]
        assert len(lines) == wanted, len(lines)
        pairs.write_text("\n".join(lines) + "\n")
    return pairs


def preferred(left: str, right: str) -> str:
    """The key that the oracle presses.

    >>> preferred("good.", "awful."), preferred("good.", "good."), preferred("slow.", "lovely.")
    ('ArrowLeft', 't', 'ArrowRight')
    """
    first, second = gold([left, right])
    if abs(first - second) < TIE:
        return "t"
    return "ArrowLeft" if first > second else "ArrowRight"


@contextmanager
def labelling_page(pairs: Path) -> Iterator[str]:
    """`rung label` as its own process, and the link that it printed."""
    command = [sys.executable, "-u", "-m", "rung.cli", "label", str(pairs), "--labeller", "oracle"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield next(word for line in process.stdout for word in line.split() if "?token=" in word)
    finally:
        process.terminate()
        process.wait(30)


def label(pairs: Path) -> int:
    """All pairs, by keys alone; how many answers were given."""
    path = next(found for name in CHROMIUM if (found := shutil.which(name)))
    answers = 0
    with labelling_page(pairs) as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(link)
        while True:
            page.wait_for_selector("#asking:not([hidden]), #resting:not([hidden])")
            if page.locator("#asking").is_hidden():
                break
            answer(page)
            answers += 1
        page.screenshot(path=pairs.with_name("done.png"))
        browser.close()
    return answers


def answer(page: Page) -> None:
    """Reads the two endings, waits as long as the page wants a person to look, presses a key, waits for "Saved"."""
    left, right = (page.locator(f"#{side} .theirs").first.inner_text() for side in ("left", "right"))
    count = page.locator("#mine").inner_text()
    page.wait_for_timeout(400)
    page.keyboard.press(preferred(left, right))
    expect(page.locator("#mine")).not_to_have_text(count)
    page.wait_for_selector("body:not(.waiting)")


def measure(work: Work, folders: object) -> dict[str, Any]:
    began = time.perf_counter()
    work.folder.mkdir(parents=True, exist_ok=True)
    stages.make_start(work)
    stages.make_held_out_pairs(work)
    wanted = 12 if work.small else WANTED
    pairs = make_pairs(work, wanted)
    labelled, votes, out = (work.folder / name for name in ("labelled.jsonl", "votes.jsonl", "rlhf"))
    if not labelled.exists():
        print(f"{label(pairs)} answers given", flush=True)
        work.rung("label", str(pairs), "--export", str(labelled))
        work.rung("label", str(pairs), "--votes", str(votes))
    there = {
        "reward_model": f"task.held_out_file={stages.pairs_at(work, 'held_out_pairs')}",
        "policy": stages.held_out(work),
    }
    steps = 2 if work.small else STEPS
    few = {stage: ["steps=2", "evaluation.num_items=4"] if work.small else [] for stage in SETTINGS}
    chosen = [f"{stage}.{one}" for stage, some in SETTINGS.items() for one in (*some, there[stage], *few[stage])]
    asked = ("--model", str(stages.start(work)), "--task", str(stages.data(work, "prompts")), "--pairs", str(labelled))
    work.rung("rlhf", *asked, "--seed", str(SEED), "--out", str(out), *sets(*chosen), "--quiet")
    last, first = (stages.point(work, out / "policy", step) for step in (steps, 0))
    rows = [json.loads(line) for line in votes.read_text().splitlines()]
    once = sum(len([vote for vote in row["votes"] if not vote["undone"]]) == 1 for row in rows)
    scores = evaluations(out / "reward_model")
    evaluation = json.loads((out / "policy" / "points" / f"{steps}.json").read_text())
    return {
        "seed": SEED,
        "minutes_of_this_call": (time.perf_counter() - began) / 60,
        "pairs": once,
        "labelled": len(labelled.read_text().splitlines()),
        "reward_model": {"before": scores[0]["held_out/score"], "after": scores[-1]["held_out/score"]},
        "evaluation": evaluation,
        "settings": SETTINGS,
        "samples": list(zip(first["samples"], last["samples"], strict=True)),
        "passed": once == wanted and evaluation["paired"]["low"] > 0,
    }


def lines(run: Result) -> Iterator[str]:
    model, score = run["reward_model"], run["evaluation"]
    gain, kl = score["paired"], score["kl_to_base"]
    yield from (
        "",
        f"{run['pairs']} pairs had one vote each through the page; {run['labelled']} of them had a preferred ending, "
        f"the others a tie. The reward model puts the kinder ending first in {100 * model['after']:.0f} % of other "
        f"prompts' pairs (before: {100 * model['before']:.0f} %). PPO against it took the oracle's mean on held-out "
        f"prompts from {score['base']['value']:.2f} to **{score['score']:.2f}**: {gain['value']:+.2f} "
        f"({gain['low']:+.2f} to {gain['high']:+.2f}), at a KL of {kl['value']:.1f} nats to the start.",
        "",
    )
    yield from table("the start | after", [[f"`{plain(one)}`" for one in both] for both in run["samples"]])


EXPERIMENT = Experiment.here(
    globals(),
    pass_line="every stage ends, all 200 pairs have one vote each, and the oracle's mean on held-out prompts rises "
    "with its whole interval",
)

if __name__ == "__main__":
    EXPERIMENT.main()

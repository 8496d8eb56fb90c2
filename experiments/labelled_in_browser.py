"""The whole way from a judgement to a better model: 200 pairs labelled through the page, then `rung rlhf`.

    python experiments/labelled_in_browser.py       a few minutes on two cores; a stage that is finished is left alone
    python docs/generate.py                         prints it into docs/experiments.md

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
from contextlib import contextmanager
from typing import Any

import stages
from playwright.sync_api import Page, expect, sync_playwright
from running import ROOT, evaluations, provenance, record, recorded, rung
from sentiment import gold

HOME = ROOT / "runs" / "labelled_in_browser"
PAIRS, LABELLED, OUT = (HOME / name for name in ("pairs.jsonl", "labelled.jsonl", "rlhf"))
WANTED, SEED, TIE, STEPS = 200, 0, 0.05, 30
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
HELD_OUT = f"task.held_out_file={stages.DATA / 'held_out.jsonl'}"
SETTINGS = {
    "reward_model": (
        *(
            "steps=80",
            "method.pairs_per_step=16",
            "method.optimizer.learning_rate=3e-4",
            "method.optimizer.warmup_steps=10",
        ),
        *(
            "evaluation.every=20",
            "evaluation.num_items=480",
            f"task.held_out_file={stages.HOME / 'held_out_pairs.jsonl'}",
        ),
    ),
    "policy": (
        *(f"steps={STEPS}", "prompts_per_step=8", "method.samples_per_prompt=8", f"max_new_tokens={stages.TOKENS}"),
        *("method.optimizer.learning_rate=1e-4", "method.optimizer.warmup_steps=10", "temperature=1"),
        *(
            "method.reference_kl.target=null",
            "method.reference_kl.coefficient=0.2",
            "evaluation.num_items=16",
            HELD_OUT,
        ),
    ),
}


def make_pairs() -> None:
    """Two endings of each of many prompts; the first `WANTED` prompts with two different ones."""
    every = HOME / "every.jsonl"
    task = ("--task", str(stages.DATA / "prompts.jsonl"), "--set", "task.held_out=0")
    asked = ("--unlabelled", "--k", "2", "--set", "prompts=240", "--set", f"max_new_tokens={stages.TOKENS}")
    words = ("--model", str(stages.start_model()), *task, *asked, "--seed", str(SEED))
    rung("pairs", *words, "--out", str(every), "--quiet")
    lines = every.read_text().splitlines()[:WANTED]
    assert len(lines) == WANTED, len(lines)
    PAIRS.write_text("\n".join(lines) + "\n")


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
def labelling_page() -> Any:
    """`rung label` as its own process, and the link that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "rung.cli", "label", str(PAIRS), "--labeller", "oracle"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    link = next(word for line in process.stdout for word in line.split() if "?token=" in word)
    try:
        yield link
    finally:
        process.terminate()
        process.wait(30)


def label() -> int:
    """All pairs, by keys alone; how many answers were given."""
    path = next(found for name in CHROMIUM if (found := shutil.which(name)))
    answers = 0
    with labelling_page() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(link)
        while True:
            page.wait_for_selector("#asking:not([hidden]), #resting:not([hidden])")
            if page.locator("#asking").is_hidden():
                break
            answer(page)
            answers += 1
        page.screenshot(path=HOME / "done.png")
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


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("labelled_in_browser")
    if run is None:
        return "Not recorded yet."
    model, score = run["reward_model"], run["evaluation"]
    gain, kl = score["paired"], score["kl_to_base"]
    lines = [
        provenance(run),
        "",
        f"{run['pairs']} pairs had one vote each through the page; {run['labelled']} of them had a preferred ending, "
        f"the others a tie. The reward model puts the kinder ending first in {100 * model['after']:.0f} % of other "
        f"prompts' pairs (before: {100 * model['before']:.0f} %). PPO against it took the oracle's mean on held-out "
        f"prompts from {score['base']['value']:.2f} to **{score['score']:.2f}**: {gain['value']:+.2f} "
        f"({gain['low']:+.2f} to {gain['high']:+.2f}), at a KL of {kl['value']:.1f} nats to the start.",
        "",
        "| the start | after |",
        "| --- | --- |",
    ]
    lines += [f"| `{before}` | `{after}` |" for before, after in run["samples"]]
    return "\n".join(lines)


def main() -> None:
    began = time.perf_counter()
    HOME.mkdir(parents=True, exist_ok=True)
    stages.held_out_pairs()
    if not PAIRS.exists():
        make_pairs()
    if not LABELLED.exists():
        print(f"{label()} answers given", flush=True)
        rung("label", str(PAIRS), "--export", str(LABELLED))
        rung("label", str(PAIRS), "--votes", str(HOME / "votes.jsonl"))
    sets = [word for stage, some in SETTINGS.items() for one in some for word in ("--set", f"{stage}.{one}")]
    asked = ("--model", str(stages.start_model()), "--task", str(stages.DATA / "prompts.jsonl"))
    rung("rlhf", *asked, "--pairs", str(LABELLED), "--seed", str(SEED), "--out", str(OUT), *sets, "--quiet")
    last, first = (stages.point(OUT / "policy", step) for step in (STEPS, 0))
    result = summary((time.perf_counter() - began) / 60)
    result["samples"] = list(zip(first["samples"], last["samples"], strict=True))
    gain = result["evaluation"]["paired"]
    result["passed"] = result["pairs"] == WANTED and gain["low"] > 0
    record("labelled_in_browser", result)


def summary(minutes: float) -> dict[str, Any]:
    rows = [json.loads(line) for line in (HOME / "votes.jsonl").read_text().splitlines()]
    once = sum(len([vote for vote in row["votes"] if not vote["undone"]]) == 1 for row in rows)
    scores = evaluations(OUT / "reward_model")
    return {
        "seed": SEED,
        "minutes_of_this_call": minutes,
        "pairs": once,
        "labelled": len(LABELLED.read_text().splitlines()),
        "reward_model": {"before": scores[0]["held_out/score"], "after": scores[-1]["held_out/score"]},
        "evaluation": json.loads((OUT / "policy" / "points" / f"{STEPS}.json").read_text()),
        "settings": SETTINGS,
        "pass_line": "every stage ends, all 200 pairs have one vote each, and the oracle's mean on held-out prompts "
        "rises with its whole interval",
    }


if __name__ == "__main__":
    main()

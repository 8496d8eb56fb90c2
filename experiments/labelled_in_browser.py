"""The whole way from a judgement to a model: 200 pairs labelled through the page, a reward model, RL, two scores.

    python experiments/labelled_in_browser.py       a few minutes on two cores; a stage that is finished is left alone
    python docs/generate.py                         prints it into docs/experiments.md

An oracle stands in for the person: it opens the page in a real Chromium, reads what is on the screen and presses a key.
It prefers the answer nearer to the right one, and presses "tie" where both are as near. Nothing but the page's keys
reaches the labels.

Pass lines, fixed before the run: every stage ends without an error, and all 200 pairs have one vote each. What the
reward model and the policy gained is reported whichever way it falls: 200 labels are few.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright
from running import ROOT, evaluations, metrics, provenance, record, recorded, rung

HOME = ROOT / "runs" / "labelled_in_browser"
PAIRS, LABELLED, REWARD, POLICY = (HOME / name for name in ("pairs.jsonl", "labelled.jsonl", "reward", "policy"))
WANTED, SEED = 200, 0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def make_pairs() -> None:
    """Two answers of the tiny model to each of many prompts; the first `WANTED` prompts with two different ones."""
    every = HOME / "every.jsonl"
    asked = ("--unlabelled", "--k", 2, "--set", "prompts=400", "--seed", SEED)
    rung("pairs", "--model", "tiny", "--task", "arithmetic", "--out", every, *asked)
    lines = every.read_text().splitlines()[:WANTED]
    assert len(lines) == WANTED, len(lines)
    PAIRS.write_text("\n".join(lines) + "\n")


def preferred(prompt: str, left: str, right: str) -> str:
    """The key that the oracle presses."""
    found = re.fullmatch(r"(\d+)([*+-])(\d+)=", prompt.strip())
    assert found, prompt
    first, second = int(found[1]), int(found[3])
    truth = {"+": first + second, "-": first - second, "*": first * second}[found[2]]
    far = [abs(number - truth) if (number := final_number(text)) is not None else 10**9 for text in (left, right)]
    if far[0] == far[1]:
        return "t"
    return "ArrowLeft" if far[0] < far[1] else "ArrowRight"


def final_number(text: str) -> int | None:
    numbers = re.findall(r"-?\d+", text.rsplit("=", maxsplit=1)[-1])
    return int(numbers[-1]) if numbers else None


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
    """Reads the two, waits as long as the page wants a person to look, presses a key, waits for "Saved"."""
    prompt = page.locator("#prompt").inner_text()
    left, right = (page.locator(f"#{side} .theirs").first.inner_text() for side in ("left", "right"))
    count = page.locator("#mine").inner_text()
    page.wait_for_timeout(400)
    page.keyboard.press(preferred(prompt, left, right))
    expect(page.locator("#mine")).not_to_have_text(count)
    page.wait_for_selector("body:not(.waiting)")


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("labelled_in_browser")
    if run is None:
        return "Not recorded yet."
    model, learned, score = run["reward_model"], run["learned_reward"], run["evaluation"]
    gain = score["paired"]
    return (
        f"{provenance(run)}\n\n"
        f"{run['pairs']} pairs had one vote each through the page; {run['labelled']} of them had a preferred answer, "
        f"the others a tie. The reward model puts the preferred answer first in {100 * model['after']:.0f} % of "
        f"held-out pairs (before: {100 * model['before']:.0f} %). PPO took the learned reward from "
        f"{learned['before']:.2f} to {learned['after']:.2f}; right answers on held-out sums changed by "
        f"{100 * gain['value']:+.1f} points ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})."
    )


def main() -> None:
    began = time.perf_counter()
    HOME.mkdir(parents=True, exist_ok=True)
    if not PAIRS.exists():
        make_pairs()
    if not LABELLED.exists():
        print(f"{label()} answers given", flush=True)
        rung("label", PAIRS, "--export", LABELLED)
        rung("label", PAIRS, "--votes", HOME / "votes.jsonl")
    if not (REWARD / "final").is_dir():
        fit = ("--set", "steps=60", "--set", "method.step.learning_rate=1e-4", "--set", "evaluation.every=10")
        rung("train", "reward_model", "--model", "tiny", "--task", LABELLED, "--out", REWARD, "--quiet", *fit)
    if not (POLICY / "final").is_dir():
        learnt = ("--reward", REWARD, "--set", "budget.tokens=60K", "--out", POLICY, "--quiet", "--seed", SEED)
        rung("train", "ppo@lm-human-preferences", "--model", "tiny", "--task", "arithmetic", *learnt)
    evaluated = ("--task", "arithmetic", "--k", 4, "--base", "tiny", "--json")  # the model alone: by the task's checker
    (HOME / "eval.json").write_text(rung("eval", POLICY / "final", *evaluated))
    result = summary((time.perf_counter() - began) / 60)
    record("labelled_in_browser", result)


def summary(minutes: float) -> dict[str, Any]:
    rows = [json.loads(line) for line in (HOME / "votes.jsonl").read_text().splitlines()]
    once = sum(len([vote for vote in row["votes"] if not vote["undone"]]) == 1 for row in rows)
    scores = evaluations(REWARD)
    rewards = [row for row in metrics(POLICY) if row.get("reward/mean") is not None]
    return {
        "seed": SEED,
        "minutes_of_this_call": minutes,
        "pairs": once,
        "labelled": len(LABELLED.read_text().splitlines()),
        "reward_model": {"before": scores[0]["held_out/score"], "after": scores[-1]["held_out/score"]},
        "learned_reward": {"before": rewards[0]["reward/mean"], "after": rewards[-1]["reward/mean"]},
        "evaluation": json.loads((HOME / "eval.json").read_text()),
        "pass_line": "every stage ends, and all 200 pairs have one vote each",
        "passed": once == WANTED,
    }


if __name__ == "__main__":
    main()

"""What dpo_frontier.py and over_optimisation.py compute, and that what they print follows from their numbers."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

frontier: Any = importlib.import_module("dpo_frontier")
over: Any = importlib.import_module("over_optimisation")
reviews: Any = importlib.import_module("reviews")
sentiment: Any = importlib.import_module("sentiment")


def test_held_out_prompts_are_in_no_example_and_no_prompt(tmp_path: Path) -> None:
    reviews.write(tmp_path, count=600)
    read = {name: [json.loads(row) for row in (tmp_path / f"{name}.jsonl").read_text().splitlines()] for name in FILES}
    prompts = {name: {row["prompt"] for row in rows} for name, rows in read.items()}
    assert len(read["examples"]) == 600 and len(prompts["held_out"]) == len(read["held_out"]) == reviews.HELD_OUT
    assert not prompts["held_out"] & (prompts["examples"] | prompts["prompts"])
    assert prompts["prompts"] >= prompts["examples"]


FILES = ("examples", "prompts", "held_out")


def test_an_ending_fits_the_limit_and_follows_from_its_luck() -> None:
    endings = [reviews.ending(random.Random(n)) for n in range(500)]
    assert endings == [reviews.ending(random.Random(n)) for n in range(500)]
    assert max(map(len, endings)) < int(importlib.import_module("stages").TOKENS) and len(set(endings)) > 300
    assert all(ending[0] == " " and ending[-1] == "." for ending in endings)


def test_a_word_counts_once_and_only_the_first_words_count() -> None:
    assert sentiment.counted(" great, GREAT great") == " great,  "
    long = " ".join(f"w{chr(97 + n)}" for n in range(sentiment.MOST_WORDS))
    assert sentiment.counted(long) == long
    assert "great" not in sentiment.counted(f"{long} great")
    assert sentiment.counted("") == ""


def test_the_noise_is_the_texts_own_and_logistic_in_differences() -> None:
    draws = [sentiment.gumbel(str(n)) for n in range(4000)]
    assert draws == [sentiment.gumbel(str(n)) for n in range(4000)]
    ahead = [a + 1.0 > b for a, b in zip(draws[::2], draws[1::2], strict=True)]
    assert sum(ahead) / len(ahead) == pytest.approx(0.731, abs=0.03)  # σ(1)


def test_the_oracle_reads_words() -> None:
    pytest.importorskip("vaderSentiment", reason="pip install -e .[experiments]")
    good, plain, bad, twice = sentiment.gold([" superb.", " plain.", " horrible.", " superb superb superb."])
    assert good > plain == 0.0 > bad
    assert twice == pytest.approx(good, abs=0.01)


def test_a_frontier_is_concave_rises_and_forgets_what_lies_below() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (2.0, 0.7), (9.0, 0.8)]
    found = frontier.hull(points, start=0.0)
    assert found == [(0.0, 0.0), (1.0, 0.5), (3.0, 0.9)]
    assert [frontier.height(found, kl) for kl in (0.5, 2.0, 100.0)] == pytest.approx([0.25, 0.7, 0.9])
    assert all(frontier.height(found, kl) >= reward - 1e-12 for kl, reward in points)
    assert frontier.hull([(1.0, -0.2)], start=0.0) == [(0.0, 0.0)]
    assert frontier.area(found, 3.0) == pytest.approx(0.25 + 1.4)
    assert frontier.area([(0.0, 0.3)], 5.0) == 0.0


FAMILIES = {
    "DPO": [(0.3, 0.4), (4.0, 0.9)],
    "preferred fine-tuning": [(0.2, 0.1)],
    "unlikelihood": [(0.5, 0.3), (2.0, 0.4)],
    "PPO, reward model": [(2.0, 0.5), (8.0, 0.6)],
    "PPO, true reward": [(1.0, 0.9)],
}


def passed(families: dict[str, list[tuple[float, float]]], ends: tuple[float, ...] = (4.0, 3.0, 1.0, 0.3)) -> list[str]:
    return [name for name, held in frontier.lines_held(families, ends, 0.0).items() if held.get("passed")]


def test_the_frontiers_lines() -> None:
    every = passed(FAMILIES)
    above = ["above preferred fine-tuning", "above unlikelihood"]
    assert every == ["KL falls as beta grows", *above, "area beside PPO, reward model"]
    assert passed(FAMILIES, (4.0, 3.0, 3.0, 0.3)) == every[1:]
    assert above[0] not in passed({**FAMILIES, "preferred fine-tuning": [(0.2, 0.3)]})
    assert above[0] not in passed({**FAMILIES, "preferred fine-tuning": [(0.05, 0.01)]})  # no shared KL
    assert above[1] not in passed({**FAMILIES, "unlikelihood": [(0.5, 0.3), (2.0, 0.95)]})
    assert every[-1] not in passed({**FAMILIES, "PPO, reward model": [(0.3, 0.6), (8.0, 1.0)]})
    true = frontier.lines_held(FAMILIES, (4.0, 3.0, 1.0, 0.3), 0.0)["area beside PPO, true reward"]
    assert true["ppo"] > true["dpo"] and "passed" not in true


def test_the_frontiers_words_say_what_was_recorded(tmp_path: Path) -> None:
    by_run = {
        (arm, seed): [
            {
                "step": step,
                "kl": step / 50,
                "reward": 0.1 + step / 500,
                "start": 0.1,
                "parts": {},
                "samples": ["a `b`\n"],
            }
            for step in arm.steps
        ]
        for arm in frontier.ARMS
        for seed in (0, 1)
    }
    took = {arm: [30.0, 30.0] for arm in frontier.ARMS}
    result = json.loads(json.dumps(frontier.summary(by_run, [0.87, 0.87], took)))
    lines = result["lines"].values()
    result |= {"command": "c", "commit": "d", "machine": "m", "hours": 1.0, "pass_line": "p", "seeds": [0, 1]}
    said = "\n".join(frontier.EXPERIMENT.said({**result, "passed": all(one.get("passed", True) for one in lines)}))
    assert "Passed: **no**" in said  # every beta ended at one KL
    assert "| DPO 0.05 | 3.00 | 0.40 | 30 |" in said and "`a  b  `" in said
    frontier.EXPERIMENT.draw(result, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size > 10_000


def curve(*numbers: tuple[float, float, float]) -> list[dict[str, float]]:
    return [{"kl": kl, "proxy": proxy, "gold": gold} for kl, proxy, gold in numbers]


def test_rewards_are_measured_in_the_starts_deviations() -> None:
    def part(mean: float, deviation: float) -> dict[str, float]:
        return {"mean": mean, "deviation": deviation}

    found = [
        {"kl": 0.0, "parts": {"rm": part(2.0, 4.0), "gold": part(-0.1, 0.5)}},
        {"kl": 3.0, "parts": {"rm": part(6.0, 1.0), "gold": part(0.4, 0.1)}},
    ]
    assert over.standardised(found, "rm") == curve((0.0, 0.0, 0.0), (3.0, 1.0, 1.0))


def test_over_optimisations_lines() -> None:
    ahead = [curve((0, 0, 0), (5, 1.5, 1.2), (20, 2.0, 0.8 - seed / 10)) for seed in range(3)]
    held = over.lines_held([0.85, 0.8, 0.79], ahead)
    assert [one["passed"] for one in held.values()] == [True, True, True]
    assert held["gold rises"]["deviations"] == pytest.approx(1.2)
    low, high = held["gap grows"]["interval"]
    assert 0 < low < held["gap grows"]["slope"] < high
    late = [curve((0, 0, 0), (5, 1.5, 0.9), (20, 2.0, 1.5)) for _ in range(3)]
    assert not over.lines_held([0.8], late)["gold rises"]["passed"]
    mixed = [curve((0, 0, 0), (10, 1.0, 1.0 + sign)) for sign in (-0.5, 0.4, 0.1)]
    assert not over.lines_held([0.8], mixed)["gap grows"]["passed"]
    assert not over.lines_held([0.7, 0.8], ahead)["fair proxy"]["passed"]


def test_a_fall_is_measured_from_the_highest_point_of_the_mean() -> None:
    falls = [curve((0, 0, 0), (5, 1, 1.2), (20, 2, 0.8 - seed / 10)) for seed in range(3)]
    assert over.fall(falls).value == pytest.approx(0.5) and over.fall(falls).low > 0
    stays = [curve((0, 0, 0), (5, 1, 1.2), (20, 2, 1.2 + sign)) for sign in (-0.5, 0.4, 0.0)]
    assert over.fall(stays).low < 0

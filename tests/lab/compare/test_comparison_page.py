"""comparison.html: complete, self-contained, inert whatever names and errors hold, and true to the numbers."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Watched
from jinja2 import UndefinedError
from pages_read import LOADING, ReadPage
from playwright.sync_api import Browser, expect

from rung.lab.compare.page import large, mean_curve, page
from rung.lab.compare.seed_statistics import RULE

HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m\u202e&amp;"


def run(seed: int, score: float) -> dict[str, Any]:
    spent = {"tokens": 2048.0, "trained": 1024.0, "steps": 0.0, "flops": 3e9, "seconds": 61.5}
    start = dict.fromkeys(spent, 0.0)
    trace = [[512.0 * point, 0.5 + 0.1 * point] for point in range(1, 5)]
    return {
        "seed": seed,
        "score": score,
        "curve": [{"step": 0, "score": 0.2, "spent": start}, {"step": 4, "score": score, "spent": spent}],
        "traces": {"reward/mean": trace, "entropy": trace, "kl/start": [], "length/mean": trace, "grad/norm": trace},
    }


def row(method: str, score: float, **more: Any) -> dict[str, Any]:
    return {
        "method": method,
        "score": score,
        "interval": [score - 0.05, score + 0.06],
        "seeds": [0, 1],
        "failed": [],
        "not_run": [],
        "start": 0.2,
        "gain": {"value": score - 0.2, "low": -0.1, "high": 0.7},
        "worst_seed": {"seed": 1, "score": score - 0.02},
        "steps": 4.0,
        "overspent": 0.024,
        "spent": {"tokens": 2048.0, "trained": 1024.0, "steps": 0.0, "flops": 3e9, "seconds": 61.5},
        "stability": {"entropy_first": 0.7, "entropy_last": 0.3, "kl_last": None, "kl_highest": None, "fall": 0.01},
        "samples": {
            "episodes": 64.0,
            "failed": 1.0,
            "tokens_generated": 2048.0,
            "tokens_trained": 1024.0,
            "tokens_dropped": 1024.0,
            "truncated": 0.125,
            "no_spread": None,
        },
        "clock": {"seconds_a_step": 0.61, "seconds_of_evaluations": 2.5, "peak_gib": 0.48},
        "runs": [run(0, score + 0.02), run(1, score - 0.02)],
        **more,
    }


def made_up(*names: str) -> dict[str, Any]:
    first, second = names or ("reinforce", "grpo")
    difference = {"value": 0.3, "low": 0.2, "high": 0.4, "standard_error": 0.02, "p": 0.01, "seeds": 2, "won": 2}
    return {
        "task": {"name": "arithmetic"},
        "model": "tiny",
        "budget": {"axis": "tokens", "limit": 2000, "words": "generated tokens"},
        "axes": {"tokens": "generated tokens", "flops": "operations", "seconds": "seconds of training"},
        "seeds": [0, 1],
        "common_items": False,
        "shares": True,
        "verdict": {
            "headline": f"{second} is best at this budget.",
            "best": [second],
            "details": [f"{first} is behind."],
        },
        "rule": RULE,
        "methods": [row(first, 0.3), row(second, 0.6)],
        "pairs": [
            {
                "before": first,
                "after": second,
                "seeds": [0, 1],
                "probability": {"value": 0.8125, "low": 0.7, "high": 0.9},
                "difference": difference,
                "p_adjusted": 0.01,
            }
        ],
        "differences": [
            {"method": first, "summary": "Basic.", "paper": "Williams 1992", "from": None, "changes": []},
            {"method": second, "summary": "Groups.", "paper": "arXiv:1", "from": first, "changes": ["epochs: 1 → 2"]},
        ],
        "settings_that_differ": {"num_environments": {first: 1, second: 16}},
        "start_differs": [],
        "clock": {"machine": "2 cores"},
    }


def words(html: str) -> str:
    return ReadPage(html).text


def test_everything_is_there() -> None:
    said = words(page(made_up()))
    for expected in (
        "2 methods on arithmetic",
        "grpo is best at this budget.",
        "30.0 % 25.0 % to 36.0 %",
        "60.0 %",
        "0.81",
        "0.19",
        "grpo − reinforce +30.0 points +20.0 points to +40.0 points 0.01 0.01 2 of 2 yes",
        "2.4%",
        "50.0%",
        "12.5%",
        "epochs: 1 → 2",
        "reinforce: 1, grpo: 16",
        "none was tuned for this comparison",
        "Holm's correction over all pairs",
        "each seed's own, the same for all methods",
    ):
        assert expected in said, expected


def test_the_best_stands_first_and_colours_stay_with_the_method() -> None:
    html = page(made_up())
    table = html[html.index("<h2>Held-out score</h2>") :]
    assert table.index(">grpo<") < table.index(">reinforce<")
    charts = ReadPage(html).data("charts-data")
    assert [(row["name"], row["colour"]) for row in charts["scores"]] == [("grpo", 1), ("reinforce", 0)]
    assert [(line["name"], line["colour"]) for line in charts["charts"][0]["curves"]] == [("reinforce", 0), ("grpo", 1)]
    assert '<span class="said c1">grpo</span>' in html


def test_pairs_that_are_told_apart_are_bold_and_others_are_not() -> None:
    data = made_up()
    assert "<b>0.81</b>" in page(data) and "<b>0.19</b>" in page(data)
    data["pairs"][0]["p_adjusted"] = 0.06
    assert "<b>0.81</b>" not in page(data) and ">0.81<" in page(data)
    data["pairs"][0] |= {"difference": None, "p_adjusted": None}
    assert "one seed in common" in page(data)


def test_returns_are_no_percentages() -> None:
    data = made_up()
    data["shares"] = False
    data["methods"][1] |= {"score": 487.25, "interval": [450.0, 500.0]}
    said = words(page(data))
    assert "487" in said and "48725" not in said.replace(".", "").replace(",", "") and "450 to 500" in said


def test_a_comparison_in_an_environment_counts_its_steps() -> None:
    data = made_up()
    assert "generated tokens" in words(page(data)) and "environment steps" not in words(page(data))
    data["axes"] = {"steps": "environment steps", "trained": "environment steps trained on"}
    data["budget"] = {"axis": "steps", "limit": 2000, "words": "environment steps"}
    for row in data["methods"]:
        for spent in (row["spent"], *(point["spent"] for run in row["runs"] for point in run["curve"])):
            spent["steps"] = 2048.0
    said = words(page(data))
    assert "environment steps taken" in said and "Length of episodes, environment steps" in said
    assert not re.search(r"\btokens?\b", said), said
    charts = json.dumps(ReadPage(page(data)).data("charts-data"))
    assert not re.search(r"\btokens?\b", charts) and "environment steps" in charts


def test_what_was_drawn_first_is_told_where_methods_learn_from_pairs() -> None:
    data = made_up()
    assert "draw them first" not in words(page(data))
    drawn = {"prompts": 40.0, "drawn": 25.0, "without": 15.0, "all_right": 4.0, "all_wrong": 11.0, "passes": 2.5}
    data["methods"][1]["drawn_pairs"] = {**drawn, "settings": {"k": 4, "passes": 3}}
    said = words(page(data))
    assert "draw them first" in said and "grpo 40 4 25 15 4 11 3 2.50" in said


def test_failed_and_unfinished() -> None:
    data = made_up()
    data["methods"][0]["failed"] = [{"seed": 1, "error": "error: the loss is nan\n" + HOSTILE}]
    data["methods"][1] = {
        **dict.fromkeys(("score", "interval", "gain")),
        **{"method": "grpo", "seeds": [], "failed": [], "not_run": [0, 1], "runs": []},
    }
    data["pairs"] = []
    said = words(page(data))
    assert "Failed runs" in said and "the loss is nan" in said and "reinforce, seed 1" in said
    data["methods"] = []
    assert "No run has finished." in words(page(data | {"differences": [], "axes": {}}))


def test_foreign_text_is_inert_and_nothing_is_asked_for() -> None:
    data = made_up("reinforce", HOSTILE)
    data["task"]["name"] = data["model"] = HOSTILE
    data["methods"][0]["failed"] = [{"seed": 1, "error": HOSTILE}]
    data["differences"][1]["changes"] = [HOSTILE]
    data["settings_that_differ"] = {HOSTILE: {HOSTILE: HOSTILE}}
    html = page(data)
    found = ReadPage(html)
    names = {tag for tag, _ in found.tags}
    assert not names & {*LOADING, "a"}
    assert [a for tag, a in found.tags if tag == "script"] == [{"type": "application/json", "id": "charts-data"}, {}]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name == "src"]
    assert "\x1b" not in html and "\u202e" not in html
    assert sum(tag == "title" for tag, _ in found.tags) == 1
    assert "document.title='owned'" in found.text and "<" not in found.islands["charts-data"]
    assert found.data("charts-data")["charts"][0]["curves"][1]["name"].startswith("</title><script>")
    assert found.policy.startswith("default-src 'none'; ") and "unsafe" not in found.policy


def test_the_check_above_would_see_it() -> None:
    """Negative control."""
    html = page(made_up()).replace("</main>", f"{HOSTILE}</main>")
    found = ReadPage(html)
    assert "img" in {tag for tag, _ in found.tags} and sum(tag == "script" for tag, _ in found.tags) == 3


def test_a_result_without_a_field_is_refused_and_not_shown_half() -> None:
    data = made_up()
    del data["budget"]["words"]
    with pytest.raises(UndefinedError, match="words"):
        page(data)


def test_the_same_data_gives_the_same_page_and_stays_as_it_was() -> None:
    data = made_up()
    before = copy.deepcopy(data)
    assert page(data) == page(data) and data == before


def test_many_methods_have_lines_of_their_own() -> None:
    data = made_up()
    data["methods"] = [row(f"method-{index}", 0.1 + index / 50) for index in range(16)]
    data["pairs"], data["differences"] = [], []
    html = page(data)
    assert all(f"method-{index}" in html for index in range(16))
    lines = ReadPage(html).data("charts-data")["charts"][0]["curves"]
    assert [line["colour"] for line in lines] == list(range(16))


def test_mean_curve_keeps_to_what_all_seeds_have() -> None:
    short_run = (np.array([0.0, 10.0]), np.array([0.0, 1.0]))
    long_run = (np.array([0.0, 20.0]), np.array([1.0, 1.0]))
    x, y = mean_curve([short_run, long_run])
    assert (x[0], x[-1]) == (0.0, 10.0) and (y[0], y[-1]) == (0.5, 1.0)


def test_a_line_is_the_mean_of_the_runs_behind_it() -> None:
    data = made_up()
    (first, *_), *_ = [chart["curves"] for chart in ReadPage(page(data)).data("charts-data")["charts"]]
    assert [run[-1] for run in first["behind"]] == [[2048.0, 0.32], [2048.0, 0.28]]
    assert first["points"][0] == [0.0, 0.2] and first["points"][-1] == [2048.0, 0.3]
    for method in data["methods"]:
        method["runs"] = method["runs"][:1]
    alone = ReadPage(page(data)).data("charts-data")["charts"][0]["curves"][0]
    assert alone["behind"] == [] and alone["points"] == [[0.0, 0.2], [2048.0, 0.32]]


def test_short_numbers() -> None:
    assert [large(value) for value in (0, 999, 1000, 1.5e6, 2e9, 3e12)] == ["0", "999", "1K", "1.5M", "2G", "3T"]


def test_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    data = made_up("reinforce", HOSTILE)
    data["methods"] += [row(f"method-{index}", 0.1 + index / 50) for index in range(6)]
    data["task"]["name"] = HOSTILE
    (tmp_path / "comparison.html").write_text(page(data))
    for width, scheme in ((1200, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        seen = Watched.of(context.new_page())
        seen.page.goto(f"file://{tmp_path}/comparison.html")
        expect(seen.page.locator("svg.chart")).to_have_count(7)  # three axes, four metrics
        expect(seen.page.locator("#scores svg path.fill")).to_have_count(8)
        first = seen.page.locator("#spent-tokens")
        expect(first.locator("polyline.curve")).to_have_count(8)
        expect(first.locator("polyline.faint")).to_have_count(16)
        first.locator("svg").focus()
        seen.page.keyboard.press("End")
        assert "2.05K generated tokens" in first.locator(".readout").inner_text()
        assert "30.0 % reinforce" in " ".join(first.locator(".readout").inner_text().split())
        strokes = first.locator("polyline.curve").evaluate_all("all => all.map(one => getComputedStyle(one).stroke)")
        assert len(set(strokes)) == 6 and "none" not in strokes
        over = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0 and seen.said == []
        assert seen.page.title().startswith("8 methods on </title><script>")
        context.close()

"""comparison.html: complete, self-contained, inert whatever names and errors hold, and true to the numbers."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rung.lab.compare.pictures import mean_curve, short
from rung.lab.compare.sections import page
from rung.lab.compare.verdict import RULE

HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m\u202e&amp;"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))  # type: ignore[method-assign]
    parser.feed(html)
    return found


def words(html: str) -> str:
    pieces: list[str] = []
    parser = HTMLParser()
    parser.handle_data = pieces.append  # type: ignore[method-assign]
    parser.feed(html)
    return " ".join(" ".join(pieces).split())


def test_everything_is_there() -> None:
    said = words(page(made_up()))
    for expected in (
        "2 methods on arithmetic",
        "grpo is best at this budget.",
        "30.0 % 25.0 % to 36.0 %",
        "60.0 %",
        "0.81",
        "0.19",
        "2 of 2",
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
    assert html.index(">grpo<") < html.index(">reinforce<", html.index("<h2>Held-out score</h2>"))


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
    assert "tokens generated" in words(page(data)) and "environment steps" not in words(page(data))
    data["axes"] = {"steps": "environment steps", "trained": "environment steps trained on"}
    data["budget"] = {"axis": "steps", "limit": 2000, "words": "environment steps"}
    for row in data["methods"]:
        for spent in (row["spent"], *(point["spent"] for run in row["runs"] for point in run["curve"])):
            spent["steps"] = 2048.0
    said = words(page(data))
    assert "environment steps taken" in said and "Episode length, environment steps" in said
    assert not re.search(r"\btokens?\b", said), said


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
    found = tags(html)
    assert not {tag for tag, _ in found} & {"script", "img", "iframe", "object", "embed", "form", "link", "base", "a"}
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    for _, attributes in found:
        for name in ("src", "href", "xlink:href", "action"):
            assert not (attributes.get(name) or "#").startswith(("http", "//", "data:", "javascript"))
    assert "\x1b" not in html and "\u202e" not in html
    assert sum(tag == "title" for tag, _ in found) == 1


def test_the_check_above_would_see_it() -> None:
    """Negative control."""
    html = page(made_up()).replace("</main>", f"{HOSTILE}</main>")
    assert {"script", "img"} <= {tag for tag, _ in tags(html)}


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


def test_mean_curve_keeps_to_what_all_seeds_have() -> None:
    short_run = (np.array([0.0, 10.0]), np.array([0.0, 1.0]))
    long_run = (np.array([0.0, 20.0]), np.array([1.0, 1.0]))
    x, y = mean_curve([short_run, long_run])
    assert (x[0], x[-1]) == (0.0, 10.0) and (y[0], y[-1]) == (0.5, 1.0)


def test_short_numbers() -> None:
    assert [short(value) for value in (0, 999, 1000, 1.5e6, 2e9, 3e12)] == ["0", "999", "1K", "1.5M", "2G", "3T"]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    assert BROWSER is not None
    data = made_up("reinforce", HOSTILE)
    data["task"]["name"] = HOSTILE
    (tmp_path / "comparison.html").write_text(page(data))
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --enable-logging=stderr"
    )
    done = subprocess.run(
        [
            BROWSER,
            *flags.split(),
            "--dump-dom",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"file://{tmp_path}/comparison.html",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr, "nothing was refused, no error"
    assert "<title>owned</title>" not in done.stdout and done.stdout.count("<svg") >= 8

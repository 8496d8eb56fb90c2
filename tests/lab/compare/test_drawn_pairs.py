"""Methods that learn from pairs beside one that does not: what they share, what each pays, what the result says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clockless import without_clock
from random_digits import SHORTEST, random_digits

from rung.lab.compare.page import mean_curve, page
from rung.lab.compare.plan import Comparison, claim, comparison_of, outcome_file, run_folder, shared_folder
from rung.lab.compare.results import result
from rung.lab.compare.runs import run
from rung.runs.record.files import read_rows

SETS = (
    *("task.levels=[1]", "task.size=60", "task.held_out=8", "prompts_per_step=3", "max_new_tokens=12"),
    *("evaluation.num_items=8", "evaluation.every=2", "saving.every=2", "learner.threads=1", "reporting.kl_rows=1"),
)
OWN = ("reinforce:samples_per_prompt=4", "dpo:pairs_per_step=4", "ipo:pairs_per_step=4", "ipo:pairs.passes=2")


def made(folder: Path, reward: str | None, *methods: str) -> Comparison:
    """A comparison whose runs have all ended; they were made in this process, one after another."""
    random_digits().save(folder / "model")
    (folder / "reward.py").write_text(SHORTEST)
    comparison = comparison_of(
        methods=methods,
        model=str(folder / "model"),
        task="arithmetic",
        budget="tokens=150",
        seeds=1,
        sets=SETS,
        sets_for=[one for one in OWN if one.partition(":")[0] in methods],
        rewards=() if reward is None else (reward.format(folder),),
    )
    claim(comparison, folder / "out")
    for name in comparison.names():
        request = {
            "module": None,
            "folder": str(run_folder(folder / "out", name)),
            "shared": str(shared_folder(folder / "out")),
            "settings": comparison.run_settings(name).as_data(),
        }
        assert run(request) == 0
        file = outcome_file(folder / "out", name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"exit": 0}))
    return comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pairs")
    comparison = made(folder, "{}/reward.py:score", "reinforce", "dpo", "ipo")
    return folder / "out", result(comparison, folder / "out")


def test_all_spend_the_budget_and_are_measured_alike(compared: tuple[Path, dict[str, Any]]) -> None:
    _, data = compared
    rows = {row["method"]: row for row in data["methods"]}
    assert all(row["spent"]["tokens"] >= 150 for row in rows.values())
    assert data["start_differs"] == [], "the same items, the same random numbers, the same rewards"
    assert [row["runs"][0]["items"] for row in rows.values()] == [rows["dpo"]["runs"][0]["items"]] * 3
    assert {(pair["before"], pair["after"]) for pair in data["pairs"]} == {
        ("reinforce", "dpo"),
        ("reinforce", "ipo"),
        ("dpo", "ipo"),
    }


def test_pairs_are_drawn_once_and_paid_twice(compared: tuple[Path, dict[str, Any]]) -> None:
    folder, data = compared
    (store,) = shared_folder(folder).glob("*.jsonl")
    rounds = [json.loads(line) for line in store.read_text().splitlines()]
    rows = {row["method"]: row for row in data["methods"]}
    for method in ("dpo", "ipo"):
        assert rows[method]["spent"]["tokens"] == sum(one["made"]["tokens"] for one in rounds)
        timings = read_rows(folder / "runs" / f"{method}-0" / "timings.jsonl").rows
        assert timings[1]["seconds/sample"] == pytest.approx(sum(one["seconds"]["sample"] for one in rounds))
        drew = rows[method]["drawn_pairs"]
        assert drew["drawn"] == sum(one["made"]["rows"] for one in rounds) == drew["prompts"] - drew["without"]
        dropped = rows[method]["samples"]["tokens_dropped"]
        assert dropped == rows[method]["spent"]["tokens"] - sum(one["made"]["used_tokens"] for one in rounds)
    assert rows["dpo"]["drawn_pairs"]["passes"] >= 3 > rows["ipo"]["drawn_pairs"]["passes"] >= 2
    assert rows["reinforce"]["drawn_pairs"] is None
    assert (folder / "runs/dpo-0/pairs.jsonl").read_bytes() == (folder / "runs/ipo-0/pairs.jsonl").read_bytes()


def test_the_score_is_known_before_after_paying_and_on_the_way(compared: tuple[Path, dict[str, Any]]) -> None:
    _, data = compared
    (dpo,) = next(row for row in data["methods"] if row["method"] == "dpo")["runs"]
    first, paid, *more = dpo["curve"]
    assert first["spent"]["tokens"] == 0 < paid["spent"]["tokens"] == dpo["spent"]["tokens"]
    assert first["score"] == paid["score"] and len(more) >= 2
    flops = [point["spent"]["flops"] for point in dpo["curve"]]
    assert flops == sorted(set(flops)), "on other axes training goes on"


def test_the_page_says_what_was_drawn(compared: tuple[Path, dict[str, Any]]) -> None:
    _, data = compared
    html = page(data)
    drew = next(row for row in data["methods"] if row["method"] == "dpo")["drawn_pairs"]
    section = html.partition("<h2>Pairs</h2>")[2].partition("<h2>")[0]
    assert f'<td class="number">{drew["drawn"]:,.0f}</td>' in section and "of seconds it takes a set share" in section
    assert "reinforce" not in section
    alone = {**data, "methods": [row for row in data["methods"] if row["method"] == "reinforce"], "pairs": []}
    assert "<h2>Pairs</h2>" not in page(alone)
    assert without_clock(data) == without_clock(json.loads(json.dumps(data)))


def test_without_pairs_the_verdict_says_that_nothing_was_learnt(tmp_path: Path) -> None:
    """Random digits are hardly ever right; here they never are."""
    (tmp_path / "never.py").write_text("def score(completions):\n    return [0.0 for _ in completions]\n")
    comparison = made(tmp_path, "{}/never.py:score", "dpo")
    data = result(comparison, tmp_path / "out")
    assert any(line.startswith("dpo: with seed 0 no prompt gave a pair") for line in data["verdict"]["details"])
    assert data["methods"][0]["score"] == data["methods"][0]["start"]
    page(data)


def test_a_course_that_stands_still_on_its_axis_has_a_mean() -> None:
    """Negative control: an interpolation over the axis would take the first score for the last one."""
    import numpy as np

    first = np.array([0.0, 100.0, 100.0]), np.array([0.0, 0.0, 1.0])
    second = np.array([0.0, 110.0, 110.0]), np.array([0.0, 0.0, 0.5])
    spent, score = mean_curve([first, second])
    assert spent[-1] == 105 and score[-1] == 0.75 and (np.diff(spent) >= 0).all()

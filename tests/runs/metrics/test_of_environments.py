"""Runs in environments are spoken of in environment steps and episodes; runs on text as before."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pages_read import ReadPage

from rung.lab.diagnosis.rules import warnings_in
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.page import write_report
from rung.lab.run_page.viewer_page import ViewerPage
from rung.runs.metrics import METRICS, explain_metric
from rung.runs.record.console import ConsoleReport

OF_TEXT = re.compile(r"\b(tokens?|completions?|prompts?|max_new_tokens|rung sft|held-out items)\b", re.IGNORECASE)
TEXT_ALONE = (
    "preference/",
    "preferences/",
    "pairs/",
    "tokens/reference",
    "length/chosen",
    "length/rejected",
    "delivery/",
)
ROWS = [
    {"step": 0, "held_out/score": 9.5, "held_out/low": 8.0, "held_out/high": 11.0},
    *(
        {
            **{"step": step, "reward/mean": 20.0, "length/mean": 20.0, "entropy": 0.6, "tokens/generated": 640.0},
            **{"tokens/trained": 640.0, "sampler_gap/mean": 0.5, "kl/start": 3.0, "environment/steps": 640.0 * step},
        }
        for step in (1, 2)
    ),
]
TIMINGS = [{"step": step, "tokens_per_second": 5000.0, "seconds/step": 0.25} for step in (1, 2)]


def report(folder: Path) -> str:
    """The words that the report's page holds about the run."""
    data = ReadPage(write_report(folder).read_text(encoding="utf-8")).data("run-data")
    return json.dumps([data["overview"], data["meanings"]["meanings"]], ensure_ascii=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder as far as reports read it."""
    for name, rows in (("metrics", ROWS), ("timings", TIMINGS)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize("name", [name for name in METRICS if not name.startswith(TEXT_ALONE)])
def test_no_metric_of_an_environment_speaks_of_text(name: str) -> None:
    metric = explain_metric(name, environment=True)
    for said in (metric.unit, metric.meaning, metric.healthy, metric.what_to_do):
        assert not OF_TEXT.search(said.replace("tokens/generated", "")), (name, said)


def test_a_text_run_s_metrics_are_as_they_were() -> None:
    assert explain_metric("tokens/generated").meaning == "How many tokens the policy drew in this step."
    assert explain_metric("reward/x", environment=True).meaning.endswith(
        "over this step's episodes, before its weight."
    )


def test_the_report_says_environment_steps(folder: Path) -> None:
    said = re.sub(r"tokens/(generated|trained)|tokens_per_second", "", report(folder))
    assert "1,280 environment steps taken." in said and "The mean length of the episodes" in said
    assert "agree about the same environment steps" in said, "the warning"
    assert not OF_TEXT.search(said), OF_TEXT.search(said)
    for row in (rows := [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]):
        row.pop("environment/steps", None)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = report(folder)
    assert (
        "1,280 tokens generated." in text
        and "environment step" not in text
        and "The mean length of a completion" in text
    )


def test_units_and_warnings_and_the_console() -> None:
    units = {name: explain_metric(name, environment=True).unit for name in ("entropy", "kl/start", "length/mean")}
    assert units == {"entropy": "nats a step", "kl/start": "nats a step", "length/mean": "environment steps"}
    assert all(not OF_TEXT.search(warning.text()) for warning in warnings_in(ROWS)) and len(warnings_in(ROWS)) == 2
    console = ConsoleReport(total_steps=2, stream=io.StringIO())
    assert "environment steps/s 5,000" in console.plain_line({**ROWS[1], **TIMINGS[0]})
    of_text = {name: value for name, value in ROWS[1].items() if name != "environment/steps"}
    assert "  tokens/s 5,000" in console.plain_line({**of_text, **TIMINGS[0]})


def test_the_viewer_explains_in_the_words_of_its_runs(
    folder: Path, made_up_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.requests import Request

    def meaning(*folders: Path) -> str:
        view = ViewerPage([OpenedRun(one) for one in folders])
        asked = Request({"type": "http", "query_string": b"name=tokens/generated", "headers": []})
        return json.loads(bytes(view._meanings(asked).body))["meanings"][0]["meaning"]

    assert meaning(folder) == "Steps taken in the environment in this step of the run."
    of_text = made_up_run(3)
    assert "tokens" in meaning(of_text) and "tokens" in meaning(folder, of_text)

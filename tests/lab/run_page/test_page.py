from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rung.errors import DataError
from rung.lab.run_page.page import write_report
from rung.lab.run_page.page_assets import SCRIPT
from rung.lab.run_page.page_data import SAMPLES_A_STEP, TEXT_LIMIT
from rung.lab.run_page.page_sections import describe
from rung.runs.record.visible import visible


class Page(HTMLParser):
    """The tags, attributes and text of a page, as a browser's parser splits them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        (self.scripts if self._in_script else self.texts).append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def write_evaluation(folder: Path, step: int, scores: list[list[float | None]]) -> None:
    (folder / "held_out").mkdir(exist_ok=True)
    content = {"step": step, "items": [f"i{i}" for i in range(len(scores))], "accuracy": scores}
    (folder / "held_out" / f"step_{step:06d}.json").write_text(json.dumps(content))


def test_hostile_text_is_inert(made_up_run: Callable[..., Path], hostile: list[str]) -> None:
    folder = made_up_run(20, name="<img src=x onerror=alert(1)>")
    raw = write_report(folder).read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", raw) and b"\xe2\x80\xae" not in raw
    page = Page(raw.decode("utf-8"))
    assert not {tag for tag, _ in page.tags} & {
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "audio",
        "video",
    }
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "samples-data"},
        {},
    ]
    assert page.scripts[1] == SCRIPT
    assert "<" not in page.scripts[0] and page.scripts[0].isascii()
    shown = {row["completion"] for row in page.data()["rows"]}
    assert shown == {visible(text, limit=TEXT_LIMIT, keep_newlines=True) for text in hostile} | {"late"}


def test_the_page_asks_the_network_for_nothing(made_up_run: Callable[..., Path]) -> None:
    page = report(made_up_run())
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; ")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    loading = [(tag, a) for tag, a in page.tags if {"src", "srcset", "data", "action"} & set(a)]
    assert loading == []
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    assert links == {"https://arxiv.org/abs/2402.03300"}
    assert all((a.get("xlink:href") or "#").startswith("#") for _, a in page.tags)


def test_a_whole_run_is_told(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(20)
    (folder / "final").mkdir()
    write_evaluation(folder, 0, [[0.0], [0.0], [1.0], [0.0]])
    write_evaluation(folder, 10, [[0.5], [0.0], [1.0], [1.0]])
    write_evaluation(folder, 20, [[1.0, None], [0.0, 0.0], [1.0, 1.0], [None, 1.0]])
    page = report(folder)
    for words in (
        "Finished after 20 steps. 1m 22s of training, 12,800 tokens generated.",
        "held-out before training, 95 % interval 13.0 % to 26.0 %",
        "held-out at step 20",
        "+50.0 points",
        "paired on 4 items, 95 % interval",
        "1.7 standard errors (28.9 points each)",
        "Clip(low=0.2)",
        "J = E[ρ A]",
        "How undecided the policy is about its next token",
        "falls slowly and stays above a tenth of its first value",
        "siblings <b>",
        "name: '</pre><script>'",
    ):
        assert words in page.text, words
    assert sum(tag == "svg" for tag, _ in page.tags) == 9


def test_the_samples_of_first_middle_and_last_steps_are_in_it(made_up_run: Callable[..., Path]) -> None:
    data = report(made_up_run(20)).data()
    assert data["steps"][0] == 1 and data["steps"][-1] == 20 and len(data["steps"]) == 9
    assert max(later - step for step, later in itertools.pairwise(data["steps"])) == 3
    assert data["parts"] == ["correct", "format"]
    late = next(row for row in data["rows"] if row["completion"] == "late")
    assert (late["kind"], late["status"], late["reward"], late["truncated"]) == (
        "failed",
        "correct: timeout",
        "–",
        True,
    )
    first = data["rows"][0]
    assert (first["kind"], first["reward"], first["parts"]) == ("right", "1.10", {"correct": "1.00", "format": "0.200"})
    assert (first["advantage"], first["tokens"]) == ("0.500", 3)
    assert len([row for row in data["rows"] if row["step"] == 1]) <= SAMPLES_A_STEP


def test_an_unfinished_run_without_evaluation(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward/mean": 0.5}\n{"step": 2, "reward')
    page = report(tmp_path)
    assert "Unfinished: 1 steps so far." in page.text
    assert "no held-out score" in page.text
    assert "No completion has been stored." in page.text
    assert "the last line was only half written (19 bytes) and is left out" in page.text
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("steps: 3\n")
    assert "No step has been made yet." in report(tmp_path).text


def test_damaged_files_leave_a_page_that_says_so(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(12)
    (folder / "method.json").write_text("[" * 100_000)
    (folder / "timings.jsonl").write_text("nonsense\n")
    (folder / "samples" / "step_000001.parquet").write_bytes(b"PAR1 nonsense")
    write_evaluation(folder, 0, [[0.0], ["seven"]])
    write_evaluation(folder, 12, [[0.0], [1.0]])
    page = report(folder)
    for words in (
        "method.json: not JSON",
        "timings.jsonl:1: ",
        "step_000001.parquet: not a readable",
        "cannot be compared",
    ):
        assert words in page.text, words
    assert "difference of the two scores, not paired by item" in page.text


@pytest.mark.parametrize(
    "card", [[], {"slots": [1]}, {"name": 3, "slots": {"a": [1, None]}, "deviations": "x"}, {"paper": "javascript:1"}]
)
def test_a_card_of_another_shape_is_shown_as_far_as_it_goes(tmp_path: Path, card: Any) -> None:
    (tmp_path / "settings.yaml").write_text("a: 1\n")
    (tmp_path / "method.json").write_text(json.dumps(card))
    page = report(tmp_path)
    assert "Settings" in page.text and not [a for tag, a in page.tags if tag == "a"]


def test_the_difference_is_said_to_be_unpaired_without_scores_by_item(made_up_run: Callable[..., Path]) -> None:
    assert "difference of the two scores, not paired by item" in report(made_up_run(10)).text


def test_warnings_and_values_outside_their_range_are_marked(tmp_path: Path) -> None:
    rows = [{"step": step, "length/truncated": 0.9} for step in range(1, 8)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = report(tmp_path)
    assert "Most completions are cut off before they end" in page.text and "step 5" in page.text
    assert any(a.get("class") == "number outside" for tag, a in page.tags if tag == "td")
    assert "because a completion cut off can seldom be right" in page.text


def test_a_film_is_inside_the_page_and_a_large_one_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path
    (folder / "settings.yaml").write_text("steps: 1\n")
    assert "Film" not in report(folder).text
    film = folder / "episode.gif"
    film.write_bytes(b"GIF89a" + bytes(range(256)))
    monkeypatch.setattr("rung.lab.run_page.page_data.LARGEST_FILM", film.stat().st_size)
    shown = report(folder)
    (image,) = [attributes for tag, attributes in shown.tags if tag == "img"]
    kind, _, encoded = (image["src"] or "").partition(",")
    assert kind == "data:image/gif;base64" and base64.b64decode(encoded) == film.read_bytes() and image["alt"]
    (policy,) = [a["content"] for tag, a in shown.tags if tag == "meta" and a.get("http-equiv")]
    assert "img-src data:;" in (policy or "") and "default-src 'none'" in (policy or "")
    film.write_bytes(film.read_bytes() + b".")
    large = report(folder)
    assert not [tag for tag, _ in large.tags if tag == "img"] and "0.0 MB, more than this page should" in large.text
    assert "episode.gif" in [attributes.get("href") for tag, attributes in large.tags if tag == "a"]
    film.write_bytes(b"<svg onload=alert(1)>")
    other = report(folder)
    assert "episode.gif: is no GIF" in other.text and not [tag for tag, _ in other.tags if tag == "img"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run here"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_writing_twice_gives_the_same_page(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(1)
    once = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == once


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (0.04, "0.04"),
        ({"part": "KL", "k": {"part": "K3"}, "b": 1}, "KL(k=K3, b=1)"),
        ({"other": 1}, '{"other": 1}'),
        ([1, 2], "[1, 2]"),
        ("x", "x"),
    ],
)
def test_slots_are_described_in_one_line(value: Any, words: str) -> None:
    assert describe(value) == words

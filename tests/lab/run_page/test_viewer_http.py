"""The viewer's routes over real HTTP: what they answer, and what they refuse."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from made_up_runs import make_run, served


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    for name in ("one", "two"):
        make_run(tmp_path / name, 2)
    with served(tmp_path / "one", tmp_path / "two") as server:

        def raw(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.getheader("set-cookie") or "", answer.read().decode()

        _, given, _ = raw("GET", server.links["viewer"].partition(str(server.port))[2], {})
        cookie, _, rest = given.partition(";")
        folder = rest.partition("Path=")[2].partition(";")[0]

        def asked(path: str, *, method: str = "GET", known: bool = True) -> tuple[int, str]:
            status, _, text = raw(method, folder + path, {"Cookie": cookie} if known else {})
            return status, text

        yield asked


def test_each_route_answers_with_json(ask: Callable[..., tuple[int, str]]) -> None:
    def got(path: str) -> dict:
        status, text = ask(path)
        assert status == 200, text
        return json.loads(text)

    assert got("runs") == {"runs": ["one", "two"]}
    assert got("state?run=1")["steps"] == [1, 2]
    assert [row["step"] for row in got("grown?what=metrics&run=0&epoch=0&from=0")["rows"]] == [1, 2]
    assert got("grown?what=timings&run=0&epoch=0&from=1")["rows"][0]["seconds/learn"] == 4.0
    assert got("grown?what=solved&run=1&epoch=0&from=2")["rows"] == []
    assert len(got("step?run=0&step=2")["samples"]) == 6
    assert got("tokens?run=0&step=2&row=5")["pieces"][0] == "so"
    meanings = got("meanings?name=kl/start&name=reward/format&name=nonsense")
    assert meanings["order"][:2] == ["step", "reward/mean"]
    kl, part, other = meanings["meanings"]
    assert kl["high"] == 1.0 and "'format'" in part["meaning"] and other["meaning"] == ""
    assert got("overview?run=1")["state"].startswith("Unfinished: 2 steps so far.")
    rows = got("table")["rows"]
    assert [(row["name"], row["step"], row["score"], row["warnings"]) for row in rows] == [
        ("one", 2, 0.5, 0),
        ("two", 2, 0.5, 0),
    ]
    assert "<script" in ask("")[1] and ask("static/view.js")[0] == 200


def test_a_film_is_sent_and_nothing_else_by_its_name(tmp_path: Path, ask: Callable[..., tuple[int, str]]) -> None:
    film = tmp_path / "one" / "episode.gif"
    film.write_bytes(b"GIF89a a film")
    assert ask("film?run=0") == (200, "GIF89a a film")
    film.write_bytes(b"<svg onload=alert(1)>")
    assert ask("film?run=0")[0] == 404


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("state?run=2", 404, "There are 2 runs"),
        ("state?run=-1", 400, "run: expected a whole number."),
        ("state", 400, "run: expected a whole number."),
        ("grown?what=secrets&run=0&epoch=0&from=0", 400, "what: expected"),
        ("grown?what=metrics&run=0&epoch=0&from=1e9", 400, "from: expected a whole number."),
        ("step?run=0&step=99", 404, "there are no samples of step 99"),
        ("step?run=0&step=999999999999999", 400, "step: expected a whole number."),
        ("tokens?run=0&step=1&row=17", 404, "has 6 samples"),
        ("overview?run=2", 404, "There are 2 runs"),
        ("film?run=0", 404, "There is no film in this run"),
        ("../../etc/passwd", 404, ""),
        ("static/../page.html", 404, ""),
    ],
)
def test_wrong_questions_are_refused_in_words(
    ask: Callable[..., tuple[int, str]], path: str, status: int, words: str
) -> None:
    found, text = ask(path)
    assert found == status and words in text


def test_nobody_else_comes_in_and_nothing_can_be_written(ask: Callable[..., tuple[int, str]]) -> None:
    for path in (
        "runs",
        "state?run=0",
        "overview?run=0",
        "film?run=0",
        "step?run=0&step=1",
        "tokens?run=0&step=1&row=0",
        "static/view.js",
    ):
        assert ask(path, known=False)[0] == 401
    assert ask("runs", method="POST")[0] in (403, 411)
    assert ask("runs", method="DELETE")[0] in (403, 411)

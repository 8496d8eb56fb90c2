"""The labelling page over real HTTP: what it asks, what it keeps, and that a kill loses nothing."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labelling import Client, Labelling, served

from rung.lab.labels.comparison import other
from rung.lab.labels.store import LabelStore

GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labelling]:
    """One server for the tests that only ask; each that votes takes people of its own."""
    import json

    folder = tmp_path_factory.mktemp("running")
    (folder / "a.gif").write_bytes(GIF)
    (folder / "secret.gif").write_bytes(b"secret")
    rows: list[dict[str, Any]] = [
        {"id": "text", "prompt": "2+2=", "completions": ["4\u202e", "5"]},
        {"id": "clip", "prompt": "Which?", "completions": [{"clip": "a.gif"}, "none"]},
        {
            "id": "talk",
            "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "chosen": "a",
            "rejected": "b",
        },
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    people = ("anna", "ben", "cleo", "dora")
    with Labelling(folder / "pairs.jsonl", people, ("--votes-per-pair", "9", "--question", "<b>Which?</b>")) as it:
        yield it


def test_the_next_pair_is_said_as_text(running: Labelling) -> None:
    state = running.client("anna").next()
    pair = state["pair"]
    assert pair["id"] == "text" and pair["prompt"] == [{"role": "", "text": "2+2="}]
    sides = [pair["left"]["messages"][0]["text"], pair["right"]["messages"][0]["text"]]
    assert sides == (["4\\u202e", "5"] if pair["left_is"] == "first" else ["5", "4\\u202e"])
    assert (state["question"], state["labeller"], state["mine"]) == ("<b>Which?</b>", "anna", 0)
    assert (state["answers"], state["answers_wanted"]) == (0, 27)


def test_a_vote_is_told_back_and_undone(running: Labelling) -> None:
    client = running.client("ben")
    pair = client.next()["pair"]
    said = client.vote(pair, "left")
    status, state = client.post("/vote", said)
    assert (status, state["mine"], state["left_share"], state["pair"]["id"]) == (200, 1, "100 % of 1 choice", "clip")
    assert client.post("/vote", said)[0] == 200  # sent again
    assert client.next()["mine"] == 1
    status, words = client.post("/vote", client.vote(pair, "right"))
    assert status == 409 and "answered this pair already" in words
    undo = {"submit": "undo-of-ben"}
    for _ in range(2):
        status, state = client.post("/undo", undo)
        assert (status, state["mine"], state["pair"]["id"]) == (200, 0, "text")
    status, words = client.post("/undo", {"submit": "another-undo"})
    assert status == 409 and "no answer of yours" in words


def test_clips_are_served_by_pair_and_never_by_path(running: Labelling) -> None:
    client = running.client("cleo")
    status, headers, data = client.raw("GET", "/clip?pair=clip&which=first", {"Cookie": client.cookie})
    assert (status, headers["content-type"], data) == (200, "image/gif", GIF)
    assert headers["x-content-type-options"] == "nosniff"
    for query in (
        "pair=clip&which=second",
        "pair=text&which=first",
        "pair=no&which=first",
        "pair=clip&which=x",
        "pair=../secret.gif&which=first",
        "",
    ):
        assert client.get(f"/clip?{query}")[0] == 404
    assert client.get("/secret.gif")[0] == 404 and client.get("/pairs.jsonl")[0] == 404


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "both"}, "answer: expected one of left, right, tie, unsure"),
        ({"answer": "first"}, "answer: expected one of"),
        ({"left_is": "third"}, "left_is: expected first or second"),
        ({"submit": "short"}, "submit: expected 8 to 64 plain characters"),
        ({"submit": "x" * 65}, "submit: expected"),
        ({"submit": "\x1b[31mlong enough"}, "submit: expected"),
        ({"labeller": "anna"}, "'labeller' is not known"),
        ({"milliseconds": "5"}, "milliseconds: expected a whole number"),
    ],
)
def test_a_wrong_vote_is_refused_in_words(running: Labelling, change: dict[str, Any], words: str) -> None:
    client = running.client("dora")
    status, said = client.post("/vote", client.vote(client.next()["pair"], "left") | change)
    assert status == 400 and words in said
    assert client.next()["mine"] == 0


def test_a_vote_for_the_pair_the_other_way_round_or_for_none(running: Labelling) -> None:
    client = running.client("dora")
    pair = client.next()["pair"]
    assert client.post("/vote", client.vote(pair, "left", left_is=other(pair["left_is"])))[0] == 409
    assert client.post("/vote", {**client.vote(pair, "left"), "pair": "no such"})[0] == 409
    assert client.next()["mine"] == 0


def test_nobody_else_gets_in(running: Labelling) -> None:
    """The guard has its own tests; here, that it stands before every route of this page."""
    client = running.client()
    own = {"Cookie": client.cookie, "Origin": f"http://127.0.0.1:{running.port}", "Content-Type": "application/json"}
    for path in ("/", "/next", "/clip?pair=clip&which=first", "/static/label.js"):
        assert client.raw("GET", path, {})[0] == 401
        assert client.raw("GET", path, {**own, "Host": "evil.example"})[0] == 421
        assert client.raw("GET", path, {**own, "Origin": "http://evil.example"})[0] == 403
    for path in ("/vote", "/undo"):
        assert client.raw("POST", path, {**own, "Origin": "null"}, b"{}")[0] == 403
        assert client.raw("POST", path, {**own, "Cookie": ""}, b"{}")[0] == 401
        assert client.raw("POST", path, own, b"{}")[0] == 400


def test_a_vote_that_cannot_be_written_is_not_acknowledged(pairs_file, rows) -> None:
    path = pairs_file(rows(2))
    with served(path) as server, LabelStore(path.with_name("pairs.jsonl.labels")) as beside:
        client = Client(server.port, server.links["anna"].partition("?token=")[2])
        said = client.vote(client.next()["pair"], "left")
        beside.file.run("CREATE TRIGGER full BEFORE INSERT ON votes BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        status, words = client.post("/vote", said)
        assert (status, words) == (503, "The labels file could not be written: disk is full.")
        assert client.next()["mine"] == 0 and beside.votes() == []
        beside.file.run("DROP TRIGGER full")
        status, state = client.post("/vote", said)
        assert (status, state["mine"]) == (200, 1)


def test_two_people_label_at_once_without_meeting(pairs_file: Callable[..., Path], rows: Callable[..., Any]) -> None:
    path = pairs_file(rows(24))
    with Labelling(path, ("anna", "ben")) as it:
        threads = [threading.Thread(target=label_everything, args=(it.client(name), name)) for name in it.people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert it.client("anna").next()["answers"] == 24
        said = it.stop()
    assert "24 votes on 24 of 24 pairs; left preferred:" in said
    with LabelStore(path.with_name("pairs.jsonl.labels")) as store:
        votes = store.votes()
    assert Counter(vote.pair for vote in votes) == {f"p{i}": 1 for i in range(24)}
    assert {vote.labeller for vote in votes} == {"anna", "ben"}
    assert all(vote.seconds == 1.5 for vote in votes)


def label_everything(client: Client, name: str) -> None:
    state = client.next()
    while state["pair"] is not None:
        status, state = client.post("/vote", client.vote(state["pair"], random.choice(["left", "right", "tie"])))
        assert status == 200, (name, state)


def test_killed_in_the_middle_of_submits_nothing_acknowledged_is_lost(pairs_file, rows) -> None:
    """kill -9 while three people submit; every vote that was answered is there, every other one can be sent again."""
    path, people = pairs_file(rows(120)), ("anna", "ben", "cleo")
    acknowledged: dict[str, str] = {}
    sent: dict[str, tuple[str, dict[str, Any]]] = {}
    port, lost_answers = 0, 0
    for life in range(3):
        with Labelling(path, people, ("--votes-per-pair", "3"), port=port) as it:
            port = it.port
            for submit, (name, said) in list(sent.items()):
                if submit not in acknowledged:  # what the page does when it had no answer
                    status, _ = it.client(name).post("/vote", said)
                    assert status == 200
                    acknowledged[submit] = name
                    lost_answers += 1
            threads = [threading.Thread(target=keep_voting, args=(it.client(n), n, sent, acknowledged)) for n in people]
            for thread in threads:
                thread.start()
            before = len(acknowledged)
            while len(acknowledged) < before + 15:
                time.sleep(0.005)
            time.sleep(0.01 * life)
            it.kill()
            for thread in threads:
                thread.join(60)
    with LabelStore(path.with_name("pairs.jsonl.labels")) as store:
        votes = store.votes()
    kept = {vote.submit: vote.labeller for vote in votes}
    assert len(acknowledged) >= 45
    assert {submit: kept.get(submit) for submit in acknowledged} == acknowledged
    unsaid = set(kept) - set(acknowledged)  # on the disk, but killed before it could be said
    assert unsaid <= set(sent) and len(unsaid) <= len(people)
    assert max(Counter((vote.pair, vote.labeller) for vote in votes).values()) == 1
    assert lost_answers > 0, "no kill fell between a submit and its answer: the test has not tested that"


def keep_voting(client: Client, name: str, sent: dict[str, Any], acknowledged: dict[str, str]) -> None:
    try:
        state = client.next()
        while state["pair"] is not None:
            said = client.vote(state["pair"], "left")
            sent[said["submit"]] = (name, said)
            status, state = client.post("/vote", said)
            assert status == 200, state
            acknowledged[said["submit"]] = name
    except (OSError, http.client.HTTPException):
        return  # killed

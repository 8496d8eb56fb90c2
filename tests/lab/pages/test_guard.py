"""Only who came through a printed link gets in, and what comes out can do nothing in a browser but what is ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_client import Served


def test_a_link_becomes_a_cookie_and_the_cookie_a_person(served: Served) -> None:
    for name in ("anna", "ben"):
        assert f'"{name}"' in served.get("/who", Cookie=served.cookie(name)).text
    path = served.server.links["anna"].partition(served.host)[2]
    entrance = served.raw("GET", path, {"Host": served.host})
    cookie = entrance.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert f"; Path={served.folder};" in entrance.headers["set-cookie"] and len(served.folder) > 20
    assert path.partition("token=")[2] not in entrance.headers["set-cookie"]  # the link's secret stays the link's


def test_nothing_lies_outside_the_folder_that_the_cookie_is_for(served: Served) -> None:
    own = {"Host": served.host, "Cookie": served.cookie()}
    assert served.raw("GET", f"{served.folder}who", own).status == 200
    for path in ("/who", "/", "/static/own.js", f"/x{served.folder}who", served.folder[:-1], served.folder.upper()):
        assert served.raw("GET", path, own).status == 401


@pytest.mark.parametrize("cookie", ["", "wrong", "rung=", "rung=abc", "rung={token}", "rung=é"])
def test_nobody_comes_in_without_the_cookie(served: Served, cookie: str) -> None:
    token = served.server.links["anna"].partition("token=")[2]
    sent = cookie.format(token=token)
    for path in ("/", "/who", "/static/own.js", "/static/pages.css", "/nothing"):
        answer = served.get(path, Cookie=sent)
        assert answer.status == 401 and "?token=" in answer.text
    assert served.get(f"/who?token={token}", Cookie="").status == 401  # the token opens the front door alone
    for wrong in ("wrong", token[:-1], token + "x"):
        assert served.raw("GET", f"/?token={wrong}", {"Host": served.host}).status == 401


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "127.0.0.1.evil.example:{port}"]
)
def test_a_foreign_host_is_refused_even_with_the_cookie(served: Served, host: str) -> None:
    answer = served.get("/who", Host=host.format(port=served.server.port))
    assert answer.status in (400, 421)
    assert "anna" not in answer.text
    assert served.get("/who", Host=f"localhost:{served.server.port}").status == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://{host}", "http://127.0.0.1", "http://{host}/"]
)
def test_a_foreign_origin_is_refused_even_with_the_cookie(served: Served, origin: str) -> None:
    sent = origin.format(host=served.host)
    assert served.post("/say", b'{"word": "a", "times": 2}', Origin=sent).status == 403
    assert served.get("/who", Origin=sent).status == 403


def test_a_write_needs_an_origin_and_a_read_may_have_none(served: Served) -> None:
    own = {"Host": served.host, "Cookie": served.cookie(), "Content-Type": "application/json"}
    say = f"{served.folder}say"
    assert served.raw("POST", say, own, b'{"word": "a", "times": 2}').status == 403
    assert (
        served.raw("POST", say, own | {"Origin": f"http://{served.host}"}, b'{"word": "a", "times": 2}').status == 200
    )
    assert served.get("/who").status == 200
    assert served.get("/who", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403


def test_sizes_and_kinds_of_requests_are_limited(served: Served) -> None:
    body = b'{"word": "a", "times": 2}'
    assert served.post("/say", body).text == '{"said":"aa"}'
    assert served.post("/say", body + b" " * (64 * 1024 - len(body))).status == 200
    assert served.post("/say", b"", **{"Content-Length": str(64 * 1024 + 1)}).status == 413
    assert served.post("/say", b"", **{"Content-Length": "9" * 19}).status == 413
    assert served.post("/say", b"", **{"Content-Length": "9" * 40}).status == 400
    assert served.post("/say", b"", **{"Content-Length": "-1"}).status in (400, 411)
    assert served.post("/say", b"1\r\na\r\n0\r\n\r\n", **{"Transfer-Encoding": "chunked"}).status == 411
    assert served.post("/say", b"").status == 411
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert served.post("/say", b"word=a", **form).status == 415
    assert served.post("/say", body, **{"Content-Type": "text/plain"}).status == 415
    assert served.get("/who?" + "x" * 5000).status == 414
    assert served.get("/who").status == 200  # and it still answers


def test_every_answer_carries_the_policy(served: Served) -> None:
    answers = [served.get("/"), served.get("/nothing"), served.get("/who", Cookie=""), served.post("/who", b"{}")]
    assert [answer.status for answer in answers] == [200, 404, 401, 405]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert "http" not in policy and "*" not in policy and "data:" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_only_what_is_shipped_is_served(served: Served) -> None:
    assert served.get("/").text == "<!doctype html><title>a page</title>"
    assert served.get("/static/own.js").headers["content-type"].startswith("text/javascript")
    assert "color-scheme" in served.get("/static/pages.css").text
    for path in ("/static/secret.txt", "/static/../server.py", "/static/%2e%2e/server.py", "/static/", "//etc/passwd"):
        assert served.get(path).status == 404


def test_refusals_are_told_once_a_kind(served: Served) -> None:
    for _ in range(3):
        served.get("/who", Host="evil.example")
    told = [line for line in served.refusals if "Host" in line]
    assert len(told) == 1 and "evil" not in told[0]


def test_the_shipped_files_have_nothing_inline_and_nothing_from_elsewhere() -> None:
    source = Path(__file__).parents[3] / "src" / "rung"
    files = [file for file in source.rglob("static/*") if file.suffix in (".html", ".js", ".css")]
    assert len(files) >= 2
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, from which nothing is fetched
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "http:",
            "https:",
            "style=",
        ):
            assert word not in text, (file.name, word)
        assert "<script>" not in text and "<style" not in text and " on" + "click=" not in text

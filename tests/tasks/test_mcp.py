"""MCP servers as tools: each call has a status, an episode has a server of its own, and none outlives its run."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
from calls import called

from rung.errors import SettingsError
from rung.tasks.hosted import Host
from rung.tasks.load import load_task
from rung.tasks.mcp import Server
from rung.trainers.handed import Handed

pytest.importorskip("mcp", reason="needs the extra mcp: make setup")
SERVER = Path(__file__).parents[1] / "helpers" / "mcp_server.py"
FAKE = f"{sys.executable} {SERVER}"
OFFICIAL = """
from mcp.server import MCPServer

app, kept = MCPServer("official"), []

@app.tool()
def times(a: int, b: int) -> int:
    "Multiply two whole numbers."
    return a * b

@app.tool()
def keep(word: str) -> str:
    "Keep a word, and say all that were kept."
    kept.append(word)
    return " ".join(kept)

@app.tool()
def fails() -> str:
    "Never works."
    raise ValueError("broken")

if __name__ == "__main__":
    import sys
    app.run("streamable-http", port=int(sys.argv[1])) if sys.argv[1:] else app.run("stdio")
"""


def host(target: str) -> Host:
    made = Host("mcp", (), {"target": target, "name": f"mcp:{target}"})
    made._workers = made._workers[:1] * 4  # one process to start
    return made


@pytest.fixture(scope="module")
def fake() -> Host:
    return host(FAKE)


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ("?times(3, 4)", "ok", "12\n"),
        ("?times(3, b=4)", "ok", "12\n"),
        ('<tool_call>{"name": "times", "arguments": {"a": 3, "b": 4}}</tool_call>', "ok", "12\n"),
        ("?times(3)", "bad arguments", "error: times: 'b' is a required property"),
        ("?times(3, '4')", "bad arguments", "error: times: b: '4' is not of type 'integer'"),
        ("?times(3, 4, 5)", "bad arguments", "error: times: takes a, b, each once"),
        ("?times(3, 4, a=5)", "bad arguments", "error: times: takes a, b, each once"),
        ("?fails()", "raised", "error: fails: broken"),
        ("?tmes()", "unknown tool", "error: no tool 'tmes'; did you mean 'times'?"),
        ("?ends()", "died", "error: ends: its process ended"),
        ("?hangs()", "timeout", "error: hangs: no answer within 0.5 s"),
    ],
)
def test_whatever_becomes_of_a_call_has_a_status_and_the_next_is_answered(
    fake: Host, call: str, status: str, told: str
) -> None:
    episode = fake.episode(0.5 if "hangs" in call else 10)
    found = called(episode, call)
    assert found.calls == (status,) and found.text.startswith(told)
    if status in ("died", "timeout"):
        assert called(episode, "?times(2, 3)").text == "6\n"


def test_an_episode_has_a_server_of_its_own_that_goes_on_where_it_was(fake: Host) -> None:
    one, other = fake.episode(10), fake.episode(10)
    assert called(one, "?keep('a')").text == "a\n"
    assert called(other, "?keep('b')").text == "b\n", "what another episode kept is not seen"
    assert called(one, "?ends()").calls == ("died",)
    assert called(one, "?keep('c')").text == "a c\n", "a fresh server was told again what the last one knew"
    reads = host(f"{FAKE} reads")
    one, other = reads.episode(10), reads.episode(10)
    assert [called(e, "?keep('a')").text for e in (one, other)] == ["a\n", "a a\n"], "tools that only read share one"
    assert called(other, "?ends()").calls == ("died",)
    assert called(one, "?times(2, 3)").text == "6\n"


def test_a_server_and_what_it_started_end_with_a_late_call(fake: Host, tmp_path: Path) -> None:
    episode = fake.episode(10)
    assert called(episode, f"?starts({str(tmp_path / 'pids')!r})").calls == ("ok",)
    pids = [int(one) for one in (tmp_path / "pids").read_text().split()]
    assert all(map(psutil.pid_exists, pids))
    episode.deadline_s = 0.2
    assert called(episode, "?hangs()").calls == ("timeout",)
    for _ in range(100):
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
            return
        time.sleep(0.05)
    raise AssertionError("they live")


def test_more_episodes_than_servers_may_live_at_once(fake: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from rung.tasks import hosted_job

    monkeypatch.setattr(hosted_job, "MOST_SERVERS", 2)
    answers, about = hosted_job.hosted_job({"what": "mcp", "target": FAKE})

    def ask(key: int, words: str) -> str:
        log = [[["call", "keep", json.dumps({"word": word})], True, None] for word in words]
        return answers({"key": key, "seed": 0, "log": log, "ended": []})[0]

    assert list(about) == ["times", "keep", "fails", "hangs", "ends", "starts"], "all pages were read"
    assert [ask(key, "a") for key in range(3)] == ["a"] * 3
    assert ask(0, "ab") == "a b" and len(answers.live) == 2
    answers({"key": 9, "seed": 0, "log": [[["call", "times", '{"a":1,"b":1}'], True, None]], "ended": [0, 1, 2]})
    assert list(answers.live) == [9]


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("no-such-command-at-all", "no MCP server answers: FileNotFoundError"),
        (f"{sys.executable} -c pass", "no MCP server answers: MCPError: Connection closed"),
        (f"{FAKE} none", "the server has no tools"),
        ("'", "expected a command or an address"),
        ("http://example.com/mcp", "expected this machine"),
        ("http://127.0.0.1:9/mcp", "no MCP server answers"),
    ],
)
def test_what_is_no_server_is_said_before_the_run(target: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        Server(target)


def test_a_task_has_the_tools_of_a_server_beside_its_own_rewards() -> None:
    from rung.settings.schema import EvalSettings

    settings = EvalSettings(task={"name": "arithmetic"}, tools=(f"mcp:{FAKE}",))
    task = Handed(tiny=lambda *_: Path()).over_turns(load_task("arithmetic"), settings.tools, settings.turns)
    playing = task.plays()
    playing.reset(task.train[0], 0)
    assert playing.step("?times(6, 7)").text == "42\n" and playing.step("42").done
    with pytest.raises(ValueError, match="mcp:COMMAND"):
        EvalSettings(task={"name": "arithmetic"}, tools=("mcq:x",))


@pytest.mark.peers
def test_an_official_server_over_pipes_and_over_http(tmp_path: Path) -> None:
    import socket
    import subprocess

    file = tmp_path / "official.py"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file.write_text(OFFICIAL)
    piped = host(f"{sys.executable} {file}")
    calls = ("?times(3, 4)", "?keep('a')", "?fails()", "?times(3, 'x')")
    wanted = [("12\n", ("ok",)), ("a\n", ("ok",))]
    one, other = piped.episode(20), piped.episode(20)
    found = [called(one, call) for call in calls]
    assert [(step.text, step.calls) for step in found[:2]] == wanted
    assert found[2].calls == ("raised",) and found[3].calls == ("bad arguments",)
    assert called(other, "?keep('b')").text == "b\n"
    assert one.schemas["times"]["function"]["description"] == "Multiply two whole numbers."
    with subprocess.Popen([sys.executable, str(file), str(port)]) as server:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            reached = host(f"http://127.0.0.1:{port}/mcp").episode(20)
            assert [(s.text, s.calls) for s in (called(reached, call) for call in calls[:2])] == wanted
        finally:
            server.kill()

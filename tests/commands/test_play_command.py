"""`rung play`: an episode by lines or by a model, with its tokens, holes and rewards."""

from __future__ import annotations

import json

import pytest

CHATS = '''\
from rung import Step


class Chats:
    def reset(self, item, seed):
        return [{"role": "user", "content": "Say ä."}]

    def step(self, reply):
        return Step(reward=float(reply == "ä\\nb"), done=True)


def times(a: int, b: int) -> int:
    """Multiply two whole numbers."""
    return a * b
'''


def test_a_typed_line_is_a_turn_and_what_is_read_is_shown_before_it(rung):
    shown = rung("play", "guess-number", "--set", "turns.most=2", stdin="1\n1\n")
    assert shown.code == 0 and shown.err == "1-15:\n>\n\n"
    assert "turn 1: 2 own tokens, 2 read  reward 0.000\n→ 1\n← >\n  |1|⏎| [>] [⏎]\n" in shown.out
    assert "ended: turns.most was reached\nrewards: success 0.000, return 0.000" in shown.out
    wrong = rung("play", "guess-number", stdin="x1\n").out
    assert "ended: it came to its end" in wrong and "turn 2" not in wrong, "no number ends the game"


def test_a_script_calls_a_tool_and_its_tokens_add_up(rung, tmp_path):
    script = tmp_path / "turns.txt"
    script.write_text("?times(3, 4)\n12\n")
    data = rung("play", "calculator", "--script", script, "--json").json
    first, last = data["turns"]
    assert first["said"] == "".join(first["tokens"]).rstrip("\n") == "?times(3, 4)"
    assert first["told"] == "".join(first["holes"]) == "12\n" and first["calls"] == ["ok"] and last["holes"] == []
    assert data["ending"] == "done" and set(data["rewards"]) and data["status"] == "ok"
    short = tmp_path / "short.txt"
    short.write_text("?times(3, 4)\n")
    assert "the lines ended before the episode did" in rung("play", "calculator", "--script", short).errors[0]


def test_a_chat_of_ones_own_with_tools_of_a_file(rung, tmp_path):
    (tmp_path / "chats.py").write_text(CHATS)
    lines = '<tool_call>{"name": "times", "arguments": {"a": 2, "b": "x"}}</tool_call>\n?times(2, 3)\n"ä\\nb"\n'
    played = rung(
        "play", f"{tmp_path}/chats.py:Chats", "--tools", f"{tmp_path}/chats.py:times", "--json", stdin=lines
    ).json
    assert [turn["calls"] for turn in played["turns"]] == [["bad arguments"], ["ok"], []]
    assert "".join(played["turns"][1]["holes"]) == "\nuser: 6<end>\nassistant: "
    assert played["return"] == 1.0 and played["prompt"].startswith("user: You may call these tools:")
    assert played["turns"][2]["said"] == "ä\nb" and played["turns"][2]["tokens"][-1] == "<end>"


def test_a_model_plays_and_plays_the_same_again(rung, model):
    first, again = (rung("play", "guess-number", "--model", model, "--seed", "3", "--json").json for _ in range(2))
    assert first == again and first["turns"][0]["tokens"]
    assert rung("play", "guess-number", "--model", model, "--seed", "4", "--json").json != first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("CartPole-v1",), "no text task"),
        (("guess-number", "--item", "5000000"), "--item: got 5000000"),
        (("guess-number", "--script", "nowhere.txt"), "--script: there is no file nowhere.txt"),
        (("guess-nmber",), "did you mean 'guess-number'?"),
    ],
)
def test_what_cannot_be_played_says_why(rung, arguments, said):
    answer = rung("play", *arguments, stdin="")
    assert answer.code == 2 and said in answer.errors[0]


def test_json_text_is_one_turn(rung):
    data = rung("play", "arithmetic", "--json", stdin=json.dumps("12\n99") + "\n").json
    assert data["turns"][0]["said"].startswith("12") and "99" not in data["turns"][0]["said"] and data["return"] is None

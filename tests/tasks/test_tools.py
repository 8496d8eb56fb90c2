"""Tools: calls in three forms, a status for whatever goes wrong, a schema from the types, nothing evaluated."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rung.errors import SettingsError
from rung.tasks.load import load_text_task
from rung.tasks.task import Item, TextTask
from rung.tasks.tools import MOST_CALLS, OwnTools, Tool, answered, tools_of, with_tools
from rung.tasks.turns import Step, turn_task
from rung.tool_calls import calls_in


def times(a: int, b: int = 2) -> int:
    """Multiply two whole numbers."""
    return a * b


def words(names: list[str], *, upper: bool = False) -> dict[str, Any]:
    """Tell about words.

    Args:
        names: The words.
    """
    return {"n": len(names), "upper": upper}


def broken() -> str:
    """Never works."""
    raise KeyError("gone")


def leaves() -> str:
    """Ends the process."""
    raise SystemExit(0)


def slow() -> str:
    """Never ends."""
    while True:
        time.sleep(0.01)


MADE = OwnTools([times, words, broken, leaves, slow], 0.2)
TOOLS = dict.fromkeys(MADE.tools, MADE)
TAG = '<tool_call>{"name": "times", "arguments": {"a": 12, "b": 34}}</tool_call>'


@pytest.mark.parametrize(
    "reply",
    [
        "?times(12,34)",
        "?times(12, b=34)\n",
        "let me see\n?times(a=12, b=34)\nand then 7",
        TAG,
        f"I call {TAG} now",
        TAG.removesuffix("</tool_call>"),
        '```tool\n{"name": "times", "arguments": {"a": 12, "b": 34}}\n```',
        '```tool_call\n{"arguments": {"b": 34, "a": 12}, "name": "times"}',
        f"<think>?times(1,1)\n</think>{TAG}",
    ],
)
def test_a_call_is_read_in_every_form(reply: str) -> None:
    assert answered(TOOLS, reply) == Step("408\n", calls=("ok",))


@pytest.mark.parametrize(
    "reply", ["408", "what? 408", "is it times(3,4)?", "", "<think>?times(1,1)</think>7", "```py\nx\n```"]
)
def test_what_is_no_call_is_an_answer(reply: str) -> None:
    assert answered(TOOLS, reply) is None


@pytest.mark.parametrize(
    ("reply", "status", "told"),
    [
        ("?times(", "not parsed", "error: not a call: '(' was never closed"),
        ("?times", "not parsed", "expected ?name(arguments)"),
        ("?a.b(1)", "not parsed", "expected ?name(arguments)"),
        ("?times(2**99, 1)", "not parsed", "arguments must be plain values"),
        ("?times(*[1, 2])", "not parsed", "arguments must be plain values"),
        ("?times(__import__('os'))", "not parsed", "arguments must be plain values"),
        ("?" + "(" * 300, "not parsed", "error: not a call"),
        ("?times(" + "9" * 20_000 + ")", "not parsed", "at most 10,000 characters"),
        ('<tool_call>{"name": "times"', "not parsed", "error: not a call"),
        ('<tool_call>{"arguments": {}}</tool_call>', "not parsed", 'expected {"name"'),
        ('<tool_call>{"name": "times", "arguments": 3}</tool_call>', "not parsed", "expected an object"),
        ("?tiems(1)", "unknown tool", "no tool 'tiems'; did you mean 'times'?"),
        ("?times('12', 3)", "bad arguments", "Input should be a valid integer"),
        ("?times(True)", "bad arguments", "Input should be a valid integer"),
        ("?times(1.5)", "bad arguments", "Input should be a valid integer"),
        ("?times()", "bad arguments", "a: Missing required argument"),
        ("?times(1, c=2)", "bad arguments", "c: Unexpected keyword argument"),
        ("?times(1, 2, 3)", "bad arguments", "Unexpected positional argument"),
        ('?words(["a", 1])', "bad arguments", "Input should be a valid string"),
        ("?broken()", "raised", "error: broken: KeyError: 'gone'"),
        ("?leaves()", "raised", "error: leaves: SystemExit: 0"),
    ],
)
def test_whatever_goes_wrong_is_told_and_has_a_status(reply: str, status: str, told: str) -> None:
    found = answered(TOOLS, reply)
    assert found is not None and found.calls == (status,)
    assert told in found.text and "0x" not in found.text and found.text.count("\n") == 1
    assert (found.reward, found.done, found.success) == (0.0, False, None)


def test_a_tool_that_hangs_is_stopped() -> None:
    found = answered(TOOLS, "?slow()")
    assert (
        found is not None and found.calls == ("timeout",) and "error: slow: did not return within 0.2 s" in found.text
    )


def test_several_calls_are_answered_in_order_up_to_a_bound() -> None:
    found = answered(TOOLS, "?times(1)\n?tims(1)\n" + "?times(2)\n" * 4)
    assert found is not None
    assert found.calls == ("ok", "unknown tool", "ok", "ok", "too many", "too many")
    assert found.text.splitlines()[0] == "2" and found.text.splitlines()[2:4] == ["4", "4"] and MOST_CALLS == 4


def test_a_model_of_a_family_calls_in_its_own_form_and_its_texts_get_types() -> None:
    written = "<tool_call>\n<function=times>\n<parameter=a>\n12\n</parameter>\n</function>\n</tool_call>"
    assert answered(TOOLS, written, "function") == Step("24\n", calls=("ok",))
    wrong = answered(TOOLS, written.replace("12", "twelve"), "function")
    assert wrong is not None and wrong.calls == ("bad arguments",)
    several = answered(TOOLS, f"{written}\n?tims(1)", "function")
    assert several is not None and [name for name, _ in several.results] == ["times", "unknown_tool"]
    bare = '{"name": "times", "parameters": {"a": 3}}'
    assert answered(TOOLS, bare) is None and answered(TOOLS, bare, "llama") == Step("6\n", calls=("ok",))


def test_results_are_text() -> None:
    assert answered(TOOLS, "?words(['a'], upper=True)") == Step('{"n": 1, "upper": true}\n', calls=("ok",))
    assert [*calls_in("?words(['a'])\n?words(")][1] == "'(' was never closed"


def test_a_schema_comes_from_types_and_docstring() -> None:
    found = Tool(times).schema()["function"]
    assert found["description"] == "Multiply two whole numbers."
    assert found["parameters"]["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "integer", "default": 2},
    }
    assert found["parameters"]["required"] == ["a"]
    told = Tool(words).schema()["function"]["parameters"]["properties"]
    assert told["names"]["description"] == "The words." and told["upper"]["type"] == "boolean"


def test_what_cannot_be_a_tool_is_refused() -> None:
    def untyped(a):  # type: ignore[no-untyped-def]
        """Text."""

    def bare(a: int) -> int:
        return a

    def starred(*a: int) -> int:
        """Text."""
        return 0

    for one, words_ in ((untyped, "'?parameter a has no type"), (bare, "has no docstring"), (starred, r"takes \*a")):
        with pytest.raises(SettingsError, match=words_):
            Tool(one)
    with pytest.raises(SettingsError, match="two have one name"):
        tools_of([times, times])


class Notes:
    """Made anew for each episode."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}

    def keep(self, name: str, value: int) -> str:
        """Keep a number."""
        self.kept[name] = value
        return "kept"

    def recall(self, name: str) -> int:
        """Recall it."""
        return self.kept[name]


def test_a_class_is_an_instance_an_episode_and_its_methods_are_tools() -> None:
    task = with_tools(load_text_task("arithmetic"), [Notes, times])
    assert task.plays is not None
    one, other = task.plays(), task.plays()
    assert one.step("?keep('x', 3)").text == "kept\n" and one.step("?recall('x')").text == "3\n"
    assert other.step("?recall('x')").calls == ("raised",) and one.step("3") == Step(done=True)
    assert one.tools["keep"].schemas["keep"]["function"]["parameters"]["required"] == ["name", "value"]


def test_messages_are_told_of_the_tools_and_a_text_is_left_alone() -> None:
    item = Item(id="1", prompt=({"role": "user", "content": "2*3?"},), columns={"answer": 6})
    chat = with_tools(TextTask(name="t", train=(item,), held_out=(item,), rewards=()), [times])
    tools, message = chat.train[0].prompt
    assert isinstance(message, dict) and message == item.prompt[0]
    assert (
        isinstance(tools, dict) and tools["role"] == "tools" and json.loads(tools["content"]) == [Tool(times).schema()]
    )
    assert chat.plays is not None and chat.plays().reset(chat.train[0], 0) == chat.train[0].prompt
    plain = load_text_task("arithmetic")
    assert with_tools(plain, [times]).train[3] == plain.train[3]


def test_tools_stand_before_an_environment_of_ones_own() -> None:
    class Adds:
        def reset(self, item: Any, seed: int) -> str:
            return "go:"

        def step(self, reply: str) -> Step:
            return Step("more\n", reward=float(reply))

    task = with_tools(turn_task("adds", Adds), [times])
    assert task.plays is not None
    playing = task.plays()
    assert playing.reset(task.train[0], 1) == "go:"
    assert playing.step("?times(3,3)") == Step("9\n", calls=("ok",)) and playing.step("2") == Step("more\n", reward=2.0)


def test_the_calculators_examples_never_show_a_tools_answer_as_the_policys_own() -> None:
    task = load_text_task("calculator")
    examples = [task.examples[i] for i in range(400)]
    calls = [e for e in examples if e.completion.startswith("?times(")]
    after = [e for e in examples if isinstance(e.prompt, str) and "?times(" in e.prompt]
    assert 10 < len(calls) < 40 and 120 < len(after) < 200
    assert all(e.completion.count("\n") == 1 and e.completion.endswith("\n") for e in examples)
    assert task.plays is not None
    for example in after:
        assert task.plays().step(str(example.prompt).partition("=")[2].splitlines()[0]).text == example.completion


def test_guess_number_is_found_by_halving() -> None:
    task = load_text_task("guess-number")
    assert task.plays is not None and task.most_turns == 4
    for seed in range(15):
        playing, low, high = task.plays(), 1, 15
        assert playing.reset(task.train[0], seed) == "1-15:"
        for _ in range(4):
            step = playing.step(f"{(guess := (low + high) // 2)}")
            if step.done:
                break
            low, high = (low, guess - 1) if step.text == "<\n" else (guess + 1, high)
        assert step.success == step.reward == 1.0
    for reply in ("", "x", "99999999999", "²", "-1"):
        playing = task.plays()
        playing.reset(task.train[0], 3)
        assert playing.step(reply) == Step(reward=0.0, done=True, success=0.0)

"""Tool calls as they stand in what a policy wrote: read as data, nothing is evaluated.

Three plain forms are read of any model:

    ?times(12, 34)                                                  at the beginning of a line
    <tool_call>{"name": "times", "arguments": {"a": 12, "b": 34}}</tool_call>
    ```tool
    {"name": "times", "arguments": {"a": 12, "b": 34}}
    ```

In a chat the form that the model's own template writes calls in is read too (`FORMS`).
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ArgsKwargs

TOOLS = "tools"
"""The role of a message, the first of a prompt, whose content is a JSON list of the tools' schemas."""
_LONGEST_CALL = 10_000
_PLAIN = (
    r"<tool_call>(?P<json>.*?)(?:</tool_call>|\Z)"
    r"|^```tool(?:_call)?[ \t]*\n(?P<fence>.*?)(?:^```|\Z)"
    r"|^\?(?P<line>[^\n]*)"
)
FORMS = {
    "hermes": r"<tool_call>\s*(?P<json>\{.*?)(?:</tool_call>|\Z)",
    "function": r"<tool_call>\s*<function=(?P<name>[^>\n]*)>(?P<pairs>.*?)(?:</tool_call>|\Z)",
    "glm": r"<tool_call>[ \t]*(?P<name>[\w.-]+)\s*(?P<pairs>(?:<arg_key>.*?)?)(?:</tool_call>|\Z)",
    "mistral": r"\[TOOL_CALLS\]\s*(?P<json>[\[{].*)",
    "mistral named": r"\[TOOL_CALLS\](?P<name>[\w.-]+)(?:\[CALL_ID\]\w*)?\[ARGS\](?P<args>.*?)(?=\[TOOL_CALLS\]|\Z)",
    "harmony": r"to=functions\.(?P<name>[\w.-]+)(?:[^<]|<\|c(?:hannel|onstrain)\|>)*<\|message\|>"
    r"(?P<args>.*?)(?:<\|call\|>|<\|end\|>|\Z)",
    "python list": r"<\|tool_call_start\|>(?P<lines>.*?)(?:<\|tool_call_end\|>|\Z)",
    "llama": r"\A\s*(?:<\|python_tag\|>)?\s*(?P<json>\{\s*\"(?:type|name|function|parameters)\".*)",
}
"""How families of chat templates write a call: `hermes` is Qwen's too, `function` is of Qwen3-Coder and Nemotron."""
_READ = re.DOTALL | re.MULTILINE
_PAIR = re.compile(
    r"<parameter=(?P<a>[^>\n]*)>\n?(?P<b>.*?)\n?(?:</parameter>|\Z)"
    r"|<arg_key>(?P<c>.*?)</arg_key>\s*<arg_value>(?P<d>.*?)</arg_value>",
    re.DOTALL,
)


@dataclass(frozen=True)
class Call:
    """A call as it was written. Example: `Call("times", ArgsKwargs((12, 34)))`."""

    name: str
    arguments: Any
    """ArgsKwargs, JSON text, or texts by name, whose types only the tool's schema tells (`typed`)."""


def calls_in(reply: str, form: str = "") -> Iterator[Call | str]:
    """The calls in what the policy wrote, after its last `</think>`, in order; a sentence for each that is none.

    >>> list(calls_in("?times(12, b=34)"))
    [Call(name='times', arguments=ArgsKwargs((12,), {'b': 34}))]

    Args:
        form: one of `FORMS`, read beside the plain ones.
    """
    patterns = [FORMS[form]] if form else []
    said, taken = reply.rpartition("</think>")[2], list[re.Match[str]]()
    for pattern in (*patterns, _PLAIN):
        for found in re.finditer(pattern, said, _READ):
            if all(found.end() <= one.start() or one.end() <= found.start() for one in taken):
                taken.append(found)
    for found in sorted(taken, key=lambda one: one.start()):
        try:
            if len(found[0]) > _LONGEST_CALL:
                raise ValueError(f"a call has at most {_LONGEST_CALL:,} characters")
            yield from _read({name: text for name, text in found.groupdict().items() if text is not None})
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            yield f"{error.msg if isinstance(error, SyntaxError) else error}"


def _read(found: Mapping[str, str]) -> list[Call]:
    if "line" in found:
        return _from_python(found["line"], "expected ?name(arguments)")
    if "lines" in found:
        return _from_python(found["lines"], "expected [name(arguments)]")
    if "pairs" in found:
        pairs = {one["a"] or one["c"] or "": one["b"] or one["d"] or "" for one in _PAIR.finditer(found["pairs"])}
        return [Call(found["name"].strip(), pairs)]
    if "args" in found:
        return [_call({"name": found["name"], "arguments": json.loads(found["args"])})]
    return _from_json(found.get("json", found.get("fence", "")))


def _from_json(text: str) -> list[Call]:
    """An object, a list of them, or several with `;` between."""
    found, text = list[Call](), text.strip()
    while True:
        value, end = json.JSONDecoder().raw_decode(text)
        found += [_call(one) for one in (value if isinstance(value, list) else [value])]
        text = text[end:].strip()
        if not text:
            return found
        if not text.startswith(";"):
            raise ValueError(f"more text after it: {text[:20]!r}")
        text = text[1:].strip()


def _call(given: Any) -> Call:
    name = given.get("name", given.get("function", given.get("tool_name"))) if isinstance(given, dict) else None
    if not isinstance(name, str):
        raise ValueError('expected {"name": ..., "arguments": {...}}')
    arguments = given.get("arguments", given.get("parameters", {}))
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict):
        raise ValueError("arguments: expected an object")
    return Call(name, json.dumps(arguments))


def _from_python(text: str, expected: str) -> list[Call]:
    """`name(1, b="x")`, or a list of such, read as data: literals alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(text.strip(), mode="eval").body
    found = list[Call]()
    for one in tree.elts if isinstance(tree, ast.List) and "[" in expected else [tree]:
        if not isinstance(one, ast.Call) or not isinstance(one.func, ast.Name):
            raise ValueError(expected)
        try:
            named = {str(given.arg): ast.literal_eval(given.value) for given in one.keywords}
            found.append(Call(one.func.id, ArgsKwargs(tuple(map(ast.literal_eval, one.args)), named)))
        except (ValueError, TypeError) as error:  # its words hold an address in memory, which no two runs have alike
            raise ValueError("arguments must be plain values") from error
    return found


def typed(pairs: Mapping[str, str], schema: Mapping[str, Any]) -> str:
    """Arguments that were written as texts, as JSON with the types of the tool's schema; a wrong one stays a text.

    >>> typed({"a": "7", "b": "7"}, {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}})
    '{"a": 7, "b": "7"}'
    """

    def value(name: str, text: str) -> Any:
        if schema.get("properties", {}).get(name, {}).get("type") == "string":
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text

    return json.dumps({name: value(name, text) for name, text in pairs.items()})


def form_of(written: str, name: str, arguments: Mapping[str, str]) -> str:
    """The form in which a call of known contents was written; empty where none reads it as it is."""
    for form in FORMS:
        for one in list(calls_in(written, form))[:1]:
            wanted = (json.dumps(dict(arguments)), dict(arguments), ArgsKwargs((), dict(arguments)))
            if isinstance(one, Call) and one.name == name and one.arguments in wanted:
                return form
    return ""


def told_plainly(talk: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose tools are told of in words, in front of the first one, for a template that takes none."""
    tools, first, *rest = talk
    told = "\n".join(json.dumps(schema["function"]) for schema in json.loads(tools["content"]))
    text = (
        f"You may call these tools:\n{told}\n"
        'A call is written so, and its result comes as the next message:\n<tool_call>{"name": NAME, "arguments": '
        "{...}}</tool_call>\nAn answer without a call is final."
    )
    return [{**first, "content": f"{text}\n\n{first['content']}"}, *map(dict, rest)]
